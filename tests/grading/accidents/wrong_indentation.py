"""A line moved to the left."""

from damage import DONE, put

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "its cell stops with IndentationError"}


def make(notebook):
    return put(notebook, "0.1.1", "def symlog(x):\nreturn np.sign(x) * np.log1p(np.abs(x))")
