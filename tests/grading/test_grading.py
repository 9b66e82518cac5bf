"""Honest accidents and hostile submissions, each with the grade that is fair.

A few run always, all with --grading. An accident's file says what happened and how to do it to a
learner's notebook; a hostile one holds the answers that are handed in, or the whole file.
"""

import json
import re
from pathlib import Path
from types import ModuleType

import pytest
from conftest import HERE, Outside, load
from damage import DONE, put

CASES = sorted([*(HERE / "accidents").glob("*.py"), *(HERE / "hostile").glob("*.py")])


def hand_in(case: ModuleType, course: Path, folder: Path, outside: Outside) -> Path:
    """The file that a case hands in."""
    kind = "notebooks" if getattr(case, "unsolved", False) else "solutions"
    notebook = json.loads((course / kind / "0.1_demo.ipynb").read_text())
    if hasattr(case, "answers"):
        for id, answer in case.answers.items():
            put(notebook, id, outside.named(answer))
        made = notebook
    elif hasattr(case, "file"):
        made = case.file if isinstance(case.file, str) else outside.named(case.file(notebook))
    else:
        made = case.make(notebook)
    made = json.dumps(made) if isinstance(made, dict) else made
    path = folder / case.__name__ / getattr(case, "name", "0.1_demo.ipynb")
    path.parent.mkdir()
    path.write_bytes(made.encode() if isinstance(made, str) else made)
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.parent.name}-{case.stem}")
def test_fair(case: Path, grades: dict, outside: Outside):
    module = load(case)
    graded = grades[case].result(timeout=300)
    row, shown = graded["row"], graded["shown"]
    if hasattr(module, "unreadable"):
        assert row["score"] == 0
        assert module.unreadable in row["why"]
        return
    assert "why" not in row, row["why"]
    got = {e["id"]: e["status"] for e in row["exercises"]}
    whys = {e["id"]: e["why"] for e in row["exercises"]}
    target = next(iter(getattr(module, "answers", {"0.1.1": ""})))
    expected, why = module.expected, getattr(module, "why", {})
    if isinstance(expected, str):  # of a hostile answer; all others are right
        expected, why = DONE | {target: expected}, {target: why} if why else {}
    for id, status in expected.items():
        assert re.fullmatch(status, got[id]), (id, got[id], whys[id])
        assert (whys[id] == "") == (got[id] == "PASS")
    for id, part in why.items():
        assert re.search(re.escape(part).replace(r"\|", "|"), whys[id]), whys[id]
    assert getattr(module, "why_not", "\0") not in whys[target], whys[target]
    assert not re.search(r"^\s*::|##\[|[\x00-\x09\x0b-\x1f\x7f]", "\n".join(shown.values()), re.M)
    assert "<script" not in shown["summary"] + shown["junit"]
    assert not outside.touched()


def test_nothing_is_left(grades: dict, outside: Outside):
    for done in grades.values():
        done.result(timeout=300)
    assert not outside.touched()
    assert not outside.processes()
