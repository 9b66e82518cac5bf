"""The design space of diffusion models (EDM): noise levels, preconditioning, samplers.

Karras, Aittala, Aila, Laine, "Elucidating the Design Space of Diffusion-Based Generative Models",
NeurIPS 2022. The code followed is NVlabs/edm at `008a4e5`.

Shape key: B batch, N steps of a sampler.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Denoise = Callable[[Tensor, Tensor], Tensor]  # (noisy x, noise level) -> expected clean x


def precondition(
    sigma: Float[Tensor, " B"], sigma_data: float
) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"], Float[Tensor, " B"], Float[Tensor, " B"]]:
    """c_skip, c_out, c_in and c_noise of the denoiser D at noise level sigma.

        D(x; sigma) = c_skip x + c_out F(c_in x, c_noise)

        c_skip = sigma_data^2 / (sigma^2 + sigma_data^2)
        c_out  = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)
        c_in   = 1 / sqrt(sigma^2 + sigma_data^2)
        c_noise = ln(sigma) / 4

    Table 1. With data of variance sigma_data^2, input and target of the network F have
    variance 1 at every noise level, and c_out is as small as it can be.
    """
    total = sigma.square() + sigma_data**2
    return (
        sigma_data**2 / total,
        sigma * sigma_data / total.sqrt(),
        1 / total.sqrt(),
        sigma.log() / 4,
    )


def noise_levels(
    steps: int, sigma_min: float, sigma_max: float, rho: float
) -> Float[Tensor, " N+1"]:
    """Noise levels of a sampler with N = `steps` steps, from sigma_max down to sigma_min, then 0.

        sigma_i = (sigma_max^(1/rho) + i / (N - 1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho

    for i = 0 ... N - 1, and sigma_N = 0. A single step starts at sigma_max. Equation 5.
    """
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    levels = (high + torch.linspace(0, 1, steps) * (low - high)) ** rho
    return torch.cat([levels, torch.zeros(1)])


def euler(
    denoise: Denoise, start: Float[Tensor, "*shape"], levels: Float[Tensor, " N+1"]
) -> Float[Tensor, "*shape"]:
    """Follows the noise down to nothing in N straight steps.

        dx / dsigma = (x - D(x; sigma)) / sigma,           x_0 = start at sigma_0

    Each step goes along the slope at the level it leaves: the Euler method. `denoise(x, sigma)` is
    D, with sigma a tensor without axes; `levels` fall and end with 0. Algorithm 1 without
    its second-order correction.
    """
    x = start
    for sigma, following in pairwise(levels):
        slope = (x - denoise(x, sigma)) / sigma
        x = x + (following - sigma) * slope
    return x


def heun(
    denoise: Denoise, start: Float[Tensor, "*shape"], levels: Float[Tensor, " N+1"]
) -> Float[Tensor, "*shape"]:
    """As `euler`, but each step goes along the mean of two slopes: that at the level it leaves and
    that at the level to which the first would lead. Twice the calls, an error of second order.

    The last step, to level 0, has no second slope: it is Euler's. Algorithm 1.
    """
    x = start
    for sigma, following in pairwise(levels):
        slope = (x - denoise(x, sigma)) / sigma
        ahead = x + (following - sigma) * slope
        if following > 0:
            second = (ahead - denoise(ahead, following)) / following
            ahead = x + (following - sigma) * (slope + second) / 2
        x = ahead
    return x
