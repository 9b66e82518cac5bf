"""What an exercise is, and where its reference, its mistakes and its proofs are found.

A file in `utils/checks` registers the exercises of one lesson:

    LESSON = "2.4"

    @exercise("2.4.1", symlog, points=1, difficulty=1, minutes=5, hints=("...", "..."),
              mistakes=(Mistake("the sign is lost for negative inputs", "torch.sign(x) * ", ""),))
    def _(symlog, rng):
        return {"symlog(x)": symlog(torch.as_tensor(rng.normal(size=5)))}
"""

import functools
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
LESSON = re.compile(r"""^LESSON = ["']([\d.]+)["']""", re.M)
EVIDENCE = "application/x-world-models-evidence+json"  # how a check sends its numbers to a grader
EXERCISES: dict[str, "Exercise"] = {}


class CourseError(Exception):
    """Something the user can mend; the message is one clear sentence."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]  # in a notebook: the sentence, without a page of frames


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners give, as a patch on the one definition.

    `says` completes the sentence "It looks as if ...". `old` stands exactly once in the source.
    A find-the-bug cell names the mistake by `id`.
    """

    says: str
    old: str
    new: str
    id: str = ""


@dataclass(frozen=True)
class Exercise:
    """One exercise; see `exercise` for the fields."""

    id: str
    reference: object
    probe: Callable[[object, np.random.Generator], dict]
    points: int
    difficulty: int
    minutes: int
    hints: tuple[str, ...]
    mistakes: tuple[Mistake, ...]
    alternatives: tuple[object, ...]
    equivalents: dict[str, str]
    core: bool
    blank: tuple[str, ...]
    bug: str
    gradients: bool
    rtol: float
    atol: float
    seconds: float

    @property
    def name(self) -> str:
        """What the learner defines: the last part of the pointer."""
        return self.reference.__name__

    @property
    def pointer(self) -> str:
        """`module:name`, as it stands in the lesson."""
        return f"{self.reference.__module__}:{self.reference.__qualname__}"

    @property
    def owner(self) -> type | None:
        """The class that a method belongs to; None for functions and classes."""
        path = self.reference.__qualname__.split(".")
        return getattr(sys.modules[self.reference.__module__], path[0]) if len(path) == 2 else None

    @functools.cached_property
    def source(self) -> str:
        """The one definition; a method stands alone, as a function of `self`."""
        return textwrap.dedent(inspect.getsource(self.reference)).rstrip()

    @property
    def lesson(self) -> str:
        return self.id.rpartition(".")[0]

    @property
    def bugged(self) -> Mistake | None:
        """The mistake that a find-the-bug cell starts from."""
        return next((m for m in self.mistakes if self.bug and m.id == self.bug), None)

    def patched(self, mistake: Mistake) -> str:
        """The source with the mistake in it."""
        if (n := self.source.count(mistake.old)) != 1:
            raise CourseError(
                f"{self.id}: a mistake's old text must stand once in {self.pointer}, and "
                f"{mistake.old!r} stands {n} times; make it longer or mend it."
            )
        return self.source.replace(mistake.old, mistake.new)

    def compiled(self, source: str) -> object:
        """What a changed source defines, with the names of the reference's own module."""
        module = sys.modules[self.reference.__module__]
        namespace = dict(vars(module))
        exec(compile(source, f"<{self.id}>", "exec"), namespace)
        return namespace[self.name]


def exercise(
    id: str,
    reference: object,
    *,
    points: int,
    difficulty: int,
    minutes: int,
    hints: tuple[str, ...],
    mistakes: tuple[Mistake, ...],
    alternatives: tuple[object, ...],
    equivalents: dict[str, str] | None = None,
    core: bool = True,
    blank: tuple[str, ...] = (),
    bug: str = "",
    gradients: bool = False,
    rtol: float = 1e-4,
    atol: float = 1e-6,
    seconds: float = 10.0,
) -> Callable:
    """Registers the decorated probe as the check of one exercise.

    Args:
        id: stage.section.number, as in the lesson's line `# EXERCISE 2.4.3`.
        reference: the function, method or short class of `utils` that the lesson points to.
        points: what it counts in a grade. difficulty: 1 to 5. minutes: for a learner.
        hints: two or more, from a nudge to nearly the answer.
        mistakes: wrong answers by name, as patches on the reference's source.
        alternatives: right answers written differently; each must pass.
        equivalents: mutants that compute the same, each with the reason why.
        core: False for exercises beyond the core of the week.
        blank: of a class, the methods the learner writes.
        bug: the `id` of the mistake that a find-the-bug cell starts from.
        gradients: the probe follows gradients, so that mutants add `detach` too.
        rtol, atol: how near the learner's numbers must be. seconds: a probe's limit.
    The probe takes (implementation, numpy Generator) and returns named arrays; for a method the
    implementation it gets is a subclass of the method's class with that method in it.
    """

    code = getattr(reference, "__code__", None)
    if code is not None and not Path(code.co_filename).resolve().is_relative_to(ROOT / "utils"):
        raise CourseError(f"{reference.__qualname__} was replaced in this kernel; restart it.")

    several = {"hints": hints, "mistakes": mistakes, "alternatives": alternatives, "blank": blank}
    for name, value in several.items():
        if not isinstance(value, tuple | list):
            raise CourseError(f"{id}: {name} must be a tuple; with one entry write (entry,).")
    if bug and bug not in {m.id for m in mistakes}:
        raise CourseError(f"{id}: no mistake has the id {bug!r}; Mistake(says, old, new, {bug!r}).")
    if id in EXERCISES and EXERCISES[id].reference is not reference:
        raise CourseError(f"{id} is registered twice; each exercise has a number of its own.")

    def register(probe: Callable) -> Callable:
        EXERCISES[id] = Exercise(
            id,
            reference,
            probe,
            points,
            difficulty,
            minutes,
            tuple(hints),
            tuple(mistakes),
            tuple(alternatives),
            dict(equivalents or {}),
            core,
            tuple(blank),
            bug,
            gradients,
            rtol,
            atol,
            seconds,
        )
        return probe

    return register


@functools.cache
def checks_file(lesson: str) -> Path:
    """The file in `utils/checks` of one lesson."""
    for path in sorted((ROOT / "utils/checks").glob("*.py")):
        if (found := LESSON.search(path.read_text())) and found[1] == lesson:
            return path
    raise CourseError(
        f"There is no lesson {lesson} in utils/checks; lessons: {', '.join(lessons())}."
    )


def lessons() -> list[str]:
    """All lesson numbers that have checks, in order."""
    found = [LESSON.search(p.read_text()) for p in (ROOT / "utils/checks").glob("*.py")]
    return sorted((m[1] for m in found if m), key=order)


def order(id: str) -> tuple[int, ...]:
    """The sort key of a lesson or exercise number."""
    return tuple(int(part) for part in id.split("."))


def load(lesson: str) -> list[Exercise]:
    """The exercises of one lesson, in order; their references are sealed from now on."""
    importlib.import_module(f"utils.checks.{checks_file(lesson).stem}")
    seal()
    return sorted((e for e in EXERCISES.values() if e.lesson == lesson), key=lambda e: order(e.id))


def get(id: str) -> Exercise:
    """One exercise by its number."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", id):
        raise CourseError(f'"{id}" is not an exercise number; write it like "1.1.3".')
    known = load(id.rpartition(".")[0])
    if id not in EXERCISES:
        raise CourseError(
            f"There is no exercise {id}; the lesson has {known[0].id} to {known[-1].id}."
        )
    return EXERCISES[id]


_SEALED: dict[str, dict[str, tuple]] = {}  # module -> name -> what it was


def _definitions(module: str) -> dict[str, tuple]:
    """Every function and class that a module defines, as what it takes to notice a change."""
    found = {}
    for key, value in list(vars(sys.modules[module]).items()):
        mine = getattr(value, "__module__", None) == module
        if mine and isinstance(value, FunctionType | type):
            found[key] = _mark(value)
            if isinstance(value, type):
                kinds = (FunctionType, property, staticmethod, classmethod)
                parts = {k: v for k, v in vars(value).items() if isinstance(v, kinds)}
                found |= {f"{key}.{k}": _mark(v) for k, v in parts.items()}
    return found


def _mark(value: object) -> tuple:
    # The objects themselves, not their ids: an id is used again once its object is gone.
    if not isinstance(value, FunctionType):
        return (value,)
    return value, value.__code__, value.__defaults__, value.__kwdefaults__


def seal() -> None:
    """Remembers how each module of `utils` is defined when it is first seen."""
    for module in [m for m in sys.modules if m.startswith("utils.")]:
        if module not in _SEALED:
            _SEALED[module] = _definitions(module)


def broken_seal() -> str | None:
    """The first function or class of `utils` that is no longer what it was, by dotted name."""
    for module, before in _SEALED.items():
        now = _definitions(module)
        for name in before | now:
            old, new = before.get(name, ()), now.get(name, ())
            if len(old) != len(new) or any(a is not b for a, b in zip(old, new, strict=True)):
                return f"{module}.{name}"
    return None
