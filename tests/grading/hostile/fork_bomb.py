"""Doubles itself until nothing else runs."""

answers = {
    "0.1.1": """
import os


def symlog(x):
    while True:
        try:
            os.fork()
        except OSError:
            pass
"""
}
expected = "FAIL"
why = "it started more than 64 processes"
