"""An exercise's cell is gone."""

from damage import DONE, find

core = True
expected = DONE | {"0.1.2": "TODO"}
why = {"0.1.2": "begins with # EXERCISE 0.1.2"}


def make(notebook):
    del notebook["cells"][find(notebook, "0.1.2")]
    return notebook
