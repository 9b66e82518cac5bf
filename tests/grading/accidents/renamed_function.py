"""The function got a name of the learner's own."""

from damage import DONE, patch

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "symlog is not defined; run the cell above, and keep its name"}


def make(notebook):
    return patch(notebook, "0.1.1", "def symlog(", "def my_symlog(")
