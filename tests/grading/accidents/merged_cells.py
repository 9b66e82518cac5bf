"""Two exercises and their checks were merged into one cell."""

from damage import DONE, find, source

expected = DONE


def make(notebook):
    first, second = find(notebook, "0.1.1"), find(notebook, "0.1.2")
    sources = ["".join(c["source"]) for c in notebook["cells"][first : second + 2]]
    notebook["cells"][first]["source"] = "\n\n".join(sources)
    del notebook["cells"][first + 1 : second + 2]
    assert source(notebook, "0.1.1").count("check(") == 2
    return notebook
