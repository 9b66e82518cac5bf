"""Planning by the cross-entropy method (Rubinstein 1999) in the dream of a world, as PlaNet does.

Sequences of actions are drawn from a Gaussian, dreamt, and the best of them say where the next ones
are drawn. Nothing is learned and no gradient is taken. google-research/planet at `c04226b`,
`planet/control/planning.py`.

Shape key: B states to plan from (environments), J candidates for each, H horizon, A actions, I
iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from utils.nn.random import normal
from utils.world import State, World, repeat, rollout, rows


def candidate_returns(
    world: World,
    state: State,
    actions: Float[Tensor, "B J H A"],
    generator: torch.Generator | None = None,
) -> Float[Tensor, "B J"]:
    """The rewards that the world expects along each candidate, summed over its H steps.

    Candidate j of row b is dreamt from row b of `state` [B, ...]; all B J dreams run side by side
    in one `rollout`. Latents are sampled, from `generator`.
    """
    B, J, H, _ = actions.shape
    starts = repeat(state, J)  # every row J times in place: b, b, ..., then the next one
    dreamt = rollout(
        world, starts, actions.flatten(0, 1), H, generator=generator, read=lambda state: None
    )
    return dreamt.reward.sum(1).view(B, J)


def refit(
    actions: Float[Tensor, "B J H A"], returns: Float[Tensor, "B J"], elites: int
) -> tuple[Float[Tensor, "B H A"], Float[Tensor, "B H A"]]:
    """Mean and standard deviation of the best candidates, the elites, of each row.

    The `elites` candidates with the largest returns count, all alike. Step and action dimension
    have a mean of their own, and a standard deviation sqrt(variance + 1e-6), where the variance is
    the mean squared distance from the mean (divided by the number of elites, not by one less).
    """
    index = returns.topk(elites, dim=1).indices  # [B, elites]
    best = actions.gather(1, index[..., None, None].expand(-1, -1, *actions.shape[2:]))
    mean = best.mean(1)
    variance = (best - mean[:, None]).square().mean(1)
    return mean, (variance + 1e-6).sqrt()


def cem(
    score: Callable[[Float[Tensor, "B J H A"]], Float[Tensor, "B J"]],
    noise: Float[Tensor, "I B J H A"],
    elites: int,
) -> Float[Tensor, "B H A"]:
    """A plan for each of B rows: the cross-entropy method with actions in [-1, 1].

    Starts from mean 0 and standard deviation 1 for every step and action. Each of I iterations
    draws J candidates, `mean + std * noise[i]`, clips them to [-1, 1], scores the clipped ones and
    refits mean and std to the elites among them (`refit`). The plan is the last mean, not the best
    candidate.
    """
    _, B, _, H, A = noise.shape
    mean, std = noise.new_zeros(B, H, A), noise.new_ones(B, H, A)
    for draw in noise:
        actions = (mean[:, None] + std[:, None] * draw).clamp(-1.0, 1.0)
        mean, std = refit(actions, score(actions), elites)
    return mean


@dataclass(frozen=True)
class Planner:
    """A policy that plans anew at every step, and takes the first action of the plan.

    The defaults are the official ones. `action_noise` is the standard deviation of what is added to
    the action (clipped to [-1, 1] afterwards): 0.3 to collect data, 0 to be tested.
    """

    world: World
    candidates: int = 1000
    elites: int = 100
    iterations: int = 10
    horizon: int = 12
    action_noise: float = 0.0
    search: Callable = cem
    returns: Callable = candidate_returns

    @torch.no_grad()
    def __call__(
        self, state: State, generator: torch.Generator | None = None
    ) -> Float[Tensor, "B A"]:
        shape = (self.iterations, rows(state), self.candidates, self.horizon)
        like = next(iter(state.values()))
        zeros = torch.zeros(*shape, self.world.spec.action_size, device=like.device)
        noise = normal(zeros, 1.0, generator)
        plan = self.search(
            lambda actions: self.returns(self.world, state, actions, generator), noise, self.elites
        )
        return normal(plan[:, 0], self.action_noise, generator).clamp(-1.0, 1.0)
