"""EfficientZero: prefixes and targets against official numbers, its parts, and the protocol."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case
from utils.agents.mcts import muzero
from utils.agents.mcts_models import WorldModel
from utils.agents.reanalyse import bootstrap_steps, corrected_targets
from utils.course.exercise import ROOT
from utils.world import rollout
from utils.worlds.efficientzero import Config, EfficientZero
from utils.worlds.muzero import Played

torch.set_num_threads(1)
TINY = Config(latent=8, units=12, support=4, memory=6, projection=5, horizon=3)


class Targeted(EfficientZero):
    """With targets made up, so that the rules can train it on steps alone."""

    def loss(self, batch, generator=None):
        policy = torch.full_like(batch.action, 1 / batch.action.shape[-1])
        return super().loss(Played(*batch, policy, torch.zeros_like(batch.reward)), generator)


def made(space, world=Targeted, actions=3, config=TINY):
    def make():
        torch.manual_seed(3)
        made = world(space, Discrete(actions), config)
        for head in (made.to_reward[-1], made.to_value, made.to_policy):  # they start at zero
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


def official():
    data = np.load(ROOT / "tests/fixtures/efficientzero_targets.npz")
    return {key.removeprefix("c0/"): torch.from_numpy(data[key]) for key in data.files}


def window(data, game, length=11):
    """A game of the fixture from where its window begins, and rows of another one after it."""
    start, end = int(data["in/state_index"][game]), int(data["in/traj_len"][game])
    reward = torch.zeros(1, length).double()
    earned = data[f"in/rewards_{game}"][start:end]
    inside = min(len(earned), length - 1)
    reward[0, 1 : 1 + inside] = earned[:inside]  # a reward stands in the row it arrived with
    reward[0, 1 + inside :] = 7.0
    first, terminated = torch.zeros(2, 1, length, dtype=torch.bool)
    if inside < length - 1:
        terminated[0, inside] = True
        first[0, inside + 1] = True
    value = torch.full((1, length), 3.0).double()
    value[0, 5 : 5 + 6] = data["in/bootstrap_values"][game]  # of rows 5 steps ahead
    nothing = torch.zeros(1, length, 2).double()
    return Played(nothing, nothing, reward, first, terminated, nothing, value)


@pytest.mark.parametrize("game", [0, 1])
def test_prefixes_and_targets_are_the_official_ones(game):
    data = official()
    rows = window(data, game)
    world = EfficientZero(MultiBinary(4), Discrete(2), Config(latent=4, units=4, support=2))
    inside = rows.first[:, 1:].cumsum(1) == 0
    prefix = world.prefix_targets(rows.reward[:, 1:], inside)[0, :6]
    torch.testing.assert_close(prefix[:5], data["out/value_prefix"][game, :5], rtol=1e-6, atol=1e-6)
    target = corrected_targets(rows, torch.tensor([5]), 5, 0.988053892081)[0]
    # Later rows are of another game here; the loss leaves them out, and theirs are 0.
    known = 1 + int(inside[0, :5].sum())
    torch.testing.assert_close(
        target[:known], data["out/target_value"][game, :known], rtol=1e-6, atol=1e-6
    )
    assert (data["out/target_value"][game, known:] == 0).all()


def test_steps_fall_with_age_as_in_the_official_formula():
    age = torch.arange(0, 200_000, 7919)
    expected = np.clip(5 - age.numpy() // 30_000, 1, 5)
    assert bootstrap_steps(age, 5, 30_000).tolist() == expected.tolist()
    assert set(expected) == {1, 2, 3, 4, 5}


def test_imagined_rewards_add_up_to_the_unrolled_prefixes():
    world = made(Box(-1, 1, (3,), np.float32), EfficientZero)()
    state = world.rooted(world.represent(torch.randn(4, 3)))
    action = torch.nn.functional.one_hot(torch.randint(3, (4, 7)), 3).float()
    reward = rollout(world, state, action, 7, mode=True).reward
    prefix = world.from_support(world.unroll(state["latent"], action)[2])
    summed = [reward[:, k - k % 3 : k + 1].sum(1) for k in range(7)]
    torch.testing.assert_close(torch.stack(summed, 1), prefix, rtol=1e-5, atol=1e-5)


def test_a_horizon_of_one_forgets_its_memory_at_every_step():
    config = Config(latent=8, units=12, support=4, memory=6, projection=5, horizon=1)
    world = made(Box(-1, 1, (3,), np.float32), EfficientZero, config=config)()
    state = world.rooted(world.represent(torch.randn(4, 3)))
    action = torch.eye(3)[torch.tensor([0, 1, 2, 0])]
    after = world.imagine(state, action).state
    assert all((after[part] == 0).all() for part in ("hidden", "cell", "prefix", "age"))
    alone = world.imagine(world.rooted(after["latent"]), action)
    torch.testing.assert_close(world.imagine(after, action).reward, alone.reward, rtol=0, atol=0)


def test_consistency_trains_the_imagined_side_only():
    world = made(MultiBinary(4), EfficientZero)()
    states, seen = (torch.randn(5, 8, requires_grad=True) for _ in range(2))
    world.consistency(states, seen).sum().backward()
    assert states.grad.abs().sum() > 0
    assert seen.grad is None
    assert world.projector[0].weight.grad.abs().sum() > 0


def test_a_search_carries_the_memory_along():
    world = made(Box(-1, 1, (3,), np.float32), EfficientZero)()
    with torch.no_grad():
        model = WorldModel(world, world.predict, 0.9)
        state = world.rooted(world.represent(torch.randn(4, 3)))
        tree = muzero(model.root(state), model, 12).tree
    for row in range(4):
        for node in range(12):
            for action in tree.visits[row, node].nonzero().flatten().tolist():
                child = int(tree.child[row, node, action])
                age = tree.state["age"][row]
                assert age[child] == (age[node] + 1) % 3


def test_heads_of_one_number_are_taught_by_squared_errors():
    config = Config(latent=8, units=12, support=0, squash=False, memory=6, projection=5)
    world = made(Box(-8, 8, (3,), np.float32), EfficientZero, config=config)()
    draw = torch.Generator().manual_seed(0)
    rows = Played(
        torch.randn(4, 3, 3, generator=draw),
        torch.eye(3)[torch.randint(3, (4, 3), generator=draw)],
        torch.randn(4, 3, generator=draw),
        *torch.zeros(2, 4, 3, dtype=torch.bool),
        torch.full((4, 3, 3), 1 / 3),
        torch.randn(4, 3, generator=draw),
    )
    _, parts, _ = world.loss(rows)
    _, value, prefix, _ = world.unroll(world.represent(rows.observation[:, 0]), rows.action[:, 1:])
    weight = torch.tensor([1, 0.5, 0.5])
    error = (value[..., 0] - rows.value).square() @ weight
    torch.testing.assert_close(parts["value"], error.mean())
    error = (prefix[..., 0] - rows.reward[:, 1:].cumsum(1)).square() @ weight[1:]
    torch.testing.assert_close(parts["prefix"], error.mean())
