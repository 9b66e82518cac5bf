"""Imports were written above the line # EXERCISE."""

from damage import DONE, find

expected = DONE


def make(notebook):
    answer = "import math\n# EXERCISE 0.1.1\nsymlog = np.vectorize("
    answer += "lambda v: math.copysign(math.log1p(abs(v)), v))"
    notebook["cells"][find(notebook, "0.1.1")]["source"] = answer
    return notebook
