"""Gathers what the evidence of lesson 2.4 has trained: 2.4_arms.json, which the lesson draws.

    python -m utils evidence 2.4 && python -m assets.dreamer_v3_arms

Each arm (DreamerV3 as it is, with a part removed, on another task) was written by the run that
trained it: seed, score, learning curve, CPU seconds.
"""

import json
from pathlib import Path

from utils.course.run import evidence_folder
from utils.course.store import commit, write_text

PATH = Path(__file__).with_name("2.4_arms.json")


def main() -> None:
    folder, arms = evidence_folder("2.4"), {}
    for file in sorted(folder.glob("seed*/arms/*.json")):
        name, _ = file.stem.rsplit(" ", 1)
        arms.setdefault(name, []).append(json.loads(file.read_text()))
    for runs in arms.values():
        runs.sort(key=lambda run: run["seed"])
    seconds = sum(run["cpu seconds"] for runs in arms.values() for run in runs)
    about = {"command": "python -m utils evidence 2.4 && python -m assets.dreamer_v3_arms"}
    about |= {"cpu seconds": round(seconds), "commit": commit(), "arms": arms}
    write_text(PATH, json.dumps(about, indent=1) + "\n")
    print({name: [round(run["score"], 1) for run in runs] for name, runs in arms.items()})


if __name__ == "__main__":
    main()
