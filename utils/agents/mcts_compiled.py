"""One simulation of utils.agents.mcts as one compiled graph.

Nothing in `simulate` depends on values on the host, so it compiles as it stands. One step differs:
in machine code it is quicker to walk down from the root one node at a time than to double jumps.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

from utils.agents.mcts import Model, Score, Tree, simulate


def walk(follow: Int[Tensor, "B N"]) -> Int[Tensor, " B"]:
    """What `descend` returns, by as many steps as any tree could be deep."""
    node = torch.zeros_like(follow[:, :1])
    for _ in range(follow.shape[1] - 1):
        node = follow.gather(1, node)
    return node.squeeze(1)


def compiled(backend: str | Callable = "inductor") -> Callable[[Tree, Model, Score, Tensor], None]:
    """`simulate` for trees of one shape and one model: `search(..., simulate=compiled())`.

    The first search compiles, in about 20 CPU seconds, and on the CPU needs a C++ compiler. Values
    of the model's parameters may change after that, shapes may not.
    """

    def step(tree: Tree, model: Model, score: Score, node: Int[Tensor, " 1"]) -> None:
        simulate(tree, model, score, node, walk)

    return torch.compile(step, backend=backend, dynamic=False, fullgraph=True)
