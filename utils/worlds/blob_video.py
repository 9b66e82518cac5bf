"""Two ways to predict the next frame of a film by denoising: as EDM does and as DDPM does.

Both have the same network, a dense one that sees L clean frames, one noisy frame, the noise level
of each of them, and the action. They differ in what the network is asked for:

- `EDM`: preconditioned as in `utils/nn/edm.py`; near the clean frame it says how to mend it, far
  from it what the frame is.
- `DDPM` (Ho, Jain, Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020; cosine levels
  of Nichol and Dhariwal 2021; steps of Song, Meng, Ermon, "Denoising Diffusion Implicit Models",
  ICLR 2021, without new noise): it is always asked for the noise. Where nearly all is noise, that
  says nothing about the frame, and a few steps have to do with it.

DDPM can also be trained to expect that its context is not clean, `levels`:

- `clean`: the context has level 0 and is clean;
- `noisy_context` (GameNGen: Valevski et al. 2024): it has one random level;
- `independent` (Diffusion Forcing: Chen et al., NeurIPS 2024): each frame has a random level of its
  own, and the noise of all of them is asked for.

Shape key: B films, T = L + 1 frames, the last one the next, H W size, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from utils.nn.edm import euler, noise_levels, precondition
from utils.nn.random import normal, uniform

CONTEXT = 2  # L
SIGMA_DATA = 0.5
FREQUENCIES = 8  # that a noise level is told in
NOISY = 0.3  # highest level of a noisy context

Frames = Float[Tensor, "B T H W"]
Levels = Callable[[Tensor, torch.Generator | None], Float[Tensor, "B T"]]


class Dense(nn.Module):
    """A frame for every frame: four layers."""

    def __init__(self, pixels: int, actions: int, units: int = 256) -> None:
        super().__init__()
        inputs = (CONTEXT + 1) * (pixels + 2 * FREQUENCIES) + actions
        layers = []
        for size in (inputs, units, units):
            layers += [nn.Linear(size, units), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(units, (CONTEXT + 1) * pixels))
        self.register_buffer("frequency", torch.linspace(0, 3, FREQUENCIES).exp())

    def forward(
        self, frames: Frames, level: Float[Tensor, "B T"], action: Float[Tensor, "B A"]
    ) -> Frames:
        angle = level[..., None] * self.frequency
        told = [frames.flatten(1), angle.sin().flatten(1), angle.cos().flatten(1), action]
        return self.layers(torch.cat(told, 1)).unflatten(1, frames.shape[1:])


class EDM(nn.Module):
    """The network as a preconditioned denoiser.

    Args:
        coefficients, schedule, sampler: functions as in `utils.nn.edm`.
    """

    def __init__(
        self,
        net: Dense,
        coefficients: Callable = precondition,
        schedule: Callable = noise_levels,
        sampler: Callable = euler,
    ) -> None:
        super().__init__()
        self.net, self.coefficients = net, coefficients
        self.schedule, self.sampler = schedule, sampler

    def guess(
        self,
        context: Float[Tensor, "B L H W"],
        action: Float[Tensor, "B A"],
        scaled: Float[Tensor, "B H W"],
        level: Float[Tensor, " B"],
    ) -> Float[Tensor, "B H W"]:
        frames = torch.cat([context, scaled[:, None]], 1)
        levels = torch.cat([torch.zeros_like(context[..., 0, 0]), level[:, None]], 1)
        return self.net(frames, levels, action)[:, -1]

    def denoise(
        self,
        context: Float[Tensor, "B L H W"],
        action: Float[Tensor, "B A"],
        x: Float[Tensor, "B H W"],
        sigma: float | Tensor,
    ) -> Float[Tensor, "B H W"]:
        skip, out, scale, level = self.coefficients(x.new_full((len(x),), float(sigma)), SIGMA_DATA)
        skip, out, scale = (c[:, None, None] for c in (skip, out, scale))
        return (skip * x + out * self.guess(context, action, scale * x, level)).clamp(-1, 1)

    def loss(
        self, frames: Frames, action: Float[Tensor, "B A"], generator: torch.Generator | None
    ) -> Float[Tensor, ""]:
        context, x = frames[:, :-1], frames[:, -1]
        sigma = (1.2 * normal(torch.zeros_like(x[:, 0, 0]), 1.0, generator) - 0.4).exp()
        sigma = sigma.clamp(2e-3, 20.0)
        skip, out, scale, level = self.coefficients(sigma, SIGMA_DATA)
        skip, out, scale = (c[:, None, None] for c in (skip, out, scale))
        noisy = normal(x, sigma[:, None, None], generator)
        target = (x - skip * noisy) / out
        return (self.guess(context, action, scale * noisy, level) - target).square().mean()

    def sample(
        self,
        context: Float[Tensor, "B L H W"],
        action: Float[Tensor, "B A"],
        steps: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B H W"]:
        levels = self.schedule(steps, 2e-3, 5.0, 7.0)
        start = levels[0] * normal(torch.zeros_like(context[:, 0]), 1.0, generator)
        return self.sampler(partial(self.denoise, context, action), start, levels)


# ---- DDPM


def signal(level: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Share of a frame's amplitude that is left at a level from 0 (clean) to 1: sqrt(alpha bar)."""
    return torch.cos((0.98 * level + 0.01) * math.pi / 2)


def corrupt(frames: Frames, level: Float[Tensor, "B T"], noise: Frames) -> Frames:
    """Every frame at a noise level of its own.

        x_t = a x + sqrt(1 - a^2) noise,        a = signal(level) = cos((0.98 level + 0.01) pi / 2)

    Level 0 is (nearly) clean, level 1 (nearly) nothing but noise. The variance of data and noise
    together stays what it is, which is why a frame fades as its noise grows.
    """
    share = signal(level)[..., None, None]
    return share * frames + (1 - share.square()).sqrt() * noise


def clean(like: Float[Tensor, "B T"], generator: torch.Generator | None) -> Float[Tensor, "B T"]:
    """Any level for the next frame, level 0 for the context."""
    level = uniform(like.shape, like, generator)
    return torch.cat([torch.zeros_like(level[:, :-1]), level[:, -1:]], 1)


def noisy_context(
    like: Float[Tensor, "B T"], generator: torch.Generator | None
) -> Float[Tensor, "B T"]:
    """Any level for the next frame, one level up to 0.3 for the whole context."""
    level = uniform(like.shape, like, generator)
    return torch.cat([NOISY * level[:, :1].expand_as(level[:, :-1]), level[:, -1:]], 1)


def independent(
    like: Float[Tensor, "B T"], generator: torch.Generator | None
) -> Float[Tensor, "B T"]:
    """Any level for every frame."""
    return uniform(like.shape, like, generator)


class DDPM(nn.Module):
    """The network as a predictor of noise.

    Args:
        levels: noise levels of training, `clean`, `noisy_context` or `independent`.
        corrupt: as the function of that name.
    Attribute `told`: the level that the sampler says its context has. Nothing is added to it.
    """

    def __init__(
        self, net: Dense, levels: Levels = clean, corrupt: Callable = corrupt, told: float = 0.0
    ) -> None:
        super().__init__()
        self.net, self.levels, self.corrupt, self.told = net, levels, corrupt, told

    def loss(
        self, frames: Frames, action: Float[Tensor, "B A"], generator: torch.Generator | None
    ) -> Float[Tensor, ""]:
        """Squared error of the noise: of the next frame, or of all where all have any level."""
        level = self.levels(frames[..., 0, 0], generator)
        noise = normal(torch.zeros_like(frames), 1.0, generator)
        if self.levels is not independent:
            noise = torch.where(level[..., None, None] > 0, noise, 0.0)
        error = self.net(self.corrupt(frames, level, noise), level, action) - noise
        return (error if self.levels is independent else error[:, -1:]).square().mean()

    def sample(
        self,
        context: Float[Tensor, "B L H W"],
        action: Float[Tensor, "B A"],
        steps: int,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "B H W"]:
        """From level 1 to 0 in equal steps: guess the noise, what frame it leaves, go on there."""
        x = normal(torch.zeros_like(context[:, 0]), 1.0, generator)
        levels = torch.linspace(1, 0, steps + 1)
        for now, following in pairwise(levels):
            level = torch.full_like(context[:, :1, 0, 0], float(now))
            level = torch.cat([torch.full_like(context[..., 0, 0], self.told), level], 1)
            noise = self.net(torch.cat([context, x[:, None]], 1), level, action)[:, -1]
            share, left = signal(now), signal(following) if following > 0 else following + 1
            frame = ((x - (1 - share**2).sqrt() * noise) / share).clamp(-1, 1)
            x = left * frame + (1 - left**2).sqrt() * noise
        return x.clamp(-1, 1)


def roll_out(
    model: EDM | DDPM,
    context: Float[Tensor, "B L H W"],
    action: Float[Tensor, "B N A"],
    steps: int,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B N H W"]:
    """N frames, each from the last L, which from the third on are its own."""
    frames = []
    for t in range(action.shape[1]):
        frames.append(model.sample(context, action[:, t], steps, generator))
        context = torch.cat([context[:, 1:], frames[-1][:, None]], 1)
    return torch.stack(frames, 1)
