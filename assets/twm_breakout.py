"""Makes the two checkpoints of lesson 4.2 on the fixed data of MinAtar Breakout.

    python -m assets.twm_breakout twm
    python -m assets.twm_breakout tssm

Each trains by the lesson's own loss (some minutes on one idle core), measures the result on test
windows, and writes 4.2_twm_breakout.safetensors or 4.2_tssm_breakout.safetensors and its card
beside this file. Training saves itself in runs/ and goes on from there. Weights are stored as
float16.
"""

import dataclasses
import sys
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from assets.training import DEVICE, keep, learn
from utils.course import store
from utils.data import minatar
from utils.world import Step
from utils.worlds import transdreamer, twm

RUNS = Path(__file__).parents[1] / "runs/4.2"
TWM = twm.Config(
    **{"stoch": 16, "classes": 16, "width": 128, "blocks": 2, "heads": 4, "head": 32},
    **{"between": 512, "memory": 4, "context": 8, "units": 256, "layers": 1},
)
TSSM = transdreamer.Config(
    **{"stoch": 16, "classes": 16, "width": 128, "blocks": 2, "heads": 4, "context": 10},
    **{"hidden": 128, "units": 256, "layers": 1, "kl_scale": 0.5, "discount": 0.99},
)
WORLDS = {  # name, class, sizes, rows of a window, updates
    "twm": ("TWM (4.2)", twm.TWM, TWM, 9, 8_000),
    "tssm": ("TransDreamer (4.2)", transdreamer.TransDreamer, TSSM, 10, 8_000),
}
BATCH, RATE, SEED = 48, 2e-3, 0


def main(name: str) -> None:
    title, kind, config, length, updates = WORLDS[name]
    path = Path(__file__).with_name(f"4.2_{name}_breakout.safetensors")
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator, data = torch.Generator(DEVICE).manual_seed(SEED), minatar.load("breakout")
    world = kind(MultiBinary(minatar.SHAPE), Discrete(3), config).to(DEVICE)
    about = dataclasses.asdict(config) | {"updates": updates, "batch": BATCH, "length": length}
    seconds = learn(
        lambda batch: world.loss(batch, generator)[:2],
        {"world": world},
        torch.optim.Adam(world.parameters(), RATE, eps=1e-5, fused=True),
        Step(*(part.to(DEVICE) for part in data.train)),
        generator,
        store.Run(RUNS, f"breakout_{name}", about),
        **{"updates": updates, "batch": BATCH, "length": length, "clip": 100.0},
    )
    facts = {"command": f"python -m assets.twm_breakout {name}", "seconds": round(seconds)}
    facts |= {"seed": SEED, "world": title, "updates": updates, "batch": BATCH}
    keep(world, config, path, title, data, **facts)


if __name__ == "__main__":
    main(*sys.argv[1:])
