"""Films of a blob whose truth is known: how far a frame is from anything that could be seen.

A frame is 8 x 8 pixels from -1 (dark) to 1, with a bright blob at a place from 1 to 6 on both axes.
Actions push it, walls throw it back. Films come in the arrival convention: the action in row t led
to the frame in row t.

Shape key: B films, T rows.
"""

from __future__ import annotations

from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from utils.nn.random import normal, uniform

SIZE, LOW, HIGH = 8, 1.0, 6.0  # pixels of a side; where a blob's middle may be
SPEED, PUSH = 0.8, 0.3  # the fastest a blob moves in a step; what an action adds


def render(place: Float[Tensor, "*B 2"]) -> Float[Tensor, "*B 8 8"]:
    """A blob with its middle at (row, column)."""
    pixel = torch.arange(SIZE, dtype=place.dtype)
    away = (pixel - place[..., None]).square()  # [..., 2, 8]
    return 2 * torch.exp(-(away[..., 0, :, None] + away[..., 1, None, :]) / 1.6) - 1


def films(
    count: int, steps: int, generator: torch.Generator
) -> tuple[Float[Tensor, "B T 8 8"], Float[Tensor, "B T 2"]]:
    """Blobs that random pushes of -1, 0 or 1 move on both axes."""
    zeros = torch.zeros(count, 2)
    place = 1.5 + 4 * uniform((count, 2), zeros, generator)
    speed = 0.4 * normal(zeros, 1.0, generator)
    push = (3 * uniform((count, steps, 2), zeros, generator)).floor() - 1
    push[:, 0] = 0.0
    places = [place]
    for t in range(1, steps):
        speed = (speed + PUSH * push[:, t]).clamp(-SPEED, SPEED)
        place = place + speed
        speed = torch.where((place < LOW) | (place > HIGH), -speed, speed)
        place = place.clamp(LOW, HIGH)
        places.append(place)
    return render(torch.stack(places, 1)), push


@cache
def _possible() -> Float[Tensor, "N 64"]:
    """Every frame there is, on a grid of 41 x 41 places."""
    axis = torch.linspace(LOW, HIGH, 41)
    return render(torch.cartesian_prod(axis, axis)).flatten(1)


def distance(frames: Float[Tensor, "*B 8 8"]) -> Float[Tensor, "*B"]:
    """Euclidean distance to the nearest frame that could be seen. An empty frame has 3.2."""
    flat = frames.flatten(-2).reshape(-1, SIZE * SIZE)
    return torch.cdist(flat, _possible()).amin(1).reshape(frames.shape[:-2])
