"""Rows of a dream: what an agent without a model learns from."""

from itertools import islice

import torch
from gymnasium.spaces import Box, Discrete

from utils.agents.in_dream import dream_rows
from utils.world import Dream, Dreamt, Spec

SPEC = Spec(Box(-1e6, 1e6, (1,)), Discrete(2))


class Counter:
    """Counts its steps from where it starts; pays what it has counted; ends at 10."""

    spec = SPEC

    def imagine(self, state, action, *, generator=None, mode=False):
        n = state["n"] + 1
        return Dreamt({"n": n}, n[:, 0], (n[:, 0] < 10).float())

    def decode(self, state):
        return state["n"]


def right(state, generator):
    return torch.tensor([0.0, 1.0]).expand(len(state["observation"]), 2)


def rows(starts, limit, count, batch=2):
    dream = Dream(Counter(), {"n": torch.tensor(starts)[:, None]}, batch, limit)
    return list(islice(dream_rows(dream, right, lambda seen: seen), count))


def test_rows_arrive_with_what_led_to_them():
    made = rows([0.0], limit=50, count=4)
    assert [row.observation[0].item() for row in made] == [0, 1, 2, 3]
    assert [row.reward[0].item() for row in made] == [0, 1, 2, 3]
    assert [row.first[0].item() for row in made] == [True, False, False, False]
    assert made[0].action.sum() == 0
    assert made[1].action[0].tolist() == [0, 1]


def test_a_dream_that_ends_starts_over_without_a_lesson_across_the_border():
    made = rows([8.0], limit=50, count=5)
    assert [row.observation[0].item() for row in made] == [8, 9, 10, 9, 10]
    assert [row.terminated[0].item() for row in made] == [False, False, True, False, True]
    assert [row.first[0].item() for row in made] == [True, False, False, True, False]
    assert made[3].reward.sum() == made[3].action.sum() == 0


def test_a_dream_that_is_cut_is_not_terminated():
    made = rows([0.0], limit=2, count=5)
    assert not any(row.terminated.any() for row in made)
    assert [row.first[0].item() for row in made] == [True, False, False, True, False]
