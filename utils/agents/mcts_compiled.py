"""One simulation of utils.agents.mcts as one compiled graph.

Nothing in `simulate` depends on values on the host, so it compiles as it stands. One step differs:
in machine code it is quicker to walk down from the root one node at a time than to double jumps.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType

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
    """`simulate` for trees of one shape, one model and one kind of score:
    `search(..., simulate=compiled())`.

    The first search compiles, in about 20 CPU seconds, and on the CPU needs a C++ compiler. Values
    of the model's parameters may change after that; whatever else does is refused.
    """

    def step(tree: Tree, model: Model, score: Score, node: Int[Tensor, " 1"]) -> None:
        simulate(tree, model, score, node, walk)

    # PyTorch would look at every array of the tree, before every simulation, to see whether the
    # graph still fits. Without that, the code has to be this graph's own: graphs are kept with it.
    step.__code__ = step.__code__.replace()
    options = {"guard_filter_fn": lambda guards: [False] * len(guards)}
    if backend == "inductor":
        options["cpp_wrapper"] = True  # nor Python between two kernels
    fast = torch.compile(step, backend=backend, options=options, dynamic=False, fullgraph=True)
    fits = None

    def simulate_compiled(tree: Tree, model: Model, score: Score, node: Tensor) -> None:
        nonlocal fits
        kind = score if isinstance(score, FunctionType) else type(score)
        now = (tree.q.shape, tree.q.dtype, tree.q.device, model, kind)
        if fits is None:
            fits = now
        if now != fits:
            raise ValueError(
                f"This simulation was compiled for trees {tuple(fits[0])} [B, N, A], and for a "
                f"model and a score; it got others, or trees {tuple(now[0])}: "
                "call compiled() again for these."
            )
        fast(tree, model, score, node)

    return simulate_compiled
