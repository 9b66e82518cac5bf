"""PlaNet: against the official numbers, and by what must hold of any world."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case
from utils.course.exercise import ROOT
from utils.world import Step
from utils.worlds.planet import Cell, Config, Gaussians, PlaNet, Posterior, dense, open_loop
from utils.worlds.rssm import RSSM

torch.set_num_threads(1)
TINY = Config(deter=12, stoch=5, hidden=10, units=10, layers=2, depth=2)
BALL = Box(-1, 1, (3,), np.float32)
IMAGE = Box(0, 255, (64, 64, 3), np.uint8)


def made(space, action=BALL):
    def make():
        torch.manual_seed(3)
        return PlaNet(space, action, TINY)

    return make


def parallel(world, data):
    return world.filter(data, mode=True)[0]


CASES = {
    "vectors": Case(made(Box(-8, 8, (3,), np.float32)), parallel=parallel),
    "cells": Case(made(MultiBinary((10, 10, 4)), Discrete(3)), parallel=parallel),
    "pixels": Case(made(IMAGE), parallel=parallel, tolerance=1e-4),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


def test_recurrence_is_the_official_one():
    """danijar/dreamer's RSSM: the same weights and noise give the same states and stats."""
    data = np.load(ROOT / "tests/fixtures/dreamerv1_rssm.npz")
    given = {k.removeprefix("c0/in/"): torch.from_numpy(data[k]) for k in data.files if "/in/" in k}
    want = {k.removeprefix("c0/out/"): torch.from_numpy(data[k]) for k in data.files if "out/" in k}
    weight = {k.removeprefix("param:"): v for k, v in given.items() if k.startswith("param:")}
    (batch, time, embed), actions, stoch, deter, hidden = given["embed"].shape, 3, 3, 5, 4
    cell = Cell(deter, stoch, actions, hidden)
    posterior, prior = Posterior(deter, embed, hidden, 6), dense(deter, hidden, 1, 6)

    def gates(columns):  # Keras has update, reset, candidate; torch reset, update, candidate
        z, r, h = columns.chunk(3, -1)
        return torch.cat([r, z, h], -1).T

    loaded = {
        cell.from_stoch.weight: weight["img1_kernel"][:stoch].T,
        cell.from_stoch.bias: weight["img1_bias"],
        cell.from_action.weight: weight["img1_kernel"][stoch:].T,
        cell.gru.weight_ih: gates(weight["gru_kernel"]),
        cell.gru.weight_hh: gates(weight["gru_recurrent_kernel"]),
        cell.gru.bias_ih: gates(weight["gru_bias"])[:, 0],
        cell.gru.bias_hh: gates(weight["gru_bias"])[:, 1],
        prior[0].weight: weight["img2_kernel"].T,
        prior[0].bias: weight["img2_bias"],
        prior[2].weight: weight["img3_kernel"].T,
        prior[2].bias: weight["img3_bias"],
        posterior.from_deter.weight: weight["obs1_kernel"][:deter].T,
        posterior.from_deter.bias: weight["obs1_bias"],
        posterior.from_embed.weight: weight["obs1_kernel"][deter:].T,
        posterior.stats.weight: weight["obs2_kernel"].T,
        posterior.stats.bias: weight["obs2_bias"],
    }
    with torch.no_grad():
        for parameter, value in loaded.items():
            parameter.copy_(value)
    latent = Gaussians(stoch, 0.1)
    rssm = RSSM(cell, prior, posterior, latent)
    noise = given["eps"]  # drawn in turns: prior, posterior; then one for each imagined step
    first = torch.zeros(batch, time, dtype=torch.bool)
    posteriors = noise[1 : 2 * time : 2].transpose(0, 1)
    states, stats = rssm.filter(given["embed"], given["action"], first, posteriors)
    close = {"rtol": 2e-5, "atol": 2e-6}

    def same(found, stats, name):
        mean = stats.chunk(2, -1)[0]
        torch.testing.assert_close(mean, want[f"{name}_mean"], **close)
        std = latent.sample(stats, torch.ones_like(mean)) - mean
        torch.testing.assert_close(std, want[f"{name}_std"], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found["deter"], want[f"{name}_deter"], **close)
        torch.testing.assert_close(found["stoch"], want[f"{name}_stoch"], **close)

    same(states, stats, "post")
    expected = rssm.prior(states["deter"])
    drawn = latent.sample(expected, noise[0 : 2 * time : 2].transpose(0, 1))
    same({"deter": states["deter"], "stoch": drawn}, expected, "prior")
    state, dreamt = {k: v[:, -1] for k, v in states.items()}, []
    for t in range(time):
        state = rssm.imagine(state, given["action"][:, t], noise[2 * time + t])
        dreamt.append(state)
    dreamt = {k: torch.stack([s[k] for s in dreamt], 1) for k in state}
    same(dreamt, rssm.prior(dreamt["deter"]), "imagine")


@pytest.mark.parametrize("seed", range(3))
def test_kl_is_that_of_torch(seed):
    generator = torch.Generator().manual_seed(seed)
    latent = Gaussians(4, 0.1)
    p, q = 2 * torch.randn(2, 7, 8, generator=generator)
    normals = [
        torch.distributions.Normal(
            s.chunk(2, -1)[0], torch.nn.functional.softplus(s.chunk(2, -1)[1]) + 0.1
        )
        for s in (p, q)
    ]
    want = torch.distributions.kl_divergence(*normals).sum(-1)
    torch.testing.assert_close(latent.kl(p, q), want, rtol=1e-4, atol=1e-5)
    assert latent.kl(p, p).abs().max() < 1e-5


def test_free_nats_are_free():
    """Below them the divergence costs nothing and sends no gradient; each step by itself."""
    world = made(BALL)()
    data = Step(
        torch.zeros(2, 4, 3),
        torch.zeros(2, 4, 3),
        torch.zeros(2, 4),
        torch.zeros(2, 4, dtype=torch.bool),
        torch.zeros(2, 4, dtype=torch.bool),
    )
    states = world.filter(data, mode=True)[0]
    prior = world.rssm.prior(states["deter"])
    for shift in (0.0, 5.0):
        stats = prior.detach().clone()
        stats[0, 0, 0] += shift
        stats.requires_grad_()
        _, parts = world.objective(data, states, stats)
        kl = world.rssm.latent.kl(stats, prior)
        want = (kl - world.config.free_nats).clamp(min=0).mean()
        torch.testing.assert_close(parts["divergence"], want.detach())
        assert (parts["divergence"] > 0) == (shift > 0)


def test_rewards_of_first_rows_are_no_target():
    world, spec = made(BALL)(), made(BALL)().spec
    data = CASES["vectors"].data(spec)
    states, posterior = world.filter(data, mode=True)
    other = data._replace(reward=torch.where(data.first, torch.nan, data.reward))
    parts = [world.objective(d, states, posterior)[1]["reward"] for d in (data, other)]
    assert torch.isfinite(parts[0])
    assert torch.isnan(parts[1]) or torch.equal(*parts)


def test_open_loop_never_looks_ahead():
    """Observations behind the context may be anything."""
    world = made(BALL)()
    data = CASES["vectors"].data(world.spec)
    hidden = data.observation.clone()
    hidden[:, 2:] = torch.nan
    with torch.no_grad():
        seen = [
            open_loop(world, data._replace(observation=o), 2) for o in (data.observation, hidden)
        ]
    assert seen[0].shape == (3, 4, 3)
    torch.testing.assert_close(*seen)


def test_pictures_are_learned_from_bytes():
    world = made(IMAGE)()
    frames = torch.full((2, 3, 64, 64, 3), 255, dtype=torch.uint8)
    want = 0.5 * 0.25 * 64 * 64 * 3  # half the squared error of 1/2 against 0, summed
    loss = world.codec.loss(torch.zeros(2, 3, 64, 64, 3), frames)
    torch.testing.assert_close(loss, torch.full((2, 3), want))
    assert world.codec.expected(torch.full((1, 64, 64, 3), 0.5)).max() == 255
