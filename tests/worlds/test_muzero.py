"""MuZero: targets and support against official numbers, the loss by its parts, and the protocol."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case
from utils.course.exercise import ROOT
from utils.world import Step
from utils.worlds.muzero import (
    Config,
    MuZero,
    Played,
    inverse_transform,
    n_step_targets,
    scale_gradient,
    value_transform,
)

torch.set_num_threads(1)
TINY = Config(latent=8, units=12, support=4)


class Targeted(MuZero):
    """With targets made up, so that the rules can train it on steps alone."""

    def loss(self, batch, generator=None):
        policy = torch.full_like(batch.action, 1 / batch.action.shape[-1])
        return super().loss(Played(*batch, policy, torch.zeros_like(batch.reward)), generator)


def made(space, world=Targeted, actions=3):
    def make():
        torch.manual_seed(3)
        made = world(space, Discrete(actions), TINY)
        for head in (made.to_reward, made.to_value, made.to_policy):  # they start at zero
            torch.nn.init.normal_(head.weight, std=0.3)
        return made

    return make


CASES = {
    "cells": Case(made(MultiBinary((10, 10, 4)))),
    "vectors": Case(made(Box(-8, 8, (3,), np.float32))),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


def fixture(name):
    data = np.load(ROOT / f"tests/fixtures/{name}.npz")
    return {key: torch.from_numpy(data[key]) for key in data.files}


def test_value_transform_is_the_official_one():
    data = fixture("efficientzero_value_transform")
    x, h = data["forward/in/x"], data["forward/out/h"]
    torch.testing.assert_close(value_transform(x), h, rtol=1e-5, atol=1e-6)
    low = data["forward/out/phi_index_low"]
    world = MuZero(MultiBinary(4), Discrete(2), Config(latent=4, units=4, support=300))
    share = world.to_support(x).gather(1, low[:, None])[:, 0]
    torch.testing.assert_close(share, data["forward/out/phi_at_low"], rtol=0, atol=1e-4)
    mean = world.to_support(x) @ world.atoms
    torch.testing.assert_close(mean, data["forward/out/phi_mean_atom"], rtol=1e-4, atol=1e-4)


def test_support_is_that_of_muzero_general():
    data = fixture("muzero_general_support")
    world = MuZero(MultiBinary(4), Discrete(2), Config(latent=4, units=4, support=10))
    x, target = data["s10/in/x"], data["s10/out/target"]
    # Where h(x) is beyond the last atom, the official code gives no probability at all.
    inside = value_transform(x) < 10
    assert 40 < inside.sum() < len(x)
    torch.testing.assert_close(world.to_support(x)[inside], target[inside], rtol=2e-3, atol=2e-3)
    assert (world.to_support(x)[~inside, -1] == 1).all()
    found = world.from_support(data["s10/in/logits"])
    torch.testing.assert_close(found, data["s10/out/scalar"][:, 0], rtol=2e-3, atol=2e-3)


def test_inverse_is_exact():
    size = torch.logspace(-6, 4.7, 200)
    x = torch.cat([-size, torch.zeros(1), size])
    found = inverse_transform(value_transform(x.double()).float())
    torch.testing.assert_close(found, x, rtol=2e-6, atol=0)


@pytest.mark.parametrize("squash", [True, False])
def test_without_atoms_a_head_is_a_number(squash):
    """The target of x is found as x, and what it costs to say y is the squared distance."""
    world = MuZero(MultiBinary(4), Discrete(2), Config(latent=4, units=4, support=0, squash=squash))
    x, y = torch.tensor([[-2.5, 0.0, 7.0], [1.0, -1.0, 6.0]])
    target, said = world.to_support(x), world.to_support(y)
    assert target.shape == (3, 1)
    torch.testing.assert_close(world.from_support(target), x, rtol=1e-5, atol=1e-6)
    seen = value_transform(x) - value_transform(y) if squash else x - y
    torch.testing.assert_close(world.misfit(said, target), seen.square())
    torch.manual_seed(0)
    world, rows = MuZero(Box(-8, 8, (3,), np.float32), Discrete(3), world.config), window()
    _, parts, _ = world.loss(first_row(rows))  # heads start at zero
    seen = value_transform(rows.reward) if squash else rows.reward
    assert parts["reward"].item() == pytest.approx(seen[0, 1:].square().mean().item(), rel=1e-5)


@pytest.mark.parametrize("squash", [True, False])
def test_numbers_come_back_from_their_distribution(squash):
    world = MuZero(MultiBinary(4), Discrete(2), Config(latent=4, units=4, support=3, squash=squash))
    x = torch.tensor([-2.7, -1.0, -0.25, 0.0, 1.0, 1.5])
    distribution = world.to_support(x)
    torch.testing.assert_close(world.from_support(distribution.log()), x, rtol=1e-5, atol=1e-6)
    certain = (distribution == 1).any(-1).tolist()
    assert certain == [False, not squash, False, True, not squash, False]


def episode(data, extra):
    """The official episode as one window, and rows of another episode after it."""
    reward = torch.cat([data["c0/in/reward_history"], torch.ones(extra)])[None]
    rows = reward.shape[1]
    value = torch.full((1, rows), 7.0, dtype=reward.dtype)
    value[0, :10] = data["c0/in/root_values"]
    policy = torch.full((1, rows, 3), 1 / 3, dtype=reward.dtype)
    policy[0, :10] = data["c0/in/child_visits"]
    first, terminated = torch.zeros(2, 1, rows, dtype=torch.bool)
    first[0, 0] = first[0, 11] = terminated[0, 10] = True
    reward[0, 11] = 0.0
    nothing = torch.zeros(1, rows, 3)
    return Played(nothing, nothing, reward, first, terminated, policy, value)


def test_targets_are_those_of_muzero_general():
    data = fixture("muzero_general_targets")
    target = n_step_targets(episode(data, 9), 3, 0.97)[0]
    torch.testing.assert_close(target[:11], data["c0/out/target_value"], rtol=1e-9, atol=1e-9)


def by_definition(rows, n, gamma, players):
    """Row by row, with the player to move counted out."""
    batch, length = rows.reward.shape
    out = torch.zeros(batch, length - n, dtype=rows.reward.dtype)
    for b in range(batch):
        for t in range(length - n):
            total, sign, factor, at = 0.0, 1.0, 1.0, t
            if rows.terminated[b, t]:
                continue
            for _ in range(n):
                if rows.first[b, at + 1]:  # cut here
                    break
                at += 1
                total += sign * factor * rows.reward[b, at]
                factor *= gamma
                sign = -sign if players == 2 else 1.0
                if rows.terminated[b, at]:
                    factor = 0.0
                    break
            out[b, t] = total + sign * factor * rows.value[b, at]
    return out


@pytest.mark.parametrize("players", [1, 2])
@pytest.mark.parametrize("n", [1, 2, 5, 12])
def test_targets_by_definition(players, n):
    g = torch.Generator().manual_seed(n)
    batch, length = 40, 20
    first = torch.rand(batch, length, generator=g) < 0.2
    terminated = torch.cat([first[:, 1:], first[:, :1]], 1)
    terminated &= torch.rand(batch, length, generator=g) < 0.6
    reward = torch.randn(batch, length, generator=g, dtype=torch.float64) * ~first
    value = torch.randn(batch, length, generator=g, dtype=torch.float64)
    rows = Played(reward, reward, reward, first, terminated, reward, value)
    target = n_step_targets(rows, n, 0.9 if players == 1 else -0.9)
    torch.testing.assert_close(target, by_definition(rows, n, 0.9, players))


def test_gradient_is_scaled_and_the_value_is_not():
    x = torch.tensor([1e8, -3.0, 0.1], requires_grad=True)
    y = scale_gradient(x, 0.25)
    assert torch.equal(y, x)
    y.backward(torch.tensor([1.0, 2.0, 3.0]))
    torch.testing.assert_close(x.grad, torch.tensor([0.25, 0.5, 0.75]))


def test_latent_states_are_standardised():
    world = made(Box(-8, 8, (3,), np.float32))()
    latent = torch.randn(5, 8) * torch.tensor([0.1, 1.0, 1e3, 0.0, 1.0])[:, None] + 3.0
    scaled = world.scaled(latent)
    assert torch.equal(scaled[3], torch.zeros(8))
    torch.testing.assert_close(scaled, torch.nn.functional.layer_norm(latent, (8,)))
    kept = scaled[[1, 2, 4]]
    torch.testing.assert_close(kept.mean(-1), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(kept.std(-1, correction=0), torch.ones(3), rtol=1e-4, atol=0)


def window(batch=6, length=5, actions=3):
    """Windows of which rows 1 to 3 see an episode end, and the others do not."""
    g = torch.Generator().manual_seed(0)
    first, terminated = torch.zeros(2, batch, length, dtype=torch.bool)
    first[1, 3] = terminated[1, 2] = True  # ends and begins anew
    first[2, 2] = True  # is cut
    terminated[3, 0] = first[3, 1] = True  # over from the beginning
    action = torch.nn.functional.one_hot(torch.randint(3, (batch, length), generator=g), 3).float()
    action *= ~first[..., None]
    policy = torch.rand(batch, length, actions, generator=g).softmax(-1)
    reward, value = torch.randn(2, batch, length, generator=g)
    seen = torch.randn(batch, length, 3, generator=g)
    return Played(seen, action, reward * ~first, first, terminated, policy, value)


def first_row(rows):
    return Played(*(v[:1] for v in rows))


def test_what_must_not_count_does_not():
    """Rows after a cut, later observations, and targets after an end: any value will do there."""
    world, rows = made(Box(-8, 8, (3,), np.float32), MuZero)(), window()
    loss = world.loss(rows, torch.Generator().manual_seed(0))[0]
    poisoned = Played(*(v.clone() for v in rows))
    poisoned.observation[:, 1:] = torch.nan
    for column in (poisoned.reward, poisoned.value):
        column[1, 3:] = column[2, 2:] = column[3, 1:] = 5.0
    poisoned.value[1, 2] = poisoned.value[3, 0] = 5.0
    poisoned.policy[1, 2:] = poisoned.policy[2, 2:] = poisoned.policy[3] = 0.5
    poisoned.action[1, 3:] = poisoned.action[2, 2:] = poisoned.action[3, 1:] = 0.5
    assert torch.equal(loss, world.loss(poisoned, torch.Generator().manual_seed(0))[0])
    changed = rows._replace(reward=rows.reward + 0.1)
    assert not torch.equal(loss, world.loss(changed, torch.Generator().manual_seed(0))[0])


def test_loss_of_a_model_that_knows_nothing():
    """Heads start at zero: every part is the entropy of a uniform guess, weighted as in the
    paper."""
    torch.manual_seed(0)
    world, rows = MuZero(Box(-8, 8, (3,), np.float32), Discrete(3), TINY), first_row(window())
    loss, parts, _ = world.loss(rows)
    nats = {"reward": np.log(9), "value": 2 * np.log(9), "policy": 2 * np.log(3)}
    for name, expected in nats.items():
        assert parts[name].item() == pytest.approx(expected, rel=1e-5)
    expected = nats["reward"] + 0.25 * nats["value"] + nats["policy"]
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_gradient_into_the_dynamics_is_halved_at_every_step():
    world = made(Box(-8, 8, (3,), np.float32), MuZero)().double()
    rows = Played(*(v.double() if v.is_floating_point() else v for v in first_row(window())))
    rows = rows._replace(first=torch.zeros_like(rows.first))
    world.config = Config(latent=8, units=12, support=4, value_weight=0.0)
    rows = rows._replace(policy=torch.zeros_like(rows.policy))  # only rewards are left

    def gradient(scales):
        """By hand, with the factor of every step."""
        latent, total = world.represent(rows.observation[:, 0]), 0.0
        for k, scale in enumerate(scales, 1):
            latent = scale * latent + (1 - scale) * latent.detach()
            latent, logits = world.step(latent, rows.action[:, k])
            target = world.to_support(rows.reward[:, k])
            total -= (target * logits.log_softmax(-1)).sum() / len(scales)
        return torch.autograd.grad(total, world.representation[0].weight)[0]

    found = torch.autograd.grad(world.loss(rows)[0], world.representation[0].weight)[0]
    torch.testing.assert_close(found, gradient([0.5] * 4))
    assert not torch.allclose(found, gradient([1.0] * 4), rtol=1e-2)


def test_steps_are_a_tuple_of_their_own():
    assert Played._fields[:5] == Step._fields
