"""The descent: a game of four steps that nobody plays well who looks at the next step only.

A walker goes down a slope in `ROWS` steps, each to the left or to the right, and is paid the number
that lies where he arrives. He sees the numbers on all places that he can still reach, a triangle:
two places in the next row, three in the one after it. A step cuts off one edge of the triangle.

        o              now
      2  -1            a step to the left pays 2, and the -1 can never be reached again
     0  1  -2
   -1  2  0  1
    0 -2  1  1  2

Slopes are of a collection. The first step decides about `STAKE` or more, and neither the next row
nor the next two give it away: what looks better there is the better way in half of the slopes, and
the worse one in the other half. Nothing is left to chance once an episode has begun.

Shape key: N slopes, R = `ROWS` rows, C = R + 1 places in the longest row; a row's places stand at
its left, and behind them zeros.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import SyncVectorEnv
from jaxtyping import Float

ROWS = 4
LARGEST = 2  # numbers are whole, from -2 to 2, each as likely
STAKE = 3  # what the first step decides about, at least
PLACES = [(row, place) for row in range(ROWS) for place in range(row + 2)]
SHAPE = ROWS, ROWS + 1
CELLS = tuple(np.array(PLACES).T)  # slope[:, *CELLS] lists its 14 numbers
OBSERVATION = Box(-LARGEST, LARGEST, (len(PLACES),), np.float32)
ACTIONS = Discrete(2)  # left, right


def drawn(count: int, rng: np.random.Generator) -> Float[np.ndarray, "N R C"]:
    """Slopes of any kind."""
    slopes = np.zeros((count, *SHAPE), np.float32)
    slopes[:, *CELLS] = rng.integers(-LARGEST, LARGEST + 1, (count, len(PLACES)))
    return slopes


def stepped(slopes: Float[np.ndarray, "N R C"], right: np.ndarray) -> Float[np.ndarray, "N R C"]:
    """What is left of the slopes below the place that a step led to (`right` [N]: 0 or 1)."""
    lower = np.zeros_like(slopes)
    moved = np.where(right[:, None, None] == 1, np.roll(slopes, -1, 2), slopes)
    for row in range(1, ROWS):
        lower[:, row - 1, : row + 1] = moved[:, row, : row + 1]
    return lower


def worth(slopes: Float[np.ndarray, "N R C"], sight: int) -> Float[np.ndarray, "N 2"]:
    """The most that the next `sight` rows can pay, by the first step: backward induction."""
    value = np.zeros((len(slopes), ROWS + 2))
    for row in reversed(range(sight)):
        value = slopes[:, row] + np.maximum(value[:, :-1], value[:, 1:])
        value = np.pad(value, ((0, 0), (0, 1)))
    return value[:, :2]


def paid(
    slopes: Float[np.ndarray, "N R C"], sight: int, rng: np.random.Generator
) -> Float[np.ndarray, " N"]:
    """What a walker earns who sees `sight` rows and tosses a coin where both ways look alike."""
    total = np.zeros(len(slopes))
    for _ in range(ROWS):
        left, better = worth(slopes, sight).T
        right = (better + 0.5 * rng.random(len(slopes)) > left + 0.25).astype(int)
        total += slopes[np.arange(len(slopes)), 0, right]
        slopes = stepped(slopes, right)
    return total


def collection(count: int, seed: int) -> Float[np.ndarray, "N R C"]:
    """Slopes, a quarter of each kind: the next row is right about the first step or wrong, and the
    next two are right or wrong. Slopes where a sight leaves it open are not among them. Another
    seed, other slopes."""
    rng, kinds = np.random.default_rng(seed), [[], [], [], []]
    while min(map(len, kinds)) * 4 < count:
        slopes = drawn(20_000, rng)
        truth, one, two = (np.diff(worth(slopes, sight))[:, 0] for sight in (ROWS, 1, 2))
        clear = (np.abs(truth) >= STAKE) & (one != 0) & (two != 0)
        kind = 2 * (one * truth > 0) + (two * truth > 0)
        for number in range(4):
            kinds[number].extend(slopes[clear & (kind == number)])
    mixed = [slope for quarter in zip(*kinds, strict=False) for slope in quarter]
    return np.stack(mixed[:count])


class Descent(gym.Env):
    """The environment. What is seen are the 14 numbers, row by row; 0 where no row is left."""

    observation_space, action_space = OBSERVATION, ACTIONS

    def __init__(self, slopes: Float[np.ndarray, "N R C"]) -> None:
        """`slopes`: every episode has one of them."""
        self.slopes = slopes

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, " 14"], dict]:
        super().reset(seed=seed)
        self.rows_left = ROWS
        self.slope = self.slopes[self.np_random.integers(len(self.slopes), size=1)]
        return self.seen(), {}

    def step(self, action: int) -> tuple[Float[np.ndarray, " 14"], float, bool, bool, dict]:
        pay = float(self.slope[0, 0, action])
        self.slope, self.rows_left = stepped(self.slope, np.array([action])), self.rows_left - 1
        return self.seen(), pay, self.rows_left == 0, False, {}

    def seen(self) -> Float[np.ndarray, " 14"]:
        return self.slope[0, *CELLS]


def vector(games: int, slopes: Float[np.ndarray, "N R C"]) -> SyncVectorEnv:
    """`games` of them side by side."""
    return SyncVectorEnv([lambda: Descent(slopes)] * games)
