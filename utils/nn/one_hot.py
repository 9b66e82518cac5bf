"""One-hot categorical variables: mixed with uniform, drawn from given noise, straight through.

One uniform number decides one draw, by the inverse of the cumulative probability: the fewest random
numbers that can do it, and exercises can be compared.

Shape key: K classes.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def unimix(logits: Float[Tensor, "*shape K"], share: float) -> Float[Tensor, "*shape K"]:
    """Probabilities `(1 - share) softmax(logits) + share / K`.

    No class is ever impossible, so no KL divergence between two of them exceeds `log(K / share)`
    and no gradient dies for good. DreamerV3, section "Robust predictions": share = 0.01.
    """
    return (1 - share) * logits.softmax(-1) + share / logits.shape[-1]


def draw(
    probability: Float[Tensor, "*shape K"], noise: Float[Tensor, "*shape"]
) -> Int[Tensor, "*shape"]:
    """The class in which `noise`, uniform in [0, 1), falls when classes lie side by side.

    That is the first class whose cumulative probability exceeds the noise. Probabilities need not
    sum to one; a class of probability 0 is never drawn.
    """
    reached = probability.detach().cumsum(-1)
    return (reached <= noise[..., None] * reached[..., -1:]).sum(-1)


def straight_through(
    probability: Float[Tensor, "*shape K"], index: Int[Tensor, "*shape"]
) -> Float[Tensor, "*shape K"]:
    """One-hot at `index`, with the gradient of the probabilities (Bengio et al. 2013).

    Forward the value is `one_hot(index)`; backward it is as if it had been `probability`.
    """
    hot = torch.zeros_like(probability).scatter_(-1, index[..., None], 1.0)
    if not probability.requires_grad:
        return hot
    return hot + (probability - probability.detach())
