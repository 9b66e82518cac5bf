"""Lesson 0.1: the demo."""

import numpy as np

from utils import demo
from utils.course.exercise import Mistake, exercise

LESSON = "0.1"


def symlog_by_cases(x):
    return np.where(x < 0, -np.log1p(-np.minimum(x, 0)), np.log1p(np.maximum(x, 0)))


@exercise(
    "0.1.1",
    demo.symlog,
    points=1,
    difficulty=1,
    minutes=5,
    hints=("What does it do to a negative number?", "np.sign(x) * np.log1p(np.abs(x))"),
    mistakes=(
        Mistake("the sign of negative numbers is lost", "np.sign(x) * ", ""),
        Mistake("the logarithm is of |x|, without the + 1", "np.log1p", "np.log"),
    ),
    alternatives=(symlog_by_cases,),
)
def _(symlog, rng):
    x = rng.normal(size=(2, 3)) * 10
    x[0, 0] = -abs(x[0, 0])  # a negative number, whatever is drawn
    return {"symlog(x)": symlog(x), "symlog(0)": symlog(np.zeros(2))}


def lambda_return_by_sum(reward, value, gamma, lam):
    out = np.zeros_like(reward)
    for t in range(len(reward)):
        weight = 1.0
        for k in range(t, len(reward)):
            mixed = value[k + 1] if k + 1 == len(reward) else (1 - lam) * value[k + 1]
            out[t] += weight * (reward[k] + gamma * mixed)
            weight *= gamma * lam
    return out


@exercise(
    "0.1.2",
    demo.lambda_return,
    points=3,
    difficulty=3,
    minutes=15,
    hints=("Begin at the end.", "Carry the last return backwards through the loop."),
    mistakes=(
        Mistake("it bootstraps from the wrong index, v[t]", "value[t + 1] +", "value[t] +"),
        Mistake(
            "λ and 1 - λ are exchanged",
            "(1 - lam) * value[t + 1] + lam * last",
            "lam * value[t + 1] + (1 - lam) * last",
        ),
    ),
    alternatives=(lambda_return_by_sum,),
)
def _(lambda_return, rng):
    reward, value = rng.normal(size=8), rng.normal(size=9)
    return {f"λ = {lam}": lambda_return(reward, value, 0.97, lam) for lam in (0.0, 0.9, 1.0)}


class Notebook:
    def __init__(self):
        self.seen, self.pages = {}, []

    def write(self, state, reward):
        self.pages.append((state, reward))

    def read(self, state):
        return next((r for s, r in reversed(self.pages) if s == state), 0.0)


@exercise(
    "0.1.3",
    demo.Memory,
    blank=("write", "read"),
    points=2,
    difficulty=2,
    minutes=5,
    hints=("A dict will do.", "dict.get has a default."),
    mistakes=(
        Mistake(
            "an older reward is kept",
            "self.seen[state] = reward",
            "self.seen.setdefault(state, reward)",
        ),
        Mistake("an unknown state gives 1", "get(state, 0.0)", "get(state, 1.0)"),
    ),
    alternatives=(Notebook,),
)
def _(Memory, rng):
    memory, said = Memory(), []
    for state in rng.integers(0, 5, 20):
        said.append(memory.read(int(state)))
        memory.write(int(state), float(rng.normal()))
    return {"rewards read": said}


def step_by_cases(self, cell, move):
    new = cell + move
    return new if 0 <= new < self.cells else cell


@exercise(
    "0.1.4",
    demo.Walk.step,
    core=False,
    points=1,
    difficulty=1,
    minutes=5,
    hints=("Which cells are there?", "The last one is cells - 1."),
    mistakes=(
        Mistake("the right wall is one cell too far", "self.cells - 1", "self.cells"),
        Mistake("the left wall is missing", "max(cell + move, 0)", "cell + move"),
    ),
    alternatives=(step_by_cases,),
)
def _(Walk, rng):
    walk = Walk(int(rng.integers(3, 9)))
    cells = range(walk.cells)
    return {f"move {move}": [walk.step(cell, move) for cell in cells] for move in (-1, 0, 1)}


def softmax_by_log(x):
    return np.exp(x - np.logaddexp.reduce(x, axis=-1, keepdims=True))


@exercise(
    "0.1.5",
    demo.softmax,
    bug="axis",
    points=2,
    difficulty=2,
    minutes=10,
    hints=("What do the rows sum to?", "Two sums and maxima: over which axis?"),
    mistakes=(
        Mistake("the sum goes over everything", "e.sum(axis=-1, keepdims=True)", "e.sum()", "axis"),
        Mistake("large logits overflow", "x - x.max(axis=-1, keepdims=True)", "x"),
    ),
    alternatives=(softmax_by_log,),
)
def _(softmax, rng):
    x = rng.normal(size=(2, 3, 4))
    return {"softmax(x)": softmax(x), "large logits": softmax(x * 1e4)}
