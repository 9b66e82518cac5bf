"""The thresholded entropy of TWM: a floor under the entropy, and no pull above it (lesson 4.2).

Shape key: K classes.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def missing_entropy(
    logits: Float[Tensor, "*shape K"],
    threshold: float,
    weight: Float[Tensor, "*shape"] | None = None,
) -> Float[Tensor, ""]:
    """How much entropy is missing to `threshold`, a share of the largest possible; 0 if none is.

        max(0, threshold - mean of H / ln K),        H = -sum_k p_k ln p_k,  p = softmax(logits)

    The mean is over all distributions, each first multiplied by its `weight` (1 if none is given):
    one may be certain as long as others are not. As a loss it has no gradient above the threshold.
    Robine et al. 2023, "Transformer-based World Models Are Happy With 100k Interactions", sections
    2.1 and 2.2.
    """
    log_probs = logits.log_softmax(-1)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    if weight is not None:
        entropy = weight * entropy
    return (threshold - entropy.mean() / math.log(logits.shape[-1])).clamp(min=0.0)
