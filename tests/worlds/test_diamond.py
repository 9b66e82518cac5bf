"""DIAMOND: against the official numbers, and by what must hold of any world."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from torch import nn

from tests.conformance import RULES, Case
from tests.official import close, official
from utils.worlds.diamond import (
    DIAMOND,
    Config,
    Denoiser,
    contexts,
    euler,
    heun,
    noise_levels,
    precondition,
    quantise,
    truncate,
)
from utils.worlds.diamond_net import Attention, Net

torch.set_num_threads(1)
TINY = Config(context=3, depths=(1,), channels=(4,), features=12, group=2, steps=2, moving=3.0)
DEEP = Config(context=2, depths=(1, 1), channels=(4, 6), features=8, group=2)


def made(space, config):
    def make():
        torch.manual_seed(3)
        world = DIAMOND(space, Discrete(3), config)
        with torch.no_grad():  # layers that start at zero would hide what goes into them
            for parameter in world.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return world

    return make


def parallel(world, data):
    return world.filter(data)


CASES = {
    "cells": Case(made(MultiBinary((10, 10, 4)), TINY), parallel=parallel),
    "pixels": Case(made(Box(0, 255, (16, 16, 3), np.uint8), DEEP), parallel=parallel),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)
