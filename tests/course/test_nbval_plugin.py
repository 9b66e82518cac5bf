"""`pytest --nbval-lax` on notebooks: names, verdicts, and kernels that die, flood or dawdle.

All notebooks run in two processes, because a process costs seconds and a kernel hundreds of them.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

DAWDLE = """
import time

kernel = get_ipython().kernel
publish = kernel._publish_status


def slowly(status, *rest, **more):
    time.sleep(6 * (status == "idle"))
    return publish(status, *rest, **more)


kernel._publish_status = slowly
"""
TRIALS = {
    "dead": ["import os\nos._exit(1)", "print(1)"],
    "flood": ["import sys\nwhile True:\n    sys.stdout.write('x' * 100_000)"],
    "dawdle": [DAWDLE, "kernel._publish_status = publish"],
    "stuck": [
        "import time\nwhile True:\n    try:\n        while True:\n            time.sleep(1)\n"
        "    except:\n        pass"
    ],
    "slow": ["import time\nwhile True:\n    time.sleep(1)", "print(1)"],
    "noted": ["x = 1  # EXERCISE 0.1.1 is another cell's", "raise ValueError('shown')"],
}


def run(demo: Path, files: list[Path], *options: str) -> tuple[dict, list[dict]]:
    """(file, item) -> its JUnit element; and the rows of the report."""
    out, report = files[0].parent / "out.xml", files[0].parent / "report.json"
    command = [sys.executable, "-m", "pytest", "-q", "--nbval-lax", f"--junitxml={out}", *options]
    command += ["-c", str(demo / "pyproject.toml"), f"--rootdir={files[0].parent}"]
    command += ["--nbval-cell-timeout=8", f"--course-report={report}", *map(str, files)]
    env = {k: v for k, v in os.environ.items() if not k.startswith("WM_")}
    done = subprocess.run(command, cwd=demo, env=env, capture_output=True, text=True)
    assert out.exists(), done.stdout + done.stderr
    cases = ElementTree.parse(out).iter("testcase")
    return {(c.get("classname"), c.get("name")): c for c in cases}, json.loads(report.read_text())


def text(case: ElementTree.Element) -> str:
    """Why an item failed; empty if it passed. A skipped one is neither."""
    assert case.find("skipped") is None
    return "".join(case.find("failure").itertext()) if case.find("failure") is not None else ""


def lesson(demo: Path, kind: str) -> tuple[nbformat.NotebookNode, dict[str, int]]:
    """A notebook of the demo lesson, and where its exercises are; the check is the next cell."""
    notebook = nbformat.read(demo / kind / "0.1_demo.ipynb", 4)
    starts = {c.source[:16]: i for i, c in enumerate(notebook.cells)}
    return notebook, {id: starts[f"# EXERCISE {id}"] for id in (f"0.1.{n}" for n in range(1, 6))}


@pytest.fixture(scope="module")
def lax(demo: Path) -> tuple[dict, list[dict]]:
    (folder := demo / "my/lax").mkdir(parents=True)
    notebook, at = lesson(demo, "solutions")
    stubs, _ = lesson(demo, "notebooks")
    wrong, check = notebook.cells[at["0.1.1"]], notebook.cells[at["0.1.1"] + 1]
    wrong.source = "# EXERCISE 0.1.1\ndef symlog(x):\n    return np.log1p(np.abs(x))"
    # What it will print is stored: nbval by itself would be content.
    check.outputs[0].text = "FAIL 0.1.1 symlog: as stored\n"
    notebook.cells[at["0.1.2"]].source = stubs.cells[at["0.1.2"]].source
    notebook.cells[at["0.1.3"]].source = "# EXERCISE 0.1.3\n# NBVAL_SKIP\n1 / 0"
    notebook.cells[at["0.1.5"] + 1].metadata["tags"] = ["nbval-skip", "raises-exception"]
    del notebook.cells[at["0.1.4"] + 1]
    nbformat.write(notebook, folder / "mine.ipynb")
    for name, cells in TRIALS.items():
        nbformat.write(
            new_notebook(cells=list(map(new_code_cell, cells))), folder / f"{name}.ipynb"
        )
    return run(demo, [folder / f"{name}.ipynb" for name in ("mine", *TRIALS)])


@pytest.fixture(scope="module")
def unsolved(demo: Path) -> dict:
    (folder := demo / "my/unsolved").mkdir(parents=True)
    notebook, at = lesson(demo, "notebooks")
    notebook.cells[at["0.1.1"]].source = lesson(demo, "solutions")[0].cells[at["0.1.1"]].source
    nbformat.write(notebook, folder / "one.ipynb")
    return run(demo, [folder / "one.ipynb"], "--unsolved")[0]


def test_checks_bear_the_names_of_their_exercises(lax: tuple):
    names = [name for file, name in lax[0] if file == "mine.ipynb" and "Exercise" in name]
    assert sorted(names) == [f"Exercise 0.1.{n}" for n in range(1, 6)]
    assert ("mine.ipynb", "Cell 0") in lax[0]  # the others keep nbval's


def test_the_solution_says_what_is_expected(lax: tuple):
    why = text(lax[0]["mine.ipynb", "Exercise 0.1.1"])
    assert "It looks as if the sign of negative numbers is lost." in why
    assert "as stored" not in why


def test_todo_is_not_earned(lax: tuple):
    assert "TODO 0.1.2 lambda_return: not solved yet" in text(
        lax[0]["mine.ipynb", "Exercise 0.1.2"]
    )


def test_no_mark_of_a_learner_skips_a_cell(lax: tuple):
    assert "Memory is not defined" in text(lax[0]["mine.ipynb", "Exercise 0.1.3"])
    cells = [r for r in lax[1] if r["cell"] == "0.1.3"]
    assert [r["why"] for r in cells] == ["ZeroDivisionError: division by zero"]
    assert text(lax[0]["mine.ipynb", "Exercise 0.1.5"]) == ""  # tagged, and compared all the same


def test_a_missing_check_is_reported(lax: tuple):
    why = text(lax[0]["mine.ipynb", "Exercise 0.1.4"])
    assert "the notebook has no check cell for Exercise 0.1.4" in why


def test_a_dead_kernel_is_noticed_at_once(lax: tuple):
    case = lax[0]["dead.ipynb", "Cell 0"]
    assert "the kernel died" in text(case)
    assert float(case.get("time")) < 5  # of which a start of the kernel takes the most
    assert "Kernel dead" in text(lax[0]["dead.ipynb", "Cell 1"])


def test_a_flood_is_stopped(lax: tuple):
    assert "it wrote " in text(lax[0]["flood.ipynb", "Cell 0"])


def test_late_output_is_waited_for(lax: tuple):
    assert float(lax[0]["dawdle.ipynb", "Cell 0"].get("time")) > 5
    assert text(lax[0]["dawdle.ipynb", "Cell 0"]) == text(lax[0]["dawdle.ipynb", "Cell 1"]) == ""


def test_an_endless_cell_is_interrupted_or_ended(lax: tuple):
    assert "KeyboardInterrupt" in text(lax[0]["slow.ipynb", "Cell 0"])
    assert text(lax[0]["slow.ipynb", "Cell 1"]) == ""
    rows = {r["why"] for r in lax[1] if r["why"].startswith("a time-out")}
    assert rows == {"a time-out after 8 s"}
    assert "Failed to interrupt kernel" in text(lax[0]["stuck.ipynb", "Cell 0"])
    assert float(lax[0]["stuck.ipynb", "Cell 0"].get("time")) < 20


def test_a_notebook_of_no_lesson_is_nbvals(lax: tuple):
    names = [name for file, name in lax[0] if file == "noted.ipynb"]
    assert names == ["Cell 0", "Cell 1"]
    assert "shown" in text(lax[0]["noted.ipynb", "Cell 1"])


def test_unsolved_demands_todo(unsolved: dict):
    failed = {name: text(case) for (_, name), case in unsolved.items() if text(case)}
    assert list(failed) == ["Exercise 0.1.1"]
    assert "PASS, and not TODO" in failed["Exercise 0.1.1"]
    assert len([name for _, name in unsolved if name.startswith("Exercise")]) == 5
