"""The download broke off in the middle."""

import json

unreadable = "cut off"


def make(notebook):
    text = json.dumps(notebook)
    return text[: len(text) // 2]
