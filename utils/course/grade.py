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
from collections.abc import Callable
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from utils.course import sandbox, submission
from utils.course.exercise import ROOT, CourseError, load
from utils.course.lesson_file import CHECK, make, mark, solution_of

CELL_SECONDS = 60  # a check stops its probe after ten; this is for cells that no check can stop
STOPPED = "it stopped the kernel"
DEAD = "Kernel dead on test start"  # nbval's words for a cell that found no kernel
Results = dict[str, tuple[str, str]]  # exercise -> status and reason


def grade_file(path: Path, shut_in: bool = False) -> dict:
    """The grade of one file, as it stands in the JSON; a file that cannot be read gets a reason."""
    blank = {"file": str(path), "lesson": "", "score": 0, "max": 0, "exercises": []}
    try:
        sources = submission.cells(path)
        lesson = submission.lesson_of(sources, path.name)
        solution = solution_of(lesson)
        stubs = {id: c.source for c in make(lesson, solved=False).cells if (id := mark(c.source))}
        given = submission.answers(sources, stubs)
        reach = submission.reaching(make(lesson, solved=True))
        flags = {e.id: submission.flags(given.get(e.id, ""), reach, e.source) for e in load(lesson)}
        results = _reviewed(_with(solution, stubs, given, sources, shut_in), given, flags)
    except CourseError as error:
        return blank | {"why": f"{path.name}: {error}"}
    rows = []
    for exercise in load(lesson):
        status, why = results.get(exercise.id, ("FAIL", "its check did not run"))
        if exercise.id not in given:
            status, why = "TODO", f"no cell with code begins with # EXERCISE {exercise.id}"
            why = f"{why}\n     {submission.elsewhere(sources, exercise.name)}".rstrip()
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


def _with(
    solution: NotebookNode,
    stubs: dict[str, str],
    given: dict[str, str],
    sources: list[str],
    shut_in: bool,
) -> Callable[[dict[str, str]], Results]:
    """A function from some of the answers to their results, the others being stubs."""
    imports = submission.imports(sources, given)

    def results(some: dict[str, str]) -> Results:
        """One that kills or blocks the kernel costs itself only: the rest is run again."""
        out: dict[str, str] = {}  # taken out, with the reason
        while True:
            answers = stubs | {id: source for id, source in some.items() if id not in out}
            rows = run_nbval(assemble(solution, answers, imports), shut_in)
            end = next((r for r in rows if r["fatal"]), None)
            if end is None:
                return _told(rows) | {id: ("FAIL", f"{STOPPED}: {why}") for id, why in out.items()}
            ran = list(stubs)[: list(stubs).index(end["after"]) + 1] if end["after"] else []
            if end["cell"] and end["why"] == DEAD:
                ran.pop()  # this one did not even begin
            suspects = [id for id in ran if id in some and id not in out]
            if not suspects:
                raise CourseError(f"it could not be run ({end['why']}); try it again")
            out[suspects[-1]] = end["why"].split("\n")[0]

    return results


def _told(rows: list[dict]) -> Results:
    """Status and reason of each check, and of its answer's cell where that stopped."""
    stops = {r["cell"]: r["why"] for r in rows if r["cell"] and r["status"] == "CRASH"}
    found = {}
    for row in rows:
        if id := row["exercise"]:
            status = "FAIL" if row["status"] == "CRASH" else row["status"]
            stop = f"its cell stops with {stops[id]}" if status == "FAIL" and id in stops else ""
            found[id] = status, "\n     ".join(filter(None, (row["why"], stop)))
    return found


def _reviewed(
    results: Callable[[dict[str, str]], Results],
    given: dict[str, str],
    flags: dict[str, list[str]],
) -> Results:
    """What passes by itself passes; an odd answer, and what needs it to pass, a person must read.

    All answers share a kernel, where an odd one can reach the others. So they run without it
    first.
    """
    odd = {id for id in given if flags[id]}
    found = results({id: source for id, source in given.items() if id not in odd})
    if not odd:
        return found
    dead = {id for id, (_, why) in found.items() if why.startswith(STOPPED)}
    for id, (status, why) in results({id: given[id] for id in given if id not in dead}).items():
        if status == "PASS" and found[id][0] != "PASS":
            names = ", ".join(flags[id])
            reason = f"it uses {names}" if names else f"it needs {', '.join(sorted(odd))}"
            found[id] = "REVIEW", f"passes, but a person must read it: {reason}"
        elif id in odd:
            found[id] = status, why
    return found


def assemble(solution: NotebookNode, answers: dict[str, str], imports: list[str]) -> NotebookNode:
    """The solved notebook with these answers; cells that no check needs are left out."""
    notebook = copy.deepcopy(solution)
    notebook.cells = [c for c in notebook.cells if c.cell_type == "code" and _needed(c)]
    notebook.cells[:0] = [nbformat.v4.new_code_cell(line) for line in imports]
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


def run_nbval(notebook: NotebookNode, shut_in: bool) -> list[dict]:
    """Runs a notebook under nbval in a folder of its own.

    Returns:
        a row per cell, as the plugin reports it.
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
            "PYTEST_ADDOPTS": "",
            "NO_COLOR": "1",
        }
        sandbox.kernelspec(box, shut_in, env)
        options = ["-p", "utils.course.nbval_plugin", "-p", "nbval.plugin"]
        options += ["-p", "no:cacheprovider", "--nbval-lax", "--nbval-kernel-name=wm"]
        options += [f"--nbval-cell-timeout={CELL_SECONDS}", "-c", os.devnull, f"--rootdir={box}"]
        options += [f"--course-report={box / 'report.json'}"]
        command = [sys.executable, "-m", "pytest", "-q", *options, str(box / "graded.ipynb")]
        done = subprocess.run(
            command, env=env, cwd=ROOT, capture_output=True, text=True, errors="replace"
        )
        report = box / "report.json"
        rows = json.loads(report.read_text()) if report.exists() else []
    if not rows:
        raise CourseError(f"nbval did not run: {(done.stdout + done.stderr)[-800:]}")
    if stopped := next((r["why"] for r in rows if r["fatal"] and r["why"] == sandbox.SHORT), None):
        raise CourseError(f"{stopped}; grade it alone")
    return rows
