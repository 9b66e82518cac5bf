"""The fast network of DIAMOND gives what the clear one gives."""

import copy

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from tests.official import close
from utils.worlds.diamond import DIAMOND, Config
from utils.worlds.diamond_fast import fast

torch.set_num_threads(1)
CONFIGS = {
    "u-net": Config(depths=(1, 2), channels=(32, 64), features=16),
    "unlike widths": Config(depths=(1, 1), channels=(16, 48), features=16),
    "one group": Config(depths=(1, 1), channels=(8, 8), features=16),
    "stack": Config(depths=(2,), channels=(12,), features=16, group=4),
}


def made(config, side=16):
    torch.manual_seed(0)
    space = Box(0, 255, (side, side, 3), np.uint8)
    world = DIAMOND(space, Discrete(3), config)
    with torch.no_grad():  # layers that start at zero would hide what goes into them
        for parameter in world.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return world


def inputs(batch, side=16):
    frames = 2 * torch.rand(batch, 4, 3, side, side) - 1
    return (
        torch.randn(batch, 3, side, side),
        torch.randn(batch),
        frames,
        torch.randint(4, (batch, 4)),
    )


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_network_is_the_same_and_leaves_its_arguments_alone(config, batch):
    world = made(config)
    given = inputs(batch)
    kept = copy.deepcopy(given)
    with torch.no_grad():
        want = world.denoiser.net(*given)
    quick = fast(world)
    close(quick.denoiser.net(*given), want, rtol=1e-4, atol=1e-5)
    close(quick.denoiser.net(*given), want, rtol=1e-4, atol=1e-5)  # nothing was used up
    assert want.std() > 0.1
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


def test_the_world_itself_stays_as_it_was():
    world = made(CONFIGS["u-net"])
    before = copy.deepcopy(world.state_dict())
    fast(world)
    assert all(torch.equal(value, before[name]) for name, value in world.state_dict().items())


def test_dreams_are_the_same():
    world = made(CONFIGS["one group"])
    state, action = world.initial(2), torch.eye(3)[:2]
    dreams = []
    for each in (world, fast(world)):
        luck = torch.Generator().manual_seed(1)
        with torch.no_grad():
            dreams.append(each.imagine(state, action, generator=luck).state["frames"])
    away = (dreams[0] - dreams[1]).abs()
    assert away.max() <= 2 / 255 + 1e-5  # a tie may be rounded to the next level
    assert (away < 1e-4).double().mean() > 0.99


def test_a_compiler_takes_it_as_one_graph():
    net, given = fast(made(CONFIGS["one group"])).denoiser.net, inputs(2)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    close(compiled(*given), net(*given), rtol=1e-4, atol=1e-5)
