"""What must hold for every lesson: sources and notebooks agree, and the checks are proven."""

import argparse
import copy
import json
import subprocess
import sys
from types import FunctionType

import numpy as np
import pytest
import torch

from utils.course import commands
from utils.course.build import _lesson, all_lessons, execute
from utils.course.check import alike, attempt, judge, wrapped
from utils.course.exercise import ROOT, Exercise, get, load
from utils.course.lesson_file import CHECK, make, text_of
from utils.course.mutants import prove

torch.set_num_threads(1)  # the probes' tensors are small: a second thread costs more than it does
SEEDS = (0, 1)
MUTANTS = 8  # a fixed sample; `python -m utils mutants` runs all
lessons = [pytest.param(id, marks=pytest.mark.lesson(id)) for id in all_lessons()]
exercises = [
    pytest.param(e, marks=pytest.mark.lesson(id), id=e.id) for id in all_lessons() for e in load(id)
]


@pytest.mark.parametrize("lesson", lessons)
def test_notebooks_are_what_their_sources_give(lesson: str) -> None:
    assert _lesson(lesson, check=True) == []


@pytest.mark.parametrize("lesson", lessons)
def test_unsolved_every_line_runs_and_every_exercise_says_todo(lesson: str) -> None:
    notebook = ROOT / f"notebooks/{text_of(lesson).stem}.ipynb"
    pytest_ = [sys.executable, "-m", "pytest", "-q", "--nbval-lax", "--unsolved", str(notebook)]
    done = subprocess.run(pytest_, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("lesson", lessons)
def test_solved_every_exercise_passes_and_is_used(lesson: str) -> None:
    """The reach gate: what a check returned is called outside the check."""
    notebook = make(lesson, solved=True)
    last = copy.deepcopy(notebook.cells[-1])
    last.update(cell_type="code", outputs=[], execution_count=None, id="reached")
    last.source = "import json\nfrom utils.course import check as c\nprint(json.dumps(c.reached))"
    notebook.cells.append(last)
    execute(notebook, "smoke", WM_REACH="1")
    for cell in notebook.cells:
        errors = [o for o in cell.get("outputs", []) if o.output_type == "error"]
        assert not errors, f"{cell.id}: {errors[0].ename}: {errors[0].evalue}"
        if cell.cell_type == "code" and (found := CHECK.search(cell.source)):
            assert cell.outputs[0]["text"] == f"PASS {found[1]} {get(found[1]).name}\n"
    reached = json.loads(notebook.cells[-1].outputs[0]["text"])
    assert [e.id for e in load(lesson) if not reached.get(e.id)] == []


@pytest.mark.parametrize("lesson", lessons)
def test_from_a_terminal_every_right_answer_passes(lesson: str, capsys) -> None:
    """Though an answer may call what other exercises define."""
    notebook = str(ROOT / f"solutions/{text_of(lesson).stem}.ipynb")
    for exercise in load(lesson):
        code = commands.check(argparse.Namespace(exercise=exercise.id, file=notebook))
        assert code == 0, capsys.readouterr().out


@pytest.mark.parametrize("exercise", exercises)
def test_exercise_is_furnished(exercise: Exercise) -> None:
    assert len(exercise.mistakes) >= 2
    assert len(exercise.alternatives) >= 1
    assert len(exercise.hints) >= 2
    assert 1 <= exercise.difficulty <= 5
    assert exercise.points >= 1
    assert exercise.minutes >= 1


@pytest.mark.parametrize("exercise", exercises)
@pytest.mark.parametrize("seed", SEEDS)
def test_right_answers_pass(exercise: Exercise, seed: int) -> None:
    assert judge(exercise, exercise.reference, seed)[0] == "PASS"
    for answer in exercise.alternatives:
        status, why, _ = judge(exercise, answer, seed)
        assert status == "PASS", why


@pytest.mark.parametrize("exercise", exercises)
def test_the_answer_depends_on_the_seed(exercise: Exercise) -> None:
    """So that numbers learnt by heart do not pass."""
    a, b = (attempt(exercise, exercise.reference, seed) for seed in (0, 1))
    assert any(a[k].shape != b[k].shape or not np.array_equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("exercise", exercises)
def test_named_mistakes_fail_with_their_sentence(exercise: Exercise) -> None:
    right = [attempt(exercise, exercise.reference, seed) for seed in SEEDS]
    for mistake in exercise.mistakes:
        wrong = exercise.compiled(exercise.patched(mistake))
        for seed in SEEDS:
            assert not alike(exercise, attempt(exercise, wrong, seed), right[seed]), mistake.says
        status, why, _ = judge(exercise, wrong, seed=0)
        if mistake is exercise.bugged:
            assert status == "TODO"
        else:
            assert (status, mistake.says in why) == ("FAIL", True), (mistake.says, why)


@pytest.mark.parametrize("exercise", exercises)
@pytest.mark.parametrize("kind", ["stub", "zeros", "ones", "identity", "nothing"])
def test_no_answer_fails(exercise: Exercise, kind: str) -> None:
    """Not written is TODO; a constant, the argument itself or None is never right."""
    status = judge(exercise, degenerate(exercise, kind), seed=0)[0]
    assert status == ("TODO" if kind == "stub" else "FAIL")


def degenerate(exercise: Exercise, kind: str) -> object:
    """The reference's shapes without its sense."""

    def around(function: FunctionType) -> FunctionType:
        if exercise.blank and function.__name__ not in exercise.blank:
            return function

        def call(*args: object, **kwargs: object) -> object:
            if kind == "stub":
                raise NotImplementedError
            if kind in ("zeros", "ones"):
                value = float(kind == "ones")
                return fill(function(*copy.deepcopy(args), **copy.deepcopy(kwargs)), value)
            own = bool(exercise.owner or exercise.blank)
            return args[own] if kind == "identity" and len(args) > own else None

        call.__name__ = function.__name__
        return call

    return wrapped(exercise.reference, around)


def fill(value: object, number: float) -> object:
    """Tensors and numbers in a value, all made one number."""
    if isinstance(value, tuple | list):
        return type(value)(fill(v, number) for v in value)
    if isinstance(value, torch.Tensor):
        return torch.full_like(value, number)
    if isinstance(value, np.ndarray):
        return np.full_like(value, number)
    return value if value is None else type(value)(number)


@pytest.mark.parametrize("exercise", exercises)
def test_a_sample_of_mutants_is_killed(exercise: Exercise) -> None:
    report = prove(exercise, sample=MUTANTS)
    assert (report.survivors, report.stale) == ((), ())
