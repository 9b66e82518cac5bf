"""A lesson as text, as the solved notebook and as the learner's notebook."""

import ast
import functools
import importlib
import inspect
import re
import textwrap
import tomllib
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

from utils.course.exercise import ROOT, CourseError, get

POINTER = re.compile(
    r"# EXERCISE (?P<id>\d+\.\d+\.\d+) (?P<module>[\w.]+):(?P<name>[\w.]+)"
    r"(?: blank (?P<blank>[\w., ]+)| bug (?P<bug>\w+))?"
)
MARK = re.compile(r"\s*# EXERCISE (\d+\.\d+\.\d+)")  # the only key: Colab drops ids and tags
CHECK = re.compile(r'^(?:[\w.]+ = )?check\("(\d+\.\d+\.\d+)"\)\s*$', re.M)
TODO = "raise NotImplementedError  # your code here"
SETUP = """\
# Setup. In the course's folder this only finds it; in a notebook opened alone, on Colab say,
# it fetches the course once and installs what is missing.
import os
import subprocess
import sys
from pathlib import Path


class SetupError(Exception):
    def _render_traceback_(self):
        return [str(self)]  # the sentence, without a page of frames


here = [Path.cwd(), *Path.cwd().parents]
ROOT = next((p for p in here if (p / "utils/course").is_dir()), Path.cwd() / "course")
if not (ROOT / "utils/course").is_dir():
    repository = os.environ.get("WM_REPO", "{repository}")
    reference = os.environ.get("WM_REF", "{reference}")
    print("Fetching the course from", repository, flush=True)
    command = ["git", "clone", "-q", "--depth=1", "--branch", reference, repository, str(ROOT)]
    silent = os.environ | {{"GIT_TERMINAL_PROMPT": "0"}}  # asks for no password where nobody looks
    try:
        subprocess.run(command, env=silent, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = (getattr(error, "stderr", None) or "git is not installed here").strip()
        raise SetupError(f"Could not fetch the course: {{why.splitlines()[-1]}}") from error
sys.path.insert(0, str(ROOT))  # first: other packages are called utils too
import utils

if not Path(utils.__file__ or "").is_relative_to(ROOT):
    raise SetupError(f"Another package is called utils: {{utils.__file__}}. Restart the kernel.")
from utils.course.ready import ready

ready()"""


@functools.cache
def project() -> dict:
    """pyproject.toml, the one source of requirements and addresses."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def text_of(lesson: str) -> Path:
    """`solutions/S.N_name.py` of a lesson number."""
    found = sorted((ROOT / "solutions").glob(f"{lesson}_*.py"))
    if not found:
        known = ", ".join(sorted(p.stem for p in (ROOT / "solutions").glob("*.py"))) or "none"
        raise CourseError(f"There is no lesson {lesson} in solutions/; there are: {known}.")
    return found[0]


def solution_of(lesson: str) -> NotebookNode:
    """The solved, executed notebook of a lesson."""
    path = text_of(lesson).with_suffix(".ipynb")
    if not path.exists():
        raise CourseError(f"{path.name} is not built yet; run: python -m utils build {lesson}")
    return nbformat.read(path, 4)


def admitted(lesson: str) -> set[str]:
    """The claims that a lesson's text says have failed: of the list under its heading "What did not
    hold", what stands in asterisks (`- *name of the claim*: why`)."""
    cells = jupytext.read(text_of(lesson)).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    section = re.search(r"^#+ What did not hold$(.*?)(?=^#|\Z)", prose, re.M | re.S)
    return set(re.findall(r"- \*(.+?)\*", " ".join(section[1].split()))) if section else set()


def mark(source: str) -> str | None:
    """The id of the exercise that a cell holds, by its first line."""
    found = MARK.match(source)
    return found[1] if found else None


def blank(source: str, names: set[str]) -> str:
    """The source with the bodies of the named functions taken out, docstrings kept."""
    lines = source.splitlines()
    functions = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)]
    for node in sorted((f for f in functions if f.name in names), key=lambda f: -f.lineno):
        first = node.body[0]
        if ast.get_docstring(node) is None:
            start = first.lineno - 1
            while lines[start - 1].lstrip().startswith("#"):
                start -= 1
        else:
            start = first.end_lineno
        lines[start : node.end_lineno] = [" " * first.col_offset + TODO]
    return "\n".join(lines)


def expand(source: str, solved: bool) -> str:
    """An exercise cell from its pointer: the definition, the stub, or the bugged source."""
    found = POINTER.fullmatch(source.strip())
    if not found:
        raise CourseError(
            f"{source.splitlines()[0]!r} is not a pointer; write it as "
            "'# EXERCISE 2.4.3 utils.nn.two_hot:two_hot', alone in its cell."
        )
    exercise = get(found["id"])
    try:
        module = importlib.import_module(found["module"])
        thing = functools.reduce(getattr, found["name"].split("."), module)
    except (ModuleNotFoundError, AttributeError) as error:
        raise CourseError(
            f"Exercise {exercise.id} points to {found['module']}:{found['name']}, which is not "
            f"there ({error}); its check has {exercise.pointer}."
        ) from None
    pointed = f"{thing.__module__}:{thing.__qualname__}"
    if pointed != exercise.pointer or (found["bug"] or "") != exercise.bug:
        raise CourseError(
            f"Exercise {exercise.id} points to {pointed} bug {found['bug']} in the lesson, and to "
            f"{exercise.pointer} bug {exercise.bug or None} in its check; they must agree."
        )
    named = tuple(m.split(".")[-1] for m in re.split(r", *", found["blank"] or "") if m)
    if set(named) != set(exercise.blank) or (isinstance(thing, type) and not named):
        raise CourseError(
            f"Exercise {exercise.id} blanks {', '.join(named) or 'nothing'} in the lesson and "
            f"{', '.join(exercise.blank) or 'nothing'} in its check; they must agree, and of a "
            "class the methods to write must be named: ... module:Memory blank Memory.write"
        )
    if absent := [m for m in named if m not in vars(thing)]:
        raise CourseError(f"Exercise {exercise.id}: {pointed} has no method {absent[0]} to blank.")
    code = textwrap.dedent(inspect.getsource(thing)).rstrip()
    if not solved and exercise.bug:
        code = exercise.patched(exercise.bugged)
    elif not solved:
        code = blank(code, set(named) or {exercise.name})
    kind = "core" if exercise.core else "more"
    points = "1 point" if exercise.points == 1 else f"{exercise.points} points"
    about = f"difficulty {exercise.difficulty} of 5, about {exercise.minutes} minutes, {points}"
    return f'# EXERCISE {exercise.id}\n# {kind}; {about}; stuck? hint("{exercise.id}")\n{code}'


def make(lesson: str, solved: bool) -> NotebookNode:
    """One of the two notebooks of a lesson, without outputs."""
    path, course = text_of(lesson), project()["tool"]["course"]
    notebook = jupytext.read(path, fmt="py:percent")
    heading, seen = "top", {}
    for cell in notebook.cells:
        cell.metadata = {k: v for k, v in cell.metadata.items() if k == "tags"}
        id = None
        if cell.cell_type == "markdown":
            if title := re.search(r"^#+ (.+)$", cell.source, re.M):
                heading = re.sub(r"[^a-z0-9]+", "-", title[1].lower()).strip("-")[:40]
        elif cell.source.strip() == "# SETUP":
            cell.source = SETUP.format(**course)
            id = "setup"
        elif key := mark(cell.source):
            cell.source = expand(cell.source, solved)
            id = f"exercise-{key.replace('.', '-')}"
        elif key := CHECK.search(cell.source):
            id = f"check-{key[1].replace('.', '-')}"
            cell.metadata["tags"] = ["nbval-check-output"]
        if id is None:
            seen[heading] = seen.get(heading, 0) + 1
            id = f"{heading}-{seen[heading]}"
        cell["id"] = id
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    if notebook.cells:
        _badge(notebook.cells[0], f"notebooks/{path.stem}.ipynb", course)
    notebook.metadata = {
        "accelerator": "GPU",
        "colab": {"gpuType": "T4"},
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "language_info": {"name": "python"},
    }
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def _badge(cell: NotebookNode, path: str, course: dict) -> None:
    site = "https://colab.research.google.com"
    place = course["repository"].removeprefix("https://github.com/")
    link = f"{site}/github/{place}/blob/{course['reference']}/{path}"
    title, _, rest = cell.source.partition("\n")
    cell.source = f"{title}\n\n[![Open in Colab]({site}/assets/colab-badge.svg)]({link})\n{rest}"


def imports(notebook: NotebookNode) -> dict:
    """The names that a notebook's import statements give, imported here."""
    names: dict = {}
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.get("id") != "setup":
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Import | ast.ImportFrom):
                    exec(compile(ast.Module([node], []), "<imports>", "exec"), names)
    names.pop("__builtins__", None)
    return names
