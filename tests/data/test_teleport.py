"""The teleport grid: its frames, what is possible, and what independence costs, by counting."""

import itertools
import math

import pytest
import torch

from utils.data.teleport import CORNERS, NATS, SIDE, possible, teleport, torn, valid


def cells(frames):
    return frames.flatten(2).argmax(-1)


def test_every_frame_has_one_object_and_follows_the_rules():
    data = teleport(300, 8, torch.Generator().manual_seed(0))
    assert data.observation.shape == (300, 8, 4, 4, 1)
    assert (data.observation.flatten(2).sum(-1) == 1).all()
    assert (data.action[:, 0] == 0).all()
    assert (data.action[:, 1:].sum(-1) == 1).all()
    assert data.first[:, 0].all()
    assert not data.first[:, 1:].any()
    at, jumped = cells(data.observation), data.action[:, 1:, 1] == 1
    assert torch.equal(at[:, 1:][~jumped], ((at[:, :-1] + 1) % 16)[~jumped])
    share = torch.bincount(at[:, 1:][jumped], minlength=16) / jumped.sum()
    assert (share > 0).nonzero().flatten().tolist() == list(CORNERS)
    assert (share[list(CORNERS)] - 0.25).abs().max() < 0.05


def test_the_true_future_is_valid_and_others_are_not():
    data = teleport(200, 12, torch.Generator().manual_seed(1))
    start, ahead, action = data.observation[:, 0], data.observation[:, 1:], data.action[:, 1:]
    assert valid(ahead.float(), start, action).all()
    assert not valid(torch.zeros_like(ahead).float(), start, action).any()
    two = ahead.float().flatten(2).clone()
    two[..., 5] = two[..., 6] = 1.0
    assert not valid(two.view_as(ahead), start, action).any()
    shifted = ahead.flatten(2).roll(5, 2).view_as(ahead).float()
    jumped = action[..., 1].cumsum(1) > 0
    assert not valid(shifted, start, action)[~jumped].any()
    assert not valid(shifted, start, action)[action[..., 1] == 1].any()
    number = possible(start, action).sum(-1)
    assert number[jumped].eq(4).all()
    assert number[~jumped].eq(1).all()


def test_what_independence_costs_by_counting_all_frames():
    outcomes = torch.zeros(4, 16, dtype=torch.long)
    outcomes[range(4), list(CORNERS)] = 1
    nats, chance = torn(torch.full((4,), 0.25), outcomes)
    binary = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert nats.item() == pytest.approx(4 * binary)
    assert chance.item() == pytest.approx(4 * 0.25 * 0.75**3)
    assert pytest.approx(math.log(4) / 2) == NATS
    assert SIDE == 4


def test_torn_of_any_distribution():
    rng = torch.Generator().manual_seed(0)
    every = torch.tensor(list(itertools.product(range(3), repeat=4)))
    picked = every[torch.randperm(81, generator=rng)[:9]]
    p = torch.rand(9, generator=rng, dtype=torch.float64)
    p = p / p.sum()
    marginal = [[p[picked[:, k] == v].sum().item() for v in range(3)] for k in range(4)]
    chance = [math.prod(marginal[k][v] for k, v in enumerate(row)) for row in picked.tolist()]
    nats, real = torn(p, picked)
    assert real.item() == pytest.approx(sum(chance))
    assert nats.item() == pytest.approx(
        -sum(q * math.log(c) for q, c in zip(p, chance, strict=True))
    )


def test_independent_parts_lose_nothing():
    every = torch.tensor(list(itertools.product(range(2), repeat=3)))
    share = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)
    p = torch.where(every == 1, share, 1 - share).prod(-1)
    nats, chance = torn(p, every)
    assert chance.item() == pytest.approx(1)
    assert nats.item() == pytest.approx(-(p * p.log()).sum().item())
