"""A lesson that this course does not have, of a newer version perhaps."""

import json

unreadable = "There is no lesson 9.1 in solutions/"


def make(notebook):
    return json.dumps(notebook).replace("EXERCISE 0.1.", "EXERCISE 9.1.")
