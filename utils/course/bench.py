"""What our side costs, measured: `python -m utils bench [NAME]`."""

import contextlib
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import psutil

from utils.course import cohort, sandbox
from utils.course.exercise import lessons, load
from utils.course.lesson_file import make, mark


def dyna() -> dict:
    """Agent-steps a second, all seeds at once against a plain loop."""
    from utils.agents.dyna import bench

    return bench()


def grade(count: int = 200) -> dict:
    """Submissions a minute on two workers; seconds and memory of one."""
    lesson, shut_in = lessons()[0], not sandbox.missing()
    with tempfile.TemporaryDirectory(prefix="wm-") as folder:
        for i in range(count):
            _submission(lesson, i, Path(folder))
        jobs = dict(enumerate(cohort.find([folder])))
        begun, peak = time.monotonic(), 0
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(list, cohort.local({0: jobs[0]}, shut_in, 1))
            while not first.done():
                peak = max(peak, _memory())
                time.sleep(0.1)
        one, begun = time.monotonic() - begun, time.monotonic()
        failed = sum("why" in row for _, row in cohort.local(jobs, shut_in, 2))
        seconds = time.monotonic() - begun
    return {
        "lesson": lesson,
        "sandbox": shut_in,
        "submissions": count,
        "not_graded": failed,
        "seconds": round(seconds, 1),
        "per_minute": round(60 * count / seconds, 1),
        "one_seconds": round(one, 1),
        "one_peak_mib": peak >> 20,
    }


def _submission(lesson: str, seed: int, folder: Path) -> None:
    """A notebook with each exercise solved, not begun, or with one of the named mistakes."""
    rng, exercises = random.Random(seed), {e.id: e for e in load(lesson)}
    notebook, stubs = make(lesson, solved=True), make(lesson, solved=False)
    for cell, stub in zip(notebook.cells, stubs.cells, strict=True):
        if id := mark(cell.source):
            wrong = exercises[id].patched(rng.choice(exercises[id].mistakes))
            some = [cell.source] * 3 + [stub.source, f"# EXERCISE {id}\n{wrong}"]
            cell.source = f"{rng.choice(some)}\n# by student {seed}"
    nbformat.write(notebook, folder / f"student{seed:03d}_{seed + 100}_{seed + 100}_{lesson}.ipynb")


def _memory() -> int:
    """Resident bytes of all processes below this one; what they share counts in each."""
    size = 0
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            size += process.memory_info().rss
    return size


BENCHES = {"dyna": dyna, "grade": grade}
