"""`begin` and `claim`: what a lesson runs on, and how numbers are judged."""

import json
from pathlib import Path

import numpy as np
import pytest

from utils.course import lesson as module
from utils.course.exercise import CourseError
from utils.course.lesson import begin, claim, judge


@pytest.fixture(autouse=True)
def _nothing_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "_stored", lambda id: {})
    monkeypatch.setenv("WM_RUNS", str(tmp_path))
    for name in ("WM_PROFILE", "WM_RUN_SEED", "WM_CLAIMS"):
        monkeypatch.delenv(name, raising=False)


def test_begin_says_what_it_decided(capsys: pytest.CaptureFixture) -> None:
    lesson = begin("1.1", seeds=300, batch=30)
    assert capsys.readouterr().out == (
        f"Lesson 1.1: profile quick, device {lesson.device.type}, seeds 0 to 29 at once.\n"
    )
    assert len(lesson.seeds) == 30


def test_the_evidence_has_all_seeds_and_smoke_has_few(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(begin("1.1", "evidence", seeds=300, batch=30).seeds) == 300
    assert len(begin("1.1", "smoke", seeds=300, batch=30).seeds) == 3
    monkeypatch.setenv("WM_RUN_SEED", "4")
    assert begin("1.1", "evidence", seeds=5).seeds == (4,)


def test_the_parameter_beats_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WM_PROFILE", "full")
    assert begin("1.1").profile == "full"
    assert begin("1.1", "smoke").profile == "smoke"


@pytest.mark.parametrize("profile", ["fast", "Quick", "1"])
def test_an_unknown_profile_is_refused(profile: str) -> None:
    with pytest.raises(CourseError, match=f'no profile "{profile}"; use smoke'):
        begin("1.1", profile)


def test_an_unknown_lesson_is_refused() -> None:
    with pytest.raises(CourseError, match=r"There is no lesson 9\.9"):
        begin("9.9")


def test_pick_falls_back_on_quick() -> None:
    lesson = begin("1.1", "full")
    assert lesson.pick(smoke=1, quick=2) == 2
    assert lesson.pick(quick=2, full=3) == 3
    with pytest.raises(CourseError, match="not huge"):
        lesson.pick(quick=1, huge=2)
    with pytest.raises(CourseError, match="at least quick"):
        lesson.pick(smoke=1)


def test_checkpoints_go_where_begin_was_told(tmp_path) -> None:
    run = begin("1.1", folder=tmp_path).resume("agent", {"lr": 0.1})
    run.save({"step": 3})
    assert (tmp_path / "agent.safetensors").exists()
    assert begin("1.1", folder=tmp_path).resume("agent", {"lr": 0.1}).load() == {"step": 3}


@pytest.mark.parametrize(
    ("values", "op", "bound", "holds"),
    [
        ([1.0, 1.1, 0.9, 1.0], "<=", 1.2, True),
        ([1.0, 1.1, 0.9, 1.0], "<=", 1.0, False),  # the mean is, its interval is not
        ([1.0, 1.1, 0.9, 1.0], ">=", 0.8, True),
        ([1.0, 1.1, 0.9, 1.0], ">=", 1.0, False),
        ([True, True, True, False], ">=", 0.75, True),
        ([True, True, True, False], ">=", 0.8, False),
    ],
)
def test_a_claim_holds_if_its_interval_does(
    values: list, op: str, bound: float, holds: bool
) -> None:
    assert judge("x", np.array(values), op, bound)["holds"] is holds


def test_a_ratio_is_paired_by_seed() -> None:
    """Each seed is half of its twin, however much the seeds differ."""
    base = np.array([1.0, 10.0, 100.0, 1000.0])
    made = judge("x", base / 2, "<=", 0.5001, base)
    assert (made["kind"], made["holds"]) == ("ratio", True)
    assert made["low"] == pytest.approx(0.5)


def test_a_statistic_is_read_off_the_mean_curve() -> None:
    curves = np.array([[30.0, 20.0, 10.0]] * 4)
    made = judge("x", curves, "<=", 3, statistic=lambda c: float(np.argmax(c <= 18) + 1))
    assert (made["estimate"], made["kind"], made["holds"]) == (3.0, "curve", True)
    assert "values" not in made


def test_claim_stands_beside_the_evidence(monkeypatch, capsys) -> None:
    stored = judge("steps", np.array([9.0, 10.0, 11.0]), "<=", 12) | {"unit": "steps"}
    monkeypatch.setattr(module, "_stored", lambda id: {"claims": [stored]})
    begin("1.1", "quick", seeds=3, batch=3)
    capsys.readouterr()
    claim("steps", [10.0, 10.5, 9.5], "<=", 12, unit="steps")
    said = capsys.readouterr().out
    assert said.startswith(
        "CLAIM steps\n      claimed <= 12 steps; 10 here; evidence 10 [9.33, 10.7] over 3"
    )
    assert said.endswith("seeds: holds\n")
    claim("steps", [90.0, 95.0, 99.0], "<=", 12, unit="steps")
    assert "far outside the evidence: look at your answers" in capsys.readouterr().out


def test_claims_are_written_for_the_evidence(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("WM_CLAIMS", str(tmp_path / "claims"))
    begin("1.1", "evidence", seeds=3, batch=1)
    claim("a", [1.0, 2.0, 3.0], "<=", 5)
    claim("b", [True, True, False], ">=", 0.5)
    made = json.loads((tmp_path / "claims").read_text())
    assert [c["name"] for c in made["claims"]] == ["a", "b"]
    assert (made["seeds"], made["together"]) == (3, True)


def test_nothing_is_judged_in_smoke(capsys) -> None:
    begin("1.1", "smoke", seeds=3, batch=3)
    claim("a", [np.inf] * 3, "<=", 5)
    assert "CLAIM a: not judged in smoke" in capsys.readouterr().out


def test_wrong_claims_are_refused(monkeypatch) -> None:
    begin("1.1", "quick", seeds=3, batch=3)
    with pytest.raises(CourseError, match="one row per seed: 3 rows"):
        claim("a", [1.0, 2.0], "<=", 5)
    with pytest.raises(CourseError, match="compares with"):
        claim("a", [1.0, 2.0, 3.0], "<", 5)
    begin("1.1", "quick", seeds=3)
    with pytest.raises(CourseError, match="needs all seeds in one run"):
        claim("a", [[1.0, 2.0]], "<=", 5, statistic=np.max)
    monkeypatch.setattr(module, "_current", None)
    with pytest.raises(CourseError, match="run lesson = begin"):
        claim("a", [1.0], "<=", 5)


def test_claims_stay_beside_the_run(tmp_path: Path) -> None:
    begin("1.1", "quick")
    claim("first", [2.5], ">=", 1)
    claim("second", [True], ">=", 0.8)
    held = json.loads((tmp_path / "claims.json").read_text())
    assert (held["seeds"], held["profile"]) == ([0], "quick")
    assert {c["name"]: c["values"] for c in held["claims"]} == {"first": [2.5], "second": [True]}


def test_a_claim_survives_a_folder_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    lesson = begin("1.1", "quick")
    (lesson.folder / "claims.json").mkdir()
    claim("first", [2.5], ">=", 1)
    assert "CLAIM first" in capsys.readouterr().out


def test_records_are_ones_own_before_the_evidence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (only,) = begin("1.1", "quick").records("3.1")  # a build has no runs of its own
    assert only.parts[-3:] == ("assets", "evidence", "3.1.json")
    monkeypatch.delenv("WM_RUNS")
    full, quick, stored = begin("1.1", "quick").records("3.1")
    assert full.parts[-4:] == ("runs", "3.1", "full", "claims.json")
    assert quick.parts[-4:] == ("runs", "3.1", "quick", "claims.json")
    assert stored == only
