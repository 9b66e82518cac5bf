"""CartPole as tensors: step by step what gymnasium's does, with two of its four numbers hidden."""

import gymnasium as gym
import numpy as np
import torch

from utils.data import cart_pole
from utils.data.cart_pole import EDGE, TILT, CartPole, physics

torch.set_num_threads(1)
PUSH = torch.eye(2)


def test_the_physics_are_gymnasium_s():
    env = gym.make("CartPole-v1").unwrapped
    rng = np.random.default_rng(0)
    for _ in range(200):
        state, push = rng.uniform(-0.2, 0.2, 4), int(rng.integers(2))
        env.reset(seed=0)
        env.state = state.copy()
        env.step(push)
        ours = physics(torch.as_tensor(state)[None], PUSH[None, push].double())
        np.testing.assert_allclose(ours[0], env.state, atol=1e-12)


def test_an_episode_ends_where_gymnasium_s_does():
    game = CartPole(4, torch.Generator().manual_seed(0))
    game.reset()
    game.state = torch.tensor(
        [
            [EDGE - 0.01, 9.0, 0, 0],
            [0, 0, TILT - 0.001, 3.0],
            [0, 0, 0, 0],
            [-EDGE + 0.01, -9.0, 0, 0],
        ]
    )
    row = game.step(PUSH[[0, 0, 0, 0]])
    assert row.terminated.tolist() == [True, True, False, True]
    row = game.step(PUSH[[1, 1, 1, 1]])
    assert row.first.tolist() == [True, True, False, True]
    assert (row.action[row.first] == 0).all()
    assert (row.reward == (~row.first).float()).all()
    assert (game.state[row.first].abs() <= 0.05).all()


def test_only_positions_are_seen():
    game = CartPole(3, torch.Generator().manual_seed(0))
    game.reset()
    game.state = torch.tensor([[1.2, 7.0, 0.1, -3.0]] * 3)
    seen = game._row(PUSH[[0, 0, 0]], torch.zeros(3, dtype=torch.bool)).observation
    torch.testing.assert_close(seen, torch.tensor([[0.5, 0.1 / TILT]] * 3))


def test_records_begin_wide_and_are_rows():
    data = cart_pole.record(40, 60, torch.Generator().manual_seed(0))
    assert torch.equal(data.first[:, 1:], data.terminated[:, :-1])
    assert data.observation[data.first].abs().max() > 0.3
    assert (data.action[~data.first].sum(-1) == 1).all()
