"""Pendulum-v1 for planners: actions in [-1, 1], an action repeated, and the exact world.

Shape key: B pendulums.
"""

from __future__ import annotations

import math

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import SyncVectorEnv
from jaxtyping import Float
from torch import Tensor

from utils.world import Dreamt, Spec, State, Step

REPEAT = 2  # frames that an action lasts: an episode of 200 frames has 100 decisions
OBSERVATION = Box(np.float32([-1, -1, -8]), np.float32([1, 1, 8]))  # cos, sin, angular velocity
ACTION = Box(-1, 1, (1,), np.float32)
TORQUE = 2.0  # the largest


class Repeat(gym.Wrapper):
    """Every action lasts several frames, whose rewards add up."""

    def __init__(self, env: gym.Env, times: int) -> None:
        super().__init__(env)
        self.times = times

    def step(self, action):
        total = 0.0
        for _ in range(self.times):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            if terminated or truncated:
                break
        return observation, total, terminated, truncated, info


class Motor(gym.ActionWrapper):
    """Actions from -1 to 1, in units of the largest torque."""

    def __init__(self, env: gym.Env) -> None:
        super().__init__(env)
        self.action_space = ACTION

    def action(self, action):
        return TORQUE * action


def pendulums(batch: int) -> SyncVectorEnv:
    """`batch` pendulums side by side; episodes of 100 decisions, returns as in Pendulum-v1."""
    return SyncVectorEnv([lambda: Motor(Repeat(gym.make("Pendulum-v1"), REPEAT))] * batch)


class ExactPendulum:
    """The equations of Pendulum-v1 as a world: what a learned one can at best be."""

    def __init__(self) -> None:
        self.spec = Spec(OBSERVATION, ACTION, cont=False)

    def initial(self, batch: int) -> State:
        """At rest, upright."""
        return {"angle": torch.zeros(batch), "velocity": torch.zeros(batch)}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """The observation shows everything."""
        cos, sin, velocity = step.observation.unbind(-1)
        return {"angle": torch.atan2(sin, cos), "velocity": velocity}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B 1"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """The frames that one action lasts. An angle of 0 is upright."""
        angle, velocity, reward = state["angle"], state["velocity"], 0.0
        torque = TORQUE * action.squeeze(-1).clamp(-1, 1)
        for _ in range(REPEAT):
            lean = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
            reward = reward - lean.square() - 0.1 * velocity.square() - 0.001 * torque.square()
            velocity = velocity + (15 * torch.sin(angle) + 3 * torque) * 0.05
            velocity = velocity.clamp(-8, 8)
            angle = angle + velocity * 0.05
        return Dreamt({"angle": angle, "velocity": velocity}, reward, None)

    def decode(self, state: State) -> Float[Tensor, "B 3"]:
        angle, velocity = state["angle"], state["velocity"]
        return torch.stack([torch.cos(angle), torch.sin(angle), velocity], -1)
