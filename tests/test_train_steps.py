"""One train step of every world without values: on the "meta" device there are shapes only.

A step that asks for a value (`.item()`, an `if` on a tensor, a loop over one), or that mixes
devices, fails there; it would wait for the GPU in training. Where there is a GPU, the same steps
run on it with synchronisation made an error.
"""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from utils.agents import actor_critic
from utils.nn.laprop import LaProp
from utils.world import Step
from utils.worlds import dreamer_v3
from utils.worlds.vmc import VMC, CellVAE, ConvVAE, Direct, VMCConfig

PIXELS, CELLS, LINE = (
    Box(0, 255, (64, 64, 3), np.uint8),
    Box(0, 1, (10, 10, 4), np.bool_),
    Box(-1, 1, (5,), np.float32),
)
DEVICES = [
    "meta",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")),
]


def windows(space, actions, device, batch=3, time=4):
    """Rows of a batch with these spaces, all zero."""
    rows = {"device": device, "dtype": torch.float32}
    return Step(
        torch.zeros(
            batch, time, *space.shape, device=device, dtype=torch.as_tensor(space.sample()).dtype
        ),
        torch.zeros(batch, time, actions, **rows),
        torch.zeros(batch, time, **rows),
        torch.zeros(batch, time, device=device, dtype=torch.bool),
        torch.zeros(batch, time, device=device, dtype=torch.bool),
    )


def vmc(vision, space, config):
    """V's loss and M's."""

    def make():
        world = VMC(vision(), Discrete(3), config)

        def losses():
            batch = windows(space, 3, next(world.parameters()).device)
            if hasattr(world.vision, "loss"):
                yield world.vision.loss(batch.observation[:, 0])[0]
            yield world.loss(batch)[0]

        return world, losses, torch.optim.Adam

    return make


def dreamer(space, actions):
    """World, actor and critic of DreamerV3 at once."""
    sizes = {"deter": 16, "hidden": 8, "stoch": 2, "classes": 4, "blocks": 4, "bins": 21}

    def make():
        config = dreamer_v3.Config(**sizes, units=8, depth=2)
        world = dreamer_v3.DreamerV3(space, actions, config)
        config = actor_critic.Config(units=8, layers=2, bins=21, horizon=3)
        behaviour = actor_critic.ActorCritic(world.size, actions, config)

        def losses():
            batch = windows(space, world.spec.action_size, next(world.parameters()).device)
            states, posterior = world.filter(batch)
            model, _ = world.objective(batch, states, posterior)
            yield model + behaviour.loss(world, states, batch)[0]

        return torch.nn.ModuleList([world, behaviour]), losses, LaProp

    return make


SMALL = VMCConfig(hidden=12, mixtures=3, width=8)
CASES = {
    "vmc of pixels": vmc(
        lambda: ConvVAE(4, 2), PIXELS, VMCConfig(12, 3, 8, reward=False, cont=False)
    ),
    "vmc of cells": vmc(lambda: CellVAE(CELLS, 4, 8), CELLS, SMALL),
    "vmc of vectors": vmc(lambda: Direct(LINE), LINE, SMALL),
    "dreamer of pixels": dreamer(PIXELS, Discrete(3)),
    "dreamer of cells": dreamer(MultiBinary((10, 10, 4)), Discrete(3)),
    "dreamer of vectors": dreamer(LINE, Box(-1, 1, (2,))),
}


@contextmanager
def watched(device):
    """On a GPU, waiting for it is an error."""
    if device == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        if device == "cuda":
            torch.cuda.set_sync_debug_mode("default")


def train_step(make, device):
    modules, losses, kind = make()
    modules.to(device)  # a copy, which may wait
    optimiser = kind([p for p in modules.parameters() if p.requires_grad], 1e-3)
    with watched(device):
        for loss in losses():
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_value_(modules.parameters(), 1.0)
            optimiser.step()
    return loss


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
def test_a_train_step_never_asks_for_a_value(name, device):
    loss = train_step(CASES[name], device)
    assert loss.device.type == device
    assert loss.shape == ()


def test_a_step_that_asks_is_found():
    class Asks(VMC):
        def loss(self, batch, generator=None):
            loss, metrics, starts = super().loss(batch, generator)
            return loss if loss > 0 else -loss, metrics, starts

    def make():
        world = Asks(Direct(LINE), Discrete(3), SMALL)
        return world, lambda: iter([world.loss(windows(LINE, 3, "meta"))[0]]), torch.optim.Adam

    with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
        train_step(make, "meta")
