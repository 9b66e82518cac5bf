"""Two floors that look alike: which one am I on? (lesson 4.2)

Four rooms in a ring, on each of two floors; an action steps left, stays, or steps right. A row
shows the room. The floor is drawn once for each walk and never changes. Room 0 tells it: it pays 1
on the upper floor and -1 on the lower, and with a lamp it shows the floor as well. Whoever has been
in room 0 and remembers it knows where they are; whoever sees the present row only must guess.

Shape key: B sequences, T rows, F features.
"""

from __future__ import annotations

import torch
from gymnasium.spaces import Discrete, MultiBinary
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from utils.world import Step

ROOMS, FLOORS, LENGTH = 4, 2, 24
PLACES = ROOMS * FLOORS
OBSERVATION, ACTION = MultiBinary(ROOMS + FLOORS), Discrete(3)  # room, lamp; left, stay, right
DRIFT = (0.2, 0.2, 0.6)  # of a walk: it comes past all rooms


def walks(
    batch: int, lamp: bool, generator: torch.Generator | None = None
) -> tuple[Step, Int[Tensor, "B T"]]:
    """B walks `[B, 24, ...]` from places drawn at random, and the place of every row: its room,
    plus 4 on the upper floor."""
    chances = torch.tensor(DRIFT).expand(batch, 3)
    index = torch.multinomial(chances, LENGTH, replacement=True, generator=generator)
    start = torch.randint(ROOMS, (batch, 1), generator=generator)
    floor = torch.randint(FLOORS, (batch, 1), generator=generator).expand(batch, LENGTH)
    moves = (index - 1).index_fill(1, torch.tensor([0]), 0)
    room = (start + moves.cumsum(1)) % ROOMS
    told = (room == 0)[..., None]
    observation = torch.cat([one_hot(room, ROOMS), one_hot(floor, FLOORS) * told * lamp], -1)
    first = torch.zeros(batch, LENGTH, dtype=torch.bool)
    first[:, 0] = True
    action = one_hot(index, 3).float().masked_fill(first[..., None], 0.0)
    reward = ((2.0 * floor - 1.0) * (room == 0)).masked_fill(first, 0.0)
    steps = Step(observation.to(torch.int8), action, reward, first, torch.zeros_like(first))
    return steps, room + ROOMS * floor


def probe(features: Float[Tensor, "B T F"], place: Int[Tensor, "B T"]) -> float:
    """How often a linear map of features finds the place: fitted by least squares to one half of
    the walks, judged on the other. Who knows the room alone is right every second time."""
    x = torch.cat([features, torch.ones_like(features[..., :1])], -1).double()
    half = len(x) // 2
    known, target = x[:half].flatten(0, 1), one_hot(place[:half].flatten(), PLACES).double()
    ridge = 1e-3 * len(known) * torch.eye(known.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(known.T @ known + ridge, known.T @ target)
    return ((x[half:] @ weights).argmax(-1) == place[half:]).double().mean().item()
