"""Breakout of the Arcade Learning Environment, seen as DIAMOND sees it, and a player of it.

Frames are [64, 64, 3] of uint8: the larger of the last two of four repeated frames, each pixel the
mean of the area that it covers. An episode ends with a life. Actions: wait, fire (serve the ball),
right, left. The emulator, `ale-py`, brings the game along.

Shape key: B frames.
"""

from __future__ import annotations

from typing import Any

import ale_py
import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

SIDE, REPEAT = 64, 4  # pixels of a side; frames that an action lasts
WAIT, FIRE, RIGHT, LEFT = range(4)
OBSERVATION, ACTION = Box(0, 255, (SIDE, SIDE, 3), np.uint8), Discrete(4)
SKY = slice(30, 57)  # rows of a frame between bricks and paddle: what is bright there is the ball
FLOOR = slice(57, 59)  # rows of the paddle
INSIDE = slice(4, 60)  # columns between the walls
BRIGHT = 40  # red from which something is there; the background is black


class Breakout(gym.Env):
    """The game, without sticky actions."""

    observation_space, action_space = OBSERVATION, ACTION

    def __init__(self) -> None:
        ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
        gym.register_envs(ale_py)
        options = {"frameskip": 1, "repeat_action_probability": 0.0}
        self.game = gym.make("ALE/Breakout-v5", **options)
        self.over, self.lives = True, 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[UInt8[np.ndarray, "64 64 3"], dict]:
        """The next life; the next game after the last one, or if a seed is given."""
        super().reset(seed=seed)
        if self.over or seed is not None:
            frame, _ = self.game.reset(seed=seed)
            self.over = False
        else:
            frame = self.game.step(WAIT)[0]
        self.lives = self.game.unwrapped.ale.lives()
        return small(frame), {}

    def step(self, action: int) -> tuple[UInt8[np.ndarray, "64 64 3"], float, bool, bool, dict]:
        gain, frames, lost = 0.0, [], False
        for _ in range(REPEAT):
            frame, reward, self.over, cut, _ = self.game.step(action)
            frames.append(frame)
            gain += reward
            lost |= self.game.unwrapped.ale.lives() < self.lives
            if self.over or cut:
                break
        return small(np.max(frames[-2:], 0)), gain, bool(lost or self.over), cut, {}


def small(frame: UInt8[np.ndarray, "210 160 3"]) -> UInt8[np.ndarray, "64 64 3"]:
    """Every pixel the mean of what it covers."""
    pixels = torch.from_numpy(frame).permute(2, 0, 1).float()
    return adaptive_avg_pool2d(pixels, SIDE).round().byte().permute(1, 2, 0).numpy()


class Follower:
    """Serves, and keeps the paddle below the ball with probability `care`; else any action."""

    def __init__(self, care: float = 0.7) -> None:
        self.care = care

    def __call__(
        self, state: dict[str, Tensor], generator: torch.Generator | None
    ) -> Float[Tensor, "B 4"]:
        frames = state["observation"]
        ball, there = ball_column(frames)
        aside = ball - paddle_column(frames)
        follow = torch.where(aside > 1, RIGHT, torch.where(aside < -1, LEFT, WAIT))
        follow = torch.where(there, follow, FIRE)
        luck = torch.rand((2, len(frames)), generator=generator)
        action = torch.where(luck[0] < self.care, follow, (4 * luck[1]).long())
        return torch.nn.functional.one_hot(action, 4).float()


# ---- what is where


def ball_column(frames: Tensor) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """Where the ball is from left to right, and whether there is one."""
    red = frames[:, SKY, INSIDE, 0].float()
    there = red.flatten(1).amax(1) > BRIGHT
    return red.amax(1).argmax(1).float(), there


def paddle_column(frames: Tensor) -> Float[Tensor, " B"]:
    """The middle of the paddle from left to right."""
    red = (frames[:, FLOOR, INSIDE, 0].float() - BRIGHT).clamp(min=0).sum(1) + 1e-6
    return (red * torch.arange(red.shape[1])).sum(1) / red.sum(1)
