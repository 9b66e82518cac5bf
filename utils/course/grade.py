"""Grades: a learner's exercise cells in the solved notebook, run under nbval.

Only cells that begin with `# EXERCISE id` are taken from a submission. The checks, what they must
say, and all else come from the course. A PASS counts when a second process, in which no answer
ever ran, agrees with its numbers on a secret seed.
"""

import copy
import json
import os
import re
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from utils.course import sandbox, submission
from utils.course.exercise import ROOT, CourseError, load
from utils.course.lesson_file import CHECK, make, mark, solution_of

CELL_SECONDS = 60  # a check stops its probe after ten; this is for cells that no check can stop
FATAL = re.compile(r"the kernel died|Kernel dead|Timeout of|characters$|did not start")


def grade_file(path: Path, shut_in: bool = False) -> dict:
    """The grade of one file, as it stands in the JSON; a file that cannot be read gets a reason."""
    blank = {"file": str(path), "lesson": "", "score": 0, "max": 0, "exercises": []}
    try:
        sources = submission.cells(path)
        lesson = submission.lesson_of(sources, path.name)
        solution = solution_of(lesson)
    except CourseError as error:
        return blank | {"why": f"{path.name}: {error}"}
    stubs = {mark(c.source): c.source for c in make(lesson, solved=False).cells if mark(c.source)}
    given = submission.answers(sources, stubs)
    results = _results(solution, given, stubs, shut_in)
    flags = {id: submission.flags(given.get(id, "")) for id in stubs}
    rows = []
    for exercise in load(lesson):
        status, why = results.get(exercise.id, ("FAIL", "its check did not run"))
        if exercise.id not in given:
            status, why = "TODO", f"no cell begins with # EXERCISE {exercise.id}"
        elif status == "PASS" and any(flags.values()):
            # All answers share one kernel: an odd one can reach the others.
            odd = ", ".join(f"{id} uses {', '.join(f)}" for id, f in flags.items() if f)
            status, why = "REVIEW", f"passes; a person must read it, because {odd}"
        elif name := re.search(r"name '(\w+)' is not defined", why):
            why = f"{why}\n     {submission.elsewhere(sources, name[1])}".rstrip()
        rows.append(
            {
                "id": exercise.id,
                "name": exercise.name,
                "status": status,
                "points": exercise.points if status == "PASS" else 0,
                "max": exercise.points,
                "why": why,
                "flags": flags[exercise.id],
            }
        )
    score, top = sum(r["points"] for r in rows), sum(r["max"] for r in rows)
    return {"file": str(path), "lesson": lesson, "score": score, "max": top, "exercises": rows}


def _results(
    solution: NotebookNode, given: dict[str, str], stubs: dict[str, str], shut_in: bool
) -> dict[str, tuple[str, str]]:
    """Status and reason per exercise; one that kills or blocks the kernel costs itself only."""
    out: dict[str, str] = {}  # taken out, with the reason
    while True:
        answers = {id: stubs[id] if id in out else given.get(id, stubs[id]) for id in stubs}
        rows = run_nbval(assemble(solution, answers), shut_in)
        crash = next((r for r in rows if r["status"] == "CRASH" and FATAL.search(r["why"])), None)
        if crash is None or crash["after"] is None or crash["after"] in out:
            break
        out[crash["after"]] = crash["why"].splitlines()[0]
    found = {}
    for row in rows:
        if id := row["exercise"]:
            status = "FAIL" if row["status"] == "CRASH" else row["status"]
            found[id] = (status, row["why"])
    return found | {id: ("FAIL", f"it stopped the kernel: {why}") for id, why in out.items()}


def assemble(solution: NotebookNode, answers: dict[str, str]) -> NotebookNode:
    """The solved notebook with these answers; cells that no check needs are left out."""
    notebook = copy.deepcopy(solution)
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code" and _needed(c)]
    for cell in notebook.cells:
        if id := mark(cell.source):
            cell.source = answers[id]
    return notebook


def _needed(cell: NotebookNode) -> bool:
    """Set-up, imports, classes that answers are bound to, exercises and checks."""
    code = re.compile(r"^(?:import|from|class) |^\w+ = begin\(", re.M)
    parameters = "parameters" in cell.metadata.get("tags", [])
    return bool(
        parameters or mark(cell.source) or CHECK.search(cell.source) or code.search(cell.source)
    )


def run_nbval(notebook: NotebookNode, shut_in: bool, seconds: float = CELL_SECONDS) -> list[dict]:
    """Runs a notebook under nbval in a folder of its own.

    Returns:
        a row per cell: exercise (None where the cell is no check), after, status, why.
    """
    with tempfile.TemporaryDirectory(prefix="wm-") as folder:
        box = Path(folder)
        (box / "run").mkdir()
        nbformat.write(notebook, box / "graded.ipynb")
        env = os.environ | {
            "WM_SEED": str(secrets.randbits(31)),
            "WM_PROFILE": "smoke",
            "WM_QUIET": "1",
            "WM_KERNEL_RUN": str(box / "run"),
            "WM_KERNEL_CWD": str(ROOT),
            "JUPYTER_DATA_DIR": str(box / "data"),
            "IPYTHONDIR": str(box / "ipython"),
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "NO_COLOR": "1",
        }
        sandbox.kernelspec(box, shut_in, env)
        options = [
            "-p",
            "nbval.plugin",
            "-p",
            "utils.course.nbval_plugin",
            "-p",
            "no:cacheprovider",
        ]
        options += ["--nbval-lax", "--nbval-kernel-name=wm", f"--nbval-cell-timeout={seconds}"]
        options += ["-c", os.devnull, f"--rootdir={box}", f"--course-report={box / 'report.json'}"]
        command = [sys.executable, "-m", "pytest", "-q", *options, str(box / "graded.ipynb")]
        done = subprocess.run(
            command, env=env, cwd=ROOT, capture_output=True, text=True, errors="replace"
        )
        if not (box / "report.json").exists():
            raise CourseError(f"nbval did not run: {(done.stdout + done.stderr)[-800:]}")
        return json.loads((box / "report.json").read_text())
