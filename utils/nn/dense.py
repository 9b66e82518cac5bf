"""Dense layers of PlaNet, Dreamer and DreamerV2: no normalisation, ELU, and how they start."""

from __future__ import annotations

from itertools import pairwise

from torch import nn


def dense(inputs: int, units: int, layers: int, outputs: int) -> nn.Sequential:
    """`layers` hidden layers with ELU, then a linear map."""
    sizes = (inputs, *[units] * layers)
    hidden = [(nn.Linear(i, o), nn.ELU()) for i, o in pairwise(sizes)]
    return nn.Sequential(*(part for pair in hidden for part in pair), nn.Linear(sizes[-1], outputs))


def glorot(module: nn.Module) -> None:
    """Weights of all linear and convolutional layers uniform with variance 2 / (inputs + outputs)
    (Glorot and Bengio 2010), biases zero; in place: as Keras starts them. torch's own start has a
    variance of 1 / (3 inputs): behind a few layers, hardly anything is left of a small input."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
