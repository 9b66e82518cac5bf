"""What came in, in Asterix: against frames put together by hand, and against the game."""

import math

import pytest
import torch

from utils.data import minatar
from utils.evaluate import asterix


def frame(*things):
    made = torch.zeros(1, 10, 10, 4)
    for row, column, channel in things:
        made[0, row, column, channel] = 1
    return made


def test_arrivals_by_hand():
    before = frame((3, 4, asterix.ENEMY), (5, 5, asterix.PLAYER))
    still = frame((3, 5, asterix.ENEMY), (3, 4, asterix.TRAIL), (5, 5, asterix.PLAYER))
    treasure = still + frame((8, 9, asterix.GOLD))
    enemy = still + frame((1, 1, asterix.ENEMY))
    both = enemy + frame((8, 9, asterix.GOLD))
    found = asterix.arrivals(
        before.expand(4, -1, -1, -1), torch.cat([still, treasure, enemy, both])
    )
    assert found.tolist() == [asterix.NONE, 4 * 7 + 2 + 1, 0, asterix.BROKEN]


def test_a_row_that_is_taken_gets_nothing_new():
    before, after = frame((3, 4, asterix.ENEMY)), frame((3, 5, asterix.ENEMY), (3, 0, asterix.GOLD))
    assert asterix.arrivals(before, after).item() == asterix.NONE


def test_the_game_has_all_outcomes_in_the_shares_that_its_code_says():
    data, _ = minatar.make("asterix", 12_000, 2_000, seed=3)
    stream = data.train
    keep = ~stream.first[1:]
    came = asterix.arrivals(stream.observation[:-1].float()[keep], stream.observation[1:][keep])
    found = asterix.scores(came, came)
    assert found["broken"] == 0
    assert found["coverage"] == 1
    assert 0.08 < found["rate"] < 0.11
    assert abs(found["treasure"] - 1 / 3) < 0.06
    assert abs(found["right"] - 1 / 2) < 0.06


def test_nats_are_those_of_a_perfect_forecast_when_all_shares_are_right():
    drawn = torch.arange(asterix.OUTCOMES).repeat(1000)
    assert asterix.scores(drawn, drawn)["nats"] == pytest.approx(math.log(32), abs=1e-2)
    nothing = torch.full((1000,), asterix.NONE)
    assert asterix.scores(nothing, drawn)["nats"] > 7
    assert asterix.chances().sum() == pytest.approx(1)


def test_pictures_show_the_player_on_top():
    both = frame((5, 5, asterix.PLAYER), (5, 5, asterix.ENEMY))
    assert asterix.draw_asterix(both)[0, 5, 5].tolist() == [140, 205, 245]
