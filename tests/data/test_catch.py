"""Catch, paid late: its rules, its best play, and when it pays."""

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from utils.data import catch


def played(policy, seed, latest=catch.LATEST):
    """Rewards of an episode, and in which steps a ball was caught."""
    env = catch.Catch(latest)
    seen, _ = env.reset(seed=seed)
    paid, caught = [], []
    for step in range(catch.LIMIT):
        seen, reward, terminated, cut, _ = env.step(policy(env, seen))
        assert not terminated
        assert cut == (step + 1 == catch.LIMIT)
        paid.append(reward)
        cells = seen.reshape(catch.ROWS + 1, catch.COLUMNS)
        if (cells[-2] & cells[-1]).any():
            caught.append(step)
    return np.array(paid), caught


def follow(env, seen):
    """Towards the ball."""
    cells = seen.reshape(catch.ROWS + 1, catch.COLUMNS)
    ball, paddle = cells[:-1].any(0).argmax(), cells[-1].argmax()
    return 1 + np.sign(int(ball) - int(paddle))


def test_it_is_an_environment():
    check_env(catch.Catch(), skip_render_check=True)


@pytest.mark.parametrize("seed", range(5))
def test_best_play_catches_every_ball_and_is_paid_for_each(seed):
    paid, caught = played(follow, seed)
    assert paid.sum() == len(caught) == catch.BALLS


def test_pay_comes_at_once_or_up_to_two_steps_late_each_as_often():
    late = []
    for seed in range(60):
        paid, caught = played(follow, seed)
        late += (np.flatnonzero(paid) - np.array(caught)).tolist()
    counts = np.bincount(late, minlength=3)
    assert len(counts) == 3
    assert (abs(counts / len(late) - 1 / 3) < 0.09).all()  # 360 balls: 3.6 deviations


def test_pay_comes_at_once_where_it_is_asked_for():
    paid, caught = played(follow, 3, latest=0)
    assert np.flatnonzero(paid).tolist() == caught


def test_random_play_catches_one_ball_in_five():
    rng = np.random.default_rng(0)
    total = [played(lambda env, seen: int(rng.integers(3)), seed)[0].sum() for seed in range(150)]
    assert abs(np.mean(total) - catch.BALLS / catch.COLUMNS) < 0.25
