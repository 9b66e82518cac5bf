"""Trains the arms of lesson 2.4 and gathers them in 2.4_arms.json, which the lesson draws.

    python -m assets.dreamer_v3_arms [JOBS [ARM ...]]

An arm is DreamerV3 as the lesson has it, with a part removed, or on another task. What trains are
the lesson's own cells, in JOBS processes side by side. Each run is a file in runs/2.4/arms, and one
that is there is not trained again; so a stopped command goes on, and gathers what there is.
"""

import contextlib
import io
import json
import os
import sys
import time
from multiprocessing import Queue, get_context
from pathlib import Path

from assets.lesson_names import names_of
from utils.course.store import commit, write_text

PATH = Path(__file__).with_name("2.4_arms.json")
RUNS = Path(__file__).parents[1] / "runs/2.4"


def lesson() -> dict:
    """The names of the solved lesson after its cells, up to those that define the arms."""
    runs = RUNS / f"arms_{os.getpid()}"
    return names_of("2.4", "def model_free", "evidence", runs, WM_RUN_SEED="5")


def work(queue: Queue) -> None:
    """Trains what stands in the queue, up to a None."""
    names = lesson()
    while (run := queue.get()) is not None:
        number, name = run
        begun = time.process_time()
        arm = names["breakout_arm" if name == "Breakout" else "vector_arm"]
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


def main(jobs: str = "1", *only: str) -> None:
    os.environ["OMP_NUM_THREADS"] = "1"
    runs = [(n, name) for name, count in lesson()["ARMS"].items() for n in range(count)]
    missing = [run for run in runs if not place(*run).exists()]
    missing = [run for run in missing if not only or run[1] in only]
    processes = get_context("spawn")
    queue = processes.Queue()
    for run in sorted(
        missing, key=lambda run: (run[1] != "Breakout", run[0])
    ):  # the long ones first
        queue.put(run)
    workers = [processes.Process(target=work, args=(queue,)) for _ in range(int(jobs))]
    for worker in workers:
        queue.put(None)
        worker.start()
    for worker in workers:
        worker.join()
    gather()


if __name__ == "__main__":
    main(*sys.argv[1:])
