"""Questions: a cue is seen once, and asked for at any time after (lesson 4.2).

A row shows two numbers. The first is the cue, -1 or 1: it is seen in row 0 only. The second is a
coin, thrown anew in every row, which is nothing but noise. The action says whether the row holds a
question (1) or not (0); what a question pays is the cue, three times. A world that does not read
rewards never sees the cue again, so to foretell what a question pays it must remember row 0.

Shape key: B sequences, T rows.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box

from utils.world import Step, World

LENGTH = 65  # rows: the longest gap is 64
PAY = 3.0
OBSERVATION = Box(-1, 1, (2,), np.float32)
ACTION = Box(0, 1, (1,), np.float32)


def questions(batch: int, generator: torch.Generator | None = None) -> Step:
    """B sequences `[B, 65, ...]`; every row but the first asks with probability one half."""
    device = "cpu" if generator is None else generator.device
    draws = torch.randint(2, (batch, 1 + 2 * LENGTH), generator=generator, device=device)
    cue, coin = (2.0 * v - 1.0 for v in (draws[:, :1], draws[:, 1 : 1 + LENGTH]))
    first = torch.zeros(batch, LENGTH, dtype=torch.bool, device=device)
    first[:, 0] = True
    asked = draws[:, 1 + LENGTH :].float().masked_fill(first, 0.0)
    observation = torch.stack([cue * first, coin], -1)
    return Step(observation, asked[..., None], PAY * cue * asked, first, torch.zeros_like(first))


@torch.no_grad()
def recall(world: World, gap: int, generator: torch.Generator, count: int = 256) -> float:
    """Share of questions, `gap` rows after the cue, of which the world foretells the pay: right in
    sign, and at least half of it. The rows in between are filtered by samples."""
    steps = questions(count, generator)
    state, _ = world.filter(Step(*(v[:, :gap] for v in steps)), generator)
    state = {name: part[:, -1] for name, part in state.items()}
    ask = torch.ones_like(steps.action[:, 0])
    pay = world.imagine(state, ask, mode=True).reward
    return (pay * steps.observation[:, 0, 0] >= PAY / 2).float().mean().item()
