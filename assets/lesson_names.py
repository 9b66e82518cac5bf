"""What a solved lesson defines, for the scripts of this folder that train by its cells."""

import contextlib
import io
import os
from pathlib import Path

from utils.course.lesson_file import make


def names_of(id: str, last: str, profile: str, runs: Path, **environment: str) -> dict:
    """The names of lesson `id` after its code cells, up to the first that contains `last`.

    The cells run silently in this process, in `profile`; what they save goes to the folder `runs`.
    """
    quiet = {"WM_PROFILE": profile, "WM_RUNS": str(runs), "WM_QUIET": "1", "MPLBACKEND": "Agg"}
    os.environ.update(quiet, **environment)
    names: dict = {"__name__": "__main__"}
    cells = [c.source for c in make(id, solved=True).cells if c.cell_type == "code"][1:]
    with contextlib.redirect_stdout(io.StringIO()):
        for source in cells:
            exec(compile(source, "lesson", "exec"), names)
            if last in source:
                return names
    raise ValueError(f"No cell of lesson {id} contains {last!r}.")
