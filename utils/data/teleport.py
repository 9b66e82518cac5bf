"""Teleport grid: the smallest world in which the parts of a frame must agree.

One object stands in one of the 16 cells of a 4 x 4 grid. The action *move* takes it to the next
cell, row by row, and from the last one to the first. The action *teleport* takes it to one of the
four corners, each with probability 1/4. Every cell by itself is easy to predict after a teleport: a
corner is occupied with probability 1/4. But no frame has none, or two.

Shape key: B sequences, T rows, H steps ahead, S outcomes, K parts of a frame, V values of a part.
"""

from __future__ import annotations

import math

import torch
from gymnasium.spaces import Discrete, MultiBinary
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from utils.world import Step

SIDE, CELLS = 4, 16
CORNERS = (0, 3, 12, 15)
MOVE, TELEPORT = 0, 1
OBSERVATION, ACTION = MultiBinary((SIDE, SIDE, 1)), Discrete(2)
NATS = math.log(4) / 2  # the entropy of the next frame when both actions are as likely


def teleport(batch: int, length: int, generator: torch.Generator | None = None) -> Step:
    """B sequences `[B, T, ...]` under random actions, on the generator's device, from a random
    cell, without reward and without an end."""
    device = "cpu" if generator is None else generator.device
    size = {"size": (batch, length), "generator": generator, "device": device}
    action, luck = torch.randint(2, **size), torch.randint(4, **size)
    corner = torch.tensor(CORNERS, device=device)[luck]
    cells = [torch.randint(CELLS, (batch,), generator=generator, device=device)]
    for t in range(1, length):
        moved = (cells[-1] + 1) % CELLS
        cells.append(torch.where(action[:, t] == TELEPORT, corner[:, t], moved))
    first = torch.zeros(batch, length, dtype=torch.bool, device=device)
    first[:, 0] = True
    frames = one_hot(torch.stack(cells, 1), CELLS).to(torch.int8)
    action = one_hot(action, 2).float() * ~first[..., None]
    nothing = torch.zeros(batch, length, device=device)
    frames = frames.unflatten(-1, (SIDE, SIDE, 1))
    return Step(frames, action, nothing, first, torch.zeros_like(first))


def possible(
    start: Float[Tensor, "B 4 4 1"], action: Float[Tensor, "B H 2"]
) -> Bool[Tensor, "B H 16"]:
    """The cells in which the object may be after each action, from a frame in which it is seen."""
    cells = start.flatten(1) > 0.5
    corners = torch.zeros_like(cells)
    corners[:, list(CORNERS)] = True
    seen = []
    for t in range(action.shape[1]):
        cells = torch.where(action[:, t, TELEPORT, None] > 0.5, corners, cells.roll(1, 1))
        seen.append(cells)
    return torch.stack(seen, 1)


def valid(
    frames: Float[Tensor, "B H 4 4 1"],
    start: Float[Tensor, "B 4 4 1"],
    action: Float[Tensor, "B H 2"],
) -> Bool[Tensor, "B H"]:
    """Frames that the world could show at that time: one object, in a possible cell. A cell is
    occupied if its probability is above a half."""
    seen = frames.flatten(2) > 0.5
    return (seen.sum(-1) == 1) & (seen & possible(start, action)).any(-1)


def torn(
    probability: Float[Tensor, " S"], outcomes: Int[Tensor, "S K"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """What becomes of a distribution over frames if the parts are predicted one by one, each from
    its own probabilities, the best there are.

    Outcome s (its K parts are whole numbers; all outcomes differ) has the given probability. The
    best prediction for part k alone is its marginal q_k(v), the total probability of the outcomes
    in which it is v. Returns, for the product of these marginals,

        nats    -sum_s p_s sum_k log q_k(outcome_sk)        the cross entropy of a frame
        valid    sum_s prod_k q_k(outcome_sk)               the chance to draw a frame that exists
    """
    parts = one_hot(outcomes).to(probability.dtype)  # [S, K, V]
    marginal = (probability[:, None, None] * parts).sum(0)
    chance = (marginal * parts).sum(-1)  # of each part of each outcome
    nats = -(probability * chance.log().sum(-1)).sum()
    return nats, chance.prod(-1).sum()
