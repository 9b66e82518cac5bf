"""Evidence and memos: what is read, what is said of what is wrong, and that nothing is lost."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from utils.evaluate import memo as module
from utils.evaluate.memo import (
    MORE,
    REQUIRED,
    Cited,
    Measured,
    gather,
    paired_difference,
    read_record,
    read_records,
    review,
    sentences,
)
from utils.evaluate.memo_example import memo
from utils.evaluate.statistics import bootstrap_interval

OWN = {"seeds": [0], "claims": [{"name": "a", "values": [1.5]}, {"name": "curve"}]}
STORED = {
    "seeds": 2,
    "claims": [{"name": "a", "values": [1, 2]}, {"name": "b", "values": [True, False]}],
}


@pytest.fixture
def evidence() -> dict[str, Measured]:
    names = REQUIRED + MORE
    return {name: Measured(2.0 + i, f"unit {i}", "here", 0.1 + i) for i, name in enumerate(names)}


def test_records_of_both_kinds_are_read(tmp_path: Path) -> None:
    for name, held in (("own", OWN), ("stored", STORED)):
        (tmp_path / f"{name}.json").write_text(json.dumps(held))
    assert read_record(tmp_path / "own.json") == {"a": {0: 1.5}}
    assert read_record(tmp_path / "stored.json") == {"a": {0: 1, 1: 2}, "b": {0: 1, 1: 0}}
    assert read_record(tmp_path / "none.json") == {}


@pytest.mark.parametrize(
    "text",
    ["", '{"seeds": [0], "claims": [{"na', "[]", "{}", '{"seeds": "x", "claims": 3}', "null"],
)
def test_a_broken_file_costs_a_sentence_and_nothing_else(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture
) -> None:
    broken, whole = tmp_path / "broken.json", tmp_path / "whole.json"
    broken.write_text(text)
    whole.write_text(json.dumps(OWN))
    with pytest.raises(ValueError, match="is not a whole record of claims"):
        read_record(broken)
    records = read_records([broken, whole])
    assert gather("a", records) == ({0: 1.5}, str(whole))
    said = capsys.readouterr().out
    assert said.startswith(f"NOTE {broken} is not a whole record")
    assert "left as it is" in said
    assert broken.read_text() == text


def test_the_interval_is_the_course_s_own() -> None:
    rng = np.random.default_rng(0)
    a = {seed: float(v) for seed, v in enumerate(rng.normal(3, 1, 8))}
    b = {seed: float(v) for seed, v in enumerate(rng.normal(0, 1, 8))}
    mean, low, high = paired_difference(a, b, rng.random((20_000, 8)))
    known = bootstrap_interval([a[s] - b[s] for s in a])
    assert mean == pytest.approx(known.point)
    assert (low, high) == pytest.approx((known.low, known.high), abs=0.02)


def test_the_example_is_a_good_memo(evidence: dict[str, Measured]) -> None:
    numbers, text = memo(evidence)
    found = review(numbers, text, evidence)
    assert found[:5] == ({}, [], [], [], [])
    assert 150 < found.words <= module.ONE_PAGE
    (line,) = sentences(found, numbers, evidence)
    assert line.startswith(f"All {len(numbers)} numbers are the ones measured")
    page = module.page(numbers, text)
    assert "{" not in page
    assert "?" not in page.replace("Dreamer or MuZero?", "")


def test_every_mistake_has_its_sentence(evidence: dict[str, Measured]) -> None:
    numbers, text = memo(evidence)
    one, other = "distractors: MuZero", "distractors: DreamerV3"
    said = {}
    for kind, cited in {
        "unit": Cited(evidence[one].value * 1000, evidence[one].unit),
        "another unit": Cited(evidence[one].value, "s"),
        "swapped": Cited(evidence[other].value, evidence[one].unit),
        "stale": Cited(evidence[one].elsewhere, evidence[one].unit),
        "wrong": Cited(77.0, evidence[one].unit),
    }.items():
        changed = numbers | {one: cited}
        (said[kind],) = sentences(review(changed, text, evidence), changed, evidence)
        assert said[kind].startswith(f"{one}: ")
        assert f"that is {evidence[one].value:.3g} {evidence[one].unit} (here)" in said[kind]
    assert "another unit" in said["unit"]
    assert "another unit" in said["another unit"]
    assert "number of another arm" in said["swapped"]
    assert "the other source" in said["stale"]
    assert "not what was measured" in said["wrong"]


def test_what_is_missing_unknown_unused_or_naked_is_named(evidence: dict[str, Measured]) -> None:
    numbers, text = memo(evidence)
    del numbers["chance: with chance nodes"]
    numbers["walks the dog: MuZero"] = Cited(1.0, "dogs")
    text += " It is 42 times better than DreamerV3 of lesson 2.4."
    lines = sentences(review(numbers, text, evidence), numbers, evidence)
    assert lines == [
        "walks the dog: MuZero: 1 dogs is cited, and nobody measured it.",
        "chance: with chance nodes is missing: a memo has to cite it.",
        "The text cites {chance: with chance nodes}, and its numbers lack it.",
        "walks the dog: MuZero is among its numbers, and the text does not cite it.",
        "The text says 42 and cites nothing for it.",
    ]
    long = review({}, "word " * 500, evidence)
    assert sentences(long, {}, evidence)[-1] == "It has 500 words; a page holds 450."


@pytest.mark.parametrize("numbers", [None, [], {"a": 1.0}, {"a": Cited(1.0, "s")._asdict()}])
def test_what_is_no_memo_is_refused_in_a_sentence(numbers, evidence: dict[str, Measured]) -> None:
    with pytest.raises(ValueError, match=r"A memo is a dict|must be Cited"):
        review(numbers, "text", evidence)


def test_a_name_may_run_over_a_line(evidence: dict[str, Measured]) -> None:
    numbers = {"chance: with chance nodes": Cited(1.0, "return")}
    text = "worth {chance: with\nchance nodes}, {nothing}"
    assert review(numbers, text, evidence).unused == []
    assert module.page(numbers, text) == "worth 1 return, **?nothing?**"


def test_the_table_says_where_each_number_is_from() -> None:
    held = {"a": Measured(16000.0, "steps", "runs/x"), "b": Measured(0.5, "R²", "y", 0.4, 0.3, 0.6)}
    assert module.table(held).splitlines()[2:] == [
        "| a | 16,000 steps | - | runs/x |",
        "| b | 0.5 R² | 0.3 to 0.6 | y |",
    ]
    assert math.isnan(held["a"].low)
