"""Reanalyse is what a search says row by row, and soft pUCT stretches no further than its floor."""

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from utils.agents import mcts
from utils.agents.mcts_models import WorldModel
from utils.agents.reanalyse import corrected_targets, reanalyse
from utils.agents.soft_puct import FLOOR, normalise_softly, soft_puct
from utils.worlds.efficientzero import Config, EfficientZero
from utils.worlds.muzero import Played, n_step_targets

torch.set_num_threads(1)


def rows(seed=0, recordings=3, length=9):
    luck = torch.Generator().manual_seed(seed)
    first, terminated = torch.zeros(2, recordings, length, dtype=torch.bool)
    first[:, 0] = first[0, 5] = terminated[0, 4] = first[1, 4] = True
    reward = torch.randn(recordings, length, generator=luck) * ~first
    seen = torch.randn(recordings, length, 4, generator=luck)
    nothing = torch.zeros(recordings, length, 3)
    return Played(
        seen, nothing, reward, first, terminated, nothing.clone(), torch.zeros(recordings, length)
    )


def world():
    torch.manual_seed(0)
    made = EfficientZero(
        Box(-1, 1, (4,), np.float32), Discrete(3), Config(latent=8, units=12, support=4, memory=6)
    )
    for head in (made.to_policy, made.to_value, made.to_reward[-1]):
        torch.nn.init.normal_(head.weight, std=0.3)
    return made


def test_the_job_finds_what_a_search_of_each_row_finds():
    made, memory = world(), rows()
    model = WorldModel(made, made.predict, 0.9)

    def think(seen):
        state = made.rooted(made.represent(seen))
        return mcts.muzero(model.root(state), model, 8, score=soft_puct)

    reanalyse(memory, think, 5)
    assert not memory.value.requires_grad
    for n in range(3):
        for t in range(9):
            with torch.no_grad():
                alone = think(memory.observation[n, t : t + 1])
            torch.testing.assert_close(memory.policy[n, t], alone.policy[0], rtol=0, atol=1e-6)
            torch.testing.assert_close(memory.value[n, t], alone.tree.value[0, 0])


def test_each_window_gets_the_target_of_its_own_horizon():
    memory = rows()._replace(value=torch.randn(3, 9))
    found = corrected_targets(memory, torch.tensor([1, 3, 2]), 3, 0.9)
    for b, n in enumerate([1, 3, 2]):
        expected = n_step_targets(memory, n, 0.9)[b, :6]
        torch.testing.assert_close(found[b], expected, rtol=0, atol=0)


def test_small_ranges_are_not_stretched():
    q = torch.tensor([[[0.500, 0.504, 0.0]], [[0.0, 2.0, 1.0]]])
    visits = torch.tensor([[[1.0, 2.0, 0.0]], [[1.0, 1.0, 1.0]]])
    found = normalise_softly(q, visits)
    expected = torch.tensor([[[0.0, 0.004 / FLOOR, 0.0]], [[0.0, 1.0, 0.5]]])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    hard = mcts.normalise_by_tree(q, visits, torch.zeros(2, 1))
    torch.testing.assert_close(hard[1], found[1], rtol=0, atol=0)
    assert hard[0, 0, 1] == 1
    assert (normalise_softly(q, torch.zeros_like(visits)) == 0).all()
