"""DreamerV3's world model against danijar/dreamerv3 at e3f0224 and against what a world must do."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case, random_steps
from tests.official import close, official
from utils.nn.codec import Bits, Images, Vectors
from utils.worlds.dreamer_v3 import SIZE_1M, SIZE_12M, BlockGRU, Config, DreamerV3

torch.set_num_threads(1)
TINY = Config(deter=16, hidden=8, stoch=4, classes=4, blocks=4, units=16, depth=2, bins=41)
CARTPOLE, TWO = Box(-4.8, 4.8, (4,), np.float32), Discrete(2)
FRAMES, CELLS = Box(0, 255, (32, 32, 3), np.uint8), MultiBinary((5, 5, 2))


def make(observation=CARTPOLE, action=TWO, config=TINY):
    """A world whose reward head, which starts at zero, predicts something small: mass on the bins
    at 5e8 would leave rounding errors of about 10."""
    torch.manual_seed(0)
    world = DreamerV3(observation, action, config)
    torch.nn.init.normal_(world.reward[-1].weight, std=0.05)
    world.reward[-1].bias.data = -torch.linspace(-20, 20, config.bins).square()
    return world


def parallel(world, batch):
    return world.filter(batch, mode=True)[0]


CASES = {
    "cartpole": Case(make, parallel=parallel),
    "continuous": Case(lambda: make(action=Box(-2, 2, (3,))), parallel=parallel),
    "cells": Case(lambda: make(CELLS), parallel=parallel),
    "frames": Case(lambda: make(FRAMES), parallel=parallel),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", CASES)
def test_conformance(rule, name):
    rule(CASES[name])


def test_block_gru_is_the_official_one():
    given, expected = official("dreamerv3_block_gru")
    cell = BlockGRU(deter=16, stoch=12, actions=2, hidden=8, blocks=4)
    theirs = {k.removeprefix("param:dyn/"): v for k, v in given.items() if k.startswith("param:")}
    for i, part in enumerate((cell.from_deter, cell.from_stoch, cell.from_action)):
        part[0].weight.data = theirs[f"dynin{i}/kernel"].T
        part[0].bias.data = theirs[f"dynin{i}/bias"]
        part[1].norm.weight.data = theirs[f"dynin{i}norm/scale"]
    # Theirs multiplies [slice of deter, x] by one matrix per block; ours splits that in three.
    own, shared = theirs["dynhid0/kernel"].split([4, 24], 1)
    shared = shared.transpose(1, 2).flatten(0, 1)  # [D, 3 hidden]
    cell.from_block.weight.data, cell.from_block.bias.data = own, theirs["dynhid0/bias"]
    cell.from_state.weight.data, cell.from_inputs.weight.data = shared.split([16, 8], 1)
    cell.activate.norm.weight.data = theirs["dynhid0norm/scale"]
    cell.gates.weight.data, cell.gates.bias.data = theirs["dyngru/kernel"], theirs["dyngru/bias"]

    inputs = [given[k].requires_grad_() for k in ("deter", "stoch", "action")]
    deter = first = cell(inputs[0], inputs[1], cell.inputs(inputs[2]))
    for step in (1, 2, 3):
        close(deter, expected[f"deter_{step}"], rtol=2e-5, atol=2e-6)
        deter = cell(deter, inputs[1], cell.inputs(inputs[2]))
    gradients = torch.autograd.grad((given["w"] * first).sum(), inputs)
    for name, gradient in zip(("deter", "stoch", "action"), gradients, strict=True):
        close(gradient, expected[f"d_{name}"], rtol=2e-5, atol=2e-6)


def test_continuation_costs_what_the_official_head_costs():
    given, expected = official("dreamerv3_output_dists")
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    close(loss(given["logit"], given["event"].float(), reduction="none"), expected["loss"])


def test_the_parts_of_the_loss_add_up_with_their_scales():
    world, batch = make(), random_steps(make().spec)
    states, posterior = world.filter(batch, torch.Generator().manual_seed(0))
    loss, parts = world.objective(batch, states, posterior)
    close(sum(parts.values()), loss.detach())
    dyn, rep = world.kl(posterior, world.rssm.prior(states["deter"]))
    assert torch.equal(dyn, rep)  # the same number, other gradients
    close(parts["dynamics"] * 0.1, parts["representation"])
    world.config = replace(world.config, dyn=0.5)  # the scale of 2023
    close(world.objective(batch, states, posterior)[1]["dynamics"], 0.5 * dyn.mean().detach())


def test_dynamics_loss_trains_the_prior_and_representation_loss_the_posterior():
    world, batch = make(), random_steps(make().spec)
    world.config = replace(world.config, free_nats=0.0)
    states, posterior = world.filter(batch, torch.Generator().manual_seed(0))
    prior = world.rssm.prior(states["deter"].detach())
    prior.retain_grad()
    posterior.retain_grad()
    dyn, rep = world.kl(posterior, prior)
    dyn.sum().backward(retain_graph=True)
    assert posterior.grad is None
    assert prior.grad.abs().sum() > 0
    prior.grad = None
    rep.sum().backward()
    assert prior.grad is None
    assert posterior.grad.abs().sum() > 0


def test_free_bits_clip_the_sum_over_latents_at_every_step():
    world = make()
    posterior = torch.zeros(1, 3, 16, requires_grad=True)
    prior = torch.zeros(1, 3, 16)
    prior[0, 1, 0] = 2.0  # 0.5 nats in one variable
    prior[0, 2, ::4] = 2.0  # the same in all four: 2 nats
    dyn, rep = world.kl(posterior, prior)
    assert rep[0, :2].tolist() == [1, 1]
    assert 1.5 < rep[0, 2] < 2.5
    assert torch.equal(dyn, rep)
    (gradient,) = torch.autograd.grad(rep.sum(), posterior)
    assert gradient[0, :2].abs().max() == 0
    assert gradient[0, 2].abs().max() > 0


def test_continuation_learns_the_discount_and_the_dream_takes_it_out_again():
    world, batch = make(), random_steps(make().spec)
    for bias in (-3.0, 0.0, 9.0):
        torch.nn.init.zeros_(world.cont[-1].weight)
        torch.nn.init.constant_(world.cont[-1].bias, bias)
        state = world.observe(world.initial(3), type(batch)(*(v[:, 0] for v in batch)), mode=True)
        discount = world.predict(world.features(state))[1]
        close(discount, torch.tensor(bias).sigmoid().expand(3))
        cont = world.imagine(state, batch.action[:, 1], mode=True).cont
        close(cont, (torch.tensor(bias).sigmoid() / (1 - 1 / 333)).clamp(max=1).expand(3))


def test_a_sampled_filter_draws_the_noise_of_its_steps():
    """One block of noise for all of time is the noise that single steps would have drawn."""
    world, batch = make(), random_steps(make().spec, batch=1)
    states, _ = world.filter(batch, torch.Generator().manual_seed(3))
    state, generator = world.initial(1), torch.Generator().manual_seed(3)
    for t in range(batch.reward.shape[1]):
        step = type(batch)(*(v[:, t] for v in batch))
        state = world.observe(state, step, generator=generator)
        assert torch.equal(state["stoch"], states["stoch"][:, t])
        close(state["deter"], states["deter"][:, t])


@pytest.mark.parametrize(
    ("config", "action", "millions"), [(SIZE_1M, Box(-1, 1, (6,)), 1), (SIZE_12M, TWO, 12)]
)
def test_the_sizes_are_what_they_are_called(config, action, millions):
    """World, actor and critic together, as the official names count."""
    from utils.agents.actor_critic import ActorCritic
    from utils.agents.actor_critic import Config as Behaviour

    with torch.device("meta"):
        world = DreamerV3(Box(0, 255, (64, 64, 3), np.uint8), action, config)
        behaviour = ActorCritic(world.size, action, Behaviour(units=config.units))
    parts = (world, behaviour.actor, behaviour.critic)
    count = sum(p.numel() for part in parts for p in part.parameters()) / 1e6
    assert 0.4 * millions < count < 1.1 * millions


def test_each_kind_of_observation_has_its_network_and_cost():
    torch.manual_seed(0)
    vectors, cells = Vectors((4,), 10, 16), Bits((5, 5, 2), 10, 16)
    x = torch.tensor([[0.0, 1e6, -1e6, 1.0]])
    truth = x.sign() * (1 + x.abs()).log()
    assert vectors.loss(truth, x).item() == pytest.approx(0, abs=1e-9)
    assert vectors.loss(truth + 2, x).item() == pytest.approx(16, rel=1e-5)
    close(vectors.expected(truth), x, rtol=1e-4)
    bits = (torch.rand(3, 5, 5, 2) < 0.5).to(torch.int8)
    assert cells.loss(torch.zeros(3, 50), bits).tolist() == pytest.approx([50 * np.log(2)] * 3)
    assert cells.expected(torch.zeros(3, 50)).shape == (3, 5, 5, 2)
    assert cells.encode(bits).shape == (3, 16)


def test_images_are_scaled_to_one_and_summed_over_pixels():
    torch.manual_seed(0)
    images = Images((32, 32, 3), 16, 16, 16, (4, 6, 8, 8), 4)
    frame = torch.randint(0, 256, (2, 5, 32, 32, 3), dtype=torch.uint8)
    assert images.encode(frame).shape == (2, 5, images.size)
    prediction = images.decode(torch.randn(2, 5, 32))
    assert prediction.shape == (2, 5, 32, 32, 3)
    assert 0 < prediction.min() < prediction.max() < 1
    perfect = frame / 255
    assert images.loss(perfect, frame).abs().max() == 0
    close(images.loss(perfect + 0.1, frame), torch.full((2, 5), 0.01 * 32 * 32 * 3), rtol=1e-4)
    close(images.expected(perfect), frame.float(), atol=1e-3)
    assert images.encode(frame[:1]).sub(images.encode(frame)[:1]).abs().max() < 1e-5
    with pytest.raises(ValueError, match="halved"):
        Images((40, 40, 3), 16, 16, 16, (4, 6, 8, 8), 4)
