"""Atari's Breakout as DIAMOND sees it: frames, lives, and where ball and paddle are."""

import numpy as np
import torch

from utils.data import atari


def played(steps, action, seed=0):
    env = atari.Breakout()
    frames = [env.reset(seed=seed)[0]]
    ends = []
    for t in range(steps):
        frame, _, terminated, _, _ = env.step(action(t))
        frames.append(frame)
        ends.append(terminated)
        if terminated:
            frames[-1] = env.reset()[0]
    return torch.from_numpy(np.stack(frames)), ends, env


def test_frames_are_small_and_the_same_for_the_same_seed():
    frames, _, _ = played(20, lambda t: t % 4)
    again, _, _ = played(20, lambda t: t % 4)
    assert frames.shape == (21, 64, 64, 3)
    assert frames.dtype == torch.uint8
    assert torch.equal(frames, again)


def test_a_lost_ball_ends_an_episode_and_the_game_goes_on():
    _, ends, env = played(120, lambda t: atari.FIRE if t % 10 == 0 else atari.LEFT)
    assert any(ends)
    assert not env.over


def test_the_ball_appears_once_it_is_served():
    frames, _, _ = played(14, lambda t: atari.FIRE if t < 2 else atari.WAIT)
    there = atari.ball_column(frames)[1]
    assert not there[0]
    assert there[4:].any()


def test_a_follower_goes_to_the_ball():
    frames = torch.zeros(3, 64, 64, 3, dtype=torch.uint8)
    frames[:, 57:59, 30:38] = 200  # paddle
    frames[0, 40, 50] = frames[1, 40, 10] = 200  # a ball to the right, to the left, none
    action = atari.Follower(1.0)({"observation": frames}, torch.Generator().manual_seed(0))
    assert action.argmax(-1).tolist() == [atari.RIGHT, atari.LEFT, atari.FIRE]
