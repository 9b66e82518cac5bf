"""Loss and gradients of a training step as one CUDA graph.

A recurrent world model makes thousands of small operations a step, and a GPU waits for the host
between them. Recorded once and replayed, they cost a fifth of the time or less. On a CPU the same
object is a plain call, so a training loop is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from utils.world import Step

WARMUPS = 3  # calls before the recording, in which libraries set themselves up


class Captured:
    """`captured(batch)` is `loss(batch)` and its backward pass: it leaves gradients, and returns
    what `loss` returns, detached.

    Batches have the same shapes each time. On a GPU the first call runs `loss` four times: buffers
    that it moves (a slow critic, a range of returns) are moved as often. Results are overwritten by
    the next call; gradients are set, not added, so nothing need be zeroed between calls.

    Args:
        loss: `loss(batch) -> (loss, metrics)`, without a step of the host in between.
        parameters: whose gradients are wanted.
        generator: of all randomness in `loss`, on the device of the batches.
    """

    def __init__(
        self,
        loss: Callable[[Step], tuple[Tensor, dict[str, Tensor]]],
        parameters: Iterable[Tensor],
        generator: torch.Generator,
    ) -> None:
        self.loss, self.parameters, self.generator = loss, list(parameters), generator
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, batch: Step) -> tuple[Tensor, dict[str, Tensor]]:
        if not batch.reward.is_cuda:
            return self._run(batch)
        if self.graph is None:
            self._record(batch)
        for kept, new in zip(self.batch, batch, strict=True):
            kept.copy_(new)
        self.graph.replay()
        return self.result

    def _run(self, batch: Step) -> tuple[Tensor, dict[str, Tensor]]:
        for parameter in self.parameters:
            parameter.grad = None
        loss, metrics = self.loss(batch)
        loss.backward()
        return loss.detach(), metrics

    def _record(self, batch: Step) -> None:
        self.batch = Step(*(v.clone() for v in batch))
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARMUPS):
                self._run(self.batch)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(self.generator)
        with torch.cuda.graph(self.graph):
            self.result = self._run(self.batch)
