"""Gumbel MuZero (Danihelka et al., "Policy improvement by planning with Gumbel", ICLR 2022): a
search that improves on its prior with any number of simulations, be it two.

At the root, a few actions are drawn without replacement by the Gumbel-top-k trick, and sequential
halving shares the simulations among them. Below the root, visits follow the improved policy
`softmax(logits + completed Q)`. Both are scores for the search of utils.agents.mcts.

Shape key: B trees, N nodes, A actions, S simulations, M considered actions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from utils.agents.mcts import (
    Decision,
    Model,
    Root,
    Tree,
    legal_actions,
    mask_illegal,
    search,
    simulate,
)

VALUE_SCALE, VISIT_OFFSET = 0.1, 50.0  # c_scale, c_visit in Atari; in Go and chess c_scale is 1


def mixed_value(
    raw_value: Float[Tensor, "*N"],
    q: Float[Tensor, "*N A"],
    visits: Float[Tensor, "*N A"],
    prior: Float[Tensor, "*N A"],
) -> Float[Tensor, "*N"]:
    """The value of a node, by the network and by the edges that were tried.

    `(raw + n w) / (1 + n)`, n visits of all edges, w the mean of Q over the tried edges weighted by
    their priors. Appendix D.
    """
    tried = visits > 0
    weight = torch.where(tried, prior.clamp(min=torch.finfo(prior.dtype).tiny), 0.0)
    mean = (weight * q).sum(-1) / weight.sum(-1).clamp(min=torch.finfo(prior.dtype).tiny)
    number = visits.sum(-1)
    return (raw_value + number * mean) / (number + 1)


def completed_q(
    raw_value: Float[Tensor, "*N"],
    q: Float[Tensor, "*N A"],
    visits: Float[Tensor, "*N A"],
    prior: Float[Tensor, "*N A"],
) -> Float[Tensor, "*N A"]:
    """What is added to the logits: Q of every edge, tried or not, on the scale of logits.

    An edge that was never tried has the mixed value. Then Q is stretched to [0, 1] over all edges
    of a node (where all are alike, it is 0) and multiplied by `VALUE_SCALE` (the paper's c_scale)
    and by `VISIT_OFFSET` (c_visit) plus the largest visit count: the more was seen, the more it
    counts against the prior. Section 4; mctx, `qtransform_completed_by_mix_value`.
    """
    mixed = mixed_value(raw_value, q, visits, prior)[..., None]
    q = torch.where(visits > 0, q, mixed)
    low, high = q.amin(-1, keepdim=True), q.amax(-1, keepdim=True)
    q = (q - low) / (high - low).clamp(min=1e-8)
    return (VISIT_OFFSET + visits.amax(-1, keepdim=True)) * VALUE_SCALE * q


def improved_policy(tree: Tree) -> Float[Tensor, "B N A"]:
    """`softmax(logits + completed Q)` at every node. Section 4."""
    q = completed_q(tree.raw_value, tree.q, tree.visits, tree.prior)
    return (tree.logits + q).softmax(-1)


def interior_score(tree: Tree) -> Float[Tensor, "B N A"]:
    """Visits below a node come as close to the improved policy as whole numbers can: the edge that
    lags behind it most is next. No randomness. Section 5."""
    share = tree.visits / (1 + tree.visits.sum(-1, keepdim=True))
    return improved_policy(tree) - share


def halving_schedule(considered: int, simulations: int) -> list[int]:
    """How often the action that comes next has been visited, for every simulation.

    Sequential halving (Karnin et al. 2013) as a schedule. There are log2(considered) rounds,
    rounded up. In a round every action that is left is visited `simulations // (rounds * left)`
    times, at least once, one after the other. After it the better half stays, rounded down and
    never less than two. Rounds go on until the budget is spent; what is beyond it is cut off. A
    single action is visited every time: 0, 1, 2, ... Whoever has been visited that often, and
    scores best, is next.
    """
    if considered <= 1:
        return list(range(simulations))
    rounds = (considered - 1).bit_length()
    visits, schedule = [0] * considered, []
    while len(schedule) < simulations:
        for _ in range(max(1, simulations // (rounds * considered))):
            schedule += visits[:considered]
            visits[:considered] = [n + 1 for n in visits[:considered]]
        considered = max(2, considered // 2)
    return schedule[:simulations]


def halving_score(
    due: Float[Tensor, " B"],
    gumbel: Float[Tensor, "B A"],
    logits: Float[Tensor, "B A"],
    q: Float[Tensor, "B A"],
    visits: Float[Tensor, "B A"],
) -> Float[Tensor, "B A"]:
    """`gumbel + logits + q` (completed Q) among the actions with exactly `due` visits; elsewhere
    -inf. Even an action of no probability comes before those that are not due."""
    total = gumbel + (logits - logits.amax(-1, keepdim=True)) + q
    return total.clamp(min=-1e9).masked_fill(visits != due[:, None], -torch.inf)


@dataclass
class SequentialHalving:
    """The score of a whole tree: sequential halving at the root, the improved policy below.

    `schedule` holds in row m what is due if m actions are considered, `considered` the m of each
    tree: less where fewer actions are legal.
    """

    gumbel: Float[Tensor, "B A"]
    legal: Bool[Tensor, "B A"]
    considered: Int[Tensor, " B"]
    schedule: Float[Tensor, "M+1 S"]

    def __call__(self, tree: Tree) -> Float[Tensor, "B N A"]:
        done = tree.visits[:, 0].sum(-1).long()
        root = self.root_score(tree, self.schedule[self.considered, done])
        return torch.cat([root[:, None], interior_score(tree)[:, 1:]], 1)

    def root_score(self, tree: Tree, due: Float[Tensor, " B"]) -> Float[Tensor, "B A"]:
        """Of the root's actions with `due` visits; -inf for all others."""
        visits = tree.visits[:, 0]
        q = completed_q(tree.raw_value[:, 0], tree.q[:, 0], visits, tree.prior[:, 0])
        score = halving_score(due, self.gumbel, tree.logits[:, 0], q, visits)
        return score.masked_fill(~self.legal, -torch.inf)


def gumbel_muzero(
    root: Root,
    model: Model,
    simulations: int,
    *,
    legal: Bool[Tensor, "B A"] | None = None,
    gumbel: Float[Tensor, "B A"] | None = None,
    considered: int = 16,
    simulate: Callable[..., None] = simulate,
) -> Decision:
    """Search with Gumbel at the root.

    Args:
        legal: True where an action may be taken at the root; by default, where its logit is above
            minus infinity.
        gumbel: noise, drawn by `utils.nn.random.gumbel`. None is no noise: the best action, for
            evaluation in games without hidden information.
        considered: how many actions to compare at most.

    The action has the highest `gumbel + logits + completed Q` among the most visited. The policy is
    the improved one, not the share of visits: that is what the policy network learns.
    """
    legal = legal_actions(root.logits, legal)
    root = root._replace(logits=mask_illegal(root.logits, legal))
    schedule = [halving_schedule(m, simulations) for m in range(considered + 1)]
    score = SequentialHalving(
        torch.zeros_like(root.logits) if gumbel is None else gumbel,
        legal,
        legal.sum(-1).clamp(max=considered),
        root.value.new_tensor(schedule),
    )
    tree = search(root, model, simulations, score, simulate)
    action = score.root_score(tree, tree.visits[:, 0].amax(-1)).argmax(-1)
    policy = improved_policy(tree)[:, 0].masked_fill(~legal, 0.0)
    return Decision(action, policy, tree)
