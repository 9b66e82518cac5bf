"""Balanced sampling against jrobine/twm at e6a8e59, and what it is for."""

import torch

from tests.official import close, official
from utils.data.visits import Visits


def test_probabilities_are_the_official_ones():
    given, expected = official("twm_balanced_sampling")
    visits = Visits(len(given["visits"]) + 3)
    visits.counts[:-3] = given["visits"]
    close(visits.probability(len(given["visits"])), expected["probs"])


def test_a_draw_takes_different_rows_and_counts_them():
    visits, generator = Visits(20), torch.Generator().manual_seed(0)
    index = visits.draw(10, 6, generator)
    assert len(index.unique()) == 6
    assert index.max() < 10
    assert visits.counts.sum() == 6
    assert (visits.counts[index] == 1).all()


def test_visits_even_out():
    visits, generator = Visits(50, temperature=2.0), torch.Generator().manual_seed(0)
    visits.counts[:25] = 40  # a half that was there before
    for _ in range(60):  # 24 visits for each of the late rows
        visits.draw(50, 10, generator)
    late = visits.counts[25:]
    assert visits.counts[:25].max() == 40
    assert late.max() - late.min() <= 8
