"""The cell asks for something, and nobody is there to answer."""

from damage import DONE, put

expected = DONE | {"0.1.1": "FAIL"}


def make(notebook):
    answer = "limit = float(input('limit?'))\n\n\ndef symlog(x):\n    return np.log1p(x)"
    return put(notebook, "0.1.1", answer)
