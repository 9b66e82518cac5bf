"""Replanning in the exact hall: by hand, and with ends."""

from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch

from utils.agents.replan import replan
from utils.data import hall
from utils.world import Dreamt, Spec


class ExactHall:
    spec = Spec(gym.spaces.Box(-np.inf, np.inf, (12,)), hall.ACTIONS)

    def imagine(self, state, action, *, generator=None, mode=False):
        after = {"place": hall.moved(state["place"], action)}
        return Dreamt(after, None, None)

    def decode(self, state):
        return hall.seen(state["place"], 0)


def test_it_turns_the_dial_where_the_dial_pays() -> None:
    places = torch.tensor([[3, 1], [0, 2], [6, 3]])
    world = ExactHall()
    assert replan(world, {"place": places}, hall.dial_reward, 4).tolist() == [3, 3, 3]
    assert replan(world, {"place": places}, lambda o: -hall.dial_reward(o), 4).tolist() == [2, 2, 2]
    near_ends = torch.tensor([[1, 2], [5, 2], [6, 2]])
    assert replan(world, {"place": near_ends}, hall.corridor_reward, 2).tolist() == [1, 1, 1]


def test_what_comes_after_an_end_does_not_count() -> None:
    class TwoWays:
        """Action 0 pays 1 and ends; action 1 pays nothing, and then 2 twice."""

        spec = SimpleNamespace(action_size=2)

        def __init__(self, ends):
            self.ends = ends

        def imagine(self, state, action, *, generator=None, mode=False):
            chosen = action.argmax(-1)
            place = torch.where(state["place"] == 0, 1 + chosen, state["place"] + 2)
            cont = torch.where(place == 1, 0.0, 1.0) if self.ends else None
            return Dreamt({"place": place}, None, cont)

        def decode(self, state):
            return state["place"]

    pay = torch.tensor([0.0, 1.0, 0.0, 3.0, 2.0, 3.0, 2.0])
    state = {"place": torch.zeros(1, dtype=torch.long)}
    assert replan(TwoWays(True), state, lambda p: pay[p], 3).item() == 1
    assert replan(TwoWays(False), state, lambda p: pay[p], 3).item() == 0
