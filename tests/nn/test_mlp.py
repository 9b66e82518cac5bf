"""Layers against danijar/dreamerv3 at e3f0224 (embodied/jax/nets.py) and their definitions."""

import pytest
import torch

from tests.official import close, official
from utils.nn.mlp import BlockLinear, Linear, RMSNorm, mlp

torch.set_num_threads(1)


def test_rms_norm_is_the_official_one():
    given, expected = official("dreamerv3_norms")
    norm = RMSNorm(16)
    norm.weight.data = given["scale"]
    x = given["x"].requires_grad_()
    y = norm(x)
    close(y, expected["y"], atol=1e-5)
    (given["w"] * y).sum().backward()
    close(x.grad, expected["dx"], atol=1e-5)
    close(norm.weight.grad, expected["dscale"], atol=1e-5)


def test_rms_norm_is_plain_autograd_to_float64():
    generator = torch.Generator().manual_seed(0)
    norm = RMSNorm(6).double()
    norm.weight.data = torch.randn(6, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(
        lambda x, w: torch.func.functional_call(norm, {"weight": w}, x), (x, norm.weight)
    )
    plain = x / (x.square().mean(-1, keepdim=True) + 1e-4).sqrt() * norm.weight
    assert torch.allclose(norm(x), plain)


def test_linear_starts_with_the_variance_of_its_fan_in():
    torch.manual_seed(0)
    layer = Linear(400, 300)
    assert layer.weight.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert layer.weight.abs().max() <= 2 * 1.1368 * 400**-0.5
    assert layer.bias.abs().max() == 0
    assert Linear(400, 300, scale=0.0).weight.abs().max() == 0
    assert Linear(4, 300, fan_in=400).weight.std().item() == pytest.approx(0.05, rel=0.1)
    # Official quirk: all inputs count, although a unit of a block sees an eighth of them.
    assert BlockLinear(400, 800, 8).weight.std().item() == pytest.approx(400**-0.5, rel=0.03)


def test_block_linear_is_a_block_diagonal_matrix():
    torch.manual_seed(0)
    layer = BlockLinear(6, 4, 2)
    layer.bias.data = torch.randn(4)
    full = torch.block_diag(*layer.weight)
    x = torch.randn(5, 6)
    close(layer(x), x @ full + layer.bias)
    with pytest.raises(ValueError, match="equal blocks"):
        BlockLinear(6, 5, 2)


def test_mlp_has_the_layers_asked_for():
    torch.manual_seed(0)
    net = mlp(7, 16, 3, 2, scale=0.0)
    assert sum(isinstance(layer, Linear) for layer in net) == 4
    assert net(torch.randn(5, 7)).abs().max() == 0
    hidden = mlp(7, 16, 1)(torch.randn(2, 5, 7))
    assert hidden.shape == (2, 5, 16)
