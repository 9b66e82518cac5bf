"""What the cases need to damage a learner's notebook, a plain dict as in the file."""

import copy

DONE = {f"0.1.{n}": "PASS" for n in range(1, 6)}  # the fair grade of a solved notebook


def find(notebook: dict, id: str) -> int:
    """The position of an exercise's cell."""
    cells = notebook["cells"]
    return next(
        i for i, c in enumerate(cells) if "".join(c["source"]).startswith(f"# EXERCISE {id}")
    )


def source(notebook: dict, id: str) -> str:
    """An exercise's answer, with its first line."""
    return "".join(notebook["cells"][find(notebook, id)]["source"])


def put(notebook: dict, id: str, text: str) -> dict:
    """Gives an exercise another answer; the line # EXERCISE stays."""
    notebook["cells"][find(notebook, id)]["source"] = f"# EXERCISE {id}\n{text.strip()}\n"
    return notebook


def patch(notebook: dict, id: str, old: str, new: str) -> dict:
    """Changes one place of an answer."""
    text = source(notebook, id)
    assert text.count(old) == 1, text
    notebook["cells"][find(notebook, id)]["source"] = text.replace(old, new)
    return notebook


def code(text: str) -> dict:
    """A code cell that was not run."""
    blank = {"outputs": [], "execution_count": None, "metadata": {}}
    return {"cell_type": "code", "source": text} | copy.deepcopy(blank)
