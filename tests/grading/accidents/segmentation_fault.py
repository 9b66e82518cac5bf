"""Native code goes wrong and takes the kernel with it."""

from damage import DONE, put

expected = DONE | {"0.1.3": "FAIL"}
why = {"0.1.3": "it stopped the kernel: the kernel died"}


def make(notebook):
    return put(notebook, "0.1.3", "import ctypes\n\nclass Memory:\n    read = ctypes.string_at(0)")
