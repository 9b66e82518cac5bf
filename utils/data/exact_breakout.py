"""MinAtar's Breakout as a world that is right: any number of games side by side, on tensors.

It is the truth beside a dream, the row of the ladder that makes no mistake, and, in a `DreamEnv`,
a fast Breakout for agents. `tests/data/test_exact_breakout.py` steps it beside the game itself.

Shape key: B games. A place is (row, column); a way is (down, right), each 1 or -1.
"""

from __future__ import annotations

import torch
from gymnasium.spaces import Discrete, MultiBinary
from jaxtyping import Bool, Float, Int
from torch import Tensor

from utils.data.minatar import SHAPE
from utils.world import Dreamt, Spec, State, Step, where

FLOOR = 9  # row of the paddle: a ball that enters it is lost


class ExactBreakout:
    """The rules of Breakout (MinAtar 1.0.15), deterministic: nothing is ever drawn."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.spec = Spec(MultiBinary(SHAPE), Discrete(3), differentiable=False)
        self.device = torch.device(device)

    def initial(self, batch: int) -> State:
        """The start of a game, ball on the left."""
        device = self.device
        bricks = torch.zeros(batch, 10, 10, dtype=torch.bool, device=device)
        bricks[:, 1:4] = True
        start = torch.tensor([3, 0], device=device).expand(batch, 2)
        return {
            "ball": start.clone(),
            "trail": start.clone(),  # where the ball was
            "way": torch.ones_like(start),
            "paddle": torch.full((batch,), 4, device=device),
            "bricks": bricks,
            "strike": torch.zeros(batch, dtype=torch.bool, device=device),
        }

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """The state that was expected if it looks like the frame, else what the frame alone says.

        One frame in which the ball flies freely says all, and the states after it are exact. A
        frame right after a bounce may leave open where the ball goes next.
        """
        expected, frame = self.imagine(state, step.action).state, step.observation.bool()
        same = (self.decode(expected).bool() == frame).flatten(1).all(1) & ~step.first
        return where(same, expected, read(frame))

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B 3"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One step of the game; a game that is over stands still."""
        bricks, (row, column), (down, right) = (
            state["bricks"],
            state["ball"].unbind(1),
            state["way"].unbind(1),
        )
        move = action.new_tensor([0, -1, 1]).long()[action.argmax(1)]  # stay, left, right
        paddle = (state["paddle"] + move).clamp(0, 9)
        next_row, next_column = row + down, column + right
        side, ceiling = (next_column < 0) | (next_column > 9), next_row < 0
        right = torch.where(side, -right, right)
        next_row, next_column = next_row.clamp(0, FLOOR), next_column.clamp(0, 9)

        games = torch.arange(len(row), device=row.device)
        brick = bricks[games, next_row, next_column] & ~ceiling
        hit = brick & ~state["strike"]  # right after a hit, the ball flies through a brick
        below = (next_row == FLOOR) & ~brick
        straight = below & (column == paddle)
        back = below & ~straight & (next_column == paddle)

        bounced = hit | straight | back
        right = torch.where(back, -right, right)
        down = torch.where(ceiling | bounced, -down, down)
        next_row = torch.where(bounced, row, next_row)
        after = {
            "ball": torch.stack([next_row, next_column], 1),
            "trail": state["ball"],
            "way": torch.stack([down, right], 1),
            "paddle": paddle,
            "bricks": _broken(bricks, hit, row + state["way"][:, 0], next_column, below),
            "strike": brick,
        }
        over = row == FLOOR
        after = where(over, state, after)
        return Dreamt(after, (hit & ~over).float(), (after["ball"][:, 0] != FLOOR).float())

    def decode(self, state: State) -> Float[Tensor, "B 10 10 4"]:
        games = torch.arange(len(state["paddle"]), device=state["paddle"].device)
        frame = torch.zeros(len(games), *SHAPE, device=games.device)
        frame[games, FLOOR, state["paddle"], 0] = 1
        frame[games, *state["ball"].unbind(1), 1] = 1
        frame[games, *state["trail"].unbind(1), 2] = 1
        frame[..., 3] = state["bricks"].float()
        return frame


def _broken(
    bricks: Bool[Tensor, "B 10 10"],
    hit: Bool[Tensor, " B"],
    row: Int[Tensor, " B"],
    column: Int[Tensor, " B"],
    below: Bool[Tensor, " B"],
) -> Bool[Tensor, "B 10 10"]:
    """Bricks without the one that was hit; three new rows if none is left and the ball is below."""
    games = torch.arange(len(hit), device=hit.device)
    bricks = bricks.clone()
    row = row.clamp(0, FLOOR)
    bricks[games, row, column] &= ~hit
    bricks[:, 1:4] |= (below & ~bricks.flatten(1).any(1))[:, None, None]
    return bricks


def read(frame: Bool[Tensor, "B 10 10 4"]) -> State:
    """What one frame says. The trail shows the way; where ball and trail share a row, the ball has
    just bounced up or down, and where they share a column, off a side wall."""
    paddle, ball, trail = (frame[..., c].flatten(1).int().argmax(1) for c in range(3))
    bricks, paddle = frame[..., 3], paddle % 10
    (row, column), (last_row, last_column) = ((p // 10, p % 10) for p in (ball, trail))
    games = torch.arange(len(row), device=row.device)
    down, right = row - last_row, column - last_column
    level = down == 0
    # A brick that was hit is gone, so one that is still there was not what the ball bounced off.
    above = bricks[games, (row - 1).clamp(0), column]
    from_below = (row == 0) | ((row >= 2) & (row <= 4) & ~above)  # off the ceiling or a brick
    start = level & (row == 3) & above  # nothing was hit: the game begins
    falls = from_below | start
    down = torch.where(level, torch.where(falls, 1, -1), down)
    right = torch.where(right == 0, torch.where(column == 0, 1, -1), right)
    back = level & (row == FLOOR - 1) & (last_column != paddle)  # off the paddle's edge
    right = torch.where(back, -right, right)
    broke = level & ~start & (row > 0) & (row < FLOOR - 1)
    strike = torch.where(level, broke, bricks[games, row, column])
    return {
        "ball": torch.stack([row, column], 1),
        "trail": torch.stack([last_row, last_column], 1),
        "way": torch.stack([down, right], 1),
        "paddle": paddle,
        "bricks": bricks,
        "strike": strike,
    }
