"""Makes the checkpoint of lesson 2.2: PlaNet on the fixed data of MinAtar Breakout.

    python -m assets.planet_breakout

It trains for 20,000 updates by the lesson's own loss, on a GPU if there is one (minutes; hours on
a CPU), measures the result on test windows, and writes 2.2_breakout.safetensors and its card beside
this file. Training saves itself in runs/ and goes on from there. Weights are stored as float16.
"""

import dataclasses
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from assets.training import DEVICE, keep, learn
from utils.course import store
from utils.data import minatar
from utils.world import Step
from utils.worlds.planet import Config, PlaNet

PATH = Path(__file__).with_name("2.2_breakout.safetensors")
RUNS = Path(__file__).parents[1] / "runs/2.2"
CONFIG = Config(deter=256, stoch=32, hidden=256, units=384, layers=2, free_nats=0.3, noise=0.05)
UPDATES, BATCH, LENGTH, RATE, SEED = 20_000, 192, 10, 2e-3, 0


def train(world: PlaNet, data: Step, generator: torch.Generator) -> float:
    """By the lesson's own loss. Returns seconds."""
    about = dataclasses.asdict(CONFIG) | {"updates": UPDATES, "batch": BATCH, "length": LENGTH}
    return learn(
        lambda batch: world.loss(batch, generator)[:2],
        {"world": world},
        torch.optim.Adam(world.parameters(), RATE, eps=1e-5, fused=True),
        data,
        generator,
        store.Run(RUNS, "breakout", about),
        **{"updates": UPDATES, "batch": BATCH, "length": LENGTH, "clip": 100.0},
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator, data = torch.Generator(DEVICE).manual_seed(SEED), minatar.load("breakout")
    world = PlaNet(MultiBinary(minatar.SHAPE), Discrete(3), CONFIG).to(DEVICE)
    seconds = train(world, Step(*(part.to(DEVICE) for part in data.train)), generator)
    command = "python -m assets.planet_breakout"
    facts = {"command": command, "seconds": round(seconds), "seed": SEED}
    keep(world, CONFIG, PATH, "PlaNet (2.2)", data, **facts, updates=UPDATES)


if __name__ == "__main__":
    main()
