"""DeepMind Control: runs only where it is installed."""

import numpy as np
import pytest
import torch

from utils.data import control
from utils.data.sequences import sample_windows
from utils.world import interact, rows
from utils.worlds.planet import Config, PlaNet

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def env():
    pytest.importorskip("dm_control")
    return control.Control("cartpole", "swingup")


def test_frames_rewards_and_the_end(env):
    frame, _ = env.reset(seed=0)
    again, _ = env.reset(seed=0)
    assert (frame.shape, frame.dtype) == ((64, 64, 3), np.uint8)
    assert np.array_equal(frame, again)
    env.frame = lambda: frame  # what is to be counted here needs no picture
    total, count, truncated = 0.0, 0, False
    while not truncated:
        _, reward, terminated, truncated, _ = env.step(np.zeros(1, np.float32))
        assert not terminated
        total, count = total + reward, count + 1
    assert count == 125
    assert 0 <= total < 50  # a pole that hangs earns next to nothing


def test_a_walker_feels_its_joints_and_renders_nothing(env):
    walker = control.Control("walker", "walk", pixels=False)
    walker.frame = None
    seen, _ = walker.reset(seed=1)
    again, _ = walker.reset(seed=1)
    assert (seen.shape, seen.dtype) == ((24,), np.float32)
    assert np.array_equal(seen, again)
    assert walker.observation_space.contains(seen)
    first, reward, *_ = walker.step(np.ones(6, np.float32))
    assert not np.array_equal(first, seen)
    assert 0 <= reward <= 2  # of two frames
    walker.reset(seed=1)
    assert np.array_equal(walker.step(np.full(6, 3.0, np.float32))[0], first)  # clipped


def test_a_world_learns_from_its_pixels(env):
    config = Config(deter=12, stoch=5, hidden=10, units=10, layers=1, depth=2)
    envs = control.cartpole_swingup(1)
    world = PlaNet(envs.single_observation_space, envs.single_action_space, config)

    def anything(state, generator):
        return 2 * torch.rand(rows(state), 1, generator=generator) - 1

    seen = interact(
        envs, world, anything, steps=6, seed=0, generator=torch.Generator().manual_seed(0)
    )
    loss, _, _ = world.loss(sample_windows(seen.step, 2, 4), None)
    loss.backward()
    assert loss.isfinite()
