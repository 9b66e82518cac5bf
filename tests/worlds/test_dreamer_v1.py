"""The first Dreamer's world: what is not PlaNet's, and what must hold of any world."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from tests.conformance import RULES, Case, random_steps
from tests.official import close
from utils.worlds.dreamer_v1 import Config, DreamerV1

torch.set_num_threads(1)
TINY = Config(deter=12, stoch=5, hidden=10, units=10, depth=2)
BALL = Box(-1, 1, (3,), np.float32)


def made(space, config=TINY):
    def make():
        torch.manual_seed(3)
        return DreamerV1(space, BALL, config)

    return make


CASES = {
    "vectors": Case(
        made(Box(-8, 8, (3,), np.float32)),
        parallel=lambda world, data: world.filter(data, mode=True)[0],
    ),
    "pixels": Case(made(Box(0, 255, (64, 64, 3), np.uint8)), tolerance=1e-4),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


def test_free_nats_clip_the_mean():
    """One row's surprise counts in the mean of all; below the free nats no gradient flows."""
    world = made(BALL)()
    batch = random_steps(world.spec)
    states = world.filter(batch, mode=True)[0]
    prior = world.rssm.prior(states["deter"])
    for shift in (0.0, 20.0):
        stats = prior.detach().clone()
        stats[0, 0, 0] += shift
        stats.requires_grad_()
        loss, parts = world.objective(batch, states, stats)
        kl = world.rssm.latent.kl(stats, prior)
        close(parts["divergence"], kl.mean().clamp(min=3.0).detach())
        plain = parts["reconstruction"] + parts["reward"] + parts["divergence"]
        close(plain, loss.detach())
        gradient = torch.autograd.grad(loss, stats)[0]
        assert (gradient.abs().sum() > 0) == (shift > 0)
        if shift:
            rest = gradient.clone()
            rest[0, 0, 0] = 0  # rows below three nats learn too, once the mean is above
            assert kl[0, 0] > 3 * batch.reward.numel()
            assert parts["divergence"] > 3


def test_rewards_are_unit_gaussians_and_those_of_first_rows_count():
    world = made(BALL)()
    batch = random_steps(world.spec)
    states, posterior = world.filter(batch, mode=True)
    world.reward = torch.nn.Sequential(torch.nn.Linear(17, 1))
    torch.nn.init.zeros_(world.reward[0].weight)
    torch.nn.init.constant_(world.reward[0].bias, 2.0)
    parts = world.objective(batch, states, posterior)[1]
    close(parts["reward"], 0.5 * (2.0 - batch.reward).square().mean())
