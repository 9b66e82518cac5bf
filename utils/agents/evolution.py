"""C of World Models: a linear controller, evolved by CMA-ES in a dream (lesson 2.1).

A whole population acts as one batch: P individuals, each with R roll-outs, are P * R rows, and row
p * R + r belongs to individual p. CMA-ES is that of the library `cma` (Hansen), by ask and tell.

Shape key: P individuals, N parameters of each, R roll-outs of each, F features, A actions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from utils.world import Dream, State, World

Score = Callable[[Tensor], Tensor]  # parameters [P, N] -> how good each is [P]
Act = Callable[[Tensor, State], Tensor]  # (parameters [P, N], state of P R rows) -> [P R, A]


def controller_size(features: int, actions: int) -> int:
    """N of a linear controller: 867 for the article's CarRacing, with 288 features, 3 actions."""
    return (features + 1) * actions


def linear_controller(
    parameters: Float[Tensor, "P N"], features: Float[Tensor, "P R F"], actions: int
) -> Float[Tensor, "P R A"]:
    """W x + b, with the W and b of each individual.

    Of its N = (F + 1) A parameters the first A are b, and the rest is W, the A weights of feature 0
    first. carracing/model.py, `set_model_params`.
    """
    bias, weight = parameters[:, :actions], parameters[:, actions:]
    return features @ weight.unflatten(-1, (-1, actions)) + bias[:, None]


def dream_scores(dream: Dream, parameters: Float[Tensor, "P N"], act: Act) -> Float[Tensor, " P"]:
    """What each individual earns on average in a dream of P * R rows, all at once.

    The dream starts over, then every row runs for `dream.limit` steps or until it terminates for
    the first time; what it earns after that does not count (the dream itself goes on from another
    start). `act(parameters, state)` gives the actions [P R, A] of all rows.
    """
    dream.reset()
    total = torch.zeros(dream.batch, device=dream.device)
    alive = torch.ones_like(total, dtype=torch.bool)
    for _ in range(dream.limit):
        outcome = dream.step(act(parameters, dream.state))
        total += outcome.reward * alive
        alive &= ~outcome.terminated
        if not alive.any():
            break
    return total.unflatten(0, (len(parameters), -1)).mean(-1)


@torch.no_grad()
def real_scores(
    env, world: World, parameters: Float[Tensor, "P N"], act: Act, limit: int
) -> Float[Tensor, " P"]:
    """The same in the real environment: `env` gives P * R rows by `reset()` and `step(action)`,
    and the world filters them, with the environment's generator."""
    row = env.reset()
    state = world.initial(len(row.reward))
    total = torch.zeros_like(row.reward)
    alive = torch.ones_like(row.first)
    for _ in range(limit):
        state = world.observe(state, row, generator=env.generator)
        row = env.step(act(parameters, state))
        total += row.reward * alive
        alive &= ~row.terminated
        if not alive.any():
            break
    return total.unflatten(0, (len(parameters), -1)).mean(-1)


def generation(strategy, score: Score) -> tuple[Float[Tensor, "P N"], Float[Tensor, " P"]]:
    """One generation of CMA-ES: ask for a population, score it at once, tell.

    `strategy.ask()` gives a list of P vectors (numpy); `score` takes all of them as one tensor
    [P, N] and returns [P], more is better; `strategy.tell(vectors, costs)` takes the same vectors,
    and a list of floats that it *minimises*. Returns parameters and scores.
    """
    vectors = strategy.ask()
    parameters = torch.as_tensor(np.stack(vectors), dtype=torch.float32)
    scores = score(parameters)
    strategy.tell(vectors, (-scores).tolist())
    return parameters, scores
