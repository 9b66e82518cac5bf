"""Positions as waves."""

import torch

from tests.official import close
from utils.nn.sinusoids import sinusoids


def test_sinusoids_are_waves_from_two_pi_on():
    waves = sinusoids(torch.arange(5), 8)
    assert waves.shape == (5, 8)
    close(waves[:, 0], torch.arange(5).float().sin())
    close(waves[:, 4], torch.arange(5).float().cos())
    close(waves[3, 7], torch.tensor(3 * 1e-3).cos())
