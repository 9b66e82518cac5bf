"""Below the right answer, in its cell, a trial fails."""

from damage import DONE, patch, source

expected = DONE


def make(notebook):
    last = source(notebook, "0.1.1").rstrip().splitlines()[-1]
    return patch(notebook, "0.1.1", last, f"{last}\n\n\nprint(symlog('a'))")
