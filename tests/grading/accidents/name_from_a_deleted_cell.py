"""It worked only because the kernel still knew a name whose cell is gone."""

from damage import DONE, put

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "name 'shrink' is not defined"}


def make(notebook):
    return put(notebook, "0.1.1", "def symlog(x):\n    return np.sign(x) * shrink(x)")
