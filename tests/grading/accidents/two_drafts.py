"""A draft that cannot even be read stands above the answer, under the same mark."""

from damage import DONE, code, find

expected = DONE


def make(notebook):
    draft = "# EXERCISE 0.1.1\ndef symlog(x):\n    return np.sign(x) *"
    notebook["cells"].insert(find(notebook, "0.1.1"), code(draft))
    return notebook
