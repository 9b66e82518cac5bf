"""What the probes of all lessons are made of: random inputs, and gradients as values.

A probe has one `numpy.random.Generator`, `rng`, and everything random in it comes from there, so
that a check says the same thing each time it is asked with the same seed.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def normal(rng: np.random.Generator, *shape: int) -> Tensor:
    return torch.as_tensor(rng.normal(size=shape), dtype=torch.float32)


def uniform(rng: np.random.Generator, *shape: int) -> Tensor:
    """From 0 to 1."""
    return torch.as_tensor(rng.random(shape), dtype=torch.float32)


def seeded(rng: np.random.Generator) -> torch.Generator:
    """A generator for what draws by itself."""
    return torch.Generator().manual_seed(int(rng.integers(2**31)))


def gradient(y: Tensor, x: Tensor) -> Tensor:
    """Of the sum of y with respect to x; zeros where none arrives."""
    return next(iter(gradients(y, x=[x]).values())).view_as(x)


def gradients(y: Tensor, **groups: list[Tensor] | tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The gradient of the sum of y at each group of leaves, flat; zeros where none arrives.

    The names are those of the groups, "gradient at the NAME".
    """
    leaves = [leaf for group in groups.values() for leaf in group]
    back: list[Tensor | None] = [None] * len(leaves)
    if y.requires_grad:
        back = list(torch.autograd.grad(y.sum(), leaves, retain_graph=True, allow_unused=True))
    pairs = zip(leaves, back, strict=True)
    flat = iter([(torch.zeros_like(v) if g is None else g).flatten() for v, g in pairs])
    return {
        f"gradient at the {name.replace('_', ' ')}": torch.cat([next(flat) for _ in group])
        for name, group in groups.items()
    }
