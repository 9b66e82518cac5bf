"""World Models: against the official numbers, and by what must hold of any world."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from torch.nn import functional as F

from tests.conformance import RULES, Case, filtered, random_steps
from utils.course.exercise import ROOT
from utils.nn.conv import Spread
from utils.world import Dream, Step
from utils.worlds.vmc import (
    VMC,
    CellVAE,
    ConvVAE,
    Direct,
    VMCConfig,
    death_loss,
    heat,
    mixture_log_prob,
    vae_loss,
)

torch.set_num_threads(1)
SMALL = VMCConfig(hidden=12, mixtures=3, width=8)
THREE = Discrete(3)
CAR = Box(-1, 1, (3,), np.float32)


def oracle(name):
    return np.load(ROOT / f"tests/fixtures/worldmodels_{name}.npz")


def made(vision, action=THREE, config=SMALL):
    def make():
        torch.manual_seed(3)
        return VMC(vision(), action, config)

    return make


def unbroken(spec):
    """Windows of one episode each, the only ones that M's parallel form is exact on."""
    data = random_steps(spec)
    first = torch.zeros_like(data.first)
    first[:, 0] = True
    return data._replace(first=first)


def parallel(world, data):
    z = world.vision.encode(data.observation, mode=True)
    return {"z": z, "h": world.unroll(z, data.action)[0]}


DIRECT = made(lambda: Direct(Box(-1, 1, (3,), np.float32)))
CASES = {
    "direct": Case(DIRECT, parallel=parallel, data=unbroken),
    "direct, broken windows": Case(DIRECT),
    "cells": Case(made(lambda: CellVAE(MultiBinary((5, 5, 4)), latent=4, hidden=16))),
    "pixels": Case(
        made(lambda: ConvVAE(latent=4, depth=2), CAR, VMCConfig(12, 3, 8, False, False)),
        parallel=parallel,
        data=unbroken,
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", CASES)
def test_conformance(rule, name):
    rule(CASES[name])


@pytest.mark.parametrize("case", ["c0"])
def test_vae_loss_is_the_official_one_with_its_gradients(case):
    data = oracle("vae_loss_original")
    x, y, mean, log_variance = (
        torch.tensor(data[f"{case}/in/{k}"], requires_grad=k != "x")
        for k in ("x", "y", "mu", "logvar")
    )
    loss = vae_loss(x, y, mean, log_variance)
    loss.backward()
    for got, name in ((loss, "loss"), (y.grad, "dy"), (mean.grad, "dmu")):
        np.testing.assert_allclose(got.detach(), data[f"{case}/out/{name}"], 1e-5, 1e-5)
    np.testing.assert_allclose(log_variance.grad, data[f"{case}/out/dlogvar"], 1e-5, 1e-5)


def test_kl_within_its_tolerance_is_free():
    mean = torch.full((2, 8), 0.1, requires_grad=True)
    frame = torch.zeros(2, 4)
    loss = vae_loss(frame, frame, mean, torch.zeros(2, 8))
    loss.backward()
    assert loss.item() == 4.0
    assert (mean.grad == 0).all()


def test_mixture_is_the_official_one_with_its_gradient():
    data = oracle("mdn_loss_per_dimension")
    output = torch.tensor(data["c0/in/output"], requires_grad=True)
    value = torch.tensor(data["c0/in/target"])[:, 0]
    loss = -mixture_log_prob(*output.chunk(3, -1), value).mean()
    loss.backward()
    np.testing.assert_allclose(loss.item(), data["c0/out/loss"], 1e-5)
    np.testing.assert_allclose(output.grad, data["c0/out/doutput"], 1e-4, 1e-6)


def test_a_joint_mixture_is_another_thing():
    """The widely used PyTorch code has one mixture for the whole vector: with one dimension the two
    are the same, with several they are not."""
    data = oracle("gmm_loss")
    value, mean, sigma, logits = (
        torch.tensor(data[f"c0/in/{k}"]) for k in ("batch", "mus", "sigmas", "logpi")
    )
    per_dimension = (mean.transpose(-1, -2), sigma.log().transpose(-1, -2))
    z = value.shape[-1]
    ours = mixture_log_prob(
        logits[..., None, :].expand(*logits.shape[:-1], z, -1), *per_dimension, value
    )
    assert ours.sum(-1).mean() > -float(data["c0/out/loss"])  # free to choose for each dimension
    one = -mixture_log_prob(
        logits[..., None, :], *(p[..., :1, :] for p in per_dimension), value[..., :1]
    )
    log_normal = -0.5 * ((value[..., None, :1] - mean[..., :1]) / sigma[..., :1]) ** 2
    log_normal = (log_normal - sigma[..., :1].log() - 0.5 * math.log(2 * math.pi))[..., 0]
    torch.testing.assert_close(one[..., 0], -(logits + log_normal).logsumexp(-1))


def test_mixture_does_not_underflow():
    zeros = torch.zeros(1, 2)
    far = mixture_log_prob(zeros, zeros, zeros, torch.tensor([1e4]))
    assert far.isfinite().all()
    assert far.item() == pytest.approx(-0.5e8, rel=1e-4)


def temperatures():
    return sorted({key.split("/")[0] for key in oracle("temperature_sampling").files})


@pytest.mark.parametrize("case", temperatures())
def test_draw_is_the_official_sampler(case):
    data = oracle("temperature_sampling")
    logits, mean, log_std, lot, noise = (
        torch.tensor(data[f"{case}/in/{k}"]) for k in ("logmix", "mean", "logstd", "u", "normal")
    )
    world = DIRECT()
    world.temperature = float(case[1:])
    probability = heat(logits, log_std, world.temperature)[0].softmax(-1)
    np.testing.assert_allclose(probability, data[f"{case}/out/probs"], 1e-6, 1e-8)
    z = world.draw(logits, mean, log_std, lot, noise)
    np.testing.assert_allclose(z, data[f"{case}/out/next_z"], 1e-6, 1e-8)


def test_drawn_values_have_the_mixture_s_moments():
    world, generator = DIRECT(), torch.Generator().manual_seed(0)
    logits = torch.tensor([0.3, 0.7]).log().expand(200_000, 1, 2)
    mean, log_std = torch.tensor([-1.0, 2.0]).expand_as(logits), torch.full(logits.shape, -2.0)
    lot = torch.rand(logits.shape[:2], generator=generator)
    z = world.draw(logits, mean, log_std, lot, torch.randn(lot.shape, generator=generator))
    assert z.mean().item() == pytest.approx(1.1, abs=0.02)
    assert z.var().item() == pytest.approx(0.21 * 9 + math.exp(-4), abs=0.02)


@pytest.mark.parametrize("weight", [1.0, 10.0])
@pytest.mark.parametrize("p", [0.01, 0.3])
def test_the_weight_of_an_end_is_taken_back(weight, p):
    """Where the loss of logits is least, P(end) is the true probability: in closed form."""
    config = VMCConfig(12, 3, 8, death_weight=weight)
    world = made(lambda: Direct(Box(-1, 1, (3,), np.float32)), config=config)()
    logit = torch.tensor(math.log(weight * p / (1 - p)), requires_grad=True)
    ends = torch.tensor([True, False])
    loss = (death_loss(logit.expand(2), ends, weight) * torch.tensor([p, 1 - p])).sum()
    loss.backward()
    assert logit.grad.item() == pytest.approx(0, abs=1e-6)
    assert 1 - world.continuation(logit).item() == pytest.approx(p, abs=1e-6)


def test_death_loss_is_exact_for_any_logit():
    logits = torch.tensor([-200.0, 200.0])
    loss = death_loss(logits, torch.tensor([True, False]), 10.0)
    torch.testing.assert_close(loss, torch.tensor([2000.0, 200.0]))


def test_the_sizes_are_those_of_the_article():
    car = VMC(ConvVAE(), CAR, VMCConfig(reward=False, cont=False))
    assert sum(p.numel() for p in car.vision.parameters()) == 4_348_547
    memory = [*car.lstm.parameters(), *car.mixture_head.parameters()]
    assert sum(p.numel() for p in memory) == 422_368 + 4 * 256  # torch's LSTM has two biases
    doom = VMC(ConvVAE(64), Box(-1, 1, (1,), np.float32), VMCConfig(512, reward=False, cont=False))
    assert sum(p.numel() for p in doom.vision.parameters()) == 4_446_915


def test_spread_is_the_transposed_convolution():
    spread, plain = Spread(6, 4, 5, 2), torch.nn.ConvTranspose2d(6, 4, 5, 2)
    plain.load_state_dict(spread.state_dict())
    pixel = torch.randn(3, 6, 1, 1)
    torch.testing.assert_close(spread(pixel), plain(pixel))
    for module in (spread, plain):
        module(pixel).square().sum().backward()
    torch.testing.assert_close(spread.weight.grad, plain.weight.grad)
    torch.testing.assert_close(spread.bias.grad, plain.bias.grad)


def test_one_step_is_the_lstm_s():
    world = DIRECT()
    data = unbroken(world.spec)
    z = world.vision.encode(data.observation, mode=True)
    h, last = world.unroll(z, data.action)
    states = filtered(world, data)
    torch.testing.assert_close(h, states["h"])
    torch.testing.assert_close(last["c"], states["c"][:, -1])


def test_rows_past_an_end_change_nothing():
    """Poison: rows from another episode's start on, and row 0's own target, hold nan."""
    world = DIRECT()
    data = random_steps(world.spec, batch=2)
    data.first[:, 4] = True
    z = world.vision.encode(data.observation, mode=True)
    h, _ = world.unroll(z, data.action)
    loss, parts = world.sequence_loss(h, z, data)
    short = Step(*(v[:, :4] for v in data))
    same, _ = world.sequence_loss(h[:, :4], z[:, :4], short)
    torch.testing.assert_close(loss, same)
    assert set(parts) == {"nll", "reward", "death"}
    other = data.reward.clone()
    other[:, 4:] += 100
    torch.testing.assert_close(world.sequence_loss(h, z, data._replace(reward=other))[0], loss)


def test_starts_carry_no_memory_of_another_episode():
    world = DIRECT()
    data = random_steps(world.spec)  # the last window holds two episodes
    _, _, starts = world.loss(data, torch.Generator().manual_seed(0))
    assert (starts["h"][-1] == 0).all()
    assert (starts["h"][:-1] != 0).any()
    Dream(world, starts, 4, 10).step(torch.eye(3)[[0, 1, 2, 0]])


def test_cells_learn_frames_and_say_so_in_the_space_of_the_data():
    torch.manual_seed(0)
    space, generator = MultiBinary((5, 5, 4)), torch.Generator().manual_seed(0)
    place = torch.randint(25, (16, 3), generator=generator)
    frames = torch.zeros(16, 25, 4)
    frames[:, :, :3] = F.one_hot(place, 25).transpose(1, 2).float()
    frames[:, :, 3] = (torch.rand(16, 25, generator=generator) < 0.5).float()
    frames = frames.unflatten(1, (5, 5))
    vision = CellVAE(space, latent=16, hidden=64)
    optimiser = torch.optim.Adam(vision.parameters(), 3e-3)
    for _ in range(300):
        loss, _ = vision.loss(frames, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        seen = vision.expected(vision.encode(frames, mode=True))
    assert ((seen > 0.5) == (frames > 0.5)).float().mean() > 0.97
    torch.testing.assert_close(seen[..., :3].sum((1, 2)), torch.ones(16, 3))


def test_pictures_are_learned_in_uint8():
    torch.manual_seed(0)
    vision, generator = ConvVAE(latent=8, depth=4), torch.Generator().manual_seed(0)
    frames = torch.zeros(8, 64, 64, 3, dtype=torch.uint8)
    for i in range(8):
        frames[i, 8 * i : 8 * i + 8] = 255
    optimiser = torch.optim.Adam(vision.parameters(), 2e-3)
    begun = vision.loss(frames, generator)[0].item()
    for _ in range(60):
        loss, _ = vision.loss(frames, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.5 * begun
    seen = vision.expected(vision.encode(frames, mode=True))
    assert seen.shape == frames.shape
    assert 1 < seen.max() <= 255


def test_temperature_is_an_attribute_and_training_does_not_see_it():
    world = DIRECT()
    data = random_steps(world.spec)
    losses = []
    for temperature in (0.1, 2.0):
        world.temperature = temperature
        losses.append(world.loss(data, torch.Generator().manual_seed(0))[0])
    assert losses[0] == losses[1]
    state = world.initial(500)
    action = torch.eye(3)[torch.zeros(500, dtype=torch.long)]
    spread = []
    for temperature in (0.1, 2.0):
        world.temperature = temperature
        generator = torch.Generator().manual_seed(0)
        spread.append(world.imagine(state, action, generator=generator).state["z"].std(0))
    assert (spread[0] < spread[1]).all()


def test_encode_draws_from_the_posterior():
    vision = Direct(Box(-1, 1, (3,), np.float32), noise=0.2)
    z = vision.encode(torch.zeros(20_000, 3), torch.Generator().manual_seed(0))
    assert z.std().item() == pytest.approx(0.2, rel=0.02)
