"""Positions as waves: what tells a transformer the order of its tokens (lesson 4.2).

Shape key: D features.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def sinusoids(position: Int[Tensor, "*shape"], features: int) -> Float[Tensor, "*shape D"]:
    """Sines, then cosines, of a position at D / 2 wavelengths from 2 pi to 20,000 pi (Vaswani et
    al. 2017, section 3.5). D = `features` must be even. Any position has one, trained on or not."""
    half = features // 2
    wave = 10_000.0 ** (-torch.arange(half, device=position.device) / half)
    angle = position[..., None] * wave
    return torch.cat([angle.sin(), angle.cos()], -1)
