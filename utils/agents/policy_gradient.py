"""REINFORCE with a baseline (Williams, 1992): learning from what happened, without a model.

Shape key: B rows (independent tries), T time.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def rewards_to_go(
    reward: Float[Tensor, "B T"], first: Bool[Tensor, "B T"], gamma: float
) -> Float[Tensor, "B T"]:
    """What came after each row until its episode ended, discounted: G_t = R_t+1 + gamma G_t+1.

    In the arrival convention the reward of row t + 1 is what the action taken in row t earned. An
    episode ends before the next row with `first`; nothing follows the last row.
    """
    future, found = torch.zeros_like(reward[:, 0]), [torch.zeros_like(reward[:, 0])]
    for t in range(reward.shape[1] - 1, 0, -1):
        future = (reward[:, t] + gamma * future) * ~first[:, t]
        found.append(future)
    return torch.stack(found[::-1], 1)


def leave_one_out(value: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """Of every row, the mean over the other rows at the same time: a baseline.

        b[i, t] = sum over j != i of value[j, t] / (B - 1)

    It may be anything that does not depend on the row's own action; its own return does.
    """
    return (value.sum(0) - value) / (len(value) - 1)


def reinforce_loss(
    log_prob: Float[Tensor, "B T"],
    value: Float[Tensor, "B T"],
    baseline: Float[Tensor, "B T"],
    acted: Bool[Tensor, "B T"],
) -> Float[Tensor, ""]:
    """A loss whose gradient is REINFORCE's: minus the mean of grad log pi(a) * (G - b).

        loss = - sum over rows that acted of log_prob * (value - baseline) / their number

    `value` and `baseline` are numbers that have happened: no gradient reaches them. Rows where
    `acted` is False do not count. Williams (1992).
    """
    advantage = (value - baseline).detach()
    return -(log_prob * advantage * acted).sum() / acted.sum()
