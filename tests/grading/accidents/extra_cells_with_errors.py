"""Trials between the exercises, some of which fail; they are not graded."""

from damage import DONE, code

expected = DONE


def make(notebook):
    for at, text in enumerate(["symlog(", "1 / 0", "np.isclose = None", "del check", "raise"]):
        notebook["cells"].insert(7 + 2 * at, code(text))
    return notebook
