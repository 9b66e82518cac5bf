"""The answer calls a helper that stands in a cell of its own: that cell is not graded."""

from damage import DONE, code, put

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "shrink is defined in cell 1, which is not graded: move it"}


def make(notebook):
    put(notebook, "0.1.1", "def symlog(x):\n    return np.sign(x) * shrink(x)")
    notebook["cells"].insert(0, code("def shrink(x):\n    return np.log1p(np.abs(x))"))
    return notebook
