"""A world that can be counted through by hand, and its twin in gymnasium."""

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete

from utils.world import Dreamt, Spec, rows, to_tensor

LINE = Box(0, 100, (1,), np.float32)


class Counter:
    """Exact and countable: the state is a number, the action adds 0 or 1, the reward is the
    number. It is over beyond `end`, with probability `cont` of going on until then."""

    def __init__(self, end=3.0, cont=1.0, parts=("observation", "reward", "cont"), space=LINE):
        self.spec = Spec(
            space, Discrete(2), **{k: k in parts for k in ("observation", "reward", "cont")}
        )
        self.end, self.going_on = end, cont

    def initial(self, batch):
        return {"x": torch.zeros(batch)}

    def observe(self, state, step, *, generator=None, mode=False):
        return {"x": step.observation[..., 0].float()}

    def imagine(self, state, action, *, generator=None, mode=False):
        x = state["x"] + action[:, 1]
        cont = self.going_on * (x < self.end).float()
        return Dreamt({"x": x}, x if self.spec.reward else None, cont if self.spec.cont else None)

    def decode(self, state):
        return state["x"][:, None] if self.spec.observation else None


class CounterEnv(gym.Env):
    """The same in gymnasium: the twin that DreamEnv is compared with."""

    observation_space, action_space = LINE, Discrete(2)

    def __init__(self, start=0.0, end=3.0, limit=4):
        self.start, self.end, self.limit = start, end, limit

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.x, self.age = self.start, 0
        return np.array([self.x], np.float32), {}

    def step(self, action):
        self.x, self.age = self.x + action, self.age + 1
        observation = np.array([self.x], np.float32)
        return observation, float(self.x), self.x >= self.end, self.age >= self.limit, {}


def one_hot(*index):
    return to_tensor(Discrete(2), torch.tensor(index))


def bank(*values):
    return {"x": torch.tensor(values)}


def always(action):
    return lambda state, generator: one_hot(*[action] * rows(state))
