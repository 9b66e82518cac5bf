"""A merge was never resolved."""

import json

unreadable = "git conflict marks"


def make(notebook):
    lines = json.dumps(notebook, indent=1).splitlines()
    mine = ["<<<<<<< HEAD", lines[5], "=======", lines[5], ">>>>>>> upstream/main"]
    return "\n".join([*lines[:5], *mine, *lines[6:]])
