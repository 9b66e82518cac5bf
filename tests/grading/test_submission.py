"""What is taken for odd in an answer, and what is not."""

import inspect
import textwrap

import pytest

from utils.course.exercise import CourseError, lessons, load
from utils.course.lesson_file import make, text_of
from utils.course.submission import flags, imports, reaching

HONEST = """
from dataclasses import dataclass
import torch
from torch import nn


@dataclass
class Config:
    input: int = 3


class Model(nn.Module):
    def __init__(self, input, open=1):
        super().__init__()
        self.code, self.check, self.eval_ = nn.Linear(input, open), None, None
        self.code.weight.requires_grad = False

    def forward(self, x, vars=None):
        compile = self.train().eval()
        return nn.utils.parameters_to_vector(compile.parameters()) + x.sum()

    def __eq__(self, other):
        return self is other


if __name__ == "__main__":
    print("PASSED by my own test", Model(2)(torch.ones(3)))
"""
ODD = {
    "np.isclose = print": "np.isclose = ...",
    "del np.isclose": "np.isclose = ...",
    "for np.isclose in [print]: pass": "np.isclose = ...",
    "import numpy.linalg as la\nla.norm = print": "la.norm = ...",
    "def f(exec=exec('1')): pass": "exec",
    "def f(exec): pass\nexec('1')": "exec",
    "f = lambda: [eval(x) for x in '1']": "eval",
    "class A:\n    open = 1\n    x = open": "open",
    "np.lib.format.os.system('ls')": "os",
    "import random\nrandom._os": "_os",
    "from torch.utils import cpp_extension": "cpp_extension",
    "import marshal": "marshal",
    "import os.path as p": "os",
    "match f:\n    case object(__globals__=g): pass": "__globals__",
    "x = demo.symlog": "demo",
    "Walk.step": "Walk",
    "print('__class__')": "'__class__'",
    "def step(self): return super(A, self).step": "super",
    "files = !ls": "a line that is not Python",
}


@pytest.fixture(scope="module")
def lesson() -> dict:
    import numpy

    from utils.course import exercise

    def ours():
        """Something of the course."""

    ours.__module__ = "utils.demo"
    return {"np": numpy, "demo": exercise, "Walk": ours}


def test_honest_code_is_not_odd(lesson: dict):
    assert flags(HONEST, lesson, "") == []


@pytest.mark.parametrize("source", ODD)
def test_odd_code_is(source: str, lesson: dict):
    assert flags(source, lesson, "") == [ODD[source]]


def test_what_the_solution_uses_is_not_odd(lesson: dict):
    assert flags("x = demo.symlog", lesson, "demo.other()") == []
    assert flags("x = demo.symlog", lesson, "'demo'") == ["demo"]


@pytest.mark.parametrize("id", lessons())
def test_no_solution_is_odd(id: str):
    try:
        text_of(id)
    except CourseError:
        pytest.skip("its text is not written yet")
    names = reaching(make(id, solved=True))
    for exercise in load(id):
        assert flags(exercise.source, names, exercise.source) == []
        for thing in exercise.alternatives:
            source = textwrap.dedent(inspect.getsource(thing))
            if f"{exercise.reference.__module__.split('.')[-1]}." in source:
                continue  # built upon the reference, which an answer is not
            assert flags(source, names, exercise.source) == [], (exercise.id, source)


def test_only_harmless_imports_that_are_used_are_taken_along():
    cells = ["import math, os\nimport json", "# EXERCISE 0.1.1\nimport copy", "import re as check"]
    assert imports(cells, {"0.1.1": "math.log(os, check)"}) == ["import math"]
