"""Saved in UTF-16."""

import json

from damage import DONE

expected = DONE


def make(notebook):
    return json.dumps(notebook).encode("utf-16")
