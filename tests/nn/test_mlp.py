"""Layers against danijar/dreamerv3 at e3f0224 (embodied/jax/nets.py) and their definitions."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.official import close, official
from utils.nn.mlp import Activate, BlockLinear, FastActivate, Linear, RMSNorm, gathered, mlp

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


def test_the_fast_activation_is_norm_and_silu_in_values_and_gradients():
    generator = torch.Generator().manual_seed(0)
    layer = Activate(6).double()
    layer.norm.weight.data = torch.randn(6, generator=generator, dtype=torch.float64)
    x = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    x[0, 0] = 0  # only eps keeps this row from dividing by zero
    x[0, 1] *= 1e3
    x.requires_grad_()
    upstream = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    found = []
    for y in (layer(x), F.silu(layer.norm(x))):
        found.append([y, *torch.autograd.grad((upstream * y).sum(), (x, layer.norm.weight))])
    for fast, plain in zip(*found, strict=True):
        assert torch.allclose(fast, plain, rtol=1e-10, atol=1e-12)
    fast = FastActivate.apply
    assert torch.autograd.gradcheck(lambda x, w: fast(x, w, 1e-4), (x, layer.norm.weight))
    before = x.detach().clone()
    with torch.no_grad():
        layer(x)
    assert torch.equal(before, x)


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


def test_gathered_layers_give_the_gradients_of_a_plain_loop():
    torch.manual_seed(0)
    net = nn.Sequential(Linear(4, 6), Activate(6), Linear(6, 4, bias=False)).double()
    x = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)

    def loop():
        state, total = x, 0
        for _ in range(5):
            state = x + net(state).tanh()
            total = total + state.square().sum()
        return total

    plain = torch.autograd.grad(loop(), [x, *net.parameters()])
    with gathered(net):
        total = loop()
    assert all(layer.tape is None for layer in net if isinstance(layer, Linear))
    for _ in range(2):  # a second way back does not count the first one's rows again
        again = torch.autograd.grad(total, [x, *net.parameters()], retain_graph=True)
        for ours, theirs in zip(again, plain, strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-12)
    with torch.no_grad(), gathered(net):
        assert torch.equal(loop(), total)
    with pytest.raises(RuntimeError), gathered(net):
        net(torch.zeros(3, 5))
    assert net[0].tape is None


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
