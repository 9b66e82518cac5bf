"""What TransDreamer's training step costs beside DreamerV2's, and TWM's dream with its memory
beside the same without: the bench of `transdreamer.py` and `twm.py`.

Each function returns what is timed as calls, by name, ours first.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from torch.nn.functional import one_hot

from utils.world import Step, rollout
from utils.worlds.dreamer_v2 import Config as RecurrentConfig
from utils.worlds.dreamer_v2 import DreamerV2
from utils.worlds.transdreamer import Config, TransDreamer
from utils.worlds.twm import SMALL, TWM

Calls = dict[str, Callable[[], object]]
LINE, ACTIONS = Box(-1.0, 1.0, (8,), np.float32), Discrete(4)
SIZES = {"stoch": 16, "classes": 16, "hidden": 128, "units": 128, "layers": 2}


def windows(batch: int, time: int) -> Step:
    """Random rows in the middle of an episode."""
    action = one_hot(torch.randint(4, (batch, time)), 4).float()
    nothing, never = torch.zeros(batch, time), torch.zeros(batch, time, dtype=torch.bool)
    return Step(torch.rand(batch, time, 8) * 2 - 1, action, nothing, never, never)


def _step(world: nn.Module, rows: Step) -> Callable[[], None]:
    """A train step as the lesson's loop has it."""
    adam = torch.optim.Adam(world.parameters(), 1e-4, fused=True)

    def step() -> None:
        adam.zero_grad()
        world.loss(rows)[0].backward()
        nn.utils.clip_grad_norm_(world.parameters(), 100.0)
        adam.step()

    return step


def tssm(batch: int = 16, time: int = 64) -> Calls:
    """Both worlds with about 811,000 parameters, on windows of 64 rows."""
    rows = windows(batch, time)
    attending = TransDreamer(
        LINE, ACTIONS, Config(**SIZES, width=128, blocks=2, heads=4, context=time)
    )
    recurrent = DreamerV2(LINE, ACTIONS, RecurrentConfig(**SIZES, deter=281))
    return {"tssm": _step(attending, rows), "rssm": _step(recurrent, rows)}


def twm(batch: int = 64, horizon: int = 15) -> Calls:
    """TWM's dreams of 15 steps, each word read once, and all words again at every step."""
    world, rows = TWM(LINE, ACTIONS, SMALL), windows(batch, 20)
    state = world.initial(batch)
    for t in range(20):
        state = world.observe(state, Step(*(part[:, t] for part in rows)))
    action = one_hot(torch.randint(4, (batch,)), 4).float()

    def policy(state, generator):
        return action

    def once() -> None:
        with torch.no_grad():
            world.dream(state, policy, horizon)

    def again() -> None:
        with torch.no_grad():
            rollout(world, state, policy, horizon)

    return {"once": once, "again": again}
