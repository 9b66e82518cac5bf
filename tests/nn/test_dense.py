"""Dense layers, and their start as Keras has it."""

import pytest
import torch
from torch import nn

from utils.nn.dense import dense, glorot


def test_hidden_layers_have_elu_and_the_last_has_none():
    net = dense(5, 7, 2, 3)
    kinds = [type(layer).__name__ for layer in net]
    assert kinds == ["Linear", "ELU", "Linear", "ELU", "Linear"]
    assert net(torch.zeros(2, 5)).shape == (2, 3)
    assert [type(layer).__name__ for layer in dense(5, 7, 0, 3)] == ["Linear"]


def test_weights_start_as_keras_starts_them():
    torch.manual_seed(0)
    net = nn.Sequential(dense(200, 300, 1, 100), nn.Conv2d(16, 32, 4), nn.GRUCell(4, 8))
    memory = net[2].weight_hh.clone()
    glorot(net)
    for layer, fans in ((net[0][0], 500), (net[0][2], 400), (net[1], 16 * (16 + 32))):
        assert layer.weight.var().item() == pytest.approx(2 / fans, rel=0.05)
        assert layer.weight.abs().max().item() == pytest.approx((6 / fans) ** 0.5, rel=0.01)
        assert layer.bias.abs().max() == 0
    assert torch.equal(net[2].weight_hh, memory)
