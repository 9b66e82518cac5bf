"""Pictures of Pendulum-v1.

Shape key: T frames.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SIDE, LENGTH, WIDTH = 64, 0.8, 0.09  # pixels of a picture; rod, in units of half a picture
NIGHT, ROD, PIVOT = (34, 34, 34), (86, 180, 233), (230, 159, 0)


def draw_pendulum(observation: Float[Tensor, "T 3"]) -> UInt8[np.ndarray, "T 64 64 3"]:
    """A rod for each row of cosine, sine and velocity; upright is up.

    The rod is as long as the vector (cosine, sine): a dream that expects several angles, and shows
    their mean, has a short one.
    """
    observation = observation.detach().float().cpu()
    up, left = observation[:, :1, None], observation[:, 1:2, None]  # counter-clockwise from the top
    line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    y, x = -line[:, None], line[None]
    tip_x, tip_y = -LENGTH * left, LENGTH * up
    squared = (tip_x.square() + tip_y.square()).clamp(min=1e-6)
    along = ((x * tip_x + y * tip_y) / squared).clamp(0, 1)  # the nearest place of the rod
    distance = ((x - along * tip_x).square() + (y - along * tip_y).square()).sqrt()
    edge = SIDE / 2  # a pixel's width softens the edge
    share = ((WIDTH - distance) * edge).clamp(0, 1)[..., None]
    picture = torch.tensor(NIGHT) + share * (torch.tensor(ROD) - torch.tensor(NIGHT))
    middle = ((0.06 - (x.square() + y.square()).sqrt()) * edge).clamp(0, 1)[..., None]
    return (picture + middle * (torch.tensor(PIVOT) - picture)).round().byte().numpy()
