"""Diagonal Gaussians: sampled with a gradient, compared, and scored (lessons 1.2 and 2.1).

An encoder gives the logarithm of the *variance* (as the official code of World Models does), a
policy or a mixture the logarithm of the *standard deviation*; the arguments' names say which.

Shape key: Z latent dimensions.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

LOG_TWO_PI = math.log(2 * math.pi)


def reparameterise(
    mean: Float[Tensor, "*shape Z"],
    log_variance: Float[Tensor, "*shape Z"],
    noise: Float[Tensor, "*shape Z"],
) -> Float[Tensor, "*shape Z"]:
    """A sample of N(mean, exp(log_variance)), as a differentiable function of both.

        z = mean + exp(log_variance / 2) * noise,        noise ~ N(0, 1)

    All shapes are the same. The randomness is an argument, so that gradients pass through z to
    mean and log_variance. Kingma and Welling (2014), section 2.4.
    """
    return mean + torch.exp(log_variance / 2) * noise


def kl_to_unit(
    mean: Float[Tensor, "*shape Z"], log_variance: Float[Tensor, "*shape Z"]
) -> Float[Tensor, "*shape"]:
    """KL divergence of N(mean, exp(log_variance)) from N(0, 1), in nats.

        KL = 1/2 sum_z (exp(log_variance) + mean^2 - 1 - log_variance)

    Summed over the last axis, the Z independent dimensions. Kingma and Welling (2014), appendix B.
    """
    return 0.5 * (log_variance.exp() + mean.square() - 1 - log_variance).sum(-1)


def log_prob(
    value: Float[Tensor, "*shape"],
    mean: Float[Tensor, "*shape"],
    log_std: Float[Tensor, "*shape"],
) -> Float[Tensor, "*shape"]:
    """Log density of N(mean, exp(log_std)^2) at `value`, element by element, in nats.

    The three broadcast. Not summed: independent dimensions are for the caller to add up.
    """
    distance = (value - mean) * torch.exp(-log_std)
    return -0.5 * (distance.square() + LOG_TWO_PI) - log_std
