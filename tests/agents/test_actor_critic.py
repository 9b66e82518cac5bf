"""DreamerV3's actor and critic against danijar/dreamerv3 at e3f0224 (dreamerv3/agent.py,
embodied/jax/utils.py) and against their definitions."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn

from tests.conformance import random_steps
from tests.official import close, official
from utils.agents.actor_critic import (
    ActorCritic,
    BoundedNormal,
    Categorical,
    Config,
    ReturnRange,
    lambda_return,
)
from utils.nn.one_hot import unimix
from utils.world import Step
from utils.worlds import dreamer_v3

torch.set_num_threads(1)
CARTPOLE, TWO = Box(-4.8, 4.8, (4,), np.float32), Discrete(2)
TINY = dreamer_v3.Config(deter=16, hidden=8, stoch=4, classes=4, blocks=4, units=16, bins=41)


def pair(action=TWO, **changes):
    torch.manual_seed(0)
    world = dreamer_v3.DreamerV3(CARTPOLE, action, TINY)
    config = Config(units=16, layers=1, bins=41, horizon=5, **changes)
    return world, ActorCritic(world.size, action, config)


def bare(bins, actions, **changes):
    """An actor-critic whose critics pass on what they are given, as logits."""
    behaviour = ActorCritic(4, Discrete(actions), Config(units=4, layers=1, bins=bins, **changes))
    behaviour.critic = behaviour.slow = nn.Identity()
    return behaviour


class Says(nn.Module):
    """Gives the same logits whatever it is asked."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, features):
        return self.logits


def moments(x):
    """Mean and deviation as the official normaliser gives them after its first update, unbiased."""
    return x.mean(), (x.square().mean() - x.mean() ** 2).clamp(min=0).sqrt().clamp(min=1e-8)


def test_lambda_returns_are_the_official_ones():
    given, expected = official("dreamerv3_lambda_return")
    discount = 0.996996996996997 * (1 - given["term"].float())
    lam = 0.95 * (1 - given["last"].float())
    close(lambda_return(given["rew"], discount, given["boot"], lam), expected["ret"])


def test_advantages_of_twm_are_returns_less_values():
    """Those of its `_compute_gae`, whose rows do not arrive: they lead to the next state."""
    given, expected = official("twm_gae")
    pad = torch.nn.functional.pad
    discount = pad(given["g"] * ~given["dones"], (1, 0))
    returns = lambda_return(pad(given["r"], (1, 0)), discount, given["values"], 0.95)
    close(returns - given["values"][:, :-1], expected["advantages"])


def test_lambda_return_is_the_mean_of_all_n_step_returns():
    generator = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    discount = torch.rand(3, 7, generator=generator, dtype=torch.float64)

    def n_step(t, n):
        total, scale = 0, 1
        for k in range(t + 1, t + n + 1):
            total = total + scale * reward[:, k]
            scale = scale * discount[:, k]
        return total + scale * value[:, t + n]

    for lam in (0.0, 0.6, 1.0):
        returns = lambda_return(reward, discount, value, lam)
        for t in range(6):
            most = 6 - t
            weights = [(1 - lam) * lam ** (n - 1) for n in range(1, most)] + [lam ** (most - 1)]
            brute = sum(w * n_step(t, n) for n, w in enumerate(weights, 1))
            assert torch.allclose(returns[:, t], brute)


def test_the_range_of_returns_is_the_official_one():
    given, expected = official("dreamerv3_return_normalizer")
    spread = ReturnRange()
    for x, offset, scale in zip(given["x"], expected["offset"], expected["scale"], strict=True):
        close(spread.update(x), scale)
        close(spread.low, offset)


def test_small_returns_are_not_blown_up():
    spread = ReturnRange(rate=1.0)
    assert spread.update(1e-3 * torch.randn(1000)).item() == 1
    assert spread.update(torch.linspace(0, 100, 1001)).item() == pytest.approx(90, rel=1e-4)


def test_weights_start_at_the_discount_of_the_start():
    given, expected = official("dreamerv3_imag_weights")
    close(given["con"].cumprod(1)[:, :-1], expected["weight"])
    world, behaviour = pair()
    seen = {}
    world.predict = lambda features: (features[..., 0] * 0, features[..., 0] * 0 + 0.5)
    behaviour.actor_loss = lambda o, a, advantage, weight: seen.setdefault("w", weight).sum() * 0
    batch = random_steps(world.spec)
    behaviour.loss(world, world.filter(batch)[0], batch, torch.Generator().manual_seed(0))
    assert seen["w"][0].tolist() == [0.5, 0.25, 0.125, 0.0625, 0.03125]


def test_losses_and_gradients_are_the_official_ones():
    """Their case also normalises values and advantages (off by default) and mixes the policy with
    1 % uniform; both are done here by hand, around our functions."""
    given, expected = official("dreamerv3_imag_actor_critic_loss")
    behaviour = bare(21, 5)
    behaviour.two_hot.bins = given["bins"]
    value_logits, policy_logits = (
        given[f"{k}_logits"].requires_grad_() for k in ("value", "policy")
    )
    log_probs = value_logits.log_softmax(-1)
    value = behaviour.two_hot.mean(log_probs).detach() * 1e-8  # a fresh normaliser's deviation
    returns = lambda_return(given["rew"], given["con"], value, 0.95)
    close(returns, expected["ret"], rtol=1e-4, atol=1e-5)
    scale = ReturnRange(rate=1.0).update(returns)  # the first update of a corrected average
    advantage = (returns - value[:, :-1]) / scale
    close(advantage.mean(), expected["metric_adv_mean"], rtol=1e-4, atol=1e-5)
    mean, deviation = moments(advantage)
    weight = given["con"].cumprod(1)[:, :-1]
    action = nn.functional.one_hot(given["act"].long(), 5).float()
    mixed = unimix(policy_logits, 0.01).log()
    actor = behaviour.actor_loss(
        mixed[:, :-1], action[:, :-1], (advantage - mean) / deviation, weight
    )
    close(actor, expected["policy_loss"].mean(), rtol=1e-4, atol=1e-5)
    mean, deviation = moments(returns)
    behaviour.slow, target = Says(given["slow_logits"]), (returns - mean) / deviation
    expects = behaviour.slow_value(value_logits)[:, :-1]
    critic = behaviour.critic_loss(log_probs[:, :-1], target, expects, weight)
    close(critic, expected["value_loss"].mean(), rtol=1e-4, atol=1e-5)
    found = torch.autograd.grad(actor + critic, (value_logits, policy_logits))
    for name, gradient in zip(("value", "policy"), found, strict=True):
        close(gradient, expected[f"dtotal_d{name}_logits"], rtol=1e-4, atol=1e-5)


def test_the_critic_s_loss_on_replay_is_the_official_one():
    given, expected = official("dreamerv3_replay_value_loss")
    behaviour = bare(21, 2)
    behaviour.two_hot.bins = given["bins"]
    behaviour.slow = Says(given["slow_logits"])
    logits = given["value_logits"].requires_grad_()
    # Their `last` of the last row counts for nothing, and ours is not known.
    first = torch.cat([torch.zeros(3, 1, dtype=torch.bool), given["last"][:, :-1]], 1)
    nothing = torch.zeros(3, 8, 1)
    batch = Step(nothing, nothing, given["rew"], first, given["term"])
    loss = behaviour.replay_loss(logits, batch, 1 - 1 / 333, given["boot"].flatten())
    close(loss, expected["repval"].mean(), rtol=1e-4, atol=1e-5)
    (gradient,) = torch.autograd.grad(loss, logits)
    close(gradient, expected["dmean_dvalue_logits"], rtol=1e-4, atol=1e-5)


def test_a_categorical_draws_and_scores_its_softmax():
    choice = Categorical(3)
    outputs = torch.tensor([0.0, 1.0, -1.0]).expand(20000, 3)
    noise = choice.noise(20000, like=outputs, generator=torch.Generator().manual_seed(0))
    action = choice.sample(outputs, noise)
    assert torch.allclose(action.mean(0), outputs[0].softmax(-1), atol=0.015)
    theirs = torch.distributions.Categorical(logits=outputs)
    log_prob, entropy = choice.score(outputs, action)
    close(log_prob, theirs.log_prob(action.argmax(-1)))
    close(entropy, theirs.entropy())


def test_a_bounded_normal_draws_and_scores_its_gaussian():
    choice = BoundedNormal(2)
    outputs = torch.tensor([5.0, -0.3, -9.0, 9.0]).expand(20000, 4)
    noise = choice.noise(20000, like=outputs, generator=torch.Generator().manual_seed(0))
    action = choice.sample(outputs, noise)
    mean = torch.tensor([5.0, -0.3]).tanh()
    deviation = 0.9 * torch.tensor([-7.0, 11.0]).sigmoid() + 0.1
    assert torch.allclose(action.mean(0), mean, atol=0.03)
    assert torch.allclose(action.std(0), deviation, rtol=0.03)
    theirs = torch.distributions.Normal(mean, deviation)
    log_prob, entropy = choice.score(outputs, action)
    close(log_prob, theirs.log_prob(action).sum(-1), rtol=1e-4)
    close(entropy, theirs.entropy().sum().expand(20000))


@pytest.mark.parametrize("action", [TWO, Box(-1, 1, (3,))], ids=["discrete", "continuous"])
def test_gradients_go_where_they_should_and_nowhere_else(action):
    world, behaviour = pair(action)
    nn.init.normal_(world.reward[-1].weight, std=0.1)
    nn.init.normal_(behaviour.critic[-1].weight, std=0.1)
    batch = random_steps(world.spec)
    loss, metrics = behaviour.loss(world, world.filter(batch)[0], batch)
    assert all(not v.requires_grad and v.isfinite() for v in metrics.values())

    def reached(part):
        return [p.grad is not None and bool((p.grad != 0).any()) for p in part.parameters()]

    loss.backward()
    assert all(reached(behaviour.actor))
    assert all(reached(behaviour.critic))
    assert not any(reached(behaviour.slow))
    # Of the world, only what the replayed critic's features hang on; no head, no prior, no decoder.
    assert any(reached(world.rssm.cell))
    assert any(reached(world.codec.encoder))
    for part in (world.reward, world.cont, world.rssm.prior, world.codec.decoder):
        assert not any(reached(part))
    world, behaviour = pair(action, replay_value=0.0)
    loss, _ = behaviour.loss(world, world.filter(batch)[0], batch)
    loss.backward()
    assert not any(reached(world))


def test_a_dream_is_the_world_s_own():
    """Rows of `imagine` are what the world's own steps give under the same actions."""
    world, behaviour = pair()
    batch = random_steps(world.spec)
    states, _ = world.filter(batch, torch.Generator().manual_seed(0))
    starts = {k: v.detach().flatten(0, 1) for k, v in states.items()}
    features, actions = behaviour.imagine(world, starts, torch.Generator().manual_seed(1))
    assert features.shape == (18, 6, world.size)
    assert actions.shape == (18, 5, 2)
    assert torch.equal(features[:, 0], world.features(starts))
    state, generator = starts, torch.Generator().manual_seed(1)
    for t in range(5):
        state = world.imagine(state, actions[:, t], generator=generator).state
        close(world.features(state), features[:, t + 1])


def test_the_slow_critic_follows_and_starts_as_the_critic():
    world, behaviour = pair()
    batch = random_steps(world.spec)
    states, _ = world.filter(batch)
    fast, slow = behaviour.critic[0].weight, behaviour.slow[0].weight
    assert torch.equal(fast, slow)
    before = slow.clone()
    fast.data += 1
    behaviour.loss(world, states, batch)
    close(slow - before, torch.full_like(slow, 0.02), atol=1e-4)


def test_a_fresh_agent_expects_nothing_and_acts_at_random():
    world, behaviour = pair()
    batch = random_steps(world.spec)
    states, _ = world.filter(batch)
    features = world.features(states)
    assert behaviour.two_hot.mean(behaviour.critic(features).log_softmax(-1)).abs().max() == 0
    assert world.predict(features)[0].abs().max() == 0
    _, entropy = behaviour.choice.score(behaviour.actor(features), torch.zeros(3, 6, 2))
    assert entropy.min() > 0.999 * math.log(2)
    assert behaviour.actor[-1].weight.abs().max() > 0  # a hundredth, not zero


def test_reinforce_makes_the_better_action_likelier():
    behaviour = bare(21, 2, entropy=0.0)
    logits = torch.zeros(1, 4, 2, requires_grad=True)
    action = torch.eye(2)[torch.tensor([[0, 0, 1, 1]])]
    advantage, weight = torch.tensor([[1.0, -1.0, 2.0, 0.0]]), torch.tensor([[1.0, 1.0, 0.5, 1.0]])
    (gradient,) = torch.autograd.grad(
        behaviour.actor_loss(logits, action, advantage, weight), logits
    )
    assert (-gradient[0, :, 0] * 4).tolist() == pytest.approx([0.5, -0.5, -0.5, 0.0])


def test_a_train_step_of_both_runs_on_meta():
    """No value is read, so nothing waits for a GPU."""
    world, behaviour = (part.to("meta") for part in pair())
    batch = Step(*(v.to("meta") for v in random_steps(world.spec)))
    states, posterior = world.filter(batch)
    loss, _ = world.objective(batch, states, posterior)
    (loss + behaviour.loss(world, states, batch)[0]).backward()
    from utils.nn.laprop import LaProp

    optimiser = LaProp([p for m in (world, behaviour) for p in m.parameters() if p.requires_grad])
    optimiser.step()
    optimiser.step()
