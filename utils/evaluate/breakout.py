"""Pictures of Breakout.

Shape key: T frames.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

PADDLE, BALL, TRAIL, BRICKS = range(4)  # channels of a frame
# Told apart by colour-blind readers, in grey too, and on any page. Drawn in this order: the ball lies on top.
COLOURS = {
    BRICKS: (230, 159, 0),
    TRAIL: (110, 110, 110),
    PADDLE: (140, 205, 245),
    BALL: (255, 255, 255),
}
NIGHT = (34, 34, 34)


def draw_breakout(frames: Float[Tensor, "T 10 10 4"]) -> UInt8[np.ndarray, "T 10 10 3"]:
    """Pictures with a pixel for each cell: white ball and its grey trail, blue paddle, orange
    bricks. A probability shows as a shade, so that what a world is not sure of is pale."""
    frames = frames.detach().float().cpu().clamp(0, 1)
    picture = torch.tensor(NIGHT).float().expand(*frames.shape[:-1], 3)
    for channel, colour in COLOURS.items():
        share = frames[..., channel, None]
        picture = picture + share * (torch.tensor(colour) - picture)
    return picture.round().byte().numpy()
