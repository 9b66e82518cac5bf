"""A trial below the right answer does not end: it is interrupted, and the answer is still right."""

from damage import DONE, patch, source

expected = DONE


def make(notebook):
    last = source(notebook, "0.1.1").rstrip().splitlines()[-1]
    return patch(notebook, "0.1.1", last, f"{last}\n\n\nwhile True:\n    pass")
