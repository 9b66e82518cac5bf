"""Makes the checkpoint of lesson 2.3: DreamerV2 on the fixed data of MinAtar Breakout.

    python -m assets.dreamer_v2_breakout

It trains for 9,000 updates by the lesson's own loss (some minutes, on one idle core or on a GPU),
measures the result on test windows, and writes 2.3_breakout.safetensors and its card beside this
file. Training saves itself in runs/ and goes on from there. Weights are stored as float16.
"""

import dataclasses
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from assets.training import DEVICE, keep, learn
from utils.course import store
from utils.data import minatar
from utils.world import Step
from utils.worlds.dreamer_v2 import Config, DreamerV2

PATH = Path(__file__).with_name("2.3_breakout.safetensors")
RUNS = Path(__file__).parents[1] / "runs/2.3"
CONFIG = Config(
    **{"deter": 128, "hidden": 128, "stoch": 16, "classes": 16, "units": 128, "layers": 2},
    **{"kl_scale": 0.5, "discount": 0.99},
)
UPDATES, BATCH, LENGTH, RATE, SEED = 9_000, 48, 10, 2e-3, 0


def train(world: DreamerV2, data: Step, generator: torch.Generator) -> float:
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
    world = DreamerV2(MultiBinary(minatar.SHAPE), Discrete(3), CONFIG).to(DEVICE)
    seconds = train(world, Step(*(part.to(DEVICE) for part in data.train)), generator)
    command = "python -m assets.dreamer_v2_breakout"
    facts = {"command": command, "seconds": round(seconds), "seed": SEED}
    keep(world, CONFIG, PATH, "DreamerV2 (2.3)", data, **facts, updates=UPDATES, batch=BATCH)


if __name__ == "__main__":
    main()
