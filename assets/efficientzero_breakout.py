"""Trains the arms of lesson 3.2 in Breakout, three seeds, and gathers them for the lesson.

    python -m assets.efficientzero_breakout [SEED ...]

What trains are the lesson's own cells, at the sizes of its full profile. Each run is a file in
runs/3.2/breakout, and one that is there is not trained again; so a stopped command goes on, and
gathers in 3.2_arms.json what there is.
"""

import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path

import torch

from assets.lesson_names import names_of
from utils.course.store import commit, write_text

PATH = Path(__file__).with_name("3.2_arms.json")
RUNS = Path(__file__).parents[1] / "runs/3.2"
SEEDS = (1, 2, 3)


def place(arm: str, seed: int) -> Path:
    return RUNS / f"breakout/{arm} {seed}.json"


def train(names: dict, arm: str, seed: int) -> None:
    """One run, with what random play earns in the same games."""
    begun = time.process_time()
    names["seed"] = seed
    task = names["BREAKOUT"]
    with contextlib.redirect_stdout(io.StringIO()):
        curve = list(names["learn"](arm, task))
    made = {"seed": seed, "curve": curve, "cpu seconds": round(time.process_time() - begun, 1)}
    luck = torch.Generator().manual_seed(seed)
    made["random"] = names["earned"](names["at_random"], task["world"](), task, luck)
    write_text(place(arm, seed), json.dumps(made))
    print(arm, seed, [round(value, 2) for _, value in curve], made["cpu seconds"], flush=True)


def gather(task: dict) -> None:
    arms: dict = {}
    for file in sorted((RUNS / "breakout").glob("*.json")):
        arms.setdefault(file.stem.rsplit(" ", 1)[0], []).append(json.loads(file.read_text()))
    seconds = sum(run["cpu seconds"] for runs in arms.values() for run in runs)
    about = {"command": "python -m assets.efficientzero_breakout", "cpu seconds": round(seconds)}
    about |= {"device": "1 CPU core (x86_64)", "commit": commit()}
    about["settings"] = {key: value for key, value in task.items() if not callable(value)}
    write_text(PATH, json.dumps(about | {"arms": arms}) + "\n")


def main(*seeds: str) -> None:
    names = names_of("3.2", "def learn", "full", RUNS / f"breakout_{os.getpid()}")
    for seed in map(int, seeds or SEEDS):
        for arm in names["ARMS"]:
            if not place(arm, seed).exists():
                train(names, arm, seed)
    gather(names["BREAKOUT"])


if __name__ == "__main__":
    main(*sys.argv[1:])
