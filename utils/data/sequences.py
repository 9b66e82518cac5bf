"""Training windows from recorded experience.

A window is L rows in a row of a recording, cut anywhere: it may begin in the middle of an episode
and run over its end into the next. Nothing is chosen by where episodes end, because such a choice
teaches lies. Windows that must lie inside one episode show an end in their last row only, and never
show an episode shorter than L: a world trained on them hardly knows ends. Two ways to train on
windows that cross a border:

- A world that `observe`s step by step forgets by itself where `first` says so: every row counts.
- A world with a context of frames (a transformer, a denoiser) takes the rows that belong to the
  first row's episode, `same_episode`, and leaves the rest out of its loss.

Where a window begins in the middle of an episode, its first row holds the action that led there,
as any other row does. Replacing it by zeros, which is what the first row of an *episode* holds,
tells the world that a new episode begins.

Shape key: N recordings side by side, T rows of each, B windows, L rows of a window.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from utils.world import Step


def sample_windows(
    data: Step,
    batch: int,
    length: int,
    generator: torch.Generator | None = None,
    *,
    oldest: int = 0,
) -> Step:
    """B windows of L rows, each start equally likely, in the data's own types and on its device.

    Only what is drawn is copied: keep frames as uint8 or bool, and let the world convert them.

    Args:
        data: one recording `[T, ...]` (as `minatar.load` gives), or N of the same length
            `[N, T, ...]` (as `interact` gives for a vector of environments). No window runs from
            one recording into another. A tuple with more columns than a `Step` stays what it is.
        generator: on the data's device.
        oldest: the row in which time begins, where recordings are rings that go on at row 0.
    Returns:
        `[B, L, ...]`.
    Raises:
        ValueError: the recordings are shorter than a window.
    """
    if data.reward.ndim == 1:
        data = type(data)(*(v[None] for v in data))
    recordings, rows = data.reward.shape
    if length > rows:
        raise ValueError(f"Recordings of {rows} rows hold no window of {length}.")
    device = data.reward.device
    starts = rows - length + 1  # of each recording
    index = torch.randint(recordings * starts, (batch, 1), generator=generator, device=device)
    time = (oldest + index % starts + torch.arange(length, device=device)) % rows
    return type(data)(*(v[index // starts, time] for v in data))


def same_episode(first: Bool[Tensor, "B L"]) -> Bool[Tensor, "B L"]:
    """Rows that lie in the episode of their window's first row; its terminal row is the last."""
    border = first.clone()
    border[:, 0] = False  # where the window begins is no border inside it
    return border.cumsum(1) == 0
