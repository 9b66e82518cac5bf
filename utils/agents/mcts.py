"""Monte Carlo tree search of MuZero (Schrittwieser et al. 2020), a batch of trees as arrays.

There are no node objects. Simulation m adds node m to every tree of the batch, node 0 is the root,
and what is known of nodes and of the edges below them stands in arrays. One simulation is three
steps, each for all trees at once: `select` an edge that leads out of the tree, `expand` it into a
new node with one call of the model, `back_up` what was found there.

Nothing depends on values of tensors on the host: the search runs on any device without waiting for
it, and `torch.compile` turns one simulation into one graph (utils.agents.mcts_compiled).

Shape key: B trees side by side, N nodes of a tree (the root and one for each simulation), A actions
(with chance nodes: actions and outcomes).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from utils.nn.random import categorical
from utils.world import State

C_INIT, C_BASE = 1.25, 19652.0  # c1 and c2 of MuZero, Appendix B


class Root(NamedTuple):
    """Where a search starts."""

    state: State
    logits: Float[Tensor, "B A"]  # of the policy network
    value: Float[Tensor, " B"]  # for the player who moves here


class Reached(NamedTuple):
    """What the model says of one step: where it leads, what comes with it, what to expect there."""

    state: State
    reward: Float[Tensor, " B"]  # for the player who moved
    discount: Float[Tensor, " B"]  # gamma, 0 after an end, negative if the opponent moves next
    logits: Float[Tensor, "B A"]
    value: Float[Tensor, " B"]  # for the player who moves there


Model = Callable[[State, Int[Tensor, " B"]], Reached]


@dataclass
class Tree:
    """What B searches know. Arrays are written in place; row b of each belongs to tree b.

    Of every edge (s, a): N(s, a), Q(s, a), P(s, a) as in the paper. Of every node: how often it was
    visited, counting its own evaluation, and the mean of what was found there.

    The last three arrays make a backup one formula. For a node m and an ancestor k of it (or m
    itself), a value v found at m is worth `gain[m, k] + weight[m, k] * v` at k: the discounted
    rewards between them, and the product of the discounts. `above` marks which k those are.
    """

    visits: Float[Tensor, "B N A"]
    q: Float[Tensor, "B N A"]  # mean return of an edge, 0 where it was never taken
    prior: Float[Tensor, "B N A"]
    logits: Float[Tensor, "B N A"]  # logarithm of the prior, finite where an action is illegal
    child: Int[Tensor, "B N A"]  # node below the edge; the node itself where there is none yet
    node_visits: Float[Tensor, "B N"]  # 0 where a node does not exist yet
    value: Float[Tensor, "B N"]  # mean of the returns from a node, its raw value among them
    raw_value: Float[Tensor, "B N"]  # of the value network
    above: Float[Tensor, "B N N"]
    gain: Float[Tensor, "B N N"]
    weight: Float[Tensor, "B N N"]
    state: State  # [B, N, ...]


Score = Callable[[Tree], Float[Tensor, "B N A"]]  # the best edge below every node has the highest


def plant(root: Root, simulations: int) -> Tree:
    """Trees with a root each, and room for one node more per simulation."""
    (batch, actions), nodes = root.logits.shape, simulations + 1
    value = root.value

    def zeros(*shape: int) -> Tensor:
        return value.new_zeros(batch, nodes, *shape)

    own = torch.arange(nodes, device=value.device)[:, None]
    tree = Tree(
        *(zeros(actions) for _ in range(4)),
        own.expand(batch, nodes, actions).clone(),
        *(zeros() for _ in range(3)),
        *(zeros(nodes) for _ in range(3)),
        {k: v.new_zeros(batch, nodes, *v.shape[1:]) for k, v in root.state.items()},
    )
    nobody = zeros()
    _write(tree, own[0], root, above=nobody, gain=nobody, weight=nobody)
    return tree


def _write(tree: Tree, node: Tensor, new: Root | Reached, **line: Float[Tensor, "B N"]) -> None:
    """Node number `node` [1], the same in all trees, with what the model says of it; `line` holds
    the rows of `above`, `gain` and `weight` but for the entry of the node itself."""
    logits = new.logits.log_softmax(-1)
    itself = torch.arange(tree.value.shape[1], device=node.device) == node
    rows = {
        "logits": logits,
        "prior": logits.exp(),
        "raw_value": new.value,
        "value": new.value,
        "node_visits": torch.ones_like(new.value),
        "above": line["above"].masked_fill(itself, 1.0),
        "gain": line["gain"],
        "weight": line["weight"].masked_fill(itself, 1.0),
    }
    for name, row in rows.items():
        getattr(tree, name).index_copy_(1, node, row[:, None])
    for name, row in new.state.items():
        tree.state[name].index_copy_(1, node, row[:, None])


# Selection: a score for every edge of the tree


def exploration(
    prior: Float[Tensor, "*N A"], visits: Float[Tensor, "*N A"], node_visits: Float[Tensor, "*N"]
) -> Float[Tensor, "*N A"]:
    """What an edge gains in pUCT for being promising and rarely taken.

    `P(s, a) sqrt(N(s)) / (1 + N(s, a)) (c1 + log((N(s) + c2 + 1) / c2))`, MuZero, equation (2).
    N(s) counts the node's own evaluation, as in mctx; the paper's sum over edges is one less.
    """
    rate = node_visits.sqrt() * (C_INIT + ((node_visits + C_BASE + 1) / C_BASE).log())
    return prior * rate[..., None] / (visits + 1)


def normalise_by_node(
    q: Float[Tensor, "*N A"], visits: Float[Tensor, "*N A"], value: Float[Tensor, "*N"]
) -> Float[Tensor, "*N A"]:
    """Q in [0, 1]: the range is that of the node's own value and of its tried edges.

    An edge that was never tried gets 0. So does every edge where the range is empty.
    mctx, `qtransform_by_parent_and_siblings`.
    """
    value, tried = value[..., None], visits > 0
    known = torch.where(tried, q, value)
    low = torch.minimum(known.amin(-1, keepdim=True), value)
    high = torch.maximum(known.amax(-1, keepdim=True), value)
    return torch.where(tried, (q - low) / (high - low).clamp(min=1e-8), 0.0)


def normalise_by_tree(
    q: Float[Tensor, "B N A"], visits: Float[Tensor, "B N A"], value: Float[Tensor, "B N"]
) -> Float[Tensor, "B N A"]:
    """Q in [0, 1]: the range is that of all tried edges of the tree. MuZero, equation (5).

    An edge that was never tried gets 0. So does every edge where the range is empty. `value` is not
    needed here; `normalise_by_node` takes it too.
    """
    tried = visits > 0
    low = torch.where(tried, q, torch.inf).amin((-2, -1), keepdim=True)
    high = torch.where(tried, q, -torch.inf).amax((-2, -1), keepdim=True)
    return torch.where(tried, (q - low) / (high - low).clamp(min=1e-8), 0.0)


def puct(tree: Tree, normalise: Callable[..., Tensor] = normalise_by_node) -> Tensor:
    """Normalised Q plus exploration, for every edge [B, N, A]. Equal scores: the first action wins.

    By node is the default: a large reward somewhere in the tree cannot flatten the differences
    between two edges elsewhere, and the two players' values are never mixed. The paper's range is
    `normalise_by_tree`. With either, Q may be any affine function of itself.
    """
    q = normalise(tree.q, tree.visits, tree.value)
    return q + exploration(tree.prior, tree.visits, tree.node_visits)


# One simulation


def descend(follow: Int[Tensor, "B N"]) -> Int[Tensor, " B"]:
    """Where one arrives from the root by going on to `follow` until that is the node itself.

    Round i replaces 2^i steps by twice as many, so that a few rounds are enough for any depth.
    """
    for _ in range((follow.shape[1] - 1).bit_length()):
        follow = follow.gather(1, follow)
    return follow[:, 0]


def back_up(
    tree: Tree,
    best: Int[Tensor, "B N"],
    above: Float[Tensor, "B N"],
    returns: Float[Tensor, "B N"],
) -> None:
    """Count one visit and average in one return, at the nodes that `above` marks with 1 (others: 0)
    and at the edge `best` below each of them. In place; MuZero, equations (3) and (4).

    Of a node the count is `tree.node_visits`, the average `tree.value`; of an edge `tree.visits`
    and `tree.q`.
    """
    actions = torch.arange(tree.q.shape[2], device=best.device)
    taken = above[..., None] * (actions == best[..., None])  # 1 at the edges of the line
    tree.visits += taken
    tree.q += taken * (returns[..., None] - tree.q) / tree.visits.clamp(min=1)
    tree.node_visits += above
    tree.value += above * (returns - tree.value) / tree.node_visits.clamp(min=1)


def simulate(
    tree: Tree,
    model: Model,
    score: Score,
    node: Int[Tensor, " 1"],
    descend: Callable[[Tensor], Tensor] = descend,
    back_up: Callable[..., None] = back_up,
) -> None:
    """One simulation of every tree, in place: number `node` becomes the new node of each."""
    best = score(tree).argmax(-1)  # [B, N]: the edge below every node
    leaf = descend(tree.child.gather(2, best[..., None]).squeeze(2))
    rows = torch.arange(len(leaf), device=leaf.device)
    action = best[rows, leaf]

    new = model({k: v[rows, leaf] for k, v in tree.state.items()}, action)

    # From each ancestor's view: rewards up to the new node, and what its value counts.
    above, weight = tree.above[rows, leaf], tree.weight[rows, leaf]
    gain = tree.gain[rows, leaf] + weight * new.reward[:, None]
    weight = weight * new.discount[:, None]
    back_up(tree, best, above, gain + weight * new.value[:, None])

    tree.child[rows, leaf, action] = node.expand(len(leaf))
    _write(tree, node, new, above=above, gain=gain, weight=weight)


@torch.no_grad()
def search(
    root: Root,
    model: Model,
    simulations: int,
    score: Score = puct,
    simulate: Callable[..., None] = simulate,
) -> Tree:
    """Search B trees with a fixed number of simulations each, and return what was found.

    Args:
        model: a world with heads, see utils.agents.mcts_models. It is asked once a simulation, for
            all trees at once. A model that samples would freeze its luck: every edge is tried once.
        score: which edge to take; the same at all nodes, unless it treats row 0, the root, apart.
        simulate: one simulation; its compiled form where that is faster.
    """
    tree = plant(root, simulations)
    for node in torch.arange(1, simulations + 1, device=root.value.device).split(1):
        simulate(tree, model, score, node)
    return tree


# MuZero's policy


class Decision(NamedTuple):
    """What a search recommends."""

    action: Int[Tensor, " B"]
    policy: Float[Tensor, "B A"]  # the target for the policy network; its value: tree.value[:, 0]
    tree: Tree


def legal_actions(
    logits: Float[Tensor, "B A"], legal: Bool[Tensor, "B A"] | None
) -> Bool[Tensor, "B A"]:
    """What was given, or else: a logit of minus infinity rules an action out."""
    return logits > torch.finfo(logits.dtype).min if legal is None else legal


def mask_illegal(logits: Float[Tensor, "B A"], legal: Bool[Tensor, "B A"]) -> Float[Tensor, "B A"]:
    """Logits of (almost) minus infinity where an action is illegal. Finite, so that a row without
    any legal action, as at the end of a game, becomes uniform and not nan."""
    return logits.masked_fill(~legal, torch.finfo(logits.dtype).min)


def add_root_noise(
    logits: Float[Tensor, "B A"], noise: Float[Tensor, "B A"], fraction: float = 0.25
) -> Float[Tensor, "B A"]:
    """Logits of `(1 - fraction) softmax(logits) + fraction noise`. A share of 0 counts as
    `torch.finfo(dtype).tiny`, so that no logit is -inf.

    For self-play only. `noise` sums to 1, drawn by `utils.nn.random.dirichlet`: alpha is 0.3 in
    chess, 0.25 in Atari, 0.03 in Go, about 10 / (number of legal moves). MuZero, Appendix C.
    """
    mixed = (1 - fraction) * logits.softmax(-1) + fraction * noise
    return mixed.clamp(min=torch.finfo(mixed.dtype).tiny).log()


def muzero(
    root: Root,
    model: Model,
    simulations: int,
    *,
    legal: Bool[Tensor, "B A"] | None = None,
    noise: Float[Tensor, "B A"] | None = None,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
    score: Score = puct,
    simulate: Callable[..., None] = simulate,
) -> Decision:
    """Search by pUCT and act by visit counts.

    Args:
        legal: True where an action may be taken at the root; by default, where its logit is above
            minus infinity. Inside the tree the logits rule.
        noise: for exploration in self-play, mixed into the root's prior before illegal actions
            leave it (as in mctx). None, as in evaluation, is no noise.
        temperature: 0 takes the most visited action, 1 draws in proportion to visits.

    The policy is the share of visits.
    """
    legal = legal_actions(root.logits, legal)
    logits = root.logits if noise is None else add_root_noise(root.logits, noise)
    root = root._replace(logits=mask_illegal(logits, legal))
    tree = search(root, model, simulations, score, simulate)
    visits = tree.visits[:, 0]
    if temperature == 0:
        action = visits.argmax(-1)
    else:
        action = categorical(visits.log() / temperature, generator)
    return Decision(action, visits / simulations, tree)
