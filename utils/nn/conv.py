"""Convolutions for frames of 64 x 64 pixels, those of World Models and PlaNet (lessons 2.1, 2.2).

Four convolutions of width 4 and stride 2 down to 2 x 2, four transposed ones of width 5, 5, 6 and 6
back. Frames are `[B, C, 64, 64]` floats. hardmaru/WorldModelsExperiments and google-research/planet
at 32 channels in the first layer, where one picture becomes 1,024 features.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn


class Spread(nn.ConvTranspose2d):
    """A transposed convolution of a picture of one pixel [B, C, 1, 1]: the same numbers by one
    matrix product for the batch, where torch makes one for each picture of it."""

    def forward(self, pixel: Float[Tensor, "B C 1 1"]) -> Float[Tensor, "B c k k"]:
        spread = pixel.flatten(1) @ self.weight.flatten(1)
        return spread.unflatten(1, self.weight.shape[1:]) + self.bias[:, None, None]


def encoder_64(depth: int) -> nn.Sequential:
    """From `[B, 3, 64, 64]` to `[B, 32 depth]`; `depth` channels in the first layer."""
    c1, c2, c3, c4 = (depth * n for n in (1, 2, 4, 8))
    return nn.Sequential(
        *(nn.Conv2d(3, c1, 4, 2), nn.ReLU(), nn.Conv2d(c1, c2, 4, 2), nn.ReLU()),
        *(nn.Conv2d(c2, c3, 4, 2), nn.ReLU(), nn.Conv2d(c3, c4, 4, 2), nn.ReLU()),
        nn.Flatten(),
    )


def decoder_64(depth: int) -> nn.Sequential:
    """From `[B, 32 depth, 1, 1]` to `[B, 3, 64, 64]`, without an activation at the end."""
    c1, c2, c3, c4 = (depth * n for n in (1, 2, 4, 32))
    return nn.Sequential(
        *(Spread(c4, c3, 5, 2), nn.ReLU(), nn.ConvTranspose2d(c3, c2, 5, 2), nn.ReLU()),
        *(nn.ConvTranspose2d(c2, c1, 6, 2), nn.ReLU(), nn.ConvTranspose2d(c1, 3, 6, 2)),
    )
