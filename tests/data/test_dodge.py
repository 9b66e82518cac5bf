"""The dodge game: its rules, one by one, and its rows."""

import math

import pytest
import torch

from utils.data import dodge
from utils.data.dodge import COLUMNS, LAUNCH, ROWS, Dodge

torch.set_num_threads(1)
STAY, RIGHT = torch.tensor([0.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 1.0])


def games(n, seed=0):
    game = Dodge(n, torch.Generator().manual_seed(seed))
    return game, game.reset()


def test_who_stands_still_is_hit_by_the_first_fireball():
    game, row = games(4000)
    died = torch.zeros(4000, dtype=torch.long)
    for t in range(1, 80):
        row = game.step(STAY.expand(4000, 3))
        died[row.terminated & (died == 0)] = t
    assert (died > 0).all()
    assert died.min() == 1 + ROWS  # launched in the first step
    expected = 1 / LAUNCH + ROWS
    assert died.float().mean().item() == pytest.approx(expected, abs=0.15)


def test_a_fireball_falls_in_its_own_column_and_hits_nobody_elsewhere():
    game, row = games(500)
    game.column = torch.full((500,), 3)
    for _ in range(30):
        before = row
        row = game.step(STAY.expand(500, 3))
        up = (before.observation[:, 2] > 0) & ~row.first
        torch.testing.assert_close(row.observation[up, 2], before.observation[up, 2] - 1 / ROWS)
    game, row = games(500)
    died = torch.zeros(500, dtype=torch.bool)
    for _ in range(60):  # steps aside whenever a fireball is in the air above
        above = (row.observation[:, 2] > 0) & (row.observation[:, 1].abs() < 1e-6)
        left = row.observation[:, 0] > 0
        aside = torch.where(left[:, None], torch.tensor([1.0, 0.0, 0.0]), RIGHT)
        row = game.step(torch.where(above[:, None], aside, STAY))
        died |= row.terminated
    assert not died.any()


def test_a_launch_shows_in_the_height_alone():
    game, row = games(2000)
    for _ in range(10):
        before = row
        row = game.step(STAY.expand(2000, 3))
        launched = (before.observation[:, 2] == 0) & (row.observation[:, 2] == 1)
        assert (row.observation[launched, 1] == 0).all()
        none = row.observation[:, 2] == 0
        assert (row.observation[none, 1] == 0).all()


def test_rewards_walls_and_the_frequency_of_launches():
    game, row = games(4000)
    for _ in range(COLUMNS):
        row = game.step(RIGHT.expand(4000, 3))
        torch.testing.assert_close(row.reward, 0.9 * (~row.first).float())
    fresh = row.first | row.terminated
    assert (row.observation[~fresh, 0] == 1).float().mean() > 0.7  # others began anew on the way
    assert (row.observation[:, 0] <= 1).all()
    game, row = games(4000)
    row = game.step(STAY.expand(4000, 3))
    assert (row.reward == 1).all()
    assert (row.observation[:, 2] == 1).float().mean().item() == pytest.approx(LAUNCH, abs=0.03)


def test_records_are_rows_in_the_arrival_convention():
    data = dodge.record(50, 120, torch.Generator().manual_seed(0))
    assert data.observation.shape == (50, 120, 3)
    assert data.first[:, 0].all()
    assert torch.equal(data.first[:, 1:], data.terminated[:, :-1])
    assert (data.action[data.first] == 0).all()
    assert (data.reward[data.first] == 0).all()
    assert (data.action[~data.first].sum(-1) == 1).all()
    assert data.observation.abs().max() <= 1
    assert (data.observation[data.first][:, 1:] == 0).all()
    again = dodge.record(50, 120, torch.Generator().manual_seed(0))
    assert all(torch.equal(a, b) for a, b in zip(data, again, strict=True))


def test_pictures_show_player_and_fireball_where_they_are():
    frame = dodge.picture(torch.tensor([-1.0, 0.25, 1.0]))
    assert frame.shape == (48, 64, 3)
    assert (frame[44, 4] == (0, 114, 178)).all()
    assert (frame[4, 8 * 2 + 4] == (213, 94, 0)).all()
    off = dodge.picture(torch.tensor([math.pi, -9.0, 5.0]))  # a dream may go astray
    assert off.shape == frame.shape
