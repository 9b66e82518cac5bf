"""Catch, paid late: a game small enough to train in for seconds, with pay whose moment is chance.

A ball falls one row a step from the top of a random column of six rows by five columns, and a
paddle on the bottom row moves below it. When the ball arrives there, 1 is earned if the paddle is
in its column, and the next ball appears at the top one step later. What is earned is paid in the
same step, one step later or two, each as likely, and nothing that is seen tells when. From any
place every ball can be reached in time, so best play earns 1 for every ball. An episode is cut
after `LIMIT` steps.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Discrete, MultiBinary
from gymnasium.vector import SyncVectorEnv
from jaxtyping import Int

ROWS, COLUMNS = 6, 5
BALLS = 6  # in an episode
LATEST = 2  # by how many steps pay may be late
LIMIT = ROWS * BALLS + LATEST  # steps of an episode: the last pay is inside


class Catch(gym.Env):
    """The environment. Actions are left, stay, right; what is seen are the bits of the ball's cell
    [6, 5] and of the paddle's column [5], one after the other."""

    observation_space, action_space = MultiBinary((ROWS + 1) * COLUMNS), Discrete(3)

    def __init__(self, latest: int = LATEST) -> None:
        """`latest`: by how many steps pay may be late; 0 pays at once."""
        self.latest = latest

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Int[np.ndarray, " 35"], dict]:
        super().reset(seed=seed)
        self.row, self.ball = 0, int(self.np_random.integers(COLUMNS))
        self.paddle, self.age = int(self.np_random.integers(COLUMNS)), 0
        self.owed = np.zeros(self.latest + 1)  # pay by steps from now
        return self.seen(), {}

    def step(self, action: int) -> tuple[Int[np.ndarray, " 35"], float, bool, bool, dict]:
        self.paddle = min(max(self.paddle + int(action) - 1, 0), COLUMNS - 1)
        self.row, self.age = self.row + 1, self.age + 1
        if self.row == ROWS:
            self.row, self.ball = 0, int(self.np_random.integers(COLUMNS))
        elif self.row == ROWS - 1 and self.paddle == self.ball:
            self.owed[self.np_random.integers(self.latest + 1)] += 1.0
        paid, self.owed = float(self.owed[0]), np.append(self.owed[1:], 0.0)
        return self.seen(), paid, False, self.age >= LIMIT, {}

    def seen(self) -> Int[np.ndarray, " 35"]:
        bits = np.zeros((ROWS + 1, COLUMNS), np.int8)
        bits[self.row, self.ball] = bits[ROWS, self.paddle] = 1
        return bits.flatten()


def vector(games: int, latest: int = LATEST) -> SyncVectorEnv:
    """`games` of them side by side."""
    return SyncVectorEnv([lambda: Catch(latest)] * games)
