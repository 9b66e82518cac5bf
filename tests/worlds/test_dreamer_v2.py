"""DreamerV2's world against danijar/dreamerv2 at 07d906e, and by what must hold of any world."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case, random_steps
from tests.official import close, official
from utils.worlds.dreamer_v2 import Categoricals, Cell, Config, DreamerV2

torch.set_num_threads(1)
TINY = Config(deter=12, hidden=10, stoch=4, classes=4, units=10, layers=2, depth=2)
CARTPOLE, TWO = Box(-4.8, 4.8, (4,), np.float32), Discrete(2)


def made(space=CARTPOLE, action=TWO, config=TINY):
    torch.manual_seed(3)
    return DreamerV2(space, action, config)


def parallel(world, data):
    return world.filter(data, mode=True)[0]


CASES = {
    "vectors": Case(made, parallel=parallel),
    "continuous": Case(lambda: made(action=Box(-2, 2, (3,))), parallel=parallel),
    "cells": Case(lambda: made(MultiBinary((10, 10, 4)), Discrete(3)), parallel=parallel),
    "pixels": Case(lambda: made(Box(0, 255, (64, 64, 3), np.uint8)), tolerance=1e-4),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


def test_the_cell_is_the_official_one():
    """Theirs begins after the layer that reads sample and action. Ours gets what that layer's elu
    makes into half of it (a number above -1), and weights of twice the size."""
    given, expected = official("dreamerv2_layernorm_gru")
    cell = Cell(deter=6, stoch=4, actions=2, hidden=4)
    with torch.no_grad():
        cell.gates.weight.copy_(given["param:kernel"].T)
        cell.gates.weight[:, :4] *= 2
        cell.gates.bias.copy_(given["param:bias"])
        cell.norm.weight.copy_(given["param:gamma"])
        cell.norm.bias.copy_(given["param:beta"])
        cell.from_stoch.bias.zero_()
    half = given["x"] / 2
    x = torch.where(half > 0, half, half.clamp(max=0).log1p())
    h1 = cell(given["h"], torch.zeros(3, 2, 2), x)
    close(h1, expected["h1"], rtol=1e-4, atol=1e-5)
    close(cell(h1, torch.zeros(3, 2, 2), x), expected["h2"], rtol=1e-4, atol=1e-5)


def test_kl_balancing_is_the_official_one():
    given, expected = official("dreamerv2_kl_balance")
    world = made(config=replace(TINY, stoch=4, classes=5))
    posterior, prior = (
        given[k].flatten(-2).requires_grad_() for k in ("post_logit", "prior_logit")
    )
    close(world.rssm.latent.kl(posterior, prior), expected["value"])
    loss = world.kl(posterior, prior)
    close(loss, expected["loss"])
    gradients = torch.autograd.grad(loss, (posterior, prior))
    close(gradients[0].view(3, 4, 4, 5), expected["dloss_dpost_logit"])
    close(gradients[1].view(3, 4, 4, 5), expected["dloss_dprior_logit"])


@pytest.mark.parametrize("balance", [0.5, 0.8, 1.0])
def test_the_prior_gets_its_share_of_the_gradient(balance):
    world = made(config=replace(TINY, balance=balance))
    torch.manual_seed(0)
    posterior, prior = torch.randn(2, 3, 5, 16, requires_grad=True).unbind(0)
    plain = torch.autograd.grad(world.rssm.latent.kl(posterior, prior).mean(), (posterior, prior))
    mixed = torch.autograd.grad(world.kl(posterior, prior), (posterior, prior))
    close(mixed[1], balance * plain[1])
    close(mixed[0], (1 - balance) * plain[0])


def test_free_nats_clip_the_mean():
    world = made(config=replace(TINY, free_nats=1.0))
    posterior, prior = torch.zeros(2, 3, 16), torch.zeros(2, 3, 16, requires_grad=True)
    with torch.no_grad():
        prior[0, 0, 0] = 3.0  # about a nat in one row of six
    assert world.kl(posterior, prior).item() == 1
    assert torch.autograd.grad(world.kl(posterior, prior), prior)[0].abs().max() == 0
    with torch.no_grad():
        prior[..., 0] = 4.0
    assert world.kl(posterior, prior) > 1


def test_divergence_of_categories_that_exclude_each_other_is_finite():
    latent = Categoricals(1, 2)
    p = torch.tensor([[300.0, -300.0]], requires_grad=True)
    q = torch.tensor([[-300.0, 300.0]], requires_grad=True)
    kl = latent.kl(p, q)
    assert kl.item() == pytest.approx(600)
    assert all(g.isfinite().all() for g in torch.autograd.grad(kl.sum(), (p, q)))


def test_samples_are_straight_through():
    given, expected = official("dreamerv2_straight_through_onehot")
    latent, logits = Categoricals(1, 5), given["logits"].requires_grad_()
    reached = logits.detach().softmax(-1).cumsum(-1)
    index = given["sampled_index"][:, None]
    noise = reached.gather(1, index) - 1e-4  # falls into the class that the official code drew
    sample = latent.sample(logits, noise)
    close(sample[:, 0], expected["sample"])
    (gradient,) = torch.autograd.grad((sample[:, 0] * given["w"]).sum(), logits)
    close(gradient, expected["dlogits"])
    close(latent.sample(logits, None)[:, 0], expected["mode"])


def test_the_parts_of_the_loss_add_up_with_their_scales():
    world, batch = made(), random_steps(made().spec)
    states, posterior = world.filter(batch, torch.Generator().manual_seed(0))
    loss, parts = world.objective(batch, states, posterior)
    close(sum(parts.values()), loss.detach())
    world.config = replace(TINY, kl_scale=0.2, discount_scale=10.0)
    twice = world.objective(batch, states, posterior)[1]
    for name, factor in {"divergence": 2, "continuation": 2, "reward": 1}.items():
        close(twice[name], factor * parts[name])


def test_continuation_learns_the_discount_and_the_dream_takes_it_out_again():
    world, batch = made(), random_steps(made().spec)
    torch.nn.init.zeros_(world.cont[-1].weight)
    for bias in (-3.0, 0.0, 9.0):
        torch.nn.init.constant_(world.cont[-1].bias, bias)
        state = world.observe(world.initial(3), type(batch)(*(v[:, 0] for v in batch)), mode=True)
        close(world.predict(world.features(state))[1], torch.tensor(bias).sigmoid().expand(3))
        cont = world.imagine(state, batch.action[:, 1], mode=True).cont
        close(cont, (torch.tensor(bias).sigmoid() / 0.999).clamp(max=1).expand(3))


def test_cells_are_bernoulli_variables():
    world = made(MultiBinary((5, 5, 2)), Discrete(3))
    bits = (torch.rand(3, 5, 5, 2) < 0.5).to(torch.int8)
    loss = world.codec.loss(torch.zeros(3, 50), bits)
    assert loss.tolist() == pytest.approx([50 * np.log(2)] * 3)
    close(world.codec.expected(torch.full((3, 50), 30.0)), torch.ones(3, 5, 5, 2))
    torch.nn.init.zeros_(world.codec.decoder[-1].weight)
    close(world.codec.decode(torch.zeros(3, world.size)), torch.full((3, 50), -3.0))


def test_weights_start_as_keras_starts_them():
    world = made(config=replace(TINY, deter=100, hidden=60))
    weight, bias = world.rssm.cell.gates.weight, world.rssm.cell.gates.bias
    assert weight.shape == (300, 160)
    assert weight.var().item() == pytest.approx(2 / 460, rel=0.05)
    assert weight.abs().max().item() == pytest.approx((6 / 460) ** 0.5, rel=0.01)
    assert bias.abs().max() == 0
