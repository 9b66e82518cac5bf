"""The answer leaves the program instead of returning."""

from damage import DONE, put

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "SystemExit"}


def make(notebook):
    return put(notebook, "0.1.1", "import sys\n\ndef symlog(x):\n    sys.exit(1)")
