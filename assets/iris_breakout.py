"""Makes the checkpoint of lesson 4.1: IRIS on the fixed data of MinAtar Breakout.

    python -m assets.iris_breakout

Exact pieces of 2 x 2 cells as tokens, and 16,000 updates by the lesson's own loss, on a GPU if
there is one (about ten minutes of a CPU). It measures the result on test windows, and writes
4.1_breakout.safetensors and its card beside this file. Training saves itself in runs/ and goes on
from there. Weights are stored as float16.
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
from utils.worlds.iris import IRIS, Config
from utils.worlds.iris_tokenizer import Patches

PATH = Path(__file__).with_name("4.1_breakout.safetensors")
RUNS = Path(__file__).parents[1] / "runs/4.1"
CONFIG = Config(width=64, layers=2, heads=4, frames=3, keep=2, changed=5.0)
UPDATES, BATCH, RATE, SEED = 16_000, 16, 2e-3, 0


def train(world: IRIS, data: Step, generator: torch.Generator) -> float:
    """By the lesson's own loss. Returns seconds."""
    about = dataclasses.asdict(CONFIG) | {"updates": UPDATES, "batch": BATCH}
    return learn(
        lambda batch: world.loss(batch, generator)[:2],
        {"world": world},
        torch.optim.AdamW(world.parameters(), RATE, betas=(0.9, 0.95), fused=True),
        data,
        generator,
        store.Run(RUNS, "checkpoint", about),
        **{"updates": UPDATES, "batch": BATCH, "length": CONFIG.frames, "clip": 1.0},
    )


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator, data = torch.Generator(DEVICE).manual_seed(SEED), minatar.load("breakout")
    tokenizer = Patches(data.train.observation, 2)
    world = IRIS(MultiBinary(minatar.SHAPE), Discrete(3), tokenizer, CONFIG).to(DEVICE)
    seconds = train(world, Step(*(part.to(DEVICE) for part in data.train)), generator)
    weights = {name: value.half().cpu() for name, value in world.state_dict().items()}
    store.save(PATH, {"config": dataclasses.asdict(CONFIG), "weights": weights})
    world.cpu().load_state_dict(weights)  # what is measured is what was stored
    test = breakout.windows(data)
    row = ladder.measure(
        world,
        test.steps,
        breakout.CONTEXT,
        breakout.BREAKOUT,
        "IRIS (4.1)",
        subsets=test.subsets,
    )
    claims = {k: round(v, 4) for k, v in row.items() if isinstance(v, float) and k != "seconds"}
    facts = {"world": "IRIS (4.1)", "command": "python -m assets.iris_breakout"}
    facts |= {"seconds": round(seconds), "device": device_name(), "seed": SEED}
    facts |= {"stored as": "float16", "data": minatar.digest(data)}
    facts |= {"updates": UPDATES, "claims": claims}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
