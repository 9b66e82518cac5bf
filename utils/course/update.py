"""A learner's answers, carried into the new version of a lesson."""

import ast
import json
import re
import shutil
import subprocess
import warnings
from pathlib import Path

import nbformat
from nbformat import NotebookNode, v4

from utils.course.exercise import ROOT, CourseError
from utils.course.lesson_file import CHECK, TODO, mark, text_of
from utils.course.submission import ANSWER, cells, lesson_of

KEPT = "## Kept from the older version\n\nThe new one has no place for these cells. None runs."


def update(path: Path) -> list[str]:
    """Puts the new version of the lesson, with the learner's work in it, in the file's place.

    Returns:
        what was done, a sentence each.
    """
    if not path.is_file():
        raise CourseError(f"There is no file {path}.")
    lesson = f"notebooks/{text_of(lesson_of(cells(path), path.name)).stem}.ipynb"
    if not (ROOT / lesson).exists():
        raise CourseError(f"{lesson} is not built yet; run: python -m utils build")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Colab's cells have no ids
        try:
            old = nbformat.reads(path.read_text("utf-8-sig", "replace"), 4)
        except Exception as error:
            raise CourseError(f"{path.name} is no notebook; update takes .ipynb files.") from error
    new = nbformat.read(ROOT / lesson, 4)
    said = _merge(old, new, _published(lesson))
    if [c.source for c in new.cells] == [c.source for c in old.cells if c.source.strip()]:
        return [f"{path} is up to date."]
    names = (path.with_suffix(f".old{n or ''}.ipynb") for n in [0, *range(2, 1000)])
    aside = next(name for name in names if not name.exists())
    with aside.open("xb") as file:  # never over another file
        file.write(path.read_bytes())
    part = path.with_suffix(".part")
    nbformat.write(new, part)
    shutil.copymode(path, part)
    part.replace(path)
    return [*said, f"The file as it was is kept: {aside}"]


def _published(lesson: str) -> set[str]:
    """Every cell that the course's history has for this lesson; empty without a history."""
    git, found = ["git", "-C", str(ROOT)], set()
    if not shutil.which("git"):
        return found
    log = subprocess.run([*git, "log", "--format=%H", "--", lesson], capture_output=True, text=True)
    for commit in log.stdout.split():
        show = subprocess.run([*git, "show", f"{commit}:./{lesson}"], capture_output=True)
        if show.returncode == 0:
            found |= {"".join(c["source"]).strip() for c in json.loads(show.stdout)["cells"]}
    return found


def _merge(old: NotebookNode, new: NotebookNode, published: set[str]) -> list[str]:
    """Moves the learner's cells into the new notebook; says what became of them."""
    at = {c.source.strip(): i for i, c in enumerate(new.cells)}
    ids = {c.id: i for i, c in enumerate(new.cells)}
    stubs = {id: i for i, c in enumerate(new.cells) if (id := mark(c.source))}
    mine: dict[int, list[NotebookNode]] = {}  # what comes after each new cell; -1: before all
    carried, said, lost, place = [], [], [], -1
    for cell in old.cells:
        source, id = cell.source.strip(), cell.get("id") or cell.metadata.get("id")
        if found := ANSWER.match(source):
            key = found[1]
            place = stubs.get(key, place)
            stub = new.cells[place].source if key in stubs else ""
            name = next(iter(re.findall(r"^(?:def|class) (\w+)", stub, re.M)), "")
            if source in published | at.keys() or (stub and _bare(source) == _bare(stub)):
                continue  # not begun
            if stub and re.search(rf"^(?:def|class) {name}\b|^{name}\b.*=", source, re.M):
                carried.append(key)
                mine.setdefault(place, []).append(cell)
            else:
                now = f"is now {name}" if stub else "is no longer in the lesson"
                said.append(f"Exercise {key} {now}: your answer is kept at the end.")
                lost.append((f"# Kept: exercise {key}", cell))
            continue
        known = source in published or source in at or not source
        place = ids.get(id, at.get(source, place))
        if known or CHECK.search(source) or source.startswith("# Setup."):
            continue
        if id in ids:
            lost.append(("# Kept: a cell of the lesson, changed by you or by the course", cell))
        else:
            mine.setdefault(place, []).append(cell)
    own, changed = sum(map(len, mine.values())) - len(carried), len(lost) - len(said)
    _place(new, mine, lost)
    todo = [key for key in stubs if key not in carried]
    parts = [("Carried over", dict.fromkeys(carried)), ("To do", todo)]
    said = [f"{what}: {', '.join(keys)}." for what, keys in parts if keys] + said
    return [*said, f"Cells of your own: {own}. Cells of the lesson that differ, kept: {changed}."]


def _place(new: NotebookNode, mine: dict, lost: list[tuple[str, NotebookNode]]) -> None:
    out = list(mine.get(-1, []))
    for i, cell in enumerate(new.cells):
        after = mine.get(i, [])
        if first := next((c for c in after if mark(cell.source) and ANSWER.match(c.source)), None):
            cell.source = first.source
        out += [cell, *(c for c in after if c is not first)]
    if lost and not any(c.source == KEPT for c in out):
        out.append(v4.new_markdown_cell(KEPT))
    for title, cell in lost:  # as comments: they would define the old names again
        text = "".join(f"\n# {line}".rstrip() for line in cell.source.split("\n"))
        out.append(v4.new_code_cell(title + text))
    for n, cell in enumerate(out):
        if cell not in new.cells:
            make = v4.new_code_cell if cell.cell_type == "code" else v4.new_markdown_cell
            out[n] = make(cell.source, id=f"own-{n}")
    new.cells = out


def _bare(source: str) -> str:
    """What a cell does, without comments and docstrings; of a stub, without its arguments."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.body = node.body[ast.get_docstring(node) is not None :]
            if TODO in source and isinstance(node, ast.FunctionDef):
                node.args = node.returns = None
    return ast.dump(tree)
