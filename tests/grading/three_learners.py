"""Three learners of lesson 1.1, for the transcript in the README: `make(folder)` writes them."""

import inspect
import sys
from pathlib import Path

import nbformat

from utils.checks import dyna_q
from utils.course.exercise import ROOT, Exercise, load
from utils.course.lesson_file import mark

MISTAKES = {"1.1.1": 0, "1.1.4": 1, "1.1.8": 2}  # exercise -> which of its named mistakes


def source_of(exercise: Exercise, wrong: bool) -> str:
    """The right answer, one of its mistakes, or (for 1.1.3) a right answer written differently."""
    if wrong and exercise.id in MISTAKES:
        return exercise.patched(exercise.mistakes[MISTAKES[exercise.id]])
    if wrong and exercise.id == "1.1.3":
        text = inspect.getsource(dyna_q.plan_by_index)
        return text.replace("def plan_by_index", "def plan").replace("q_learning.", "")
    return exercise.source


def make(folder: Path) -> list[Path]:
    """my/unsolved.ipynb, solved.ipynb and mistakes.ipynb in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name in ("unsolved", "solved", "mistakes"):
        notebook = nbformat.read(ROOT / "notebooks/1.1_dyna_q.ipynb", 4)
        answers = {e.id: source_of(e, name == "mistakes") for e in load("1.1")}
        for cell in notebook.cells:
            if (id := mark(cell.source)) and name != "unsolved":
                cell.source = f"# EXERCISE {id}\n{answers[id]}"
        files.append(folder / f"{name}.ipynb")
        nbformat.write(notebook, files[-1])
    return files


if __name__ == "__main__":
    print(*make(Path(sys.argv[1])), sep="\n")
