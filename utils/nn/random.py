"""Every sample in the course is drawn here, from a generator that the caller gives.

One call draws one block of noise for the whole batch: how much is drawn depends on shapes only,
never on values, and row i of the result depends on row i of the arguments and of the noise alone.
Noise is drawn on the generator's device and moved to the arguments': with a CPU generator a dream
is the same on every device, with a GPU generator nothing leaves the GPU. `generator=None` is
torch's global generator.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def _noise(
    shape: Sequence[int], like: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "*shape"]:
    """Uninitialised memory for noise, where the generator can fill it."""
    device = like.device if generator is None else generator.device
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    return torch.empty(tuple(shape), device=device, dtype=dtype)


def normal(
    mean: Float[Tensor, "*shape"],
    std: Float[Tensor, "*shape"] | float,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Gaussian sample `mean + std * noise`; gradients reach both (reparameterisation).

    `std` broadcasts against `mean`, in the units of the mean (a standard deviation, not a log).
    """
    shape = mean.shape
    if isinstance(std, Tensor) and std.shape != shape:
        shape = torch.broadcast_shapes(shape, std.shape)  # its first call imports sympy, for long
    noise = _noise(shape, mean, generator).normal_(generator=generator)
    return mean + std * noise.to(mean.device)


def uniform(
    shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None
) -> Float[Tensor, "*shape"]:
    """Noise in [0, 1) of a shape, with the device and dtype of `like`: for draws by hand."""
    return _noise(shape, like, generator).uniform_(generator=generator).to(like.device)


def categorical(
    logits: Float[Tensor, "*shape V"], generator: torch.Generator | None = None
) -> Int[Tensor, "*shape"]:
    """Class index with probability `softmax(logits)`; a logit of -inf is never drawn.

    Gumbel's trick in its exponential form: the arg max of `logit - log(e)`, `e ~ Exp(1)`. Unlike
    `torch.multinomial` it takes any leading shape and any logits, normalised or not.
    """
    noise = _noise(logits.shape, logits, generator).exponential_(generator=generator)
    # An exponential that underflows to 0 would turn -inf logits into nan.
    noise = noise.clamp_(min=torch.finfo(noise.dtype).tiny)
    return (logits - noise.log().to(logits.device)).argmax(-1)


def gumbel(
    shape: Sequence[int], like: Tensor, generator: torch.Generator | None = None
) -> Float[Tensor, "*shape"]:
    """Standard Gumbel noise: the arg max of logits plus noise is a draw from their softmax, the k
    largest are k draws without replacement."""
    noise = _noise(shape, like, generator).exponential_(generator=generator)
    return -noise.clamp_(min=torch.finfo(noise.dtype).tiny).log().to(like.device)


def dirichlet(
    concentration: Float[Tensor, "*shape V"], generator: torch.Generator | None = None
) -> Float[Tensor, "*shape V"]:
    """A draw from the Dirichlet distribution: shares that sum to 1. Where the concentration is 0,
    so is the share, and the others are as if it was not there; at least one must be positive.

    Shares are those of gamma variables: Gamma(a) is Gamma(a + 1) times `U^(1/a)`, and Gamma(a + 1)
    is drawn by rejection (Marsaglia and Tsang 2000). Of 8 tries, each good with more than 95 %, the
    first good one is taken, so that how much noise is drawn never depends on luck. In logarithms,
    because with a small `a` most of the gammas are less than the smallest float.
    """
    tries = concentration.expand(8, *concentration.shape)
    tiny = torch.finfo(concentration.dtype).tiny
    x, u = normal(torch.zeros_like(tries), 1.0, generator), uniform(tries.shape, tries, generator)
    d = tries + 2 / 3
    v = (1 + x / (9 * d).sqrt()).pow(3)
    log_v = v.clamp(min=tiny).log()
    good = (v > 0) & (u.log() < x.square() / 2 + d * (1 - v + log_v))
    log_gamma = (d.log() + log_v).gather(0, good.float().argmax(0, keepdim=True)).squeeze(0)
    power = uniform(concentration.shape, concentration, generator).clamp(min=tiny)
    log_gamma = log_gamma + power.log() / concentration
    return log_gamma.masked_fill(concentration == 0, -torch.inf).softmax(-1)


def bernoulli(
    probability: Float[Tensor, "*shape"], generator: torch.Generator | None = None
) -> Bool[Tensor, "*shape"]:
    """True with the given probability: never at 0, always at 1."""
    return uniform(probability.shape, probability, generator) < probability
