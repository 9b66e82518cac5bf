"""The lines # EXERCISE were typed again, each in its own way."""

from damage import DONE, patch

expected = DONE


def make(notebook):
    patch(notebook, "0.1.1", "# EXERCISE 0.1.1", "#exercise 0.1.1: squash")
    patch(notebook, "0.1.2", "# EXERCISE 0.1.2", "## Exercise  0.1.2 (done)")
    return patch(notebook, "0.1.3", "# EXERCISE 0.1.3", "\n# EXERCISE 0.1.3")
