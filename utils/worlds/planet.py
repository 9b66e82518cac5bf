"""PlaNet: a recurrent state-space model with Gaussian latents (Hafner, Lillicrap, Fischer,
Villegas, Ha, Lee, Davidson, "Learning Latent Dynamics for Planning from Pixels", ICML 2019).

The code followed is google-research/planet at `c04226b`; layers and noise are placed as in
danijar/dreamer at `56d4d44`, whose world model is the same. Planning is in `utils/agents/cem.py`.

Shape key: B batch, T time, H horizon, A actions, F features of a state, D deterministic features, Z
stochastic features, L = 2 Z numbers that say where they lie and how far they spread, E features of
an embedded observation, U hidden units, O numbers in an observation.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.codec import is_image
from utils.nn.conv import decoder_64, encoder_64
from utils.nn.dense import dense
from utils.nn.random import normal
from utils.world import Dreamt, Spec, State, Step, World
from utils.worlds.rssm import RSSM, LatentWorld


@dataclass(frozen=True)
class Config:
    """The official defaults."""

    deter: int = 200  # D, "belief"
    stoch: int = 30  # Z, "state"
    hidden: int = 200  # units inside the recurrence
    units: int = 300  # of the reward head, and of encoder and decoder of vectors
    layers: int = 3  # hidden ones of these
    depth: int = 32  # channels of the first convolution
    min_std: float = 0.1  # of every latent
    free_nats: float = 3.0  # of divergence, at each step
    reward_scale: float = 10.0
    noise: float = 0.1  # standard deviation of a vector's likelihood; that of pictures is 1


SMALL = Config(deter=64, stoch=16, hidden=64, units=64, layers=2)  # a laptop's


class Gaussians:
    """Z independent Gaussians: the stochastic path.

    `stats` [..., 2 Z] come from a network: first the Z means, then Z raw numbers, which softplus
    and `min_std` turn into standard deviations.
    """

    def __init__(self, size: int, min_std: float) -> None:
        self.size, self.min_std = size, min_std
        self.shape = (size,)  # of one sample

    def noise(
        self, *batch: int, like: Tensor, generator: torch.Generator | None
    ) -> Float[Tensor, "*batch Z"]:
        """All the randomness that samples for `batch` states need."""
        return normal(like.new_zeros(*batch, self.size), 1.0, generator)

    def sample(
        self, stats: Float[Tensor, "*batch L"], noise: Float[Tensor, "*batch Z"] | None
    ) -> Float[Tensor, "*batch Z"]:
        """A sample that gradients pass through; the mean where noise is None.

            mean, raw = the two halves of stats            std = softplus(raw) + min_std
            z = mean + std * noise,                        noise ~ N(0, 1)

        `self.min_std` keeps every latent a little uncertain. planet/models/rssm.py.
        """
        mean, raw = stats.chunk(2, -1)
        if noise is None:
            return mean
        return mean + (F.softplus(raw) + self.min_std) * noise

    def kl(
        self, p: Float[Tensor, "*batch L"], q: Float[Tensor, "*batch L"]
    ) -> Float[Tensor, "*batch"]:
        """KL(p || q) in nats of two groups of Z Gaussians, both given as stats.

            KL = sum_z [ log(std_q / std_p) + (std_p^2 + (mean_p - mean_q)^2) / (2 std_q^2) - 1/2 ]

        A std is made from stats as in `sample`. Gradients reach both p and q.
        """
        mean_p, raw_p = p.chunk(2, -1)
        mean_q, raw_q = q.chunk(2, -1)
        std_p, std_q = F.softplus(raw_p) + self.min_std, F.softplus(raw_q) + self.min_std
        error = (std_p.square() + (mean_p - mean_q).square()) / (2 * std_q.square())
        return ((std_q / std_p).log() + error - 0.5).sum(-1)


class Cell(nn.Module):
    """The deterministic path: a GRU that reads the last sample and the action.

    x = elu(W_z z + W_a a + b)                 h' = GRU(x, h)
    """

    def __init__(self, deter: int, stoch: int, actions: int, hidden: int) -> None:
        super().__init__()
        self.size = deter
        self.from_stoch = nn.Linear(stoch, hidden)
        self.from_action = nn.Linear(actions, hidden, bias=False)
        self.gru = nn.GRUCell(hidden, deter)

    def inputs(self, action: Float[Tensor, "*batch A"]) -> Float[Tensor, "*batch U"]:
        """The action's share, which needs no state."""
        return self.from_action(action)

    def forward(
        self, deter: Float[Tensor, "B D"], stoch: Float[Tensor, "B Z"], inputs: Float[Tensor, "B U"]
    ) -> Float[Tensor, "B D"]:
        return self.gru(F.elu(self.from_stoch(stoch) + inputs), deter)


class Posterior(nn.Module):
    """Stats from deterministic state and observation: one hidden layer that sees both."""

    def __init__(self, deter: int, embed: int, hidden: int, stats: int) -> None:
        super().__init__()
        self.from_deter = nn.Linear(deter, hidden)
        self.from_embed = nn.Linear(embed, hidden, bias=False)
        self.stats = nn.Linear(hidden, stats)

    def inputs(self, embed: Float[Tensor, "*batch E"]) -> Float[Tensor, "*batch U"]:
        """The observation's share, which needs no state."""
        return self.from_embed(embed)

    def forward(
        self, deter: Float[Tensor, "B D"], inputs: Float[Tensor, "B U"]
    ) -> Float[Tensor, "B L"]:
        return self.stats(F.elu(self.from_deter(deter) + inputs))


class Vectors(nn.Module):
    """Observations of a few numbers, or of binary cells: a Gaussian of standard deviation `noise`
    around each. A number counts in units of the space's bound, if it has one."""

    def __init__(self, space: gym.Space, features: int, config: Config) -> None:
        super().__init__()
        self.shape, self.size, self.noise = space.shape, config.units, config.noise
        bound = space.high if isinstance(space, Box) else np.ones(self.shape)
        bound = np.where(np.abs(bound) < 1e6, bound, 1.0)
        self.register_buffer("scale", torch.as_tensor(bound, dtype=torch.float32).flatten())
        numbers = math.prod(self.shape)
        self.encoder = dense(numbers, config.units, config.layers - 1, config.units)
        self.decoder = dense(features, config.units, config.layers, numbers)

    def scaled(self, observation: Tensor) -> Float[Tensor, "*batch O"]:
        return observation.flatten(observation.ndim - len(self.shape)) / self.scale

    def encode(self, observation: Tensor) -> Float[Tensor, "*batch E"]:
        return F.elu(self.encoder(self.scaled(observation)))

    def decode(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch O"]:
        return self.decoder(features)

    def loss(
        self, prediction: Float[Tensor, "*batch O"], observation: Tensor
    ) -> Float[Tensor, "*batch"]:
        """Negative log-likelihood in nats, without its constant."""
        error = (prediction - self.scaled(observation)) / self.noise
        return 0.5 * error.square().sum(-1)

    def expected(self, prediction: Float[Tensor, "*batch O"]) -> Tensor:
        return (prediction * self.scale).unflatten(-1, self.shape)


class Pictures(nn.Module):
    """Frames [64, 64, 3] of uint8: a Gaussian of standard deviation 1 around each intensity, which
    is counted from -1/2 to 1/2."""

    def __init__(self, space: Box, features: int, config: Config) -> None:
        super().__init__()
        if space.shape != (64, 64, 3):
            raise ValueError(f"PlaNet sees pictures of 64 x 64 x 3, not of {space.shape}.")
        self.size = 32 * config.depth
        self.encoder, self.decoder = encoder_64(config.depth), decoder_64(config.depth)
        self.widen = nn.Linear(features, self.size)

    def encode(self, observation: Tensor) -> Float[Tensor, "*batch E"]:
        frames = observation.flatten(0, -4).permute(0, 3, 1, 2) / 255 - 0.5
        return self.encoder(frames).unflatten(0, observation.shape[:-3])

    def decode(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch 64 64 C"]:
        pixel = self.widen(features.flatten(0, -2))[..., None, None]
        return self.decoder(pixel).permute(0, 2, 3, 1).unflatten(0, features.shape[:-1])

    def loss(
        self, prediction: Float[Tensor, "*batch 64 64 C"], observation: Tensor
    ) -> Float[Tensor, "*batch"]:
        """Negative log-likelihood in nats, without its constant."""
        return 0.5 * (prediction - (observation / 255 - 0.5)).square().sum((-3, -2, -1))

    def expected(self, prediction: Float[Tensor, "*batch 64 64 C"]) -> Tensor:
        """Intensities from 0 to 255."""
        return ((prediction + 0.5) * 255).clamp(0, 255)


class PlaNet(LatentWorld):
    """The world model. State: `deter` [B, D] and `stoch` [B, Z].

    Args:
        rssm, cell, latent: classes to build it from, for whoever changes one of them.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Config,
        *,
        rssm: type[RSSM] = RSSM,
        cell: type[Cell] = Cell,
        latent: type[Gaussians] = Gaussians,
    ) -> None:
        super().__init__()
        self.config = config
        self.spec = Spec(observation_space, action_space, cont=False)
        deter, hidden, size = config.deter, config.hidden, config.deter + config.stoch
        codec = Pictures if is_image(observation_space) else Vectors
        self.codec = codec(observation_space, size, config)
        self.rssm = rssm(
            cell(deter, config.stoch, self.spec.action_size, hidden),
            prior=dense(deter, hidden, 1, 2 * config.stoch),
            posterior=Posterior(deter, self.codec.size, hidden, 2 * config.stoch),
            latent=latent(config.stoch, config.min_std),
        )
        self.reward = dense(size, config.units, config.layers, 1)

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        noise = None if mode else self.noise(len(action), generator=generator)
        state = self.rssm.imagine(state, action, noise)
        return Dreamt(state, self.predict(self.features(state)), None)

    def features(self, state: State) -> Float[Tensor, "*batch F"]:
        """All that is known of a state, as decoder and reward head see it."""
        return torch.cat([state["deter"], state["stoch"]], -1)

    def predict(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch"]:
        """The expected reward that came with a state."""
        return self.reward(features).squeeze(-1)

    def objective(
        self, batch: Step, states: State, posterior: Float[Tensor, "B T L"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The negative evidence lower bound of filtered sequences `[B, T, ...]`, and its parts.

            loss = E[-log p(x | h, z)] + scale E[-log p(r | h, z)] + E[max(0, KL(q || p) - free)]

        Each part is a mean over B and T, and the loss is their sum. `self.codec.loss(prediction,
        observation)` is the first, [B, T], of the prediction `self.codec.decode(features)`; the
        second is half the squared error of `self.predict(features)`, times
        `self.config.reward_scale`, and zero where `batch.first`: no reward came with that row.
        In the third, q are the given stats and p those of `self.rssm.prior(deter)`; the free nats
        (`self.config.free_nats`) are taken off at every step by itself, before the mean.
        """
        features = self.features(states)
        kl = self.rssm.latent.kl(posterior, self.rssm.prior(states["deter"]))
        error = (self.predict(features) - batch.reward).square().masked_fill(batch.first, 0.0)
        parts = {
            "reconstruction": self.codec.loss(self.codec.decode(features), batch.observation),
            "reward": self.config.reward_scale * 0.5 * error,
            "divergence": (kl - self.config.free_nats).clamp(min=0.0),
        }
        parts = {name: part.mean() for name, part in parts.items()}
        return sum(parts.values()), {name: part.detach() for name, part in parts.items()}


def open_loop(
    world: World, windows: Step, context: int, generator: torch.Generator | None = None
) -> Float[Tensor, "B H *shape"]:
    """What a world expects to see after `context` rows of windows `[B, context + H, ...]`.

    `world.observe` filters the first `context` rows from `world.initial(B)`, one after the other.
    From then on nothing is looked at: `world.imagine` goes on, H steps, under the recorded actions,
    and `world.decode` says what it sees in each state. Without a generator every prediction is the
    mode; with one, all are samples, drawn from it.
    """
    mode = generator is None
    state, seen = world.initial(len(windows.reward)), []
    for t in range(windows.reward.shape[1]):
        if t < context:
            step = Step(*(v[:, t] for v in windows))
            state = world.observe(state, step, generator=generator, mode=mode)
        else:
            action = windows.action[:, t]
            state = world.imagine(state, action, generator=generator, mode=mode).state
            seen.append(world.decode(state))
    return torch.stack(seen, 1)
