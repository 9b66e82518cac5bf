"""Recordings of Atari's Breakout, and how good a dream of it is: where is the ball, does the paddle
obey?

Shape key: B windows, H steps ahead, T rows.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from utils.data import atari
from utils.evaluate.ladder import Persistence
from utils.world import Spec, Step, interact

CARE = (0.8, 0.2)  # of the two players that are recorded
NEAR = 2.0  # pixels by which a ball may be off, and counts as right
STEPS = (1, 5, 15, 50)


def record(rows: int, seed: int = 0) -> tuple[Step, Step]:
    """Two recordings side by side, of a player that mostly follows the ball and of one that mostly
    does not: `[2, 0.9 rows, ...]` to train on, and the rows after them, `[2, 0.1 rows, ...]`."""
    watching, played = Persistence(Spec(atari.OBSERVATION, atari.ACTION)), []
    for number, care in enumerate(CARE, start=len(CARE) * seed):
        luck = torch.Generator().manual_seed(number)
        game, player = atari.Breakout(), atari.Follower(care)
        played.append(
            interact(game, watching, player, steps=rows, seed=number, generator=luck).step
        )
    both = Step(*(torch.cat(part) for part in zip(*played, strict=True)))
    border = rows - rows // 10
    return tuple(Step(*(part[:, s] for part in both)) for s in (slice(border), slice(border, None)))


def ball(
    frames: Float[Tensor, "*shape 64 64 3"],
) -> tuple[Float[Tensor, "*shape 2"], Bool[Tensor, "*shape"]]:
    """Row and column of the ball, and whether there is one between bricks and paddle."""
    red = frames[..., atari.SKY, atari.INSIDE, 0].float()
    place = torch.stack([red.amax(-1).argmax(-1), red.amax(-2).argmax(-1)], -1)
    return place.float(), red.amax((-1, -2)) > atari.BRIGHT


def obeyed(
    frames: Float[Tensor, "B H 64 64 3"],
    action: Float[Tensor, "B H 4"],
    inside: Bool[Tensor, "B H"],
) -> tuple[int, int]:
    """In how many steps the paddle went where it was told, and in how many it was told to go.

    The action in row t led to frame t. A move counts if the row before asked for the same, because
    the paddle is slow to turn, if there was room to go, and if both frames are `inside`. A paddle
    that has moved by less than 0.2 pixels has not obeyed.
    """
    column = atari.paddle_column(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
    went, wanted = column.diff(), action[..., atari.RIGHT] - action[..., atari.LEFT]
    right = wanted[:, 1:]
    room = torch.where(right > 0, column[:, :-1] < 46, column[:, :-1] > 9)
    told = (right != 0) & (right == wanted[:, :-1]) & room & inside[:, 1:] & inside[:, :-1]
    return int((went * right > 0.2)[told].sum()), int(told.sum())


def scores(
    film: Float[Tensor, "B H 64 64 3"], windows: Step, inside: Bool[Tensor, "B H"]
) -> dict[str, float]:
    """A dream beside the game, of those steps ahead that are `inside` the episode it began in.

    Args:
        windows: the rows that were dreamt, `[B, H, ...]`.
    Returns:
        `ball`: the share of frames with a ball between bricks and paddle; `moves obeyed`; `ball
        right@k`: the share of balls of the game in step k to which the dream has one within two
        pixels.
    """
    place, there = ball(film)
    truth, real = ball(windows.observation)
    near = there & ((place - truth).abs().amax(-1) <= NEAR)
    yes, told = obeyed(film, windows.action, inside)
    found = {"ball": there[inside].double().mean().item(), "moves obeyed": yes / max(told, 1)}
    for k in STEPS:
        if k <= film.shape[1]:
            counts = (inside & real)[:, k - 1]
            found[f"ball right@{k}"] = near[:, k - 1][counts].double().mean().item()
    return found
