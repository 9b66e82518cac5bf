"""The hall: a world with two things in it, of which the reward asks for one.

A walker stands in one of `CELLS` cells of a corridor, and on the wall is a dial with `MARKS` marks.
He can step left or right, and turn the dial down or up; at the ends both stay where they are. Cell
and dial are seen as one-hot numbers. Beside them stand `noise` numbers that are drawn anew in every
row, loud, and mean nothing.

- `corridor_reward`: 1 in the last cell, -1 in the first.
- `dial_reward`: 1 at the last mark, -1 at the first. The same kind of task, about the other thing.

Shape key: B walkers side by side, T rows.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from utils.world import Step

CELLS, MARKS = 7, 5
LOUD = 3.0  # standard deviation of the noise
ACTIONS = Discrete(4)  # left, right, dial down, dial up
MOVES = torch.tensor([[-1, 0], [1, 0], [0, -1], [0, 1]])

Place = Int[Tensor, "B 2"]  # cell and mark


def observation_space(noise: int) -> Box:
    return Box(-np.inf, np.inf, (CELLS + MARKS + noise,), np.float32)


def moved(place: Place, action: Float[Tensor, "B 4"]) -> Place:
    """Where walkers and dials are after one action."""
    ends = torch.tensor([CELLS - 1, MARKS - 1])
    return (place + MOVES[action.argmax(-1)]).clamp(min=0).minimum(ends)


def seen(
    place: Place, noise: int, generator: torch.Generator | None = None
) -> Float[Tensor, "B O"]:
    """What walkers see."""
    cell, mark = place.unbind(-1)
    loud = LOUD * torch.randn(len(place), noise, generator=generator)
    return torch.cat([one_hot(cell, CELLS).float(), one_hot(mark, MARKS).float(), loud], -1)


def corridor_reward(observation: Float[Tensor, "*shape O"]) -> Float[Tensor, "*shape"]:
    """What is paid for arriving in what is seen; the known task."""
    return observation[..., CELLS - 1] - observation[..., 0]


def dial_reward(observation: Float[Tensor, "*shape O"]) -> Float[Tensor, "*shape"]:
    """The new task; it reads from what is seen, or from what is dreamt to be seen."""
    return observation[..., CELLS + MARKS - 1] - observation[..., CELLS]


def anywhere(batch: int, generator: torch.Generator | None = None) -> Place:
    """Cells and marks, each as likely."""
    cell = torch.randint(CELLS, (batch,), generator=generator)
    return torch.stack([cell, torch.randint(MARKS, (batch,), generator=generator)], -1)


def record(batch: int, rows: int, noise: int, generator: torch.Generator | None = None) -> Step:
    """Random walks `[B, T, ...]` from anywhere, in the arrival convention; the known reward."""
    place = anywhere(batch, generator)
    observations, actions = [seen(place, noise, generator)], [torch.zeros(batch, 4)]
    for _ in range(rows - 1):
        action = one_hot(torch.randint(4, (batch,), generator=generator), 4).float()
        place = moved(place, action)
        observations.append(seen(place, noise, generator))
        actions.append(action)
    observation, action = torch.stack(observations, 1), torch.stack(actions, 1)
    first = torch.zeros(batch, rows, dtype=torch.bool)
    first[:, 0] = True
    reward = corridor_reward(observation) * ~first
    return Step(observation, action, reward, first, torch.zeros_like(first))
