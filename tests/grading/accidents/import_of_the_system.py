"""A right answer that imports os, for no reason: a person looks at this one, not at the others."""

from damage import DONE, patch

core = True
expected = DONE | {"0.1.2": "REVIEW"}
why = {"0.1.2": "it uses os"}


def make(notebook):
    return patch(notebook, "0.1.2", "return out", "import os\n    return out")
