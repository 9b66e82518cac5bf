"""Magics and shell commands in the answers: they time, plot and list, and mean nothing here."""

from damage import DONE, find, source

expected = DONE


def make(notebook):
    first = source(notebook, "0.1.1")
    lines = f"%%time\n{first}\n\n%matplotlib inline\n!ls\n%timeit -n 3 symlog(np.ones(3))\n"
    notebook["cells"][find(notebook, "0.1.1")]["source"] = lines
    second = source(notebook, "0.1.2")
    notebook["cells"][find(notebook, "0.1.2")]["source"] = f"{second}\n\n%time print(1 % 2)\n"
    return notebook
