"""How the layers of Dreamer and DreamerV2 start: as Keras starts them."""

from __future__ import annotations

from torch import nn


def glorot(module: nn.Module) -> None:
    """Weights of all linear and convolutional layers uniform with variance 2 / (inputs + outputs)
    (Glorot and Bengio 2010), biases zero; in place. torch's own start has a variance of 1 / (3
    inputs): behind a few layers, hardly anything is left of a small input."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
