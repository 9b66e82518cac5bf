"""Makes the checkpoints of lesson 4.1: IRIS on the fixed data of MinAtar Breakout.

    python -m assets.iris_breakout            exact pieces of 2 x 2 cells as tokens
    python -m assets.iris_breakout learned    128 learned codes

32,000 updates by the lesson's own loss, on a GPU if there is one (twenty minutes of a CPU). The
second has half of them, and its tokenizer 6,000 updates of its own before that (a minute). It
measures the result on test windows, and writes 4.1_breakout.safetensors (or
4.1_learned_breakout.safetensors) and its card beside this file. Training saves itself in runs/ and
goes on from there. Weights are stored as float16.
"""

import dataclasses
import sys
import time
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from assets.training import DEVICE, keep, learn
from utils.course import store
from utils.data import minatar
from utils.world import Step
from utils.worlds.iris import IRIS, Config
from utils.worlds.iris_tokenizer import Patches, Tokenizer

RUNS = Path(__file__).parents[1] / "runs/4.1"
CONFIG = Config(width=64, layers=2, heads=4, frames=3, keep=2, changed=5.0)
UPDATES, BATCH, RATE, SEED = {"exact": 32_000, "learned": 16_000}, 16, 2e-3, 0
CODES, TOKENIZER_UPDATES, TOKENIZER_RATE = 128, 6_000, 1e-2


def learned_tokens(frames: torch.Tensor, generator: torch.Generator) -> Tokenizer:
    """The lesson's tokenizer, dead codes moved as there."""
    tokenizer = Tokenizer(minatar.SHAPE, CODES).to(DEVICE)
    adam = torch.optim.Adam(tokenizer.parameters(), TOKENIZER_RATE, fused=True)
    for update in range(TOKENIZER_UPDATES):
        rate = TOKENIZER_RATE * min(1, 2.02 - 2 * update / TOKENIZER_UPDATES)
        adam.param_groups[0]["lr"] = rate
        index = torch.randint(len(frames), (32,), generator=generator, device=DEVICE)
        loss, _ = tokenizer.loss(frames[index])
        adam.zero_grad()
        loss.backward()
        adam.step()
        if update % 20 == 0 and update < 0.7 * TOKENIZER_UPDATES:
            z = tokenizer.embed(frames[index]).flatten(0, 1)
            onto = torch.randint(len(z), (CODES,), generator=generator, device=DEVICE)
            tokenizer.quantizer.revive(z, onto)
    return tokenizer


def train(world: IRIS, data: Step, generator: torch.Generator, name: str, updates: int) -> float:
    """By the lesson's own loss. Returns seconds."""
    about = dataclasses.asdict(CONFIG) | {"updates": updates, "batch": BATCH}
    parameters = [p for n, p in world.named_parameters() if not n.startswith("tokenizer")]
    return learn(
        lambda batch: world.loss(batch, generator)[:2],
        {"world": world},
        torch.optim.AdamW(parameters, RATE, betas=(0.9, 0.95), fused=True),
        data,
        generator,
        store.Run(RUNS, name, about),
        **{"updates": updates, "batch": BATCH, "length": CONFIG.frames, "clip": 1.0},
    )


def main(kind: str = "exact") -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator, data = torch.Generator(DEVICE).manual_seed(SEED), minatar.load("breakout")
    on_device = Step(*(part.to(DEVICE) for part in data.train))
    begun = time.process_time()
    if kind == "learned":
        tokenizer, path = learned_tokens(on_device.observation, generator), "4.1_learned_breakout"
        tokenizer.requires_grad_(False)
    else:
        tokenizer, path = Patches(data.train.observation, 2), "4.1_breakout"
    path = Path(__file__).with_name(f"{path}.safetensors")
    before = time.process_time() - begun
    world = IRIS(MultiBinary(minatar.SHAPE), Discrete(3), tokenizer, CONFIG).to(DEVICE)
    seconds = before + train(world, on_device, generator, f"checkpoint of {kind}", UPDATES[kind])
    title = "IRIS (4.1)" if kind == "exact" else "IRIS, learned tokens (4.1)"
    command = f"python -m assets.iris_breakout{' learned' * (kind == 'learned')}"
    facts = {"command": command, "seconds": round(seconds), "seed": SEED, "world": title}
    keep(world, CONFIG, path, title, data, **facts, updates=UPDATES[kind])


if __name__ == "__main__":
    main(*sys.argv[1:])
