"""Where the rod is drawn."""

import torch

from utils.evaluate.pendulum import ROD, draw_pendulum


def places(observation):
    """Mean row and column of the rod's pixels, off the pivot, from -1 to 1."""
    picture = draw_pendulum(torch.tensor([observation]))[0]
    assert (picture.shape, str(picture.dtype)) == ((64, 64, 3), "uint8")
    rows, columns = (abs(picture.astype(int) - ROD).sum(-1) < 3).nonzero()
    return rows.mean() / 31.5 - 1, columns.mean() / 31.5 - 1, len(rows)


def test_upright_is_up_and_a_quarter_turn_is_left():
    up, down, left = (places(o) for o in ([1.0, 0, 0], [-1.0, 0, 0], [0.0, 1, 0]))
    assert up[0] < -0.3 < 0.3 < down[0]
    assert left[1] < -0.3
    assert max(abs(up[1]), abs(left[0])) < 0.05


def test_who_is_not_sure_shows_a_short_rod():
    assert places([0.3, 0.0, 0.0])[2] < 0.6 * places([1.0, 0.0, 0.0])[2]
