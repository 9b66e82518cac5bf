"""A bracket is missing."""

from damage import DONE, put

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "its cell stops with SyntaxError"}


def make(notebook):
    return put(notebook, "0.1.1", "def symlog(x):\n    return np.sign(x) * np.log1p(np.abs(x)")
