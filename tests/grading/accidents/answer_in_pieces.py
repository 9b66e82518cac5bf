"""A helper was split off into a cell of its own, and both were marked: they belong together."""

from damage import DONE, code, find, put

expected = DONE


def make(notebook):
    put(notebook, "0.1.1", "def symlog(x):\n    return np.sign(x) * shrink(x)")
    helper = "# EXERCISE 0.1.1\ndef shrink(x):\n    return np.log1p(np.abs(x))"
    notebook["cells"].insert(find(notebook, "0.1.1"), code(helper))
    return notebook
