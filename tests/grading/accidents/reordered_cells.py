"""The cells were dragged around until the last came first."""

from damage import DONE

expected = DONE


def make(notebook):
    notebook["cells"].reverse()
    return notebook
