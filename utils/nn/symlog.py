"""Symmetric logarithm: numbers of any size are squashed and keep their sign (DreamerV3)."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def symlog(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`sign(x) log(1 + |x|)`, element by element: about x near 0, a logarithm far from it.

    Unlike a logarithm it takes negative numbers and zero. The inverse is `symexp`.
    """
    return x.sign() * x.abs().log1p()


def symexp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`sign(x) (exp(|x|) - 1)`, element by element: the inverse of `symlog`."""
    return x.sign() * x.abs().expm1()
