"""The build: stubs and solutions from pointers, the same each time; and what the lint finds."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.conftest import course
from utils.course.lesson_file import blank, mark
from utils.course.lint import _outputs

TEXT = "solutions/0.1_demo.py"
CHECKS = "utils/checks/demo.py"


def cells(root: Path, folder: str) -> dict[str, nbformat.NotebookNode]:
    return {c.id: c for c in nbformat.read(root / folder / "0.1_demo.ipynb", 4).cells}


def test_stubs_keep_the_contract_and_lose_the_answer(demo: Path) -> None:
    stub = cells(demo, "notebooks")["exercise-0-1-1"].source
    assert stub.startswith(
        "# EXERCISE 0.1.1\n# core; difficulty 1 of 5, about 5 minutes, 1 point; "
    )
    assert "Returns:" in stub
    assert stub.endswith("    raise NotImplementedError  # your code here")
    assert "log1p" not in stub


def test_a_method_stands_alone_and_a_class_keeps_what_is_not_asked(demo: Path) -> None:
    found = cells(demo, "notebooks")
    assert "\ndef step(self, cell: int, move: int) -> int:" in found["exercise-0-1-4"].source
    memory = found["exercise-0-1-3"].source
    assert "self.seen = {}" in memory
    assert memory.count("raise NotImplementedError") == 2


def test_a_find_the_bug_cell_holds_the_bug_and_its_solution_does_not(demo: Path) -> None:
    assert "e / e.sum()" in cells(demo, "notebooks")["exercise-0-1-5"].source
    assert "e / e.sum(axis=-1, keepdims=True)" in cells(demo, "solutions")["exercise-0-1-5"].source


def test_notebooks_open_on_colab_with_a_gpu(demo: Path) -> None:
    notebook = nbformat.read(demo / "notebooks/0.1_demo.ipynb", 4)
    assert notebook.metadata["accelerator"] == "GPU"
    assert notebook.metadata["colab"] == {"gpuType": "T4"}
    assert "/notebooks/0.1_demo.ipynb)" in notebook.cells[0].source
    assert all(
        not c.outputs and c.execution_count is None for c in notebook.cells if "outputs" in c
    )


def test_building_again_gives_the_same_bytes(demo: Path, tmp_path: Path) -> None:
    again = shutil.copytree(demo, tmp_path / "again")
    assert course(again, "build", "0.1").returncode == 0
    for folder in ("notebooks", "solutions"):
        file = f"{folder}/0.1_demo.ipynb"
        assert (again / file).read_bytes() == (demo / file).read_bytes()


def test_ids_do_not_move_when_a_section_is_added_above(demo: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(demo, tmp_path / "changed")
    text = (changed / TEXT).read_text()
    new = "# %% [markdown]\n# ## New\n\n# %%\nprint(1)\n\n# %% [markdown]\n# ## Look ahead"
    (changed / TEXT).write_text(text.replace("# %% [markdown]\n# ## Look ahead", new))
    assert course(changed, "build", "0.1").returncode == 0
    before, after = set(cells(demo, "notebooks")), set(cells(changed, "notebooks"))
    assert after - before == {"new-1", "new-2"}
    assert before - after == set()


def test_nothing_has_drifted(demo: Path) -> None:
    assert course(demo, "build", "--check").stdout == "Nothing has drifted.\n"


@pytest.mark.parametrize(
    ("file", "old", "new", "finding"),
    [
        (TEXT, "Large rewards are squashed.", "Small ones too.", "is not what its sources give"),
        ("utils/demo.py", "return np.sign(x)", "return 1.0 * np.sign(x)", "not what its sources"),
        ("notebooks/0.1_demo.ipynb", "squashed", "squeezed", "is not what its sources give"),
        ("pyproject.toml", '"tqdm>=4.67"', '"tqdm>=4.68"', "requirements.txt is not what"),
    ],
)
def test_drift_is_found(
    demo: Path, tmp_path: Path, file: str, old: str, new: str, finding: str
) -> None:
    changed = shutil.copytree(demo, tmp_path / "changed")
    text = (changed / file).read_text()
    assert old in text
    (changed / file).write_text(text.replace(old, new))
    done = course(changed, "build", "--check")
    assert done.returncode == 1
    assert finding in done.stdout


EDITS = [
    (
        TEXT,
        'symlog = check("0.1.1")',
        "print(1)",
        'after exercise 0.1.1 must be its check("0.1.1")',
    ),
    (TEXT, 'symlog = check("0.1.1")', 'check("0.1.1")', 'must read: symlog = check("0.1.1")'),
    (
        TEXT,
        "# EXERCISE 0.1.2 utils.demo:lambda_return",
        "x = 1",
        "0.1.2 is in utils/checks and not",
    ),
    (TEXT, "answer of exercise 0.1.4", "answer of exercise 0.1.9", "speaks of exercise 0.1.9"),
    (TEXT, "Large rewards", "Figure 3: large rewards", "points to Figure 3"),
    (TEXT, "Large rewards", "See [there](#nowhere). Large rewards", "links to #nowhere"),
    (TEXT, "print(memory.read(3))", "raise ValueError(3)", "writes to stderr or fails: '3'"),
    (TEXT, "import numpy as np\n", "import math as np\n", "uses np, which is another object"),
    (TEXT, "import numpy as np\n", "import numpy\n", "uses np; the lesson must import it"),
    ("utils/demo.py", "return np.sign(x)", "return _sign(x)", "uses the private name _sign"),
    ("utils/demo.py", "return min(max(", "super(); return min(max(", "uses super()"),
    (
        "utils/demo.py",
        "self.seen[state] = reward",
        "self.__x = 1",
        "uses __x, which Python renames",
    ),
]


# One process has loaded what is slow to load; each edited course gets a fork of it, in its folder.
FORKS = """
import os, sys
import jupytext, nbformat, IPython.display

for root in sys.argv[1:]:
    if os.fork():
        os.wait()
        continue
    os.chdir(root)
    sys.path.insert(0, root)
    os.dup2(os.open("said.txt", os.O_CREAT | os.O_WRONLY), 1)
    from utils import demo; demo._sign = demo.np.sign
    from utils.course.exercise import load
    from utils.course.lesson_file import make
    from utils.course.lint import lint
    notebook, stored = make("0.1", solved=True), nbformat.read("solutions/0.1_demo.ipynb", 4)
    for cell, old in zip(notebook.cells, stored.cells):
        if "outputs" in cell:
            cell.outputs, cell.execution_count = old.outputs, 1
        if "raise ValueError(3)" in cell.source:
            cell.outputs = nbformat.from_dict([{"output_type": "error", "evalue": "3"}])
    print(*lint(notebook, load("0.1")), sep="\\n")
    break
"""


@pytest.fixture(scope="module")
def findings(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the lint says of each edited course, and of the demo as it is.

    Without running the lesson again: what can be seen is seen in the built notebook.
    """
    root = tmp_path_factory.mktemp("edited")
    for i, (file, old, new, _) in enumerate([*EDITS, (TEXT, "", "", "")]):
        shutil.copytree(demo, root / str(i))
        text = (root / str(i) / file).read_text()
        assert old in text
        (root / str(i) / file).write_text(text.replace(old, new, 1))
    places = [str(root / str(i)) for i in range(len(EDITS) + 1)]
    command = [sys.executable, "-P", "-c", FORKS, *places]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return [(Path(place) / "said.txt").read_text() for place in places]


@pytest.mark.parametrize("number", range(len(EDITS)), ids=[finding for *_, finding in EDITS])
def test_the_lint_finds(findings: list[str], number: int) -> None:
    assert EDITS[number][-1] in findings[number]


def test_the_lint_finds_nothing_where_nothing_is(findings: list[str]) -> None:
    assert findings[-1].strip() == ""


def test_a_check_must_have_said_one_pass_line(demo: Path) -> None:
    notebook = nbformat.read(demo / "solutions/0.1_demo.ipynb", 4)
    assert list(_outputs(notebook)) == []
    by_id = {c.id: c for c in notebook.cells}
    by_id["check-0-1-1"].outputs[0]["text"] = "FAIL 0.1.1 symlog\n"
    by_id["check-0-1-2"].outputs = []
    by_id["check-0-1-3"].execution_count = None
    findings = "\n".join(_outputs(notebook))
    assert "check 0.1.1 must say exactly one PASS line" in findings
    assert "check 0.1.2 must say exactly one PASS line" in findings
    assert "Cell check-0-1-3 was not run" in findings


def test_blank_takes_comments_above_the_first_statement_too() -> None:
    assert blank("def f(x):\n    # why\n    return x", {"f"}).count("why") == 0


def test_only_the_first_line_marks_an_exercise() -> None:
    assert mark("# EXERCISE 1.1.3\n# core\ndef f(): ...") == "1.1.3"
    assert mark("x = 1\n# EXERCISE 1.1.3") is None


def test_a_wrong_pointer_is_a_sentence(demo: Path, tmp_path: Path) -> None:
    changed = shutil.copytree(demo, tmp_path / "changed")
    text = (changed / TEXT).read_text()
    (changed / TEXT).write_text(text.replace("utils.demo:symlog", "utils.demo:softmax"))
    done = course(changed, "build", "0.1")
    assert done.returncode == 3
    assert "Exercise 0.1.1 points to utils.demo:softmax" in done.stderr
    assert "they must agree" in done.stderr


def test_the_mutants_of_the_demo_are_killed(demo: Path) -> None:
    done = course(demo, "mutants", "0.1")
    assert done.returncode == 0, done.stdout
    assert "| 0.1.2 | lambda_return | 2 | 17 | 17 | 0 |" in done.stdout
    assert json.loads((demo / "assets/proof.json").read_text())["mutants"]["0.1.1"]["killed"] == 3


def mutants_after(old: str, new: str, demo: Path, to: Path) -> str:
    """What `mutants` says, with exit code 1, of the demo with this change in its checks."""
    changed = shutil.copytree(demo, to)
    text = (changed / CHECKS).read_text()
    assert text.count(old) == 1
    (changed / CHECKS).write_text(text.replace(old, new))
    done = course(changed, "mutants", "0.1")
    assert done.returncode == 1
    return done.stdout


def test_a_check_with_a_hole_is_told(demo: Path, tmp_path: Path) -> None:
    """A probe that looks at ones only cannot tell mutants from the reference."""
    said = mutants_after("symlog(x),", "symlog(np.ones(3)),", demo, tmp_path / "changed")
    assert "0.1.1 survives, and is not explained: " in said


def test_a_check_that_depends_on_luck_is_told(demo: Path, tmp_path: Path) -> None:
    """A probe of one number sees a lost sign on about half of all seeds."""
    said = mutants_after("symlog(x),", "symlog(x[-1, -1:]),", demo, tmp_path / "changed")
    assert re.search(r"0\.1\.1 passes, '.*sign.*', on seeds \[10", said), said
