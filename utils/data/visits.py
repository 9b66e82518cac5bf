"""Balanced sampling: rows that were drawn often are drawn less (TWM, lesson 4.2).

A memory that grows while it is sampled from uniformly shows its oldest rows again and again: they
were there all the time. TWM counts how often each row was drawn, and draws those with few visits.

Shape key: R rows.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Visits:
    """Draws rows of a growing memory, and counts.

    `counts` [R] holds the visits of every row that there will ever be.

    Args:
        capacity: R.
        temperature: how many visits make a row e times less likely; 20 in the official code.
    """

    def __init__(self, capacity: int, temperature: float = 20.0) -> None:
        self.counts = torch.zeros(capacity, dtype=torch.long)
        self.temperature = temperature

    def probability(self, rows: int) -> Float[Tensor, " rows"]:
        """Of the first `rows` rows: proportional to exp(- visits / temperature)."""
        return (-self.counts[:rows].float() / self.temperature).softmax(0)

    def draw(
        self, rows: int, batch: int, generator: torch.Generator | None = None
    ) -> Int[Tensor, " batch"]:
        """`batch` different rows of the first `rows`, and one visit more for each of them.

        Row i is drawn with `self.probability(rows)`, by `torch.multinomial` without replacement
        and with the generator. Robine et al. 2023, section 2.3 (balanced dataset sampling).
        """
        index = torch.multinomial(self.probability(rows), batch, generator=generator)
        self.counts[index] += 1
        return index
