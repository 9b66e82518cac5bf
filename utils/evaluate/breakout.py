"""The ground "MinAtar Breakout": errors and test windows for the ladder, and pictures.

    test = windows(minatar.load())
    row = ladder.measure(world, test.steps, CONTEXT, BREAKOUT, "V-M-C", subsets=test.subsets)

Predicted frames are probabilities in 0..1. Every number exists for all test frames and for "new"
ones, which training never showed: half of the test frames are in the training data cell by cell,
and a table of them would pass for half a simulator.

No number is enough by itself. What gives an attack away, against the same world without the fault
(x: the column changes by more than 0.05 at some k; deaf: shuffled@5 is that of wrong paddle@5):

| attack                 | ball | paddle | bricks | 1 ball | valid | calib. | reward | end | deaf |
|------------------------|------|--------|--------|--------|-------|--------|--------|-----|------|
| frozen frame           |  x   |   x    |   x    |        |   x   |   x    |   x    |  x  |  x   |
| copy of the last frame |  x   |   x    |   x    |        |   x   |   x    |   x    |  x  |      |
| shuffled time          |  x   |   x    |   x    |        |   x   |   x    |   x    |  x  |  x   |
| blur                   |      |        |   x    |   x    |       |        |        |     |      |
| ignored actions        |      |        |        |        |       |        |        |     |  x   |
| over-confident sampler |      |        |        |        |       |   x    |        |     |      |
| always ending          |      |        |        |        |       |        |        |  x  |      |
| never ending           |      |        |        |        |       |        |        |  x  |      |
| frames looked up       |  x   |   x    |   x    |        |   x   |   x    |        |     |      |

Blur keeps every arg max: that frames should hold exactly one ball gives it away. Right frames
whatever the actions are a film, and fall to the shuffle alone. A sampler that is sure about the
toss of a coin has the errors of one that is honest, and shows in calibration alone. A look-up errs
like a world half trained; that it errs on new frames only, the second number of a cell tells.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from utils.data.minatar import Data
from utils.evaluate.ladder import Ground
from utils.world import Step

PADDLE, BALL, TRAIL, BRICKS = range(4)  # channels of a frame
CONTEXT, HORIZON = 5, 50  # rows given, steps ahead
# Told apart in grey, and from the page (no white ball). Drawn in this order: the ball lies on top.
COLOURS = {
    BRICKS: (230, 159, 0),
    TRAIL: (110, 110, 110),
    PADDLE: (140, 205, 245),
    BALL: (255, 250, 130),
}
NIGHT = (34, 34, 34)

Frames = Float[Tensor, "B H 10 10 4"]


# ---- errors


def wrong_ball(predicted: Frames, target: Frames) -> Float[Tensor, "B H"]:
    """1 where the ball's most likely cell is not the true one, else 0."""
    return (_cell(predicted, BALL) != _cell(target, BALL)).float()


def wrong_paddle(predicted: Frames, target: Frames) -> Float[Tensor, "B H"]:
    """1 where the paddle's most likely cell is not the true one, else 0."""
    return (_cell(predicted, PADDLE) != _cell(target, PADDLE)).float()


def wrong_bricks(predicted: Frames, target: Frames) -> Float[Tensor, "B H"]:
    """Cells of a frame that hold a brick (probability above a half) and should not, or should."""
    wrong = (predicted[..., BRICKS] > 0.5) != (target[..., BRICKS] > 0.5)
    return wrong.flatten(-2).sum(-1).float()


def not_one_ball(predicted: Frames, target: Frames) -> Float[Tensor, "B H"]:
    """1 unless exactly one cell is a ball with a probability above a half. The target does not
    matter: this asks whether the frame is one that the game could show."""
    return ((predicted[..., BALL] > 0.5).flatten(-2).sum(-1) != 1).float()


def _cell(frames: Frames, channel: int) -> Float[Tensor, "B H"]:
    return frames[..., channel].flatten(-2).argmax(-1)


BREAKOUT = Ground(
    "MinAtar Breakout",
    {
        "wrong ball": wrong_ball,
        "wrong paddle": wrong_paddle,
        "wrong bricks": wrong_bricks,
        "not one ball": not_one_ball,
    },
    lambda predicted, target: (wrong_ball(predicted, target) + wrong_paddle(predicted, target)) > 0,
    heeds="wrong paddle",
)


# ---- test windows


class Windows(NamedTuple):
    """Test windows and the steps ahead whose frames training never showed."""

    steps: Step  # [B, CONTEXT + HORIZON, ...]
    subsets: dict[str, Bool[Tensor, "B H"]]  # "new"


def windows(data: Data, count: int = 512, seed: int = 0) -> Windows:
    """Cut from the test stream: half of them with all 50 steps ahead in their episode (those
    episodes survived, which says something about them), half with one step or more.

    The context lies in one episode and may begin in its middle. Its first row then holds the
    action that led there: a world that takes zeros there for the beginning of an episode errs on
    every later step.
    """
    step, length = data.test, CONTEXT + HORIZON
    rows = torch.arange(len(step.first))
    border = torch.where(step.first, rows, len(rows))
    following = border.flip(0).cummin(0).values.flip(0)[1:]  # where the next episode begins
    left = torch.cat([following, torch.tensor([len(rows)])]) - rows  # rows, this one included
    fits = rows <= len(rows) - length
    random = np.random.RandomState(seed)
    drawn = [
        random.permutation(np.flatnonzero(fits & (left >= least)))[: count // 2]
        for least in (length, CONTEXT + 1)
    ]
    if (found := sum(map(len, drawn))) < 2 * (count // 2):
        raise ValueError(f"The test stream has {found} windows of {length} rows, not {count}.")
    index = torch.from_numpy(np.concatenate(drawn))[:, None] + torch.arange(length)
    steps = Step(*(v[index] for v in step))
    return Windows(steps, {"new": data.unseen[index[:, CONTEXT:]]})


# ---- pictures


def draw_breakout(frames: Float[Tensor, "T 10 10 4"]) -> UInt8[np.ndarray, "T 10 10 3"]:
    """Pictures with a pixel for each cell: yellow ball and its grey trail, blue paddle, orange
    bricks. A probability shows as a shade, so that what a world is not sure of is pale."""
    frames = frames.detach().float().cpu().clamp(0, 1)
    picture = torch.tensor(NIGHT).float().expand(*frames.shape[:-1], 3)
    for channel, colour in COLOURS.items():
        share = frames[..., channel, None]
        picture = picture + share * (torch.tensor(colour) - picture)
    return picture.round().byte().numpy()
