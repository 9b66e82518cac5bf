"""Verdicts must not depend on luck: a probe draws its input, and a grade draws the seed."""

from collections.abc import Iterable, Iterator

from utils.course.check import alike, attempt
from utils.course.exercise import CourseError, Exercise

SEEDS = range(1000, 1024)


def by_chance(exercise: Exercise, seeds: Iterable[int] = SEEDS) -> Iterator[str]:
    """Named mistakes that pass on some seeds, and right answers that fail on some."""
    right = [(answer.__name__, answer, True) for answer in exercise.alternatives]
    wrong = [(m.says, exercise.compiled(exercise.patched(m)), False) for m in exercise.mistakes]
    odd: dict[str, list[int]] = {}
    for seed in seeds:
        want = attempt(exercise, exercise.reference, seed)
        if isinstance(want, BaseException):
            raise CourseError(f"The probe of {exercise.id} fails on seed {seed}: {want!r}")
        for name, answer, passes in [*right, *wrong]:
            if alike(exercise, attempt(exercise, answer, seed), want) != passes:
                odd.setdefault(f"{'fails' if passes else 'passes'}, {name!r}", []).append(seed)
    for what, some in odd.items():
        yield f"{exercise.id} {what}, on seeds {some}"
