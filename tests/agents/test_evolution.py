"""The linear controller, its population, and the evolution strategy."""

import cma
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch.nn.functional import one_hot

from utils.agents.evolution import (
    controller_size,
    dream_scores,
    generation,
    linear_controller,
    real_scores,
)
from utils.data.dodge import Dodge
from utils.world import Dream, Dreamt, Spec
from utils.worlds.vmc import VMC, Direct, VMCConfig

torch.set_num_threads(1)


class Clock:
    """Rows that live as many steps as action 0's share of them says, and pay 1 a step."""

    spec = Spec(Box(0, 1, (1,), np.float32), Discrete(2))

    def imagine(self, state, action, *, generator=None, mode=False):
        left = state["left"] - 1
        return Dreamt({"left": left}, torch.ones(len(left)), (left > 0).float())


def test_sizes_are_those_of_the_article():
    assert controller_size(32 + 256, 3) == 867
    assert controller_size(64 + 512 + 512, 1) == 1089  # the article counts 1,088 without the bias


def test_the_controller_is_linear_with_the_bias_first():
    parameters = torch.arange(1.0, 9.0).expand(2, 8)
    out = linear_controller(parameters, torch.eye(3).expand(2, 3, 3), 2)
    assert out[0].tolist() == [[1 + 3, 2 + 4], [1 + 5, 2 + 6], [1 + 7, 2 + 8]]


def test_scores_belong_to_their_individual_and_stop_at_the_first_end():
    starts = {"left": torch.tensor([3.0])}
    dream = Dream(Clock(), starts, 6, 10, ends="threshold")
    seen = []

    def act(parameters, state):
        seen.append(state["left"].clone())
        return one_hot(torch.zeros(6, dtype=torch.long), 2).float()

    scores = dream_scores(dream, torch.zeros(3, 4), act)
    assert scores.tolist() == [3.0, 3.0, 3.0]
    assert len(seen) == 3  # nobody is alive after that

    def favours(parameters, state):
        return one_hot(torch.zeros(6, dtype=torch.long), 2).float()

    class Own(Clock):
        def imagine(self, state, action, *, generator=None, mode=False):
            return super().imagine(state, action)._replace(reward=torch.arange(6.0))

    scores = dream_scores(Dream(Own(), starts, 6, 2, ends="threshold"), torch.zeros(3, 4), favours)
    assert scores.tolist() == [1.0, 5.0, 9.0]  # rows 0 and 1, 2 and 3, 4 and 5, for two steps


def test_a_generation_asks_scores_and_tells_costs():
    strategy = cma.CMAEvolutionStrategy(np.zeros(5), 0.5, {"popsize": 12, "seed": 1, "verbose": -9})
    target = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])
    best = []
    for _ in range(40):
        parameters, scores = generation(strategy, lambda p: -(p - target).square().sum(-1))
        assert parameters.shape == (12, 5)
        best.append(scores.max().item())
    assert best[-1] > -0.01
    np.testing.assert_allclose(strategy.mean, target, atol=0.1)


@pytest.mark.parametrize("limit", [5, 60])
def test_real_scores_count_what_was_earned(limit):
    """Standing still pays 1 a step, and lasts 8.3 steps on average."""
    torch.manual_seed(0)
    world = VMC(Direct(Box(-1, 1, (3,), np.float32)), Discrete(3), VMCConfig(8, 2, 8))
    game = Dodge(4000, torch.Generator().manual_seed(0))

    def stay(parameters, state):
        assert state["h"].shape == (4000, 8)
        return torch.tensor([0.0, 1.0, 0.0]).expand(4000, 3)

    scores = real_scores(game, world, torch.zeros(2, 3), stay, limit)
    expected = 5.0 if limit == 5 else 1 / 0.3 + 5
    assert scores.tolist() == pytest.approx([expected] * 2, abs=0.2)
