"""A trial in the answer's cell prints for ever."""

from damage import DONE, patch, source

expected = DONE | {"0.1.1": "FAIL"}
why = {"0.1.1": "it stopped the kernel: it wrote "}


def make(notebook):
    last = source(notebook, "0.1.1").rstrip().splitlines()[-1]
    return patch(notebook, "0.1.1", last, f"{last}\n\n\nwhile True:\n    print('x' * 10_000)")
