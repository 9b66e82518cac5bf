"""What MinAtar's Asterix leaves to chance: where the next enemy or treasure comes in.

About every tenth step something enters from one of two sides in one of eight rows, an enemy with
probability 2/3, else a treasure: 32 outcomes. Whether a world errs in a cell says little here, for
nobody can know the cell. What can be asked is whether its dreams cover all outcomes, each as often
as the game has it, and how likely they make what did happen.

Shape key: B pairs of frames, N outcomes.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

PLAYER, ENEMY, TRAIL, GOLD = range(4)  # channels of a frame
OUTCOMES = 32  # 8 rows x 2 sides x 2 kinds
NONE, BROKEN = OUTCOMES, OUTCOMES + 1  # nothing came in; more than one thing at once
# Told apart in grey. Drawn in this order: the player lies on top.
COLOURS = {
    TRAIL: (110, 110, 110),
    GOLD: (255, 250, 130),
    ENEMY: (213, 94, 0),
    PLAYER: (140, 205, 245),
}
NIGHT = (34, 34, 34)


def arrivals(
    before: Float[Tensor, "B 10 10 4"], after: Float[Tensor, "B 10 10 4"]
) -> Int[Tensor, " B"]:
    """What came in between two frames: 4 row + 2 side + kind (row 0 to 7, side 1 right, kind 1
    treasure), `NONE`, or `BROKEN` where several things came in at once.

    Something came in where a row holds an enemy or a treasure that held neither before. Cells are
    occupied from a probability of a half on.
    """
    there, now = (frames[:, 1:9] > 0.5 for frames in (before, after))
    empty = ~(there[..., ENEMY] | there[..., GOLD]).any(-1)  # [B, 8]
    new = now[..., [ENEMY, GOLD]] & empty[..., None, None]  # [B, 8, 10, 2]
    side = torch.stack([new[:, :, :5].any(2), new[:, :, 5:].any(2)], 2)  # [B, 8, 2 sides, 2 kinds]
    outcome, count = side.flatten(1).float().argmax(1), side.flatten(1).sum(1)
    return outcome.masked_fill(count == 0, NONE).masked_fill(count > 1, BROKEN)


def frequencies(outcomes: Int[Tensor, " B"]) -> Float[Tensor, " N+2"]:
    """Share of each outcome, of nothing and of broken frames, with half a count added to each."""
    counts = outcomes.bincount(minlength=OUTCOMES + 2).double() + 0.5
    return counts / counts.sum()


def chances() -> Float[Tensor, " N"]:
    """Of the 32 outcomes, once something comes in and all rows are free."""
    return torch.tensor([2 / 3, 1 / 3], dtype=torch.double).repeat(OUTCOMES // 2) / (OUTCOMES // 2)


def scores(dreamt: Int[Tensor, " B"], real: Int[Tensor, " B"]) -> dict[str, float]:
    """Outcomes of a dream beside those of the game.

    `rate`: share of frames in which one thing came in. `broken`: share in which several did.
    `coverage`: share of the 32 outcomes that were dreamt at all. `treasure` and `right`: shares
    among what came in (1/3 and 1/2 in the game). `nats`: mean cost of what did happen in the game,
    by the frequencies of the dream.
    """
    came = dreamt[dreamt < OUTCOMES]
    share = frequencies(dreamt)
    return {
        "rate": len(came) / len(dreamt),
        "broken": (dreamt == BROKEN).double().mean().item(),
        "coverage": len(came.unique()) / OUTCOMES,
        "treasure": (came % 2).double().mean().item() if len(came) else float("nan"),
        "right": (came // 2 % 2).double().mean().item() if len(came) else float("nan"),
        "nats": -share[real].log().mean().item(),
    }


def draw_asterix(frames: Float[Tensor, "T 10 10 4"]) -> UInt8[np.ndarray, "T 10 10 3"]:
    """Pictures with a pixel for each cell: blue player, orange enemies, yellow treasures and their
    grey trails. What a world is not sure of is pale."""
    frames = frames.detach().float().cpu().clamp(0, 1)
    picture = torch.tensor(NIGHT).float().expand(*frames.shape[:-1], 3)
    for channel, colour in COLOURS.items():
        share = frames[..., channel, None]
        picture = picture + share * (torch.tensor(colour) - picture)
    return picture.round().byte().numpy()
