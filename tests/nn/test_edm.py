"""Samplers of EDM: against the official numbers, and against what theory says of them."""

import pytest
import torch

from tests.official import close, official
from utils.nn.edm import euler, heun, noise_levels, precondition


def test_precondition_is_the_official_one():
    given, want = official("diamond_conditioners")
    total = (given["sigma"].square() + 0.3**2).sqrt()
    ours = precondition(total, 0.5)
    for name, value in zip(("c_skip", "c_out", "c_in", "c_noise"), ours, strict=True):
        close(value, want[name])


def test_noise_levels_are_the_official_ones():
    close(noise_levels(10, 0.002, 80, 7), official("diamond_build_sigmas")[1]["sigmas"], atol=1e-5)


def test_input_and_target_of_the_network_have_unit_variance():
    sigma = torch.logspace(-2, 1, 4, dtype=torch.float64)
    skip, out, scale, _ = precondition(sigma, 0.5)
    variance = 0.25 + sigma.square()
    close(scale.square() * variance, torch.ones(4))
    target = (1 - skip).square() * 0.25 + (skip * sigma).square()
    close(target / out.square(), torch.ones(4))


def test_without_noise_the_denoiser_is_the_identity_and_with_much_it_is_the_network():
    small, large = (precondition(torch.tensor([s]), 0.5) for s in (1e-5, 1e5))
    close(torch.stack(small[:2]), torch.tensor([[1.0], [0.0]]), atol=2e-5)
    close(torch.stack(large[:2]), torch.tensor([[0.0], [0.5]]), atol=1e-5)


def gaussian(x, sigma):
    """D of data N(1, 0.5^2). The flow keeps (x - 1) / sqrt(0.25 + sigma^2) as it is."""
    return 1 + (x - 1) * 0.25 / (0.25 + sigma**2)


@pytest.mark.parametrize(("sampler", "order"), [(euler, 1), (heun, 2)])
def test_samplers_have_the_order_that_theory_gives_them(sampler, order):
    start, errors = 5 * torch.randn(64, dtype=torch.float64) + 1, []
    for steps in (64, 128, 256):
        levels = noise_levels(steps, 0.002, 5.0, 7.0).double()
        exact = 1 + (start - 1) * 0.5 / (0.25 + levels[0] ** 2).sqrt()
        errors.append((sampler(gaussian, start, levels) - exact).abs().max())
    slopes = torch.stack(errors).log2().diff()
    assert torch.allclose(slopes, torch.full_like(slopes, -order), atol=0.15), slopes


def test_one_step_gives_the_denoised_noise():
    start = torch.randn(5)
    levels = noise_levels(1, 0.002, 5.0, 7.0)
    close(levels, torch.tensor([5.0, 0.0]))
    close(euler(gaussian, start, levels), gaussian(start, levels[0]))
