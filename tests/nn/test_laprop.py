"""LaProp with clipping against danijar/dreamerv3 at e3f0224 (dreamerv3/agent.py `_make_opt`,
embodied/jax/opt.py) and its definition."""

import pytest
import torch

from tests.official import close, official
from utils.nn.laprop import LaProp, clipped

torch.set_num_threads(1)


def test_five_steps_are_the_official_ones():
    given, expected = official("dreamerv3_laprop_agc")
    names = [key.removeprefix("param:") for key in given if key.startswith("param:")]
    params = [torch.nn.Parameter(given[f"param:{name}"].clone()) for name in names]
    optimiser = LaProp(params, lr=0.01, warmup=0)
    for step in range(1, 6):
        for name, param in zip(names, params, strict=True):
            param.grad = given[f"grad{step}:{name}"].clone()
        optimiser.step()
        for name, param in zip(names, params, strict=True):
            close(param.detach(), expected[f"step{step}:{name}"], rtol=1e-5, atol=1e-7)


def test_clipping_bounds_the_whole_tensor():
    param = torch.nn.Parameter(torch.full((3, 4), 2.0))
    for size, kept in ((0.001, 1.0), (1000.0, 0.3)):
        param.grad = size * torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
        (new,) = clipped([param], 0.3, 1e-3)
        ratio = new.norm() / (param.grad if kept == 1 else param.detach()).norm()
        assert ratio.item() == pytest.approx(kept, rel=1e-5)
        assert torch.allclose(new / new.norm(), param.grad / param.grad.norm())
    param.data.zero_()  # a tensor that starts at zero can still move
    assert clipped([param], 0.3, 1e-3)[0].norm().item() == pytest.approx(0.3e-3, rel=1e-5)


def test_the_rate_climbs_from_zero():
    param = torch.nn.Parameter(torch.ones(1))
    optimiser = LaProp([param], lr=0.1, warmup=4, clip=1e9)
    moved = []
    for _ in range(6):
        before, param.grad = param.item(), torch.ones(1)
        optimiser.step()
        moved.append(before - param.item())
    # A constant gradient is divided by its own size: each step is the rate.
    assert moved == pytest.approx([0, 0.025, 0.05, 0.075, 0.1, 0.1], abs=1e-6)


def test_a_stored_optimiser_goes_on_bit_for_bit():
    def run(steps, state=None):
        torch.manual_seed(0)
        net = torch.nn.Linear(3, 2)
        optimiser = LaProp(net.parameters(), lr=0.01, warmup=2)
        if state:
            net.load_state_dict(state[0])
            optimiser.load_state_dict(state[1])
        for step in steps:
            net.zero_grad()
            net(torch.full((1, 3), step + 1.0)).square().sum().backward()
            optimiser.step()
        return net.state_dict(), optimiser.state_dict()

    whole, again = run(range(6))[0], run(range(3, 6), run(range(3)))[0]
    assert all(torch.equal(whole[k], again[k]) for k in whole)


def test_making_one_changes_no_class():
    before = LaProp.__dict__["step"]
    LaProp([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    assert LaProp.__dict__["step"] is before
