"""A function calls itself for ever."""

from damage import DONE, put

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "RecursionError"}


def make(notebook):
    return put(notebook, "0.1.1", "def symlog(x):\n    return symlog(x)")
