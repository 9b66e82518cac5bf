"""An emoji in a comment was cut in half by another program."""

from damage import DONE, patch

expected = DONE


def make(notebook):
    return patch(notebook, "0.1.1", "return", "# done \ud83d\n    return")
