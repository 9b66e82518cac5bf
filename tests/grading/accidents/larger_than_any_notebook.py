"""60 MB of stored pictures."""

import json

unreadable = "larger than 50 MB; clear its outputs"


def make(notebook):
    notebook["metadata"]["picture"] = "A" * 60_000_000
    return json.dumps(notebook)
