"""Makes the checkpoint of lesson 4.3: DIAMOND on the fixed data of MinAtar Breakout.

    python -m assets.diamond_breakout

It trains for 11,000 updates by the lesson's own loss (ten minutes on one idle core), measures the
result on test windows, and writes 4.3_breakout.safetensors and its card beside this file. Training
saves itself in runs/ and goes on from there. Weights are stored as float16.
"""

import dataclasses
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from assets.training import DEVICE, keep, learn
from utils.course import store
from utils.data import minatar
from utils.world import Step
from utils.worlds.diamond import DIAMOND, SMALL

PATH = Path(__file__).with_name("4.3_breakout.safetensors")
RUNS = Path(__file__).parents[1] / "runs/4.3"
UPDATES, BATCH, LENGTH, RATE, SEED = 11_000, 64, SMALL.context + 1, 2e-3, 0


def train(world: DIAMOND, data: Step, generator: torch.Generator, name: str, updates: int) -> float:
    """By the lesson's own loss. Returns seconds."""
    about = dataclasses.asdict(world.config) | {
        "updates": updates,
        "batch": BATCH,
        "length": LENGTH,
    }
    return learn(
        lambda batch: world.loss(batch, generator)[:2],
        {"world": world},
        torch.optim.AdamW(world.parameters(), RATE, weight_decay=1e-2, fused=True),
        data,
        generator,
        store.Run(RUNS, name, about),
        **{"updates": updates, "batch": BATCH, "length": LENGTH, "clip": 1.0},
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator, data = torch.Generator(DEVICE).manual_seed(SEED), minatar.load("breakout")
    world = DIAMOND(MultiBinary(minatar.SHAPE), Discrete(3), SMALL).to(DEVICE)
    there = Step(*(part.to(DEVICE) for part in data.train))
    seconds = train(world, there, generator, "breakout", UPDATES)
    title, command = "DIAMOND (4.3)", "python -m assets.diamond_breakout"
    facts = {"command": command, "seconds": round(seconds), "seed": SEED, "world": title}
    keep(world, SMALL, PATH, title, data, **facts, updates=UPDATES, batch=BATCH)


if __name__ == "__main__":
    main()
