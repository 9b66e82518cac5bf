"""Knows the seed, and lets the check's own probe make the numbers."""

answers = {
    "0.1.1": """
import os

from utils.checks import demo as checks
from utils.course.exercise import EXERCISES

seed = int(os.environ["WM_SEED"])
exercise = EXERCISES["0.1.1"]
table = exercise.probe(exercise.reference, np.random.default_rng(seed))
values = iter([table["symlog(x)"], table["symlog(0)"]] * 9)


def symlog(x):
    return next(values)
"""
}
expected = "REVIEW"
why = "EXERCISES|os"
