"""Handed in as it was downloaded."""

from damage import DONE

expected = dict.fromkeys(DONE, "TODO")
unsolved = True  # `make` gets the learner's notebook, not the solved one


def make(notebook):
    return notebook
