"""Two video models: their losses and samplers, where the right answer is known."""

import math

import pytest
import torch
from torch import nn

from utils.worlds.blob_video import (
    DDPM,
    EDM,
    NOISY,
    Dense,
    clean,
    corrupt,
    independent,
    noisy_context,
    roll_out,
    signal,
)

torch.set_num_threads(1)
B, T, SIDE = 6, 3, 8


def test_levels_go_from_the_frame_to_noise():
    frames, noise = torch.randn(2, B, T, SIDE, SIDE)
    level = torch.tensor([0.0, 0.5, 1.0]).expand(B, T)
    mixed = corrupt(frames, level, noise)
    assert (mixed[:, 0] - frames[:, 0]).abs().max() < 0.1
    assert (mixed[:, 2] - noise[:, 2]).abs().max() < 0.1
    half = math.cos(math.pi / 4)
    torch.testing.assert_close(mixed[:, 1], half * (frames + noise)[:, 1])


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_the_variance_stays(level):
    share = signal(torch.tensor(level))
    frames, noise = torch.randn(2, 1000, 1, SIDE, SIDE)
    mixed = corrupt(frames, torch.full((1000, 1), level), noise)
    assert abs(mixed.std().item() - 1) < 0.02
    assert 0 <= share <= 1


def test_kinds_of_levels():
    like, luck = torch.zeros(1000, T), torch.Generator().manual_seed(0)
    assert (clean(like, luck)[:, :-1] == 0).all()
    assert clean(like, luck)[:, -1].std() > 0.2
    noisy = noisy_context(like, luck)
    assert torch.equal(noisy[:, 0], noisy[:, 1])
    assert 0.25 < noisy[:, :-1].max() <= NOISY
    assert (independent(like, luck).T.corrcoef() - torch.eye(T)).abs().max() < 0.1


class Oracle(nn.Module):
    """Says the noise that is in the last frame, if the clean frame is all zeros."""

    def forward(self, frames, level, action):
        share = signal(level)[..., None, None]
        return frames / (1 - share.square()).sqrt()


@pytest.mark.parametrize("steps", [1, 3, 10])
def test_who_knows_the_noise_gets_the_frame(steps):
    model = DDPM(Oracle())
    x = model.sample(torch.zeros(B, 2, SIDE, SIDE), torch.zeros(B, 2), steps)
    assert x.abs().max() < 1e-4


class Silent(nn.Module):
    """Says that there is no noise, and remembers what it saw."""

    def forward(self, frames, level, action):
        self.seen = frames
        return torch.zeros_like(frames)


def test_clean_contexts_stay_clean_and_only_the_last_frame_counts():
    model, frames = DDPM(Silent()), torch.randn(B, T, SIDE, SIDE)
    loss = model.loss(frames, torch.zeros(B, 2), torch.Generator().manual_seed(0))
    faded = signal(torch.tensor(0.0)) * frames[:, :2]  # by a ten-thousandth; no noise
    torch.testing.assert_close(model.net.seen[:, :2], faded)
    assert abs(loss.item() - 1) < 0.3  # the variance of the noise of one frame


def test_a_film_goes_on_from_its_own_frames():
    torch.manual_seed(0)
    model, context = EDM(Dense(64, 2)), torch.randn(B, 2, SIDE, SIDE)
    luck, action = torch.Generator().manual_seed(0), torch.randn(B, 4, 2)
    film = roll_out(model, context, action, 2, luck)
    luck.manual_seed(0)
    one = model.sample(context, action[:, 0], 2, luck)
    two = model.sample(torch.stack([context[:, 1], one], 1), action[:, 1], 2, luck)
    assert torch.equal(film[:, 0], one)
    assert torch.equal(film[:, 1], two)
    assert film.abs().max() <= 1


@pytest.mark.parametrize("make", [EDM, DDPM, lambda net: DDPM(net, independent)])
def test_a_loss_falls(make):
    torch.manual_seed(0)
    model, luck = make(Dense(64, 2, units=128)), torch.Generator().manual_seed(0)
    adam = torch.optim.Adam(model.parameters(), 3e-3)
    frames, losses = torch.randn(1, T, SIDE, SIDE).expand(64, -1, -1, -1).clamp(-1, 1), []
    for _ in range(150):
        loss = model.loss(frames, torch.zeros(64, 2), luck)
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])
