"""The cell was split above the function, whose half then has no mark."""

from damage import DONE, code, find, source

expected = DONE | {"0.1.1": "TODO"}
why = {"0.1.1": "symlog is defined in cell"}


def make(notebook):
    at = find(notebook, "0.1.1")
    head, function, rest = source(notebook, "0.1.1").partition("def symlog")
    notebook["cells"][at]["source"] = head
    notebook["cells"].insert(at + 1, code(function + rest))
    return notebook
