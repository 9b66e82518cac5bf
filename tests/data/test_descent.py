"""The descent: its rules, what sight is worth, and what the collection promises."""

import itertools

import numpy as np
import pytest

from utils.data import descent
from utils.data.descent import ROWS, Descent, collection, drawn, paid, stepped, worth


def every_path(slope: np.ndarray) -> dict[tuple[int, ...], float]:
    """What each way down pays."""
    sums = {}
    for path in itertools.product((0, 1), repeat=ROWS):
        places = np.cumsum(path)
        sums[path] = float(sum(slope[row, place] for row, place in enumerate(places)))
    return sums


@pytest.mark.parametrize("seed", [0, 1])
def test_worth_and_best_play_are_those_of_all_paths(seed: int) -> None:
    rng = np.random.default_rng(seed)
    slopes = drawn(30, rng)
    for slope, (left, right), total in zip(
        slopes, worth(slopes, ROWS), paid(slopes, ROWS, rng), strict=True
    ):
        sums = every_path(slope)
        assert left == max(v for path, v in sums.items() if path[0] == 0)
        assert right == max(v for path, v in sums.items() if path[0] == 1)
        assert total == max(sums.values())


def test_no_sight_is_a_coin_and_more_sight_never_pays_less() -> None:
    slopes, rng = collection(2000, 0), np.random.default_rng(0)
    means = [paid(slopes, sight, rng).mean() for sight in range(ROWS + 1)]
    assert means == sorted(means)
    assert means[3] > means[2] + 1  # the third row is what counts


def test_the_collection_gives_nothing_away() -> None:
    slopes = collection(400, 3)
    truth, one, two = (np.diff(worth(slopes, sight))[:, 0] for sight in (ROWS, 1, 2))
    assert (np.abs(truth) >= descent.STAKE).all()
    for sight in (one, two):
        assert (sight != 0).all()
        assert (sight * truth > 0).mean() == 0.5
    assert not np.array_equal(slopes, collection(400, 4))
    assert np.array_equal(slopes, collection(400, 3))


def test_the_environment_pays_what_lies_there() -> None:
    slopes = collection(8, 1)
    env = Descent(slopes)
    for seed in range(8):
        seen, _ = env.reset(seed=seed)
        slope = env.slope[0].copy()
        assert np.array_equal(seen, slope[*descent.CELLS])
        path = np.random.default_rng(seed).integers(0, 2, ROWS)
        total, ended = 0.0, []
        for action in path:
            seen, reward, terminated, truncated, _ = env.step(int(action))
            total += reward
            ended.append((terminated, truncated))
        assert total == every_path(slope)[tuple(path.tolist())]
        assert ended == [(False, False)] * (ROWS - 1) + [(True, False)]
        assert not seen.any()  # nothing is left to see


def test_a_step_cuts_off_the_other_edge() -> None:
    slopes = drawn(5, np.random.default_rng(0))
    left, right = stepped(slopes, np.zeros(5)), stepped(slopes, np.ones(5))
    assert np.array_equal(left[:, 0, :2], slopes[:, 1, :2])
    assert np.array_equal(right[:, 0, :2], slopes[:, 1, 1:3])
    assert not left[:, -1].any()
    assert not right[:, 0, 2:].any()
