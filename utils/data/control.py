"""DeepMind Control (Tassa et al. 2018), from pixels or from what the joints feel.

Needs the optional dm-control: `pip install "world-models-course[control]"`, or from a checkout
`pip install "dm-control>=1.0.30" "mujoco<4"`. Without a screen it renders through EGL, which this
module asks for unless MUJOCO_GL says otherwise; `pixels=False` renders nothing.
"""

from __future__ import annotations

import os

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box
from gymnasium.vector import SyncVectorEnv
from jaxtyping import UInt8

PIXELS = 64
REPEAT = {"cartpole": 8, "reacher": 4, "cheetah": 4, "finger": 2, "ball_in_cup": 4, "walker": 2}


class Control(gym.Env):
    """A task of the suite: frames [64, 64, 3] of uint8, or all that the suite measures as one
    vector (proprioception); actions from -1 to 1.

    An action lasts as many frames as in the paper, and their rewards add up. Episodes have 1,000
    frames and never terminate: their end is a time limit.
    """

    def __init__(self, domain: str, task: str, *, pixels: bool = True) -> None:
        os.environ.setdefault("MUJOCO_GL", "egl")
        try:
            from dm_control import suite
        except ImportError as error:
            raise ImportError(
                'This task needs dm-control: pip install "dm-control>=1.0.30" "mujoco<4".'
            ) from error
        self.env, self.repeat = suite.load(domain, task), REPEAT[domain]
        spec = self.env.action_spec()
        self.low, self.high = spec.minimum, spec.maximum
        self.action_space = Box(-1, 1, spec.shape, np.float32)
        self.pixels = pixels
        self.observation_space = Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
        if not pixels:
            measured = self.env.observation_spec().values()
            size = sum(int(np.prod(spec.shape)) for spec in measured)
            self.observation_space = Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict | None = None):
        super().reset(seed=seed)
        if seed is not None:
            # The suite's own kind of generator, which has no public way to be seeded anew.
            self.env.task._random = np.random.RandomState(seed)
        return self.seen(self.env.reset()), {}

    def step(self, action: np.ndarray):
        action = self.low + (np.clip(action, -1, 1) + 1) / 2 * (self.high - self.low)
        total = 0.0
        for _ in range(self.repeat):
            moment = self.env.step(action)
            total += float(moment.reward or 0.0)
            if moment.last():
                break
        return self.seen(moment), total, False, moment.last(), {}

    def seen(self, moment) -> np.ndarray:
        """The observation of a moment of the suite."""
        if self.pixels:
            return self.frame()
        measured = [np.ravel(value) for value in moment.observation.values()]
        return np.concatenate(measured).astype(np.float32)

    def frame(self) -> UInt8[np.ndarray, "64 64 3"]:
        return self.env.physics.render(PIXELS, PIXELS, camera_id=0).copy()


def cartpole_swingup(batch: int) -> SyncVectorEnv:
    """`batch` carts side by side whose pole hangs down; episodes of 125 decisions."""
    return SyncVectorEnv([lambda: Control("cartpole", "swingup")] * batch)


def walker_walk(batch: int) -> SyncVectorEnv:
    """`batch` walkers side by side that feel their joints; episodes of 500 decisions."""
    return SyncVectorEnv([lambda: Control("walker", "walk", pixels=False)] * batch)
