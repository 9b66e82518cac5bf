"""The dodge game: a world small enough to train in for seconds, and large enough to cheat in.

A player moves among eight columns. While no fireball is in the air, one is launched from the top of
the player's own column with probability 0.3; it falls one row a step. Whoever stands in its column
when it lands is hit, and the episode ends. Every step pays 1, less 0.1 if the player moved: who
could be sure that no fireball comes would stand still. All that is random is the launch, and it
shows in a single number, the height.

Batches of games are tensors on one device; rows are in the arrival convention, and an episode that
ended starts over in the next row.

Shape key: B games, T time.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn.functional import one_hot

from utils.nn.random import uniform
from utils.world import Step

COLUMNS, ROWS = 8, 5
LAUNCH = 0.3  # probability of a launch in a step with no fireball in the air
LIMIT = 200  # steps after which a game is cut off
OBSERVATION = Box(-1.0, 1.0, (3,), np.float32)
EFFORT = 0.1  # what a move costs
ACTIONS = Discrete(3)  # left, stay, right


class Dodge:
    """B games side by side, reset one by one.

    What is seen are three numbers: the player's column, from -1 to 1; how far to the right the
    fireball is, in units of the width; its height, 1 at the top, 0 where none is in the air.
    """

    def __init__(self, batch: int, generator: torch.Generator, device: torch.device | str = "cpu"):
        self.batch, self.generator = batch, generator
        self.zeros = torch.zeros(batch, device=device)

    def reset(self) -> Step:
        """Starts every game over: the player anywhere, no fireball."""
        self.column, self.fire, self.height = self._fresh()
        self.over = torch.zeros_like(self.zeros, dtype=torch.bool)
        return self._row(self.zeros[:, None].expand(-1, 3).clone(), ~self.over)

    def step(self, action: Float[Tensor, "B 3"]) -> Step:
        """Moves players, then the fireball; one that lands hits, a new one may be launched. A game
        that was over starts anew, and its action is ignored."""
        first, column = self.over, (self.column + action.argmax(-1) - 1).clamp(0, COLUMNS - 1)
        falling = self.height > 0
        height = (self.height - 1).clamp(min=0)
        hit = falling & (height == 0) & (self.fire == column)
        launch = ~falling & (self._noise() < LAUNCH)
        fire = torch.where(launch, column, self.fire)
        height = torch.where(launch, ROWS, height)
        moved, fresh = (column, fire, height), self._fresh()
        parts = (torch.where(first, new, old) for new, old in zip(fresh, moved, strict=True))
        self.column, self.fire, self.height = parts
        self.over = hit & ~first
        return self._row(action.float() * ~first[:, None], first)

    def _noise(self) -> Float[Tensor, " B"]:
        return uniform((self.batch,), self.zeros, self.generator)

    def _fresh(self) -> tuple[Tensor, Tensor, Tensor]:
        column = (self._noise() * COLUMNS).long()
        return column, torch.zeros_like(column), torch.zeros_like(column)

    def _row(self, action: Tensor, first: Tensor) -> Step:
        distance = torch.where(self.height > 0, self.fire - self.column, 0) / COLUMNS
        column = 2 * self.column / (COLUMNS - 1) - 1
        seen = torch.stack([column, distance, self.height / ROWS], -1)
        moved = action[:, 0] + action[:, 2]
        return Step(seen, action, ~first * (1 - EFFORT * moved), first, self.over.clone())


def record(games: int, steps: int, generator: torch.Generator, hold: float = 0.7) -> Step:
    """Rows [B, T, ...] of players that keep their last random action with probability `hold`."""
    game = Dodge(games, generator)
    row, rows = game.reset(), []
    action = torch.zeros(games, dtype=torch.long)
    for _ in range(steps):
        rows.append(row)
        drawn = (uniform((games,), game.zeros, generator) * 3).long()
        action = torch.where(uniform((games,), game.zeros, generator) < hold, action, drawn)
        row = game.step(one_hot(action, 3).float())
    return Step(*(torch.stack(column, 1) for column in zip(*rows, strict=True)))


def picture(observation: Float[Tensor, " 3"], size: int = 8) -> UInt8[np.ndarray, "H W 3"]:
    """A frame of what a game, or a dream of one, shows: player blue, fireball orange.

    Places are not rounded to cells, so that a dream's doubts can be seen.
    """
    column, distance, height = (float(v) for v in observation)
    frame = np.full(((ROWS + 1) * size, COLUMNS * size, 3), 245, np.uint8)
    x = (column + 1) / 2 * (COLUMNS - 1)
    squares = [(x, 0.0, (0, 114, 178))]
    if height > 0.1:
        squares.append((x + distance * COLUMNS, height * ROWS, (213, 94, 0)))
    for across, up, colour in squares:
        left, top = round(across * size), round((ROWS - up) * size)
        frame[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = colour
    return frame
