"""The memory that an agent learns from while it acts: a ring of rows for each environment.

Rows are kept as they came (frames as bytes), in the arrival convention: the last row of an episode
and the first of the next are two rows, so nothing is lost at a border and a time limit is not taken
for an end.

Shape key: N environments side by side, B windows, L rows of a window.
"""

from __future__ import annotations

from typing import Any

import torch

from utils.data.sequences import sample_windows
from utils.world import Step

SMALLEST = 1024  # rows for which memory is taken at first


class Replay:
    """The last `capacity` rows of each of N environments.

    Memory grows by doubling, so a large capacity costs nothing before it is used. When it is full,
    the newest row replaces the oldest.
    """

    def __init__(self, capacity: int, kind: type = Step) -> None:
        """`kind`: the tuple that a row is, where an agent keeps more than a `Step`."""
        if capacity < 1:
            raise ValueError(f"A memory of {capacity} rows holds nothing.")
        self.capacity, self.kind = capacity, kind
        self.rows = 0  # filled, of each environment
        self.next = 0  # where the next row goes
        self._data: Step | None = None  # [N, rows that memory was taken for, ...]

    def add(self, step: Step) -> None:
        """Keep one row of every environment, `[N, ...]`, on the CPU."""
        if self._data is None or self.next == self._data.reward.shape[1] < self.capacity:
            self._grow(step)
        self.next %= self.capacity
        for place, value in zip(self._data, step, strict=True):
            place[:, self.next] = value
        self.next += 1
        self.rows = max(self.rows, self.next)

    def _grow(self, step: Step) -> None:
        size = min(self.capacity, max(SMALLEST, 2 * self.rows))
        grown = self.kind(*(torch.empty(len(v), size, *v.shape[1:], dtype=v.dtype) for v in step))
        if self._data is not None:
            for new, old in zip(grown, self._data, strict=True):
                new[:, : self.rows] = old[:, : self.rows]
        self._data = grown

    def data(self) -> Step:
        """What is kept, `[N, rows, ...]`: the memory itself, a ring that is not in order of time
        once it is full."""
        if self._data is None:
            raise ValueError("The memory is empty: add rows before you sample.")
        return self.kind(*(v[:, : self.rows] for v in self._data))

    def sample(self, batch: int, length: int, generator: torch.Generator | None = None) -> Step:
        """B windows of L rows in order of time, `[B, L, ...]`, each start equally likely.

        A window may begin in the middle of an episode and run over its end into the next.
        """
        oldest = self.next % self.capacity if self.rows == self.capacity else 0
        return sample_windows(self.data(), batch, length, generator, oldest=oldest)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on as if nothing had happened."""
        data = self.data()._asdict() if self.rows else {}
        return {"rows": self.rows, "next": self.next, "data": data}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.rows, self.next = state["rows"], state["next"]
        rows = {k: v.clone() for k, v in state["data"].items()}
        self._data = self.kind(**rows) if self.rows else None
