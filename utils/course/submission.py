"""What can be taken from a learner's file: the answers, and what a person should look at."""

import ast
import json
import re
import symtable
from pathlib import Path
from symtable import Symbol
from types import ModuleType

from nbformat import NotebookNode

from utils.course.exercise import CourseError
from utils.course.lesson_file import CHECK
from utils.course.lesson_file import imports as lesson_imports

ANSWER = re.compile(r"\s*#+ *EXERCISE +(\d+\.\d+\.\d+)", re.I)  # however it was typed again
LINE = re.compile(rf"^{ANSWER.pattern[3:]}.*$", re.M | re.I)
LARGEST = 50_000_000  # bytes; a notebook with many stored figures has a tenth of this

# What no solution needs. An answer that has it is for a person to read: it may be an accident.
BARE = """
breakpoint builtins check compile delattr display eval exec exit get_ipython getattr globals input
locals open quit setattr vars In Out
"""
REACHING = """
DataSource ForwardRef ag_frame allow_pickle attrgetter builtins cpp_extension cr_frame ctypes
ctypeslib f2py f_back f_builtins f_code f_globals f_locals fromfile gc genfromtxt get_ipython
get_type_hints gi_frame hub importlib inspect io linecache loadtxt memmap methodcaller mro
multiprocessing os pathlib pickle pkgutil pydoc rundocs runpy runstring shutil socket subprocess
sys tb_frame tb_next tempfile threading timeit traceback weights_only
"""
MODULES = """
__future__ abc bisect cmath collections contextlib copy dataclasses datetime decimal einops enum
fractions functools gymnasium heapq itertools jaxtyping json logging math matplotlib numbers numpy
operator pprint queue random re scipy statistics string textwrap time torch tqdm typing
typing_extensions warnings
"""
DUNDERS = """
__abs__ __add__ __and__ __annotations__ __bool__ __call__ __class__ __contains__ __delitem__ __doc__
__enter__ __eq__ __exit__ __float__ __floordiv__ __ge__ __getitem__ __gt__ __hash__ __iadd__
__imul__ __init__ __int__ __invert__ __isub__ __iter__ __le__ __len__ __lt__ __matmul__ __mod__
__mul__ __name__ __ne__ __neg__ __next__ __or__ __pow__ __post_init__ __radd__ __repr__ __reversed__
__rmul__ __rsub__ __rtruediv__ __setitem__ __slots__ __str__ __sub__ __truediv__
"""
ODD, FAR, KNOWN, FINE = (set(words.split()) for words in (BARE, REACHING, MODULES, DUNDERS))
TEXT = re.compile(r"solutions?/|utils[./]|/proc\b|/course\b|\bPASS \d|__(?!main__)\w+__")


def cells(path: Path) -> list[str]:
    """The sources of all cells of a notebook (any format version) or percent script, in order.

    Raises:
        CourseError: the file cannot be read, with the reason and what to do.
    """
    try:
        raw = path.read_bytes() if path.stat().st_size <= LARGEST else None
    except OSError as error:
        raise CourseError(f"it cannot be opened ({error.strerror}); save it again") from error
    if raw is None:
        raise CourseError(f"it is larger than {LARGEST // 10**6} MB; clear its outputs and save it")
    utf16 = raw[:2] in (b"\xff\xfe", b"\xfe\xff")
    text = raw.decode("utf-16" if utf16 else "utf-8-sig", "replace")
    if not text.strip():
        raise CourseError("it is empty; download the notebook again")
    if path.suffix == ".py":
        return [_clean(part) for part in re.split(r"^# (?:%%|In\[).*\n", text, flags=re.M)]
    if re.search(r"^(<{7}|>{7}) ", text, re.M):
        raise CourseError("it has git conflict marks (<<<<<<<); resolve the conflict and save it")
    try:
        data = json.loads(text)
        sheets = data.get("worksheets", [data])  # nbformat 3 has sheets
        found = [c.get("source", c.get("input", "")) for sheet in sheets for c in sheet["cells"]]
        return [_clean("".join(map(str, s)) if isinstance(s, list) else str(s)) for s in found]
    except ValueError as error:
        kind = "a web page" if text.lstrip()[:1] == "<" else "not a notebook"
        raise CourseError(f"it is {kind}, or cut off ({error}); download it as .ipynb") from error
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CourseError("it is JSON, but has no cells; download it as .ipynb") from error


def _clean(source: str) -> str:
    """Line ends of one kind, no byte order mark, no half of a character."""
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\ufeff", "")
    return source.encode("utf-8", "replace").decode()


def answers(sources: list[str], stubs: dict[str, str]) -> dict[str, str]:
    """Exercise id -> its source; of several, those that differ from the stub and can be read."""
    found: dict[str, list[str]] = {}
    for id, answer in (part for source in sources for part in _parts(source)):
        if id in stubs:
            found.setdefault(id, []).append(answer)
    chosen = {}
    for id, some in found.items():
        stub = _tree(stubs[id])
        tried = [s for s in some if s.strip() != stubs[id].strip() and _tree(s) != stub]
        readable = [s for s in tried if _tree(s)]
        chosen[id] = "\n\n".join(readable or tried or some[:1])
    return {id: source for id, source in chosen.items() if _tree(source) != _tree("")}


def _parts(source: str) -> list[tuple[str, str]]:
    """The answers in one cell, by id; cells may have been merged, with checks among them."""
    marks = list(LINE.finditer(source))
    if not marks:
        return []
    borders = [0, *(m.start() for m in marks[1:]), len(source)]
    parts = []
    for found, start, end in zip(marks, borders, borders[1:], strict=False):
        above, below = source[start : found.start()], source[found.end() : end]
        text = CHECK.sub("", f"# EXERCISE {found[1]}\n{above}".rstrip("\n") + below)
        if _tree(text) is None:  # in notebooks that is mostly a magic line
            text = re.sub(
                r"^([ \t]*)%%?time(?:it)?\b(?: +-\w+(?: +\d+)?)*[ \t]*", r"\1", text, flags=re.M
            )
            text = re.sub(r"^([ \t]*)[%!].*", r"\1pass", text, flags=re.M)
        parts.append((found[1], text))
    return parts


def _tree(source: str) -> str | None:
    """The syntax without comments and layout; None if there is none."""
    try:
        return ast.dump(ast.parse(source))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def imports(sources: list[str], given: dict[str, str]) -> list[str]:
    """Harmless import lines from cells without a mark, for names that an answer uses."""
    used = set(re.findall(r"\w+", " ".join(given.values())))
    lines = []
    for source in sources:
        if not LINE.search(source) and _tree(source):
            body = ast.parse(source).body
            for node in (n for n in body if isinstance(n, ast.Import | ast.ImportFrom)):
                for name in list(node.names):
                    node.names = [name]
                    line = ast.unparse(node)
                    known = (name.asname or name.name).split(".")[0] in used
                    lines += [line] * (known and not flags(line, {}, ""))
    return list(dict.fromkeys(lines))


def lesson_of(sources: list[str], name: str) -> str:
    """The lesson that a file belongs to, by its exercise cells, else by its name."""
    ids = [m[1].rpartition(".")[0] for s in sources for m in LINE.finditer(s)]
    if ids:
        return max(sorted(set(ids)), key=ids.count)
    if found := re.search(r"(?<![\d.])(\d\.\d)_", name):
        return found[1]
    raise CourseError("no cell begins with # EXERCISE, so it is no lesson of this course")


def reaching(notebook: NotebookNode) -> dict[str, object]:
    """What the lesson's own cells define: an answer can use it to call the reference."""
    names = dict(lesson_imports(notebook))
    for cell in notebook.cells:
        if cell.cell_type == "code" and not LINE.search(cell.source):
            names |= dict.fromkeys(re.findall(r"^class (\w+)", cell.source, re.M), reaching)
    return names


def flags(source: str, lesson: dict[str, object], reference: str) -> list[str]:
    """Names and texts in an answer that no solution needs.

    Args:
        lesson: as from `reaching`. reference: the solution's source; what it uses is fine.
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
        free = _free(symtable.symtable(source, "answer", "exec"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # It may still be something to the notebook: a magic, or a shell's command.
        return ["a line that is not Python"] if re.search(r"[!%?]", source) else []
    solved = list(ast.walk(ast.parse(reference)))
    needed = {n.id for n in solved if isinstance(n, ast.Name)}.union(*map(_words, solved))
    ours = {k for k, v in lesson.items() if _ours(v)} - needed
    modules = {k for k, v in lesson.items() if isinstance(v, ModuleType)}
    odd, words = free & (ODD | FAR | ours), set()
    for node in nodes:
        words |= _words(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            tops = [getattr(node, "module", None) or a.name for a in node.names]
            odd |= {t for top in tops if (t := top.split(".")[0]) not in KNOWN}
            modules |= {a.asname or a.name for a in node.names}
    odd |= {w for w in words if w.strip("_") in FAR - needed}
    odd |= {w for w in words | free if w.startswith("__") and w not in FINE}
    odd |= {f"{ast.unparse(n)} = ..." for n in nodes if _patches(n, modules)}
    if "super" in free and not any(isinstance(n, ast.ClassDef) for n in nodes):
        odd.add("super")
    texts = {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    definitions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    docs = {ast.get_docstring(n, clean=False) for n in definitions}
    return sorted(odd) + sorted(repr(t[:30]) for t in texts - docs if TEXT.search(t))


def _free(table: symtable.SymbolTable) -> set[str]:
    """Names that may mean something from outside the answer: not its arguments and locals."""
    kind = {"function": Symbol.is_global, "class": Symbol.is_referenced}
    found = {s.get_name() for s in table.get_symbols() if kind.get(table.get_type(), bool)(s)}
    return found.union(*map(_free, table.get_children()))


def _words(node: ast.AST) -> set[str]:
    """The identifiers of a node, but for plain names: attributes, imports, patterns, keywords."""
    if isinstance(node, ast.Name | ast.arg | ast.Constant):
        return set()
    fields = [v if isinstance(v, list) else [v] for _, v in ast.iter_fields(node)]
    return {w for field in fields for v in field if isinstance(v, str) for w in v.split(".")}


def _ours(thing: object) -> bool:
    name = thing.__name__ if isinstance(thing, ModuleType) else getattr(thing, "__module__", "")
    return str(name).partition(".")[0] == "utils" and name != "utils.world"


def _patches(node: ast.AST, modules: set[str]) -> bool:
    """Whether a node stores into a module."""
    if not isinstance(node, ast.Attribute) or isinstance(node.ctx, ast.Load):
        return False
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in modules


def elsewhere(sources: list[str], missing: str) -> str:
    """Where a name that an answer misses is defined: cells without a mark are not graded."""
    pattern = re.compile(
        rf"^(?:def|class) {missing}\b|^{missing} *=|^(?:from|import) .*\b{missing}$", re.M
    )
    for i, source in enumerate(sources):
        if not LINE.search(source) and pattern.search(source):
            where = f"{missing} is defined in cell {i + 1}, which is not graded"
            return f"{where}: move it into the exercise cell."
    return ""
