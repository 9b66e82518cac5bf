"""What can be taken from a learner's file: the answers, and what a person should look at."""

import ast
import json
import re
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from utils.course.exercise import CourseError

ANSWER = re.compile(r"\s*#+ *EXERCISE +(\d+\.\d+\.\d+)")
LARGEST = 50_000_000  # bytes; a notebook with many stored figures has a tenth of this

# What no solution needs. A cell that has it is for a person to read: it may be an accident.
WORDS = """
exec eval compile getattr setattr delattr globals locals vars open input breakpoint builtins sys os
io pathlib shutil inspect gc importlib ctypes subprocess socket threading multiprocessing asyncio
signal atexit marshal pickle types IPython get_ipython utils check checks solutions display code
linecache traceback urllib requests http tempfile site
"""
ODD = set(WORDS.split())
FINE = {"__init__", "__call__", "__len__", "__getitem__", "__iter__", "__name__", "__post_init__"}
FINE |= {"__repr__", "__setitem__", "__contains__"}
TEXT = re.compile(r"solutions?/|utils[./]|\bPASS \d|__\w+__|EXERCISE \d")


def cells(path: Path) -> list[str]:
    """The sources of all cells of a notebook (any format version) or percent script, in order.

    Raises:
        CourseError: the file cannot be read, with the reason and what to do.
    """
    try:
        size, raw = path.stat().st_size, b""
        if size <= LARGEST:
            raw = path.read_bytes()
    except OSError as error:
        raise CourseError(f"it cannot be opened ({error.strerror}); save it again") from error
    if size > LARGEST:
        raise CourseError(f"it is larger than {LARGEST // 10**6} MB; clear its outputs and save it")
    utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = raw.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    if not text.strip():
        raise CourseError("it is empty; download the notebook again")
    if path.suffix == ".py":
        return re.split(r"^# %%.*\n", text, flags=re.M)
    if re.search(r"^(<{7}|>{7}) ", text, re.M):
        raise CourseError("it has git conflict marks (<<<<<<<); resolve the conflict and save it")
    try:
        data = json.loads(text)
        sheets = data.get("worksheets", [data])  # nbformat 3 has sheets
        found = [c.get("source", c.get("input", "")) for sheet in sheets for c in sheet["cells"]]
    except ValueError as error:
        kind = "a web page" if text.lstrip()[:1] == "<" else "not a notebook"
        raise CourseError(f"it is {kind}, or cut off ({error}); download it as .ipynb") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CourseError("it is JSON, but has no cells; download it as .ipynb") from error
    return ["".join(map(str, s)) if isinstance(s, list) else str(s) for s in found]


def answers(sources: list[str], stubs: dict[str, str]) -> dict[str, str]:
    """Exercise id -> the source of its cell; of several, those that differ from the stub."""
    found: dict[str, list[str]] = {}
    for source in sources:
        if (mark := ANSWER.match(source)) and mark[1] in stubs:
            found.setdefault(mark[1], []).append(source)
    return {
        id: "\n\n".join([s for s in some if s.strip() != stubs[id].strip()] or some[:1])
        for id, some in found.items()
    }


def lesson_of(sources: list[str], name: str) -> str:
    """The lesson that a file belongs to, by its exercise cells, else by its name."""
    ids = [m[1].rpartition(".")[0] for s in sources if (m := ANSWER.match(s))]
    if ids:
        return max(sorted(set(ids)), key=ids.count)
    if found := re.search(r"(?<![\d.])(\d\.\d)_", name):
        return found[1]
    raise CourseError("no cell begins with # EXERCISE, so it is no lesson of this course")


def flags(source: str) -> list[str]:
    """Names and texts in an answer that no solution needs."""
    try:  # magics become get_ipython() calls
        nodes = list(ast.walk(ast.parse(TransformerManager().transform_cell(source))))
    except (SyntaxError, ValueError, RecursionError):
        return []
    names = {n.id for n in nodes if isinstance(n, ast.Name)}
    names |= {n.attr for n in nodes if isinstance(n, ast.Attribute)}
    names |= {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {part for alias in node.names for part in alias.name.split(".")}
            names |= set((getattr(node, "module", "") or "").split("."))
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    definitions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    docs = {ast.get_docstring(n, clean=False) for n in definitions}
    odd = [n for n in names if n in ODD or (n.startswith("__") and n not in FINE)]
    return sorted(odd) + sorted(repr(t[:30]) for t in texts - docs if TEXT.search(t))


def elsewhere(sources: list[str], missing: str) -> str:
    """Where a name that an answer misses is defined: cells without a mark are not graded."""
    pattern = re.compile(rf"^(?:def|class) {re.escape(missing)}\b|^{re.escape(missing)} *=", re.M)
    for i, source in enumerate(sources):
        if not ANSWER.match(source) and pattern.search(source):
            where = f"{missing} is defined in cell {i + 1}, which is not graded"
            return f"{where}: move it into the exercise cell."
    return ""
