"""The floors: what is seen, what is paid, what a probe finds."""

import pytest
import torch
from torch.nn.functional import one_hot

from utils.data.floors import LENGTH, OBSERVATION, PLACES, ROOMS, probe, walks


@pytest.mark.parametrize("lamp", [False, True])
def test_a_walk_shows_rooms_and_tells_the_floor_in_room_0(lamp):
    steps, place = walks(300, lamp, torch.Generator().manual_seed(0))
    room, floor = place % ROOMS, place // ROOMS
    assert steps.observation.shape == (300, LENGTH, *OBSERVATION.shape)
    assert (floor == floor[:, :1]).all()
    moves = steps.action[:, 1:].argmax(-1) - 1
    assert ((room[:, 1:] - room[:, :-1] - moves) % ROOMS == 0).all()
    assert (steps.action[:, 0] == 0).all()
    assert (steps.observation[..., :ROOMS].argmax(-1) == room).all()
    shown = steps.observation[..., ROOMS:]
    assert (shown.sum(-1) == ((room == 0) & lamp)).all()
    assert (shown[..., 1] == ((room == 0) & (floor == 1) & lamp)).all()
    paid = (room == 0) * (2 * floor - 1)
    assert (steps.reward[:, 1:] == paid[:, 1:]).all()
    assert (steps.reward[:, 0] == 0).all()
    assert place[:, 0].bincount().min() > 20


def test_a_probe_finds_what_is_there():
    steps, place = walks(200, False, torch.Generator().manual_seed(0))
    assert probe(one_hot(place, PLACES).float(), place) == 1.0
    assert 0.4 < probe(steps.observation.float(), place) < 0.6
