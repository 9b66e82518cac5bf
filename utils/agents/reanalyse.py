"""Targets that fit the present policy, from experience that does not (EfficientZero, section 4.3).

Rewards in the memory are those of the player who acted then, and the older they are, the less they
say about the player of today. So old rows bootstrap after fewer steps, from a value that is found
anew: *reanalyse* (Schrittwieser et al. 2020 and 2021) searches again from stored observations with
the newest network, as one batched job over the memory.

Shape key: N recordings side by side, R rows of each, B windows, T rows of a window.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from utils.agents.mcts import Decision
from utils.worlds.muzero import Played, n_step_targets


def bootstrap_steps(age: Int[Tensor, " B"], longest: int, every: int) -> Int[Tensor, " B"]:
    """After how many steps the target of a row bootstraps: `longest`, and one less for each `every`
    steps of its age (whole ones), but never less than 1. Section 4.3 and A.4."""
    return (longest - age // every).clamp(1, longest)


def corrected_targets(
    rows: Played, steps: Int[Tensor, " B"], longest: int, discount: float
) -> Float[Tensor, "B T-longest"]:
    """n-step targets as of `n_step_targets`, with n = `steps`, between 1 and `longest`, for each
    window: what the value head should say at rows 0 to T - longest - 1."""
    length = rows.reward.shape[1] - longest
    each = [n_step_targets(rows, n, discount)[:, :length] for n in range(1, longest + 1)]
    return torch.stack(each)[steps - 1, torch.arange(len(steps), device=steps.device)]


def reanalyse(
    memory: Played, think: Callable[[Float[Tensor, "B ..."]], Decision], batch: int
) -> None:
    """Search again from every row of `memory` [N, R, ...], and write down what is found, in place.

    `think` maps observations [B, ...] to a decision; it is asked for `batch` rows at a time, or for
    the fewer that are left. `policy` and `value` (that of the root) are replaced, all else stays.
    """
    observation = memory.observation.flatten(0, 1)
    with torch.no_grad():
        found = [think(part) for part in observation.split(batch)]
    shape = memory.value.shape
    policy = torch.cat([decision.policy for decision in found])
    value = torch.cat([decision.tree.value[:, 0] for decision in found])
    memory.policy.copy_(policy.unflatten(0, shape))
    memory.value.copy_(value.unflatten(0, shape))
