"""Regression as classification: a number as two neighbouring bins (DreamerV3).

A network that predicts rewards or returns gives one logit per bin. The size of the gradient then
depends on probabilities only, never on the size of the numbers. Everything here takes the
logarithms of probabilities, `logits.log_softmax(-1)`, so that loss and prediction share them.

Shape key: V bins.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.symlog import symexp


def exponential_bins(number: int = 255, limit: float = 20.0) -> Float[Tensor, " V"]:
    """Bins from -exp(limit) + 1 to exp(limit) - 1, dense around 0: `symexp(linspace(-20, 20))`.

    The upper half is the lower half mirrored bit by bit; an odd number has 0 in the middle.
    """
    half = symexp(torch.linspace(-limit, 0, (number + 1) // 2, dtype=torch.float64))
    return torch.cat([half, -half.flip(0)[number % 2 :]]).float()


def two_hot(value: Float[Tensor, "*shape"], bins: Float[Tensor, " V"]) -> Float[Tensor, "*shape V"]:
    """The distribution over bins whose mean is `value`: all mass on its two neighbours.

        p_k = (b_{k+1} - value) / (b_{k+1} - b_k),   p_{k+1} = 1 - p_k,   b_k <= value < b_{k+1}

    The bins rise, at any distances, and have the dtype of the values, as the result has. A value
    below the first or above the last of them gets all the mass there. As in the official code, the
    shares are those of the bins themselves, not of their symlogs.
    """
    below = ((bins <= value[..., None]).sum(-1) - 1).clamp(0, len(bins) - 2)
    gap = bins[below + 1] - bins[below]
    share = ((value - bins[below]) / gap).clamp(0, 1)[..., None]  # of the mass, for the bin above
    return (1 - share) * F.one_hot(below, len(bins)) + share * F.one_hot(below + 1, len(bins))


def _neighbours(value: Tensor, bins: Tensor) -> tuple[Tensor, Tensor]:
    """The bin below, as an index, and the share of the mass that the bin above it gets."""
    below = (torch.searchsorted(bins, value, right=True) - 1).clamp(0, len(bins) - 2)
    low, high = bins[below], bins[below + 1]
    return below, ((value - low) / (high - low)).clamp(0, 1)


class TwoHot(nn.Module):
    """The bins of a head, what its log-probabilities predict and what they cost."""

    bins: Float[Tensor, " V"]

    def __init__(self, number: int = 255) -> None:
        super().__init__()
        self.register_buffer("bins", exponential_bins(number), persistent=False)

    def loss(
        self, log_probs: Float[Tensor, "*shape V"], *values: Float[Tensor, "*shape"]
    ) -> Float[Tensor, "*shape"]:
        """Cross entropy `-sum_k two_hot(value)_k log_probs_k` in nats; no gradient to the value.

        All but two terms are zero, so two are gathered and the target is never built. Of several
        values, each a target of its own, the sum.
        """
        below, share = _neighbours(torch.stack(values, -1).detach(), self.bins)
        low, high = log_probs.gather(-1, torch.cat([below, below + 1], -1)).chunk(2, -1)
        return -torch.lerp(low, high, share).sum(-1)

    def mean(self, log_probs: Float[Tensor, "*shape V"]) -> Float[Tensor, "*shape"]:
        """The expected value `sum_k p_k b_k`, of the bins `self.bins`.

        Bins reach to 5e8, so a sum from left to right of terms that cancel leaves a rounding error
        of 0.1 and more. The bins are their own mirror image, `b_k = -b_{V-1-k}`, so each is taken
        together with its mirror first, `(p_{V-1-k} - p_k) b_{V-1-k}` for k < V // 2, and these are
        summed: equal probabilities, as a head whose last layer starts at zero gives, predict
        exactly 0. An odd number of bins has a 0 in the middle, which adds nothing.
        """
        half = len(self.bins) // 2
        probs = log_probs.exp()
        surplus = probs[..., -half:] - probs[..., :half].flip(-1)  # of each bin over its mirror
        return surplus @ self.bins[-half:]
