"""A whole lesson through papermill, and evidence over seeds: what is finished is not run again."""

import ast
import json
import subprocess
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests.conftest import course
from utils.course import run
from utils.course.exercise import CourseError

WORDS = 'def f(x):\n    """What it does."""\n    return x + 1  # why'


def test_a_run_is_kept_and_its_parameters_are_the_profile(demo: Path) -> None:
    done = course(demo, "run", "0.1", "--profile", "smoke")
    assert (done.returncode, done.stdout) == (0, "runs/0.1/smoke/0.1_demo.ipynb\n"), done.stderr
    file = demo / "runs/0.1/smoke/0.1_demo.ipynb"
    cells = {tag: c for c in nbformat.read(file, 4).cells for tag in c.metadata.get("tags", [])}
    assert 'PROFILE = "smoke"' in cells["injected-parameters"].source
    assert [p.name for p in file.parent.iterdir()] == [file.name]
    file.write_text("finished")
    assert "is there already" in course(demo, "run", "0.1", "--profile", "smoke").stdout
    assert file.read_text() == "finished"


@pytest.fixture
def lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict:
    """A lesson of three seeds that needs no kernel: what its cells are, and which seeds ran."""
    state = {"text": "# Words", "code": WORDS, "ran": [], "values": [[1.0], [2.0], [9.0]]}

    def make(id: str, solved: bool) -> nbformat.NotebookNode:
        setup = new_code_cell("import this", id="setup")
        cells = [new_markdown_cell(state["text"]), setup, new_code_cell(state["code"])]
        return new_notebook(cells=cells)

    def run_all(id: str, profile: str, **env: str) -> dict:
        spent = {"seconds": 1.0, "cpu_seconds": 2.0, "hardware": "abacus", "commit": "c0"}
        if profile == "evidence":
            seed = int(env["WM_RUN_SEED"])
            state["ran"].append(seed)
            if seed == state.get("killed_at"):
                raise KeyboardInterrupt
            claims = [
                run.judge(name, np.array(state["values"][seed]), "<=", 5.0) | {"unit": "m"}
                for name in state.get("claims", {}).get(seed, ["small"])
            ]
            about = {"seeds": 3, "together": False, "device": "cpu", "claims": claims}
            Path(env["WM_CLAIMS"]).write_text(json.dumps(about))
        return spent

    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "make", make)
    monkeypatch.setattr(run, "run_all", run_all)
    return state


def test_evidence_merges_its_seeds_and_judges_them_together(lesson: dict) -> None:
    made = run.evidence("0.1")
    assert lesson["ran"] == [0, 1, 2]
    (claim,) = made["claims"]
    assert (claim["values"], claim["seeds"], claim["estimate"]) == ([1.0, 2.0, 9.0], 3, 4.0)
    assert not claim["holds"]  # the mean is below the bound, and its interval is not
    assert (made["seconds"], made["cpu_seconds"], made["device"]) == (3.0, 6.0, "abacus")
    assert made["run_all"].keys() == {"smoke", "quick"}
    assert run.stored_evidence("0.1") == made


def test_a_claim_is_of_the_runs_that_made_it(lesson: dict) -> None:
    lesson["claims"] = {0: ["all", "odd"], 1: ["all"], 2: ["odd", "all"]}
    made = {claim["name"]: claim for claim in run.evidence("0.1")["claims"]}
    assert (made["all"]["values"], made["all"]["seeds"]) == ([1.0, 2.0, 9.0], 3)
    assert (made["odd"]["values"], made["odd"]["seeds"]) == ([1.0, 9.0], 2)


def test_killed_evidence_goes_on_with_the_seed_in_flight(lesson: dict) -> None:
    lesson["killed_at"] = 1
    with pytest.raises(KeyboardInterrupt):
        run.evidence("0.1")
    del lesson["killed_at"]
    run.evidence("0.1")
    assert lesson["ran"] == [0, 1, 1, 2]


def test_other_words_are_the_same_text_and_other_code_is_not(lesson: dict) -> None:
    made = run.evidence("0.1")
    lesson["text"], lesson["code"] = (
        "# Other words",
        WORDS.replace("What", "All").replace("why", ""),
    )
    assert run.stored_evidence("0.1") == made
    lesson["code"] = WORDS.replace("+ 1", "+ 2")
    with pytest.raises(CourseError, match=r"is of another text of it; run: python -m utils ev"):
        run.stored_evidence("0.1")
    run.evidence("0.1")
    assert lesson["ran"] == [0, 1, 2, 0, 1, 2]


def test_no_evidence_is_a_sentence(lesson: dict) -> None:
    with pytest.raises(CourseError, match=r"has no evidence; run: python -m utils evidence 0\.1"):
        run.stored_evidence("0.1")


def test_seeds_side_by_side_make_the_same_evidence(lesson: dict, monkeypatch) -> None:
    def process(command: list[str], **_) -> subprocess.CompletedProcess:
        assert command[1:-1] == ["-m", "utils", "evidence", "0.1", "--seed"]
        if int(command[-1]) == lesson.get("broken"):
            return subprocess.CompletedProcess(command, 3, "", "Lesson 0.1 fails at cell 7")
        run.evidence_of_seed("0.1", int(command[-1]))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(run.subprocess, "run", process)
    lesson["broken"] = 2
    with pytest.raises(CourseError, match=r"Seed 2 of lesson 0\.1: Lesson 0\.1 fails at cell 7"):
        run.evidence("0.1", jobs=2)
    del lesson["broken"]
    made = run.evidence("0.1", jobs=2)
    assert sorted(lesson["ran"]) == [0, 1, 2]  # seed 1 was finished and is not run again
    assert [c["values"] for c in made["claims"]] == [[1.0, 2.0, 9.0]]


def test_the_text_is_the_same_on_every_python() -> None:
    def fields(code: str) -> str:
        return repr(run._plain(ast.parse(code)))

    plain = fields("def f(x):\n    return None, ..., 1.0\n")
    assert "type_params" not in plain  # empty, and Python 3.11 does not have it
    assert plain == fields("def f(x): return (None, ..., 1.0)")
    assert plain != fields("def f(x): return (None, ..., 1)")
