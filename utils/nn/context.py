"""What a world with a context of rows may look at, and what it takes along (lesson 4.2).

Windows are cut anywhere (`utils/data/sequences.py`), so one may hold the end of an episode and the
beginning of the next: nothing may look across.

Shape key: B batch, T rows of a window, N rows that are kept, I numbers in a row.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F


def age(first: Bool[Tensor, "B T"]) -> Int[Tensor, "B T"]:
    """Rows since the last `first` in the window, or since its beginning if there was none."""
    row = torch.arange(first.shape[1], device=first.device).expand_as(first)
    return row - row.masked_fill(~first, 0).cummax(1).values


def attendable(first: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T T"]:
    """Whom each row may look at: `[b, t, s]` is True if row t may see row s.

    That is itself and every earlier row of its own episode: s <= t, and no row from s + 1 to t is
    `first`. A window may hold the end of one episode and the beginnings of others.
    """
    episode = first.cumsum(1)
    same = episode[:, :, None] == episode[:, None, :]
    return same & torch.ones_like(same).tril()


def history(
    rows: Float[Tensor, "B T I"], age: Int[Tensor, "B T"], size: int
) -> Float[Tensor, "B T N I"]:
    """At every row, the `size` newest rows up to it, the newest last; zeros in the place of rows
    before the window or before its episode, whose `age` says how many there are."""
    newest = F.pad(rows, (0, 0, size - 1, 0)).unfold(1, size, 1).mT
    slot = torch.arange(size, device=rows.device)
    return newest.masked_fill((slot < size - 1 - age[..., None])[..., None], 0.0)


def begins(length: Int[Tensor, " B"], size: int) -> Bool[Tensor, "B {size}"]:
    """As `first`, for `size` slots, the last `length` of them filled: True where these begin."""
    return torch.arange(size, device=length.device) == size - length[:, None]
