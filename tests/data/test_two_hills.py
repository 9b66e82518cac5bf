"""The line with two hills: what must hold of any world, and what makes it a test of foresight."""

import pytest
import torch

from tests.conformance import RULES, Case
from utils.data.two_hills import HILLS, LEFT, POSTS, RIGHT, SPEED, TwoHills, reward_at
from utils.world import rollout


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_conformance(rule):
    rule(Case(TwoHills))


def test_the_large_hill_is_forty_steps_away_and_out_of_sight():
    world = TwoHills()
    right = torch.ones(1, 60, 1)
    walk = rollout(world, world.initial(1), right, 60)
    assert walk.reward[0].argmax() + 1 == 40
    assert walk.reward[0, 39].item() == pytest.approx(1.0, abs=1e-6)
    assert walk.reward[0, 1:15].max() < 0.03  # all that fifteen steps to the right can earn
    left = rollout(world, world.initial(1), -right, 60)
    assert left.reward[0].argmax() + 1 == 10
    assert left.reward[0, 9].item() == pytest.approx(0.2, abs=1e-6)
    assert left.state["place"].min() == LEFT


def test_the_large_hill_is_worth_going_to():
    """Standing on the small one for a hundred steps earns less than a third."""
    world = TwoHills()
    time = torch.arange(100)
    far = rollout(world, world.initial(1), (time < 40).float()[None, :, None], 100)
    near = rollout(world, world.initial(1), -(time < 10).float()[None, :, None], 100)
    assert near.reward.sum() < far.reward.sum() / 3


def test_actions_are_bounded_and_the_line_has_ends():
    world = TwoHills()
    there = {"place": torch.tensor([0.0, RIGHT])}
    place = world.imagine(there, torch.tensor([[9.0], [9.0]])).state["place"]
    assert place.tolist() == pytest.approx([SPEED, RIGHT])
    spread = world.anywhere(1000, torch.Generator().manual_seed(0))["place"]
    assert LEFT <= spread.min() < LEFT + 0.1
    assert RIGHT - 0.1 < spread.max() <= RIGHT


def test_features_tell_places_apart():
    world = TwoHills()
    places = {"place": torch.tensor([LEFT, 0.0, RIGHT])}
    features = world.features(places)
    assert features.shape == (3, POSTS)
    assert features.argmax(1).tolist() == [0, 10, POSTS - 1]
    assert (features[0] * features[1]).max() < 1e-6


def test_rewards_are_the_sum_of_both_hills():
    tops = torch.tensor([place for place, _ in HILLS])
    assert reward_at(tops).tolist() == pytest.approx([0.2, 1.0], abs=1e-6)
