"""TransDreamer by what must hold of any world, and by what its attention may see."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case, filtered, random_steps
from tests.official import close
from utils.world import Step
from utils.worlds.transdreamer import Config, TransDreamer

torch.set_num_threads(1)
TINY = Config(
    **{"width": 12, "blocks": 2, "heads": 2, "context": 12, "hidden": 10, "stoch": 3},
    **{"classes": 4, "units": 10, "layers": 2, "depth": 2},
)
LINE, TWO = Box(-4.8, 4.8, (4,), np.float32), Discrete(2)


def made(space=LINE, action=TWO, config=TINY):
    torch.manual_seed(3)
    return TransDreamer(space, action, config)


def parallel(world, data):
    return world.filter(data, mode=True)[0]


CASES = {
    "vectors": Case(made, parallel=parallel),
    "continuous": Case(lambda: made(action=Box(-2, 2, (3,))), parallel=parallel),
    "cells": Case(lambda: made(MultiBinary((10, 10, 4)), Discrete(3)), parallel=parallel),
    "pixels": Case(
        lambda: made(Box(0, 255, (64, 64, 3), np.uint8)), parallel=parallel, tolerance=1e-4
    ),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


def moved(part, world, steps, row):
    """Which rows of `deter` and `stoch` change when one row of the data does."""
    value = getattr(steps, part).clone()
    value[:, row] = value[:, row].flip(-1) + (part == "observation")
    other = world.filter(steps._replace(**{part: value}), mode=True)[0]
    plain = world.filter(steps, mode=True)[0]
    differs = {k: (plain[k] != other[k]).flatten(2).any(2).any(0) for k in ("deter", "stoch")}
    return {k: v.nonzero().flatten().tolist() for k, v in differs.items()}


def test_the_posterior_is_myopic_and_the_memory_is_late_by_one():
    world, steps = made(), random_steps(made().spec, time=6)
    steps = steps._replace(first=torch.zeros_like(steps.first))
    torch.nn.init.normal_(world.rssm.posterior[-1].weight)  # so that a mode can change
    found = moved("observation", world, steps, 2)
    assert found["stoch"] == [2]
    assert found["deter"] == [3, 4, 5]
    assert moved("action", world, steps, 2) == {"stoch": [], "deter": [2, 3, 4, 5]}


def test_attention_stops_at_the_episode_border():
    world, steps = made(), random_steps(made().spec, time=6)
    steps = steps._replace(first=torch.tensor([0, 0, 0, 1, 0, 0]).bool().expand(3, 6))
    torch.nn.init.normal_(world.rssm.posterior[-1].weight)
    assert moved("observation", world, steps, 0)["deter"] == [1, 2]
    assert moved("observation", world, steps, 3)["deter"] == [4, 5]


def test_a_full_context_forgets_its_oldest_token():
    config = replace(TINY, context=3)
    world, steps = made(config=config), random_steps(made().spec, time=8)
    steps = steps._replace(first=torch.zeros_like(steps.first))
    whole = filtered(world, steps)
    late = filtered(world, Step(*(v[:, 4:] for v in steps)))
    assert whole["length"][:, -1].tolist() == [3, 3, 3]
    # The newest three tokens are those of rows 5 to 7; row 4 gave row 5's token its z.
    close(whole["deter"][:, -1], late["deter"][:, -1])
    with pytest.raises(ValueError, match="does not fit"):
        world.filter(steps)


def test_features_are_the_latent_and_all_layers():
    world, steps = made(), random_steps(made().spec)
    states, _ = world.filter(steps, mode=True)
    assert world.features(states).shape[-1] == world.size == 2 * 12 + 12
    (weight, _), seen = (world.rssm.prior[0].weight, world.rssm.prior[0].bias), states["deter"]
    assert weight.shape[1] == seen.shape[-1]
    close(world.features(states)[..., :24], states["deter"])
