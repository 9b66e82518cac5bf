"""What our side costs, measured: `python -m utils bench [NAME]`."""

import contextlib
import random
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import numpy as np
import psutil

from utils.course import cohort, sandbox
from utils.course.exercise import lessons, load
from utils.course.lesson_file import make, mark


def dyna() -> dict:
    """Agent-steps a second, all seeds at once against a plain loop."""
    from utils.agents.dyna import bench

    return bench()


def vae() -> dict:
    """Train step of V, 32 frames; against the same by torch's own layers and distributions."""
    from utils.worlds.vmc_bench import vae

    return race(vae(), rounds=20)


def mdn_rnn() -> dict:
    """Train step of M, 16 windows of 32 rows; against the same by torch.distributions."""
    from utils.worlds.vmc_bench import mdn_rnn

    return race(mdn_rnn(), rounds=60)


def dream() -> dict:
    """64 x 16 dreams of 5 steps at once; against one by one."""
    from utils.worlds.vmc_bench import dream

    return race(dream(), rounds=3)


def rssm() -> dict:
    """DreamerV3's recurrence: recorded rows a second, with gradients and without."""
    from utils.agents.actor_critic_bench import rssm

    return rssm()


def imagine() -> dict:
    """DreamerV3's dreams: imagined steps a second, compiled and eager."""
    from utils.agents.actor_critic_bench import imagine

    return imagine()


def dreamer() -> dict:
    """DreamerV3: a full train step, and policy steps a second."""
    from utils.agents.actor_critic_bench import dreamer

    return dreamer()


def mcts() -> dict:
    """Tree search: simulations a second of all trees together, compiled and eager."""
    from utils.agents.mcts_bench import works

    speeds = {}
    for name, simulations, work in works():
        result = race(work.calls, rounds=15)
        speeds[name] = {how: round(simulations / result[f"{how} seconds"]) for how in work.calls}
        speeds[name]["compilation seconds"] = round(work.compilation_seconds, 1)
    return speeds | {"rounds": 15, "threads": 1}


def tssm() -> dict:
    """TransDreamer's train step, 16 windows of 64 rows, against DreamerV2's at equal parameters;
    TWM's dream with its memory, against reading all words again."""
    from utils.worlds import transdreamer_bench as bench

    return {"train step": race(bench.tssm(), 10), "TWM's dream": race(bench.twm(), 10)}


def diamond() -> dict:
    """DIAMOND's denoiser at 64 x 64: train step, and frames by its clear and its fast network."""
    from utils.worlds.diamond_bench import bench

    return bench(race)


def iris() -> dict:
    """IRIS with a million parameters: seconds of a train step and of 19 frames in 4 streams."""
    from utils.worlds import iris_bench

    return {"train": race(iris_bench.train(), 20), "imagine": race(iris_bench.imagine(), 10)}


def race(calls: dict, rounds: int, threads: int = 1) -> dict:
    """Seconds of each call. They take turns, so that all see the same minute of the
    machine: a ratio is the median over rounds of the ratio within a round to the first call."""
    import torch

    before, seconds = torch.get_num_threads(), {name: [] for name in calls}
    torch.set_num_threads(threads)
    try:
        for _ in range(rounds + 1):  # the first warms up
            for name, call in calls.items():
                begun = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - begun)
    finally:
        torch.set_num_threads(before)
    ours, *others = (np.array(values[1:]) for values in seconds.values())
    first, *names = calls
    return (
        {f"{name} seconds": float(f"{np.median(v[1:]):.3g}") for name, v in seconds.items()}
        | {
            f"{name} / {first}": round(float(np.median(theirs / ours)), 2)
            for name, theirs in zip(names, others, strict=True)
        }
        | {"rounds": rounds, "threads": threads}
    )


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


BENCHES = {
    "dyna": dyna,
    "vae": vae,
    "mdn_rnn": mdn_rnn,
    "dream": dream,
    "rssm": rssm,
    "imagine": imagine,
    "dreamer": dreamer,
    "mcts": mcts,
    "iris": iris,
    "tssm": tssm,
    "diamond": diamond,
    "grade": grade,
}
