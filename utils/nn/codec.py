"""Observations in and out of a latent world: what encodes them, predicts them and costs them.

One class for each kind of observation, with the networks of DreamerV3: `Vectors` for numbers of any
size, `Bits` for binary cells, `Images` for RGB frames. All have

    encode(observation) -> embedding                  decode(features) -> prediction
    loss(prediction, observation) -> cost             expected(prediction) -> observation

and take any leading axes. A prediction lives in the space of the loss (symlog, logits, 0 to 1).

Shape key: E embedding features, F features of a state (deterministic, then stochastic), O numbers
in an observation, H W C height, width and channels of an image.
"""

from __future__ import annotations

import math
from itertools import pairwise

import gymnasium as gym
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.mlp import Activate, BlockLinear, initialise, mlp
from utils.nn.symlog import symexp, symlog

LAYERS = 3  # hidden layers of the vector networks


class Vectors(nn.Module):
    """Symlog in, squared error of symlogs out: no scale needs to be known."""

    def __init__(self, shape: tuple[int, ...], features: int, units: int) -> None:
        super().__init__()
        self.shape, self.size = tuple(shape), units  # of an observation, of an embedding
        self.encoder = mlp(math.prod(shape), units, LAYERS)
        self.decoder = mlp(features, units, LAYERS, math.prod(shape))

    def flat(self, observation: Tensor) -> Float[Tensor, "*batch O"]:
        """The observation's own axes as one, in floating point."""
        return observation.flatten(observation.ndim - len(self.shape)).to(self.dtype)

    @property
    def dtype(self):
        return self.encoder[0].weight.dtype

    def encode(self, observation: Tensor) -> Float[Tensor, "*batch E"]:
        return self.encoder(symlog(self.flat(observation)))

    def decode(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch O"]:
        return self.decoder(features)

    def loss(
        self, prediction: Float[Tensor, "*batch O"], observation: Tensor
    ) -> Float[Tensor, "*batch"]:
        """Squared error of the symlogs, summed over the vector (no factor of one half)."""
        return (prediction - symlog(self.flat(observation))).square().sum(-1)

    def expected(self, prediction: Float[Tensor, "*batch O"]) -> Tensor:
        return symexp(prediction).unflatten(-1, self.shape)


class Bits(Vectors):
    """Cells that are 0 or 1: independent Bernoulli variables."""

    def loss(
        self, prediction: Float[Tensor, "*batch O"], observation: Tensor
    ) -> Float[Tensor, "*batch"]:
        """Cross entropy in nats, summed over the cells."""
        bits = self.flat(observation)
        return F.binary_cross_entropy_with_logits(prediction, bits, reduction="none").sum(-1)

    def expected(self, prediction: Float[Tensor, "*batch O"]) -> Tensor:
        """Probabilities that cells are 1."""
        return prediction.sigmoid().unflatten(-1, self.shape)


class ChannelsLast(nn.Sequential):
    """Convolutions on `[N, C, H, W]` whose memory lies as `[N, H, W, C]`, so that the norm over
    channels reads along the memory; norm and activation come between every two of them."""

    def forward(self, x: Float[Tensor, "N H W C"]) -> Float[Tensor, "N h w c"]:
        for layer in self:
            if isinstance(layer, Activate):
                x = layer(x)
            else:
                x = layer(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x


class Images(nn.Module):
    """Frames `[H, W, C]` of uint8: strided convolutions down to one sixteenth, and back up.

    The official default has 5x5 convolutions at full resolution, each followed by max-pooling or
    repetition: about six times the arithmetic. Kernels of 4x4 with stride 2 are those of the first
    DreamerV3 (2023).
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        deter: int,
        stoch: int,
        units: int,
        depths: tuple[int, ...],
        blocks: int,
    ) -> None:
        super().__init__()
        factor, (height, width, channels) = 2 ** len(depths), shape
        if height % factor or width % factor:
            raise ValueError(f"Frames of {height}x{width} cannot be halved {len(depths)} times.")
        self.deter, self.blocks = deter, blocks
        self.small = (height // factor, width // factor, depths[-1])
        self.size = math.prod(self.small)
        down = [nn.Conv2d(i, o, 4, 2, 1) for i, o in pairwise((channels, *depths))]
        ups = (*depths[::-1], channels)
        up = [nn.ConvTranspose2d(i, o, 4, 2, 1) for i, o in pairwise(ups)]
        for layer in (*down, *up):
            initialise(layer.weight, layer.in_channels * 16)
            nn.init.zeros_(layer.bias)
        pairs = [(layer, Activate(layer.out_channels)) for layer in down]
        self.encoder = ChannelsLast(*(part for pair in pairs for part in pair))
        pairs = [(Activate(layer.in_channels), layer) for layer in up]
        self.decoder = ChannelsLast(*(part for pair in pairs for part in pair))
        self.from_deter = BlockLinear(deter, self.size, blocks)
        self.from_stoch = mlp(stoch, 2 * units, 1, self.size)

    def encode(self, observation: UInt8[Tensor, "*batch H W C"]) -> Float[Tensor, "*batch E"]:
        batch = observation.shape[:-3]
        x = observation.flatten(0, -4) / 255 - 0.5
        return self.encoder(x).reshape(*batch, self.size)

    def decode(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch H W C"]:
        """Intensities from 0 to 1. Each block of the deterministic features paints its own
        channels of the smallest picture."""
        batch, features = features.shape[:-1], features.flatten(0, -2)
        deter, stoch = features.split([self.deter, features.shape[-1] - self.deter], -1)
        height, width, depth = self.small
        x = self.from_deter(deter).view(-1, self.blocks, height, width, depth // self.blocks)
        x = x.permute(0, 2, 3, 1, 4).flatten(3) + self.from_stoch(stoch).view(-1, *self.small)
        return self.decoder(x).sigmoid().unflatten(0, batch)

    def loss(
        self,
        prediction: Float[Tensor, "*batch H W C"],
        observation: UInt8[Tensor, "*batch H W C"],
    ) -> Float[Tensor, "*batch"]:
        """Squared error of intensities from 0 to 1, summed over the picture."""
        return (prediction - observation / 255).square().sum((-3, -2, -1))

    def expected(self, prediction: Float[Tensor, "*batch H W C"]) -> Tensor:
        """Intensities from 0 to 255."""
        return prediction * 255


def is_image(space: gym.Space) -> bool:
    """Frames of bytes, large enough to be looked at with convolutions."""
    return space.dtype == np.uint8 and len(space.shape) == 3 and min(space.shape[:2]) >= 32
