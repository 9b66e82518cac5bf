"""What a search thought, for tables and pictures.

Of the root, the tree itself tells: `tree.visits[:, 0]`, `tree.prior[:, 0]`, `tree.q[:, 0]` and
`tree.value[:, 0]`.

Shape key: B trees, L length of a line.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from utils.agents.mcts import Tree


class Edge(NamedTuple):
    """One edge that was tried, in the order in which the nodes below were added."""

    parent: int
    action: int
    child: int
    visits: int
    prior: float
    q: float
    value: float  # mean of the returns from the node below


def edges(tree: Tree, row: int) -> list[Edge]:
    """The edges of one tree, for a picture or a table."""
    found = [
        Edge(
            parent,
            action,
            child := int(tree.child[row, parent, action]),
            round(float(tree.visits[row, parent, action])),
            float(tree.prior[row, parent, action]),
            float(tree.q[row, parent, action]),
            float(tree.value[row, child]),
        )
        for parent, action in tree.visits[row].nonzero().tolist()
    ]
    return sorted(found, key=lambda edge: edge.child)


def principal_line(tree: Tree, length: int) -> tuple[Int[Tensor, "B L"], Int[Tensor, "B L"]]:
    """The actions that were visited most, from the root on, and the nodes that they lead to.

    Both are -1 where the line has ended because nothing below was tried.
    """
    rows = torch.arange(len(tree.value), device=tree.value.device)
    node = torch.zeros_like(rows)
    actions, nodes = [], []
    for _ in range(length):
        action = tree.visits[rows, node].argmax(-1)
        below = tree.child[rows, node, action]
        ended = below == node
        actions.append(action.masked_fill(ended, -1))
        nodes.append(below.masked_fill(ended, -1))
        node = below
    return torch.stack(actions, 1), torch.stack(nodes, 1)
