"""Gaussian tools against torch.distributions, and their gradients against theory."""

import torch
from torch.distributions import Normal, kl_divergence

from utils.nn.gaussian import kl_to_unit, log_prob, reparameterise

torch.set_num_threads(1)


def some(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_kl_is_that_of_torch_summed_over_the_last_axis():
    mean, log_variance = some(2, 3, 4), some(2, 3, 4, seed=1)
    theirs = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    assert torch.allclose(kl_to_unit(mean, log_variance), theirs)
    assert torch.equal(kl_to_unit(torch.zeros(5, 2), torch.zeros(5, 2)), torch.zeros(5))


def test_a_sample_is_at_the_noise_s_place_and_passes_gradients():
    mean, log_variance, noise = some(6, 2), some(6, 2, seed=1), some(6, 2, seed=2)
    mean.requires_grad_()
    log_variance.requires_grad_()
    sample = reparameterise(mean, log_variance, noise)
    assert torch.allclose((sample - mean) / (log_variance / 2).exp(), noise)
    to_mean, to_log_variance = torch.autograd.grad(sample.sum(), (mean, log_variance))
    assert torch.equal(to_mean, torch.ones_like(mean))
    assert torch.allclose(to_log_variance, 0.5 * (log_variance / 2).exp() * noise)


def test_log_density_is_that_of_torch_element_by_element():
    value, mean, log_std = some(3, 4), some(3, 4, seed=1), some(4, seed=2)
    theirs = Normal(mean, log_std.exp()).log_prob(value)
    assert torch.allclose(log_prob(value, mean, log_std), theirs)
