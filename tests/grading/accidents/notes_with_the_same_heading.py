"""A learner's notes have a heading that looks like the line # EXERCISE."""

from damage import DONE

expected = DONE


def make(notebook):
    text = "# Exercise 0.1.1\nThis one was easy, because the sign is kept."
    notebook["cells"].append({"cell_type": "markdown", "metadata": {}, "source": text})
    return notebook
