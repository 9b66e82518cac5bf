"""World Models (Ha & Schmidhuber, 2018): V sees, M remembers and predicts, C acts (lesson 2.1).

V is a variational autoencoder of single frames (`ConvVAE` for pictures, `CellVAE` for MinAtar,
`Direct` where the observation already is a short vector). M is an LSTM that reads the latent z and
the action, and whose head is a mixture of Gaussians for every latent dimension: `VMC` is V and M
together as one world. C is in `utils/agents/evolution.py`.

V is trained first, by `vision.loss(observation, generator)`; then M, by `world.loss(batch,
generator)` on latents drawn from V, whose weights stay as they are. Sources are sections of
the article (arXiv 1803.10122) and files of hardmaru/WorldModelsExperiments.

Shape key: B batch, T time, A action size, Z latent dimensions, K mixture components, D hidden
units of the LSTM, C channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.conv import decoder_64, encoder_64
from utils.nn.gaussian import kl_to_unit, log_prob
from utils.nn.random import normal, uniform
from utils.world import Dreamt, Spec, State, Step, where

# ---- V


def vae_loss(
    target: Float[Tensor, "B *shape C"],
    picture: Float[Tensor, "B *shape C"],
    mean: Float[Tensor, "B Z"],
    log_variance: Float[Tensor, "B Z"],
    tolerance: float = 0.5,
) -> Float[Tensor, ""]:
    """The loss of V: squared error plus the KL divergence that is more than tolerated.

        loss = mean over B of [ sum (target - picture)^2 + max(KL, tolerance * Z) ]

    The squares are summed over all axes of a frame, with values in 0..1. KL is that of
    N(mean, exp(log_variance)) from N(0, 1), summed over Z; below its floor of `tolerance` nats a
    dimension (for each frame of its own, before the mean over B) it costs nothing more and sends
    no gradient. carracing/vae/vae.py.
    """
    error = (target - picture).square().flatten(1).sum(-1)
    divergence = kl_to_unit(mean, log_variance).clamp(min=tolerance * mean.shape[-1])
    return (error + divergence).mean()


class Vision(nn.Module):
    """What every V has. Leading axes of observations and latents are free: [B], [B, T], ..."""

    observation_space: gym.Space  # of one frame, as the data holds it
    latent: int  # Z

    def posterior(self, observation: Tensor) -> tuple[Float[Tensor, "*B Z"], Float[Tensor, "*B Z"]]:
        """Mean and log variance of z, from observations [*B, *shape] as the data holds them."""
        raise NotImplementedError

    def expected(self, z: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B *shape"]:
        """The observation to expect, in the space of the data."""
        raise NotImplementedError

    def encode(
        self, observation: Tensor, generator: torch.Generator | None = None, mode: bool = False
    ) -> Float[Tensor, "*B Z"]:
        """A sample of z, or its mean."""
        mean, log_variance = self.posterior(observation)
        return mean if mode else normal(mean, (log_variance / 2).exp(), generator)


class ConvVAE(Vision):
    """V of the article, for pictures of 64 x 64 pixels in uint8 (appendix A.1).

    Four convolutions of width 4 and stride 2 down to 2 x 2, four transposed ones of width 5, 5, 6
    and 6 back. `depth` is the number of channels of the first layer, 32 in the article, where V has
    4,348,547 parameters with Z = 32; half of it has a quarter of them.
    """

    def __init__(self, latent: int = 32, depth: int = 32):
        super().__init__()
        self.latent = latent
        self.observation_space = Box(0, 255, (64, 64, 3), np.uint8)
        features = 32 * depth
        self.encoder = encoder_64(depth)
        self.mean, self.log_variance = nn.Linear(features, latent), nn.Linear(features, latent)
        self.widen = nn.Linear(latent, features)
        self.decoder = decoder_64(depth)

    def posterior(self, observation):
        flat = observation.reshape(-1, 64, 64, 3).permute(0, 3, 1, 2).float() / 255
        features = self.encoder(flat).unflatten(0, observation.shape[:-3])
        return self.mean(features), self.log_variance(features)

    def picture(self, z: Float[Tensor, "*B Z"]) -> Float[Tensor, "*B 64 64 C"]:
        """The decoder's picture, with values in 0..1."""
        wide = self.widen(z).reshape(-1, self.widen.out_features, 1, 1)
        return self.decoder(wide).sigmoid().permute(0, 2, 3, 1).unflatten(0, z.shape[:-1])

    def expected(self, z):
        return 255 * self.picture(z)

    def loss(
        self, observation: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """`vae_loss` of frames [B, 64, 64, 3], and its two parts."""
        mean, log_variance = self.posterior(observation)
        picture = self.picture(normal(mean, (log_variance / 2).exp(), generator))
        target = observation.float() / 255
        loss = vae_loss(target, picture, mean, log_variance)
        with torch.no_grad():
            error = (target - picture).square().flatten(1).sum(-1).mean()
            return loss, {"error": error, "kl": kl_to_unit(mean, log_variance).mean()}


class CellVAE(Vision):
    """V for frames of cells with one or several objects in each channel, such as MinAtar's.

    Each of the first `placed` channels holds one object: its cell is a class of H x W. In the other
    channels every cell is on or off by itself. For Breakout: paddle, ball and trail are placed,
    bricks are not. The reconstruction loss is the negative log-likelihood, in nats; the KL counts a
    tenth of it, or a ball, which is worth 5 nats, would be cheaper to forget than to code.

    Args:
        space: of a frame [H, W, C] of zeros and ones, as the data holds it.
    """

    def __init__(self, space: gym.Space, latent: int = 32, hidden: int = 256, placed: int = 3):
        super().__init__()
        self.observation_space, self.latent, self.placed = space, latent, placed
        size = math.prod(space.shape)
        self.encoder = nn.Sequential(
            nn.Linear(size, hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent)
        )
        self.decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, size))

    def posterior(self, observation):
        return self.encoder(observation.float().flatten(-3)).chunk(2, -1)

    def logits(self, z: Float[Tensor, "*B Z"]) -> tuple[Tensor, Tensor]:
        """Of the cell of each placed object [*B, H W, placed], and of the other cells."""
        logits = self.decoder(z).unflatten(-1, (-1, self.observation_space.shape[-1]))
        return logits[..., : self.placed], logits[..., self.placed :]

    def expected(self, z):
        placed, other = self.logits(z)
        return torch.cat([placed.softmax(-2), other.sigmoid()], -1).unflatten(
            -2, self.observation_space.shape[:-1]
        )

    def loss(
        self, observation: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Negative log-likelihood of frames [B, H, W, C] and a tenth of the KL divergence, and both
        by themselves."""
        mean, log_variance = self.posterior(observation)
        placed, other = self.logits(normal(mean, (log_variance / 2).exp(), generator))
        target = observation.float().flatten(-3, -2)  # [B, H W, C]
        nll = -(placed.log_softmax(-2) * target[..., : self.placed]).sum((-1, -2))
        nll = nll + F.binary_cross_entropy_with_logits(
            other, target[..., self.placed :], reduction="none"
        ).sum((-1, -2))
        divergence = kl_to_unit(mean, log_variance)
        loss = (nll + 0.1 * divergence).mean()
        return loss, {"error": nll.detach().mean(), "kl": divergence.detach().mean()}


class Direct(Vision):
    """V for tasks that already show a short vector: z is the observation, nothing is learned.

    `noise` is the standard deviation of z around it. Like the variance of a V that was learned, it
    keeps M from growing a component around a single value until its density is infinite.
    """

    def __init__(self, space: Box, noise: float = 0.05):
        super().__init__()
        self.observation_space, self.latent = space, space.shape[0]
        self.log_noise = 2 * math.log(noise)

    def posterior(self, observation):
        return observation, torch.full_like(observation, self.log_noise)

    def expected(self, z):
        return z


# ---- M


def mixture_log_prob(
    logits: Float[Tensor, "*B Z K"],
    mean: Float[Tensor, "*B Z K"],
    log_std: Float[Tensor, "*B Z K"],
    value: Float[Tensor, "*B Z"],
) -> Float[Tensor, "*B Z"]:
    """Log density of each latent dimension under its own mixture of K Gaussians, in nats.

        log p_z(value_z) = log sum_k softmax(logits)_zk N(value_z; mean_zk, exp(log_std_zk)^2)

    `logits` need not be normalised. Computed in logarithms throughout: far from every component the
    density underflows to 0, its logarithm does not. Nothing is summed over Z.
    carracing/rnn/rnn.py, `get_lossfunc`.
    """
    weighted = logits + log_prob(value[..., None], mean, log_std)
    return weighted.logsumexp(-1) - logits.logsumexp(-1)


def heat(
    logits: Float[Tensor, "*B K"], log_std: Float[Tensor, "*B K"], temperature: float
) -> tuple[Float[Tensor, "*B K"], Float[Tensor, "*B K"]]:
    """Logits and log standard deviations of a mixture at a temperature above 0.

        logits / temperature,        std * sqrt(temperature)

    Hot: components become alike and wide. Cold: the likeliest component alone is left, and
    narrow. At 1 nothing changes. doomrnn/doomrnn.py, `_step`.
    """
    return logits / temperature, log_std + 0.5 * math.log(temperature)


def death_loss(
    logits: Float[Tensor, "*B"], terminated: Bool[Tensor, "*B"], weight: float
) -> Float[Tensor, "*B"]:
    """Cross-entropy of an episode's end, in which an end counts `weight` times.

        loss = -weight * log p  where terminated,  -log(1 - p)  elsewhere,      p = sigmoid(logits)

    Ends are rare: without a weight M does best, for long, by never expecting one. Elementwise, and
    exact for logits of any size. doomrnn/doomrnn.py, `restart_factor`.
    """
    target = terminated.to(logits.dtype)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return loss * (1 + (weight - 1) * target)


@dataclass(frozen=True)
class VMCConfig:
    """M's size and parts."""

    hidden: int = 256  # D; 256 for CarRacing and 512 for Doom in the article
    mixtures: int = 5  # K
    width: int = 64  # of the hidden layer of the two heads
    reward: bool = True  # predicts the reward
    cont: bool = True  # predicts whether the episode goes on
    death_weight: float = 10.0  # how much more an end counts in the loss


class VMC(nn.Module):
    """V and M as one world. A state holds z [B, Z] and M's memory h, c [B, D].

    `temperature` (an attribute, 1.0) is that of every imagined z; it changes nothing in training.
    """

    def __init__(self, vision: Vision, action_space: gym.Space, config: VMCConfig):
        super().__init__()
        self.vision, self.config, self.temperature = vision, config, 1.0
        self.spec = Spec(
            vision.observation_space, action_space, reward=config.reward, cont=config.cont
        )
        latent, hidden = vision.latent, config.hidden
        self.lstm = nn.LSTM(latent + self.spec.action_size, hidden, batch_first=True)
        self.mixture_head = nn.Linear(hidden, latent * config.mixtures * 3)

        def head() -> nn.Module:  # a branch of its own: the mixture's gradient is far larger
            wide = nn.Linear(hidden + latent, config.width)
            return nn.Sequential(wide, nn.ReLU(), nn.Linear(config.width, 1), nn.Flatten(-2))

        self.reward_head = head() if config.reward else None
        self.death_head = head() if config.cont else None

    # ---- the world

    def initial(self, batch: int) -> State:
        """Zeros, as at the start of every episode."""
        zeros = self.mixture_head.weight.new_zeros
        memory = (batch, self.config.hidden)
        return {"z": zeros(batch, self.vision.latent), "h": zeros(memory), "c": zeros(memory)}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """M reads the last z and the action that followed it; V sees the new observation.

        Where the step is the first of an episode, the whole state is forgotten before.
        """
        state = where(step.first, self.initial(len(step.first)), state)
        h, c = self.recur(state, step.action)
        return {"z": self.vision.encode(step.observation, generator, mode), "h": h, "c": c}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """M reads z and the action, and draws the next z itself. The mode of a mixture is the mean
        of its heaviest component, at any temperature."""
        h, c = self.recur(state, action)
        logits, mean, log_std = self.mixture(h)
        if mode:
            z = mean.gather(-1, logits.argmax(-1, keepdim=True)).squeeze(-1)
        else:
            lot = uniform(state["z"].shape, mean, generator)
            noise = normal(torch.zeros_like(lot), 1.0, generator)
            z = self.draw(logits, mean, log_std, lot, noise)
        features = torch.cat([h, z], -1)
        reward = self.reward_head(features) if self.config.reward else None
        cont = self.continuation(self.death_head(features)) if self.config.cont else None
        return Dreamt({"z": z, "h": h, "c": c}, reward, cont)

    def decode(self, state: State) -> Tensor:
        """V's picture of z."""
        return self.vision.expected(state["z"])

    # ---- M's parts

    def recur(
        self, state: State, action: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B D"]]:
        """One step of the LSTM: the new h and c."""
        read = torch.cat([state["z"], action], -1)
        m = self.lstm
        weights = (m.weight_ih_l0, m.weight_hh_l0, m.bias_ih_l0, m.bias_hh_l0)
        return torch.lstm_cell(read, (state["h"], state["c"]), *weights)

    def unroll(
        self, z: Float[Tensor, "B T Z"], action: Float[Tensor, "B T A"]
    ) -> tuple[Float[Tensor, "B T D"], State]:
        """h after every row, and the state after the last; the same as T times `observe` from
        `initial`, as long as no row after row 0 starts an episode."""
        before = torch.cat([torch.zeros_like(z[:, :1]), z[:, :-1]], 1)
        h, (_, c) = self.lstm(torch.cat([before, action], -1))
        return h, {"z": z[:, -1], "h": h[:, -1], "c": c[0]}

    def mixture(
        self, h: Float[Tensor, "*B D"]
    ) -> tuple[Float[Tensor, "*B Z K"], Float[Tensor, "*B Z K"], Float[Tensor, "*B Z K"]]:
        """Logits, mean and log std of the mixture of every dimension of the z that belongs to h."""
        parts = self.mixture_head(h).unflatten(-1, (3, -1, self.vision.latent))
        # In memory Z is the last axis, so that a sum over the few components adds whole rows.
        return parts.transpose(-1, -2).unbind(-3)

    def draw(
        self,
        logits: Float[Tensor, "*B Z K"],
        mean: Float[Tensor, "*B Z K"],
        log_std: Float[Tensor, "*B Z K"],
        lot: Float[Tensor, "*B Z"],
        noise: Float[Tensor, "*B Z"],
    ) -> Float[Tensor, "*B Z"]:
        """A sample of z at `self.temperature`, made from noise that is given.

        First `heat`. Then for each latent dimension of its own: the component is the first whose
        cumulative probability exceeds `lot` (uniform in [0, 1)), or the last one where rounding
        leaves none; z is its mean plus its std times `noise` (standard normal).
        doomrnn/doomrnn.py, `_step`.
        """
        logits, log_std = heat(logits, log_std, self.temperature)
        reached = (logits - logits.amax(-1, keepdim=True)).exp().cumsum(-1)  # not normalised
        # A lot of at most 1 - 2^-24 times the sum is less than the sum, in float32 too.
        index = (reached <= lot[..., None] * reached[..., -1:]).sum(-1, keepdim=True)
        chosen, width = mean.gather(-1, index), log_std.gather(-1, index).exp()
        return chosen.squeeze(-1) + width.squeeze(-1) * noise

    def continuation(self, logits: Float[Tensor, "*B"]) -> Float[Tensor, "*B"]:
        """P(not terminated), from logits that `death_loss` has trained.

        An end that counts w = `self.config.death_weight` times looks w times as frequent: the
        logits have learned the odds w p / (1 - p). Divided by w they are the true odds again.
        """
        return torch.sigmoid(math.log(self.config.death_weight) - logits)

    # ---- training M

    def sequence_loss(
        self, h: Float[Tensor, "B T D"], z: Float[Tensor, "B T Z"], batch: Step
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """M's loss on windows that may run past the end of an episode, and its parts.

        Row t of h (t >= 1) predicts row t of z, of the reward and of the end: the means over all
        rows that count of the mixtures' negative log-likelihood (mean over Z too), of the squared
        error of the reward, and of `death_loss` are added up. `self.mixture`, `self.reward_head`
        and `self.death_head` predict; the two heads read [h, z], and are None in a world without.

        Row 0 has nothing before it and does not count. From the first row on that starts another
        episode (`batch.first`) no row counts: its past is not its own. The parts are detached.
        """
        counts = (batch.first[:, 1:].cumsum(1) == 0).to(z.dtype)  # [B, T - 1]
        total = counts.sum().clamp(min=1.0)
        h, z = h[:, 1:], z[:, 1:]
        parts = {"nll": -mixture_log_prob(*self.mixture(h), z).mean(-1)}
        features = torch.cat([h, z], -1)
        if self.config.reward:
            parts["reward"] = (self.reward_head(features) - batch.reward[:, 1:]).square()
        if self.config.cont:
            terminated, weight = batch.terminated[:, 1:], self.config.death_weight
            parts["death"] = death_loss(self.death_head(features), terminated, weight)
        means = {name: (part * counts).sum() / total for name, part in parts.items()}
        return sum(means.values()), {name: mean.detach() for name, mean in means.items()}

    def loss_of_latents(
        self, z: Float[Tensor, "B T Z"], batch: Step
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        """`loss` where V has already been asked; the batch's observation is not looked at.

        Returns the loss, its parts, and a start of a dream for each window: its last row, without
        memory where the window holds more than one episode.
        """
        h, last = self.unroll(z, batch.action)
        loss, metrics = self.sequence_loss(h, z, batch)
        broken = batch.first[:, 1:].any(1)
        empty = self.initial(len(z)) | {"z": last["z"]}
        starts = {name: value.detach() for name, value in where(broken, empty, last).items()}
        return loss, metrics, starts

    def loss(
        self, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        """M's loss on windows [B, T, ...], with z drawn anew from V each time (V stays fixed)."""
        with torch.no_grad():
            z = self.vision.encode(batch.observation, generator)
        return self.loss_of_latents(z, batch)
