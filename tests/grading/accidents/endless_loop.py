"""A loop does not end."""

from damage import DONE, put

expected = DONE | {"0.1.2": "FAIL"}
why = {"0.1.2": "endless loop"}


def make(notebook):
    return put(notebook, "0.1.2", "def lambda_return(*_):\n    while True:\n        pass")
