"""A way out that takes the kernel with it costs this exercise, and no other."""

from damage import DONE, put

core = True
expected = DONE | {"0.1.2": "FAIL"}
why = {"0.1.2": "it stopped the kernel"}


def make(notebook):
    return put(notebook, "0.1.2", "import os\n\ndef lambda_return(*_):\n    os._exit(0)")
