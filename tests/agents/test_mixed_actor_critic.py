"""DreamerV2's actor and critic against danijar/dreamerv2 at 07d906e and by definition."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from tests.conformance import random_steps
from tests.official import close, official
from utils.agents.mixed_actor_critic import Config, MixedActorCritic
from utils.agents.pathwise_actor_critic import dream_weights, lambda_return
from utils.worlds import dreamer_v2

torch.set_num_threads(1)
CARTPOLE, TWO = Box(-4.8, 4.8, (4,), np.float32), Discrete(2)
TINY = dreamer_v2.Config(deter=12, hidden=10, stoch=4, classes=4, units=10, layers=1)


def pair(**changes):
    torch.manual_seed(0)
    world = dreamer_v2.DreamerV2(CARTPOLE, TWO, TINY)
    config = Config(units=10, layers=1, horizon=5, **changes)
    return world, MixedActorCritic(world.size, TWO, config)


def test_returns_and_losses_and_their_gradients_are_the_official_ones():
    """Mixed gradients with entropy; their tensors have time first, and a dummy first action."""
    given, expected = official("dreamerv2_actor_critic_loss")
    given = {k: v.transpose(0, 1).clone() for k, v in given.items()}
    leaves = [given[k].requires_grad_() for k in ("actor_logits", "reward", "target_value")]
    logits, reward, slow = leaves
    close(dream_weights(given["discount"]), given["weight"])
    returns = lambda_return(reward, given["discount"], slow, 0.95)
    close(returns, expected["target"].T)
    behaviour = MixedActorCritic(4, Discrete(3), Config(units=4, layers=1, mix=0.1, entropy=1e-3))
    weight, action = given["weight"], given["action"][:, 1:-1]
    baseline = slow[:, :-2].detach()
    loss = behaviour.actor_loss(logits[:, :-2], action, returns[:, 1:], baseline, weight[:, :-2])
    close(loss, expected["actor_loss"], rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(loss, leaves, retain_graph=True)
    names = "dactor_dlogits", "dactor_dreward", "dactor_dtarget_value"
    for name, gradient in zip(names, gradients, strict=True):
        close(gradient.transpose(0, 1), expected[name], rtol=1e-5, atol=1e-5)
    value = given["value"].requires_grad_()
    behaviour.critic = nn.Identity()
    loss = behaviour.critic_loss(value[:, :-1, None], returns, weight[:, :-1])
    constant = 0.5 * math.log(2 * math.pi) * weight[:, :-1].mean()  # of the unit Gaussian
    close(loss + constant, expected["critic_loss"], rtol=1e-5, atol=1e-5)


def test_the_critics_gradient_is_the_official_one():
    given, expected = official("dreamerv2_actor_critic_loss")
    given = {k: v.transpose(0, 1).clone() for k, v in given.items()}
    behaviour = MixedActorCritic(4, Discrete(3), Config(units=4, layers=1))
    value = given["value"].requires_grad_()
    behaviour.value = lambda features: value[:, :-1]
    loss = behaviour.critic_loss(value[:, :-1, None], expected["target"].T, given["weight"][:, :-1])
    (gradient,) = torch.autograd.grad(loss, value)
    close(gradient.transpose(0, 1), expected["dcritic_dvalue"], rtol=1e-5, atol=1e-5)


def test_the_slow_critic_is_copied_every_so_many_updates_and_else_left_alone():
    _, behaviour = pair(slow_update=3)
    fast, slow = behaviour.critic[-1].bias, behaviour.slow[-1].bias
    seen = []
    for update in range(8):
        with torch.no_grad():
            fast.fill_(float(update + 1))
        behaviour.follow()
        seen.append(slow.item())
    assert seen == [1, 1, 1, 4, 4, 4, 7, 7]
    assert behaviour.updates.item() == 8


def test_losses_train_the_actor_and_the_critic_and_nothing_else():
    batch = random_steps(pair()[0].spec)
    for mix in (0.0, 0.5):
        world, behaviour = pair(mix=mix)
        states, _ = world.filter(batch, torch.Generator().manual_seed(0))
        loss, metrics = behaviour.loss(world, states, batch, torch.Generator().manual_seed(1))
        loss.backward()
        assert all(p.grad is None for p in world.parameters())
        assert all(p.grad is None for p in behaviour.slow.parameters())
        for part in (behaviour.actor, behaviour.critic):
            assert all(p.grad.abs().sum() > 0 for p in part.parameters())
        close(metrics["actor"] + metrics["critic"], loss.detach())


def test_the_share_through_the_dream_mixes_two_gradients():
    batch, found = random_steps(pair()[0].spec), {}
    for mix in (0.0, 0.3, 1.0):
        world, behaviour = pair(mix=mix, entropy=0.0)
        states, _ = world.filter(batch, torch.Generator().manual_seed(0))
        behaviour.loss(world, states, batch, torch.Generator().manual_seed(1))[0].backward()
        found[mix] = behaviour.actor[0].weight.grad
    close(found[0.3], 0.7 * found[0.0] + 0.3 * found[1.0])
    assert (found[0.0] - found[1.0]).abs().max() > 1e-5


def test_nothing_is_learned_from_dreams_that_start_at_an_end():
    """The start's discount is known from the data, whatever the head says."""
    world, behaviour = pair()
    batch = random_steps(world.spec)
    batch = batch._replace(terminated=torch.ones_like(batch.terminated))
    seen = {}
    behaviour.parts = lambda *given: {"all": seen.setdefault("weight", given[-1]).sum() * 0}
    states, _ = world.filter(batch)
    behaviour.loss(world, states, batch, torch.Generator().manual_seed(1))
    assert (seen["weight"][:, 0] == 1).all()  # the official habit: the start itself still counts
    assert (seen["weight"][:, 1:] == 0).all()


def test_actions_are_one_hot_and_straight_through():
    _, behaviour = pair()
    logits = torch.randn(6, 2, requires_grad=True)
    action = behaviour.choose(logits, torch.rand(6))
    assert set(action.unique().tolist()) == {0.0, 1.0}
    weight = torch.randn(6, 2)
    (ours,) = torch.autograd.grad((action * weight).sum(), logits)
    (theirs,) = torch.autograd.grad((logits.softmax(-1) * weight).sum(), logits)
    close(ours, theirs)
    assert torch.equal(behaviour.choose(logits, None).argmax(-1), logits.argmax(-1))


def test_a_step_runs_on_meta():
    with torch.device("meta"):
        world, behaviour = pair(mix=0.1)
        batch = type(random_steps(world.spec))(*(v.to("meta") for v in random_steps(world.spec)))
        states, _ = world.filter(batch)
        behaviour.loss(world, states, batch)[0].backward()


def test_it_needs_a_choice_of_actions():
    with pytest.raises(TypeError, match="chooses"):
        MixedActorCritic(17, CARTPOLE, Config())
