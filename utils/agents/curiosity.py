"""Curiosity as the surprise of a world model (lesson 1.2).

Schmidhuber's controllers of 1990 were rewarded where M predicted badly; those of 1991 where M
*improved* ("Curious model-building control systems", IJCNN 1991), because noise surprises for ever.

Shape key: B batch, T time, O observation.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from utils.world import Step


def surprise(world, data: Step) -> Float[Tensor, "B T"]:
    """How wrong a world's prediction of each row was: the mean over O of (predicted - seen)^2.

    The world sees the rows of `data` [B, T, ...] one after the other. Row t is predicted from the
    state after row t - 1 by `world.imagine(state, action)` with the action that led to row t, read
    with `world.decode`; then `world.observe(state, step)` takes in what was really seen. Rows with
    `first` were never predicted: 0, and so is row 0. Schmidhuber (1990, 1991).
    """
    rows = [Step(*(v[:, t] for v in data)) for t in range(data.reward.shape[1])]
    state = world.observe(world.initial(len(data.reward)), rows[0])
    errors = [torch.zeros_like(data.reward[:, 0])]
    for step in rows[1:]:
        predicted = world.decode(world.imagine(state, step.action).state)
        error = (predicted - step.observation).square().mean(1)
        errors.append(error.masked_fill(step.first, 0.0))
        state = world.observe(state, step)
    return torch.stack(errors, 1)
