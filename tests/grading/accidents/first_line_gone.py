"""The line # EXERCISE was deleted, and with it the key; the reason says where the answer is."""

from damage import DONE, find, source

expected = DONE | {"0.1.1": "TODO"}
why = {"0.1.1": "symlog is defined in cell"}


def make(notebook):
    rest = source(notebook, "0.1.1").splitlines(keepends=True)[1:]
    notebook["cells"][find(notebook, "0.1.1")]["source"] = rest
    return notebook
