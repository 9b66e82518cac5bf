"""Elo: closed forms for two players, known ratings found again, and intervals that cover."""

import numpy as np
import pytest

from utils.evaluate.elo import PRIOR, fit, ratings, table


def test_two_players_by_the_formula():
    """The likelihood of two players has its maximum where the expected share is the share won."""
    points = np.array([[0.0, 30.0], [10.0, 0.0]])
    share = (30 + PRIOR) / (40 + 2 * PRIOR)
    expected = 400 * np.log10(share / (1 - share))
    found = fit(points, anchor=1)
    assert found == pytest.approx([expected, 0.0], abs=1e-6)
    assert fit(points, anchor=0) == pytest.approx([0.0, -expected], abs=1e-6)


def test_all_games_won_is_a_finite_rating():
    found = fit(np.array([[0.0, 0.0], [20.0, 0.0]]))
    assert found[1] == pytest.approx(400 * np.log10(20.5 / 0.5), abs=1e-6)


def played(elo, number, random):
    """Results of a round robin between players of known ratings, without draws."""
    results = np.zeros((len(elo), len(elo), 3))
    for i in range(len(elo)):
        for j in range(i):
            chance = 1 / (1 + 10 ** ((elo[j] - elo[i]) / 400))
            won = random.binomial(number, chance)
            results[i, j] = won, 0, number - won
    return results


def test_expected_results_give_the_ratings_back():
    elo = np.array([0.0, 150.0, 400.0, 380.0])
    chance = 1 / (1 + 10 ** ((elo[None] - elo[:, None]) / 400))
    points = 1e7 * chance * (1 - np.eye(4))
    assert fit(points) == pytest.approx(elo, abs=1e-3)
    missing = points.copy()
    missing[0, 3] = missing[3, 0] = 0  # who did not meet
    assert fit(missing) == pytest.approx(elo, abs=1e-3)
    assert fit(np.stack([points, missing]))[1] == pytest.approx(elo, abs=1e-3)


def test_draws_are_half_wins_and_pairs_stand_once():
    results = np.zeros((3, 3, 3))
    results[1, 0], results[2, 1] = (3, 4, 1), (0, 2, 6)
    assert table(results).tolist() == [[0, 3, 0], [5, 0, 7], [0, 1, 0]]


def test_intervals_cover():
    """Nine intervals of ten hold the true rating."""
    random, elo = np.random.default_rng(0), np.array([0.0, 100.0, 250.0, 300.0])
    inside = []
    for seed in range(60):
        found = ratings(played(elo, 60, random), resamples=200, seed=seed)
        assert (found.low <= found.elo).all()
        assert (found.elo <= found.high).all()
        inside += ((found.low <= elo) & (elo <= found.high))[1:].tolist()
    assert 0.8 < np.mean(inside) < 0.97
