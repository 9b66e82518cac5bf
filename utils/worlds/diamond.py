"""DIAMOND: a diffusion model of the next frame as a world (Alonso, Jelley, Micheli, Kanervisto,
Storkey, Pearce, Fleuret, "Diffusion for World Modeling: Visual Details Matter in Atari", NeurIPS
2024), on the design of Karras, Aittala, Aila, Laine, "Elucidating the Design Space of
Diffusion-Based Generative Models", NeurIPS 2022 (EDM).

There is no latent space: a state is the last frames and the actions that led to them. The code
followed is eloialonso/diamond at `5bcd159`; for the samplers also NVlabs/edm at `008a4e5`. Inside,
frames are [P, H, W] from -1 to 1, and 0 is "no frame".

Shape key: B batch, T time, L frames of context, P channels of a frame, H W its size, N noise
levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.edm import euler, noise_levels, precondition
from utils.nn.random import normal
from utils.world import Dreamt, Spec, State, Step, where
from utils.worlds.diamond_net import AdaGroupNorm, Net, RewardEnd

Frame = Float[Tensor, "B P H W"]


@dataclass(frozen=True)
class Config:
    """The official defaults."""

    context: int = 4  # L
    depths: tuple[int, ...] = (2, 2, 2, 2)  # blocks of each level of the U-Net
    channels: tuple[int, ...] = (64, 64, 64, 64)  # one level only: a stack
    features: int = 256  # of the condition
    group: int = 32  # channels normalised together
    sigma_data: float = 0.5  # standard deviation of the data
    level_mean: float = -0.4  # of the logarithm of the noise levels of training
    level_std: float = 1.2
    level_low: float = 2e-3  # they are clipped
    level_high: float = 20.0
    offset: float = 0.3  # standard deviation of the noise that a whole channel shares
    moving: float = 0.0  # by how much more an error counts where the frame has changed
    steps: int = 3  # of denoising
    sigma_min: float = 2e-3  # last noise level of the sampler, before 0
    sigma_max: float = 5.0  # its first
    rho: float = 7.0  # the larger, the more of its levels are small


SMALL = Config(
    **{"depths": (3,), "channels": (32,), "features": 64, "group": 4},
    **{"offset": 0.0, "moving": 20.0, "sigma_min": 0.02},
)  # 10 x 10 cells


# ---- what is seen


def quantise(frame: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """The nearest of 256 levels from -1 to 1: what a frame of 8 bits can hold.

        level = round((clamp(x, -1, 1) + 1) / 2 * 255),         x' = level / 255 * 2 - 1

    A frame that has been quantised stays as it is.
    """
    level = ((frame.clamp(-1, 1) + 1) / 2 * 255).round()
    return level / 255 * 2 - 1


def truncate(frame: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """As `quantise`, but to the level below, as the official code does by `.byte()`."""
    level = ((frame.clamp(-1, 1) + 1) / 2 * 255).floor()
    return level / 255 * 2 - 1


def contexts(
    rows: Float[Tensor, "B T *shape"], first: Bool[Tensor, "B T"], length: int
) -> Float[Tensor, "B T L *shape"]:
    """What has been seen at each row: it and the rows before it, L = `length` in all, the oldest
    first.

    Rows before the window, and rows of an episode before the one that the row itself lies in, are
    zeros: `first` marks the rows in which an episode starts.
    """
    before = rows.new_zeros(rows.shape[0], length - 1, *rows.shape[2:])
    seen = torch.cat([before, rows], 1).unfold(1, length, 1).movedim(-1, 2)
    episode = F.pad(first.cumsum(1), (length - 1, 0)).unfold(1, length, 1)
    same = episode == episode[..., -1:]
    return seen * same.reshape(*same.shape, *[1] * (rows.ndim - 2))


# ---- the world


class Denoiser(nn.Module):
    """D: the expected clean frame, given a noisy one, the frames before it and the actions.

    Attributes: `offset`, the standard deviation of noise that all pixels of a channel share.
    """

    def __init__(self, net: nn.Module, config: Config) -> None:
        super().__init__()
        self.net, self.config, self.offset = net, config, config.offset

    def forward(
        self,
        noisy: Frame,
        sigma: Float[Tensor, " B"],
        frames: Float[Tensor, "B L P H W"],
        actions: Int[Tensor, "B L"],
    ) -> Frame:
        total = (sigma.square() + self.offset**2).sqrt()
        skip, out, scale, level = precondition(total, self.config.sigma_data)
        skip, out, scale = (c[:, None, None, None] for c in (skip, out, scale))
        context = frames / self.config.sigma_data
        return skip * noisy + out * self.net(scale * noisy, level, context, actions)

    def noise(
        self, frame: Frame, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, " B"], Frame, Float[Tensor, "B P 1 1"]]:
        """All the randomness of a loss: of levels, pixels and channels, all standard normal."""
        zeros = torch.zeros_like(frame)
        parts = zeros[:, 0, 0, 0], zeros, zeros[..., :1, :1]
        return tuple(normal(part, 1.0, generator) for part in parts)

    def loss(
        self,
        frame: Frame,
        frames: Float[Tensor, "B L P H W"],
        actions: Int[Tensor, "B L"],
        noise: tuple[Float[Tensor, " B"], Frame, Float[Tensor, "B P 1 1"]],
    ) -> Float[Tensor, " B"]:
        """Squared error of the network at one random noise level for each row, mean over pixels.

            sigma = exp(level_mean + level_std n_1), clipped
            noisy = x + sigma n_2 + offset n_3
            target = (x - c_skip noisy) / c_out
            loss = mean w (F(c_in noisy, c_noise) - target)^2

        `noise` is n_1, n_2, n_3. The coefficients are those of `precondition` at the noise's whole
        deviation, sqrt(sigma^2 + offset^2). Numbers are fields of `self.config`, and the offset is
        `self.offset`; F is `self.net(noisy, level, frames, actions)`, with frames in units of
        sigma_data. w = 1 + moving where the frame differs by more than 0.5 from the one before it,
        `frames[:, -1]`, else 1. DIAMOND, equation 6 and appendix D; denoiser.py.
        """
        config, (drawn, pixels, channels) = self.config, noise
        sigma = (config.level_mean + config.level_std * drawn).exp()
        sigma = sigma.clamp(config.level_low, config.level_high)
        noisy = frame + sigma[:, None, None, None] * pixels + self.offset * channels
        total = (sigma.square() + self.offset**2).sqrt()
        skip, out, scale, level = precondition(total, config.sigma_data)
        skip, out, scale = (c[:, None, None, None] for c in (skip, out, scale))
        guess = self.net(scale * noisy, level, frames / config.sigma_data, actions)
        error = (guess - (frame - skip * noisy) / out).square()
        weight = 1 + config.moving * ((frame - frames[:, -1]).abs() > 0.5)
        return (weight * error).mean((1, 2, 3))


class DIAMOND(nn.Module):
    """The world model. State: `frames` [B, L, P, H, W] and `actions` [B, L], the action that led to
    each frame as a number from 1, 0 for none.

    Attributes, for whoever wants another sampler:
        steps: of denoising. One gives the mean of all possible frames.
        sampler: `euler` or `heun`; schedule: where its noise levels come from.
        unit_start: start from noise of deviation 1, as the official code does, not sigma_max.
        quantised: what each denoised frame goes through: `quantise`, or `truncate` as in the
            official code.
        denoiser.offset: see there.

    Args:
        denoiser, norm: classes to build it from, for whoever changes one of them.
    """

    contexts = staticmethod(contexts)

    def __init__(
        self,
        observation_space: Box | MultiBinary,
        action_space: Discrete,
        config: Config,
        *,
        denoiser: type[Denoiser] = Denoiser,
        norm: type[AdaGroupNorm] = AdaGroupNorm,
    ) -> None:
        super().__init__()
        self.config = config
        self.spec = Spec(observation_space, action_space, differentiable=False)
        self.top = 255 if isinstance(observation_space, Box) else 1  # largest value of a pixel
        *self.size, self.picture = observation_space.shape
        sizes = config.features, config.depths, config.channels, config.group
        net = Net(self.picture, config.context, self.spec.action_size, *sizes, norm)
        self.denoiser = denoiser(net, config)
        self.reward_end = RewardEnd(self.picture, tuple(self.size), self.spec.action_size)
        self.steps, self.schedule, self.sampler = config.steps, noise_levels, euler
        self.unit_start, self.quantised = False, quantise

    # ---- the protocol

    def initial(self, batch: int) -> State:
        shape = (batch, self.config.context, self.picture, *self.size)
        zeros = next(self.parameters()).new_zeros(shape)
        return {"frames": zeros, "actions": zeros[:, :, 0, 0, 0].long()}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        state = where(step.first, self.initial(len(step.first)), state)
        frame, action = self.scaled(step.observation), self.index(step.action)
        return {
            "frames": torch.cat([state["frames"][:, 1:], frame[:, None]], 1),
            "actions": torch.cat([state["actions"][:, 1:], action[:, None]], 1),
        }

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """`mode` starts from the middle of the noise, zero."""
        zeros = torch.zeros_like(state["frames"][:, -1])
        return self.step(state, action, zeros if mode else normal(zeros, 1.0, generator))

    def decode(self, state: State) -> Float[Tensor, "B H W P"]:
        return (state["frames"][:, -1].movedim(1, -1) + 1) / 2 * self.top

    # ---- its parts

    def scaled(self, observation: Tensor) -> Float[Tensor, "*batch P H W"]:
        """Frames as the network sees them, from -1 to 1."""
        return observation.movedim(-1, -3).float() / self.top * 2 - 1

    def index(self, action: Float[Tensor, "*batch A"]) -> Int[Tensor, "*batch"]:
        """The number of a one-hot action, from 1; 0 where there is none."""
        numbers = torch.arange(1, action.shape[-1] + 1, device=action.device)
        return (action * numbers).sum(-1).round().long()

    def step(self, state: State, action: Float[Tensor, "B A"], noise: Frame) -> Dreamt:
        """One imagined step; `noise` is standard normal, and all the randomness there is.

        The new frame is `self.sample(frames, actions, noise)`: `frames` [B, L, P, H, W] are those
        seen so far, `actions` [B, L] what was done in each of them. So `self.index(action)` is the
        last one already, and the oldest has gone. Reward and continuation are
        `self.outcome(before, frame, action)` of the last frame seen, the new one and the index of
        the action. Then frames move up by one as actions did. No tensor in `state` changes.
        """
        number = self.index(action)
        actions = torch.cat([state["actions"][:, 1:], number[:, None]], 1)
        frame = self.sample(state["frames"], actions, noise)
        reward, cont = self.outcome(state["frames"][:, -1], frame, number)
        frames = torch.cat([state["frames"][:, 1:], frame[:, None]], 1)
        return Dreamt({"frames": frames, "actions": actions}, reward, cont)

    def sample(
        self, frames: Float[Tensor, "B L P H W"], actions: Int[Tensor, "B L"], noise: Frame
    ) -> Frame:
        """A frame that may come next. diffusion_sampler.py."""
        config = self.config
        levels = self.schedule(self.steps, config.sigma_min, config.sigma_max, config.rho)
        start = noise if self.unit_start else levels[0] * noise
        return self.sampler(partial(self.denoise, frames, actions), start, levels)

    def denoise(
        self,
        frames: Float[Tensor, "B L P H W"],
        actions: Int[Tensor, "B L"],
        x: Frame,
        sigma: Tensor,
    ) -> Frame:
        """D at one noise level for all rows, in the levels of grey that a frame can have."""
        sigma = x.new_full((len(x),), float(sigma))
        return self.quantised(self.denoiser(x, sigma, frames, actions))

    def outcome(
        self, before: Frame, frame: Frame, action: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """Expected sign of the reward, and the probability that the episode goes on."""
        reward, end = self.reward_end(before, frame, action)
        negative, _, positive = reward.softmax(-1).unbind(-1)
        return positive - negative, end.softmax(-1)[..., 0]

    def filter(self, batch: Step) -> State:
        """The states after each row of windows `[B, T, ...]`, all at once."""
        frames, actions = self.scaled(batch.observation), self.index(batch.action)
        length = self.config.context
        return {
            "frames": self.contexts(frames, batch.first, length),
            "actions": self.contexts(actions, batch.first, length),
        }

    def loss(
        self, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        """Of windows `[B, T, ...]`, T > L: each row from L on is predicted from the L before it,
        unless it starts an episode. Windows may begin and end anywhere."""
        length = self.config.context
        if batch.reward.shape[1] <= length:
            raise ValueError(f"A window must be longer than the context of {length} frames.")
        states = self.filter(batch)
        frames = states["frames"][:, length - 1 : -1].flatten(0, 1)
        after = {name: part[:, length:].flatten(0, 1) for name, part in states.items()}
        frame, actions = after["frames"][:, -1], after["actions"]
        first, sign = batch.first[:, length:].flatten(), batch.reward[:, length:].flatten().sign()
        noise = self.denoiser.noise(frame, generator)
        reward, end = self.reward_end(frames[:, -1], frame, actions[:, -1])
        parts = {
            "denoising": self.denoiser.loss(frame, frames, actions, noise),
            "reward": F.cross_entropy(reward, sign.long() + 1, reduction="none"),
            "end": F.cross_entropy(
                end, batch.terminated[:, length:].flatten().long(), reduction="none"
            ),
        }
        share = (~first).float().mean().clamp(min=1 / len(first))
        parts = {k: part.masked_fill(first, 0.0).mean() / share for k, part in parts.items()}
        metrics = {name: part.detach() for name, part in parts.items()}
        return sum(parts.values()), metrics, after
