"""CartPole with its velocities hidden, B games as tensors: a task that one picture cannot solve.

The physics are those of gymnasium's CartPole-v1: a cart is pushed left or right, 50 times a second,
so that the pole on it stays within 12 degrees and the cart within 2.4 of the middle. Every step
pays 1. Only the two positions are seen. Which way the pole is falling has to be remembered. Rows
are in the arrival convention, and an episode that ended starts over in the next row.

Shape key: B games, T time.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import one_hot

from utils.nn.random import uniform
from utils.world import Step

GRAVITY, CART, POLE, HALF_LENGTH, FORCE, SECONDS = 9.8, 1.0, 0.1, 0.5, 10.0, 0.02
EDGE, TILT = 2.4, 12 * math.pi / 180  # where an episode ends
OBSERVATION = Box(-2.0, 2.0, (2,), np.float32)  # cart and pole, in units of EDGE and TILT
ACTIONS = Discrete(2)


def physics(state: Float[Tensor, "B 4"], action: Float[Tensor, "B 2"]) -> Float[Tensor, "B 4"]:
    """One step of Euler: place and speed of the cart, angle and angular speed of the pole."""
    _, x_speed, angle, spin = state.unbind(-1)
    push = FORCE * (action[:, 1] - action[:, 0])
    cos, sin = angle.cos(), angle.sin()
    drag = (push + POLE * HALF_LENGTH * spin.square() * sin) / (CART + POLE)
    inertia = HALF_LENGTH * (4 / 3 - POLE * cos.square() / (CART + POLE))
    spin_up = (GRAVITY * sin - cos * drag) / inertia
    speed_up = drag - POLE * HALF_LENGTH * spin_up * cos / (CART + POLE)
    change = torch.stack([x_speed, speed_up, spin, spin_up], -1)
    return state + SECONDS * change


class CartPole:
    """B games side by side, reset one by one.

    Args:
        wide: start anywhere (and at any speed a good player meets), not near rest in the middle:
            for data to learn from.
    """

    def __init__(self, batch: int, generator: torch.Generator, wide: bool = False):
        self.batch, self.generator = batch, generator
        self.spread = torch.tensor([1.5, 1.0, 0.12, 1.0] if wide else [0.05] * 4)

    def reset(self) -> Step:
        """Starts every game over."""
        self.state = self._fresh()
        self.over = torch.zeros(self.batch, dtype=torch.bool)
        return self._row(torch.zeros(self.batch, 2), ~self.over)

    def step(self, action: Float[Tensor, "B 2"]) -> Step:
        """Pushes the carts. A game that was over starts anew, and its action is ignored."""
        first = self.over
        self.state = torch.where(first[:, None], self._fresh(), physics(self.state, action))
        fallen = (self.state[:, 0].abs() > EDGE) | (self.state[:, 2].abs() > TILT)
        self.over = fallen & ~first
        return self._row(action.float() * ~first[:, None], first)

    def _fresh(self) -> Float[Tensor, "B 4"]:
        noise = uniform((self.batch, 4), self.spread, self.generator)
        return (2 * noise - 1) * self.spread

    def _row(self, action: Tensor, first: Tensor) -> Step:
        seen = torch.stack([self.state[:, 0] / EDGE, self.state[:, 2] / TILT], -1)
        return Step(seen, action, (~first).float(), first, self.over.clone())


def record(games: int, steps: int, generator: torch.Generator) -> Step:
    """Rows [B, T, ...] of random pushes, from wide starts."""
    game = CartPole(games, generator, wide=True)
    row, rows = game.reset(), []
    for _ in range(steps):
        rows.append(row)
        pushed = uniform((games,), game.spread, generator) < 0.5
        row = game.step(one_hot(pushed.long(), 2).float())
    return Step(*(torch.stack(column, 1) for column in zip(*rows, strict=True)))
