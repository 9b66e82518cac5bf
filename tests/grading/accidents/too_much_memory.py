"""A shape is wrong, and the array would have a terabyte."""

from damage import DONE, put

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "Unable to allocate"}


def make(notebook):
    return put(notebook, "0.1.1", "def symlog(x):\n    return np.ones((10**6, 10**6)) * x.sum()")
