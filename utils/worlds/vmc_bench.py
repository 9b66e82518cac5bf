"""What V, M and a dream cost, beside the plain way to write them: the bench of `vmc.py`.

Each function returns what is timed as calls, by name, ours first. The plain way uses the parts that
torch offers: its layers as they come, `torch.distributions`, an optimiser with its defaults.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal, kl_divergence

from utils.world import Dream, Step
from utils.worlds.vmc import VMC, ConvVAE, Direct, VMCConfig

Calls = dict[str, Callable[[], object]]
ACTIONS = Box(-1.0, 1.0, (3,), np.float32)


def _step(optimiser: torch.optim.Optimizer, loss: Callable[[], torch.Tensor], clip: float = 0.0):
    """A train step as the lesson's loops have it."""

    def step() -> None:
        optimiser.zero_grad()
        loss().backward()
        if clip:
            nn.utils.clip_grad_value_(optimiser.param_groups[0]["params"], clip)
        optimiser.step()

    return step


def vae(batch: int = 32) -> Calls:
    """V's train step at the article's size: 4,348,547 parameters on both sides."""
    frames = torch.randint(0, 256, (batch, 64, 64, 3), dtype=torch.uint8)
    ours, plain = ConvVAE(), ConvVAE()
    plain.decoder[0] = nn.ConvTranspose2d(1024, 128, 5, 2)

    def plain_loss() -> torch.Tensor:
        mean, log_variance = plain.posterior(frames)
        posterior = Normal(mean, (log_variance / 2).exp())
        error = (plain.picture(posterior.rsample()) - frames.float() / 255).square().sum((1, 2, 3))
        divergence = kl_divergence(posterior, Normal(0.0, 1.0)).sum(-1)
        return (error + divergence.clamp(min=16.0)).mean()

    adam = torch.optim.Adam(ours.parameters(), 1e-4, fused=True)
    return {
        "ours": _step(adam, lambda: ours.loss(frames)[0]),
        "plain": _step(torch.optim.Adam(plain.parameters(), 1e-4), plain_loss),
    }


def mdn_rnn(batch: int = 16, time: int = 32) -> Calls:
    """M's train step at the article's size for CarRacing: z of 32, 256 units, 5 components, and
    nothing else to predict."""
    space, config = Box(-1.0, 1.0, (32,), np.float32), VMCConfig(reward=False, cont=False)
    ours, plain = (VMC(Direct(space), ACTIONS, config) for _ in range(2))
    z, nothing = torch.randn(batch, time, 32), torch.zeros(batch, time)
    action, never = torch.randn(batch, time, 3), torch.zeros(batch, time, dtype=torch.bool)
    rows = Step(z, action, nothing, never, never)

    def plain_loss() -> torch.Tensor:
        h, _ = plain.lstm(torch.cat([z[:, :-1], action[:, 1:]], -1))
        logits, mean, log_std = plain.mixture_head(h).unflatten(-1, (32, -1)).chunk(3, -1)
        mixture = MixtureSameFamily(Categorical(logits=logits), Normal(mean, log_std.exp()))
        return -mixture.log_prob(z[:, 1:]).mean()

    adam = torch.optim.Adam(ours.parameters(), 1e-3, fused=True)
    return {
        "ours": _step(adam, lambda: ours.loss_of_latents(z, rows)[0], clip=1.0),
        "plain": _step(torch.optim.Adam(plain.parameters(), 1e-3), plain_loss, clip=1.0),
    }


def dream(individuals: int = 64, rollouts: int = 16, steps: int = 5) -> Calls:
    """One generation of CMA-ES, dreamt as one batch, and roll-out by roll-out."""
    from utils.agents.evolution import dream_scores, linear_controller  # worlds know no agents

    space = Box(-1.0, 1.0, (32,), np.float32)
    world = VMC(Direct(space), ACTIONS, VMCConfig(cont=False))  # no dream ends early
    starts, population = world.initial(1), 0.01 * torch.randn(individuals, 867)
    together = Dream(world, starts, individuals * rollouts, steps)
    single = Dream(world, starts, 1, steps)

    def act(parameters, state):
        features = torch.cat([state["z"], state["h"]], -1).unflatten(0, (len(parameters), -1))
        return linear_controller(parameters, features, 3).flatten(0, 1)

    def one_by_one() -> None:
        for parameters in population:
            for _ in range(rollouts):
                dream_scores(single, parameters[None], act)

    return {"ours": lambda: dream_scores(together, population, act), "one by one": one_by_one}
