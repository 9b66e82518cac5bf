"""Replaces the judge inside the course's own module."""

answers = {
    "0.1.1": """
import utils.course.check as course

course.judge = lambda exercise, *_: ("PASS", "", {})


def symlog(x):
    return x
"""
}
expected = "FAIL"
