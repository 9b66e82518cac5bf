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

from assets.training import DEVICE, device_name, learn
from utils.course import store
from utils.data import minatar
from utils.evaluate import breakout, ladder
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
    weights = {name: value.half().cpu() for name, value in world.state_dict().items()}
    store.save(PATH, {"config": dataclasses.asdict(SMALL), "weights": weights})
    world.cpu().load_state_dict(weights)  # what is measured is what was stored
    test, ground = breakout.windows(data), breakout.BREAKOUT
    row = ladder.measure(
        world, test.steps, breakout.CONTEXT, ground, "DIAMOND (4.3)", subsets=test.subsets
    )
    claims = {k: round(v, 4) for k, v in row.items() if isinstance(v, float) and k != "seconds"}
    facts = {"command": "python -m assets.diamond_breakout", "seconds": round(seconds)}
    facts |= {
        "world": "DIAMOND (4.3)",
        "device": device_name(),
        "seed": SEED,
        "stored as": "float16",
    }
    facts |= {"data": minatar.digest(data), "updates": UPDATES, "batch": BATCH, "claims": claims}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
