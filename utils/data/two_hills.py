"""A line with two hills of reward, as an exact world: a small one close by, a large one forty steps
away. Whoever looks fifteen steps ahead finds the small one.

Shape key: B walkers.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor

from utils.world import Dreamt, Spec, State, Step

LEFT, RIGHT = -3.0, 6.0  # the ends of the line
SPEED = 0.1  # a step of action 1
HILLS = ((-1.0, 0.2), (4.0, 1.0))  # place, height: 10 steps to the left of 0, 40 to the right
WIDTH = 0.5  # standard deviation of a hill
POSTS = 31
OBSERVATION = Box(LEFT, RIGHT, (1,), np.float32)
ACTION = Box(-1, 1, (1,), np.float32)


def reward_at(place: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """What every step that ends in a place pays."""
    return sum(height * torch.exp(-0.5 * ((place - at) / WIDTH) ** 2) for at, height in HILLS)


class TwoHills:
    """The line, seen whole. A walker starts anywhere; state and observation are its place."""

    def __init__(self) -> None:
        self.spec = Spec(OBSERVATION, ACTION, cont=False)

    def initial(self, batch: int) -> State:
        """Everybody at 0."""
        return {"place": torch.zeros(batch)}

    def anywhere(self, batch: int, generator: torch.Generator | None = None) -> State:
        """Walkers spread evenly over the line."""
        share = torch.rand(batch, generator=generator)
        return {"place": LEFT + (RIGHT - LEFT) * share}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """The observation shows everything."""
        return {"place": step.observation.squeeze(-1)}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B 1"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        place = (state["place"] + SPEED * action.squeeze(-1).clamp(-1, 1)).clamp(LEFT, RIGHT)
        return Dreamt({"place": place}, reward_at(place), None)

    def decode(self, state: State) -> Float[Tensor, "B 1"]:
        return state["place"][:, None]

    def features(self, state: State) -> Float[Tensor, "B 31"]:
        """How near each of 31 posts along the line is, from 0 to 1: for actors and critics, who so
        can learn one thing here and another there."""
        posts = torch.linspace(LEFT, RIGHT, POSTS)
        gap = (RIGHT - LEFT) / (POSTS - 1)
        return torch.exp(-0.5 * ((state["place"][:, None] - posts) / gap) ** 2)
