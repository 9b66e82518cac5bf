"""Makes the checkpoint of lesson 2.1: V and M of MinAtar Breakout, by the lesson's own losses.

    python -m assets.breakout_vmc

It trains V, then M, on the ladder's fixed data set, for a number of steps that takes some minutes
on one core, measures both on the test windows, and writes 2.1_breakout.safetensors and its card
beside this file. Weights are stored as float16; `load_state_dict` widens them again.
"""

import time
from pathlib import Path

import torch
from torch import nn

from utils.course import store
from utils.data import minatar
from utils.data.sequences import sample_windows
from utils.evaluate import breakout, ladder
from utils.worlds.vmc import VMC, CellVAE, VMCConfig

PATH = Path(__file__).with_name("2.1_breakout.safetensors")
VISION = {"latent": 32, "hidden": 256}
MEMORY = {"hidden": 256}
VISION_STEPS, MEMORY_STEPS, SEED = 8000, 5500, 0


def falling(optimiser: torch.optim.Optimizer, steps: int):
    """Half of the steps at the full rate, then down to nothing."""
    return torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, 2 - 2 * step / steps))


def train_vision(vision: CellVAE, frames: torch.Tensor, generator: torch.Generator) -> None:
    """V on frames drawn at random, 256 at a time."""
    adam = torch.optim.Adam(vision.parameters(), 2e-3, fused=True)
    rate = falling(adam, VISION_STEPS)
    for step in range(VISION_STEPS):
        batch = frames[torch.randint(len(frames), (256,), generator=generator)]
        loss, parts = vision.loss(batch, generator)
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
        if step % 1000 == 0:
            print(f"V {step}", *(f"{k} {v:.2f}" for k, v in parts.items()), flush=True)


def train_memory(world: VMC, data, generator: torch.Generator) -> None:
    """M on windows of 16 rows that may hold an end anywhere, 64 at a time."""
    memory = [p for name, p in world.named_parameters() if not name.startswith("vision")]
    adam = torch.optim.Adam(memory, 2e-3, fused=True)
    rate = falling(adam, MEMORY_STEPS)
    for step in range(MEMORY_STEPS):
        loss, parts, _ = world.loss(sample_windows(data, 64, 16, generator), generator)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(memory, 1.0)
        adam.step()
        rate.step()
        if step % 1000 == 0:
            print(f"M {step}", *(f"{k} {v:.3f}" for k, v in parts.items()), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    begun, generator = time.process_time(), torch.Generator().manual_seed(SEED)
    data, game = minatar.load("breakout"), minatar.MinAtar("breakout")
    vision = CellVAE(game.observation_space, **VISION)
    train_vision(vision, data.train.observation, generator)
    world = VMC(vision, game.action_space, VMCConfig(**MEMORY))
    train_memory(world, data.train, generator)
    seconds = time.process_time() - begun
    weights = {name: value.half() for name, value in world.state_dict().items()}
    store.save(PATH, {"vision": VISION, "memory": MEMORY, "weights": weights})
    world.load_state_dict(weights)  # what is measured is what was stored
    test = breakout.windows(data)
    row = ladder.measure(
        world, test.steps, breakout.CONTEXT, breakout.BREAKOUT, "V-M-C", subsets=test.subsets
    )
    claims = {name: round(v, 4) for name, v in row.items() if isinstance(v, float)}
    del claims["seconds"]
    facts = {"command": "python -m assets.breakout_vmc", "seconds": round(seconds)}
    facts |= {"device": "1 CPU core (x86_64), CPU seconds", "seed": SEED, "stored as": "float16"}
    print(store.card(PATH, **facts, claims=claims))


if __name__ == "__main__":
    main()
