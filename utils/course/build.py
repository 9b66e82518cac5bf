"""solutions/*.py and utils -> both notebooks of each lesson, requirement lists and README."""

import json
import os
import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

from utils.course import readme
from utils.course.exercise import ROOT, load, order
from utils.course.lesson_file import make, project, text_of
from utils.course.lint import lint

HEAD = "# Built from pyproject.toml by `python -m utils build`; edit it there.\n"


def build(only: list[str], check: bool) -> list[str]:
    """Builds the lessons, or with `check` compares what is stored with what they would be.

    Returns:
        findings, one sentence each; empty if all is well.
    """
    findings = []
    for path, text in _lists().items():
        findings += _put(ROOT / path, text, check)
    for lesson in only or all_lessons():
        findings += _lesson(lesson, check)
    if not only:
        findings += _orphans(check)
    for path, text in readme.generated().items():
        findings += _put(ROOT / path, text, check)
    return findings


def _orphans(check: bool) -> list[str]:
    """What was built for lessons whose text is gone; removed, or with `check` told."""
    stems = {p.stem for p in (ROOT / "solutions").glob("*.py")}
    ids = {stem.partition("_")[0] for stem in stems}
    built = [*(ROOT / "notebooks").glob("*.ipynb"), *(ROOT / "solutions").glob("*.ipynb")]
    left = [p for p in built if p.stem not in stems]
    left += [p for p in (ROOT / "assets/evidence").glob("*.json") if p.stem not in ids]
    if check:
        return [
            f"{p.relative_to(ROOT)} belongs to no lesson: run python -m utils build." for p in left
        ]
    for path in left:
        print(f"Removing {path.relative_to(ROOT)}: its lesson is gone.")
        path.unlink()
    readme.forget(ids)
    return []


def all_lessons() -> list[str]:
    """The numbers of all lessons that have a text."""
    return sorted((p.stem.partition("_")[0] for p in (ROOT / "solutions").glob("*.py")), key=order)


def _put(path: Path, text: str, check: bool) -> list[str]:
    if path.exists() and path.read_text() == text:
        return []
    if check:
        return [
            f"{path.relative_to(ROOT)} is not what its sources give: run python -m utils build."
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return []


def _lists() -> dict[str, str]:
    """requirements.txt and environment.yml, from pyproject."""
    needs = project()["project"]["dependencies"]
    conda = "".join(f"      - {n}\n" for n in needs)
    environment = "name: world-models\nchannels:\n  - conda-forge\ndependencies:\n"
    environment += f"  - python=3.12\n  - pip\n  - pip:\n{conda}"
    return {
        "requirements.txt": HEAD + "".join(f"{n}\n" for n in needs),
        "environment.yml": HEAD + environment,
    }


def _lesson(lesson: str, check: bool) -> list[str]:
    stem, exercises = text_of(lesson).stem, load(lesson)
    solved, stub = make(lesson, solved=True), make(lesson, solved=False)
    solution = ROOT / f"solutions/{stem}.ipynb"
    findings = _put(ROOT / f"notebooks/{stem}.ipynb", nbformat.writes(stub) + "\n", check)
    if check:
        if not solution.exists():
            return [
                *findings,
                f"solutions/{stem}.ipynb is missing: run python -m utils build {lesson}.",
            ]
        stored = nbformat.read(solution, 4)
        if _sources(stored) != _sources(solved):
            findings.append(f"solutions/{stem}.ipynb is not what its sources give: build {lesson}.")
        return findings + [f"{stem}: {f}" for f in lint(stored, exercises)]
    execute(solved)
    findings += [f"{stem}: {finding}" for finding in lint(solved, exercises)]
    solution.write_text(nbformat.writes(clean(solved)) + "\n")
    return findings


def _sources(notebook: NotebookNode) -> list[tuple]:
    return [(c.id, c.cell_type, c.source, c.metadata.get("tags")) for c in notebook.cells]


def execute(notebook: NotebookNode, profile: str = "quick", **environment: str) -> NotebookNode:
    """Runs a notebook in place, as a learner's Run All would, without progress bars."""
    fresh = tempfile.TemporaryDirectory()
    env = os.environ | {"WM_PROFILE": profile, "WM_QUIET": "1", "WM_RUNS": fresh.name} | environment
    client = NotebookClient(notebook, timeout=3600, resources={"metadata": {"path": str(ROOT)}})
    client.create_kernel_manager()
    client.km.transport = "ipc"  # no port that another process could listen on
    client.km.connection_file = f"{fresh.name}/kernel.json"
    client.allow_errors = True  # a broken lesson is written too, so that its author can look at it
    with fresh:
        client.execute(env=env, cwd=str(ROOT))
    return notebook


def clean(notebook: NotebookNode) -> NotebookNode:
    """Outputs that are the same each time: no times, no widget that nobody can open again."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            kept = [
                o for o in cell.outputs if not any("widget-view" in m for m in o.get("data", {}))
            ]
            cell.outputs = []
            for output in kept:
                output.pop("transient", None)
                last = cell.outputs[-1] if cell.outputs else {}
                if output.get("name") and output.get("name") == last.get("name"):
                    last["text"] += output["text"]
                else:
                    cell.outputs.append(output)
            # an address differs in each run
            text = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(cell.outputs))
            cell.outputs = nbformat.from_dict(json.loads(text))
    return notebook
