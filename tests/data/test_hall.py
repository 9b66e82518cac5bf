"""The hall: what moves, what is seen, what is paid."""

import torch
from torch.nn.functional import one_hot

from utils.data import hall


def test_moves_and_walls() -> None:
    place = torch.tensor([[0, 0], [6, 4], [3, 2], [3, 2]])
    action = one_hot(torch.tensor([0, 3, 1, 2]), 4).float()
    assert hall.moved(place, action).tolist() == [[0, 0], [6, 4], [4, 2], [3, 1]]
    assert place.tolist()[2] == [3, 2]


def test_rewards_read_the_right_thing() -> None:
    places = torch.tensor([[0, 2], [6, 2], [3, 0], [3, 4], [0, 4]])
    seen = hall.seen(places, 3, torch.Generator().manual_seed(0))
    assert hall.corridor_reward(seen).tolist() == [-1, 1, 0, 0, -1]
    assert hall.dial_reward(seen).tolist() == [0, 0, -1, 1, 1]


def test_a_recording_follows_its_actions() -> None:
    rows = hall.record(50, 8, 4, torch.Generator().manual_seed(1))
    cells = rows.observation[..., : hall.CELLS].argmax(-1)
    marks = rows.observation[..., hall.CELLS : hall.CELLS + hall.MARKS].argmax(-1)
    places = torch.stack([cells, marks], -1)
    for t in range(1, 8):
        assert torch.equal(hall.moved(places[:, t - 1], rows.action[:, t]), places[:, t])
    assert not rows.action[:, 0].any()
    assert not rows.reward[:, 0].any()
    assert torch.equal(rows.reward[:, 1:], hall.corridor_reward(rows.observation)[:, 1:])
    assert rows.first.sum() == 50


def test_the_noise_is_loud_and_new_in_every_row() -> None:
    rows = hall.record(400, 5, 2, torch.Generator().manual_seed(0))
    noise = rows.observation[..., -2:]
    assert abs(noise.std().item() - hall.LOUD) < 0.15
    assert abs((noise[:, 0] * noise[:, 1]).mean().item()) < 0.6
