"""Trains the arms of lesson 2.4 and gathers them in 2.4_arms.json, which the lesson draws.

    python -m assets.dreamer_v3_arms [JOBS]

An arm is DreamerV3 as the lesson has it, with a part removed, or on another task. What trains are
the lesson's own cells. Each run is a file in runs/2.4/arms, and one that is there is not trained
again; so a stopped command goes on, and gathers what there is. About 70 CPU seconds a run.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from utils.course.lesson_file import make
from utils.course.store import commit, write_text

PATH = Path(__file__).with_name("2.4_arms.json")
RUNS = Path(__file__).parents[1] / "runs/2.4"


def lesson() -> dict:
    """The names of the solved lesson after its cells, up to those that define the arms."""
    quiet = {"WM_PROFILE": "evidence", "WM_RUN_SEED": "5", "WM_QUIET": "1", "MPLBACKEND": "Agg"}
    os.environ.update(quiet, WM_RUNS=str(RUNS / f"arms_{os.getpid()}"))
    names: dict = {"__name__": "__main__"}
    cells = [c.source for c in make("2.4", solved=True).cells if c.cell_type == "code"][1:]
    with contextlib.redirect_stdout(io.StringIO()):
        for source in cells:
            exec(compile(source, "lesson", "exec"), names)
            if "def model_free" in source:
                return names
    raise ValueError("The lesson defines no arms.")


def train(part: int, parts: int) -> None:
    """One of so many parts of the runs that are missing, the first of every arm first."""
    names = lesson()
    runs = [(n, name) for name, count in names["ARMS"].items() for n in range(count)]
    missing = [run for run in sorted(runs, key=lambda r: r[0]) if not place(*run).exists()]
    for number, name in missing[part::parts]:
        begun = time.process_time()
        arm = names["breakout_arm" if name == "Breakout" else "carts_arm"]
        with contextlib.redirect_stdout(io.StringIO()):
            made = arm(name, number) | {"seed": number}
        made["cpu seconds"] = round(time.process_time() - begun, 1)
        write_text(place(number, name), json.dumps(made))
        print(name, number, round(made["score"], 1), made["cpu seconds"], flush=True)


def place(number: int, name: str) -> Path:
    return RUNS / f"arms/{name} {number}.json"


def gather() -> None:
    arms: dict = {}
    for file in sorted((RUNS / "arms").glob("*.json")):
        arms.setdefault(file.stem.rsplit(" ", 1)[0], []).append(json.loads(file.read_text()))
    for runs in arms.values():
        runs.sort(key=lambda run: run["seed"])
    seconds = sum(run["cpu seconds"] for runs in arms.values() for run in runs)
    about = {"command": "python -m assets.dreamer_v3_arms", "cpu seconds": round(seconds)}
    about |= {"commit": commit(), "arms": arms}
    write_text(PATH, json.dumps(about) + "\n")
    print({name: [round(run["score"], 1) for run in runs] for name, runs in arms.items()})


def main(jobs: str = "1", part: str | None = None) -> None:
    if part is not None:
        train(int(part), int(jobs))
        return
    command = [sys.executable, "-m", "assets.dreamer_v3_arms", jobs]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    workers = [subprocess.Popen([*command, str(i)], env=threads) for i in range(int(jobs))]
    for worker in workers:
        worker.wait()
    gather()


if __name__ == "__main__":
    main(*sys.argv[1:])
