"""Planning by trying everything in a dream, with a reward that is read off the observations.

A world that shows what comes next can be asked about tasks that it was not trained on: all that is
needed is a function from what is seen to what it pays. A world without pictures, such as MuZero's,
cannot be asked.

Shape key: B states, A actions, H horizon, N = B A^H dreams.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from utils.world import State, World, repeat

Pays = Callable[[Float[Tensor, "N ..."]], Float[Tensor, " N"]]  # what an observation pays


def replan(world: World, state: State, pays: Pays, horizon: int) -> Int[Tensor, " B"]:
    """The first action of the sequence of `horizon` actions that pays most in the world's dream.

    All A^H sequences are dreamt from each of the B states, with `world.imagine` in mode. A step
    pays `pays(world.decode(arrived))`, of the state that the action leads to. Where the world says
    how likely it is that the episode goes on (`cont`, else None), what comes later is weighted by
    the product of the `cont` before it; a step's own reward is not weighted by its own `cont`. Of
    equally good sequences the first in order counts: action 0 before 1, the first step before the
    second.
    """
    actions, batch = world.spec.action_size, len(next(iter(state.values())))
    plans = torch.cartesian_prod(*[torch.arange(actions)] * horizon).view(-1, horizon)
    state = repeat(state, len(plans))
    total, alive = torch.zeros(batch * len(plans)), torch.ones(batch * len(plans))
    for step in range(horizon):
        action = one_hot(plans[:, step], actions).float().repeat(batch, 1)
        dreamt = world.imagine(state, action, mode=True)
        state = dreamt.state
        total = total + alive * pays(world.decode(state))
        if dreamt.cont is not None:
            alive = alive * dreamt.cont
    best = total.view(batch, -1).argmax(-1)
    return plans[best, 0]
