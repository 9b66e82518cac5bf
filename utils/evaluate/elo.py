"""Elo ratings of a few players from the games between them.

Bradley and Terry 1952: with ratings r, player i beats player j with probability
`1 / (1 + 10^((r_j - r_i) / 400))`. A draw is half a win. The ratings are those that make the games
most likely, all players at once, so that it does not matter in which order they played.

Shape key: P players, S resampled tables.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

POINTS = 400 / np.log(10)  # Elo points of one natural unit
PRIOR = 0.5  # points that each side of every pair gets on top: one game, drawn


class Rating(NamedTuple):
    """Elo of every player, and the percentile interval around it."""

    elo: Float[np.ndarray, " P"]
    low: Float[np.ndarray, " P"]
    high: Float[np.ndarray, " P"]


def fit(points: Float[np.ndarray, "*S P P"], anchor: int = 0) -> Float[np.ndarray, "*S P"]:
    """The ratings most likely to give a table of results; the anchor's is 0.

    Args:
        points: row i, column j: what i won against j, 1 a win and 1/2 a draw.

    Every pair that met has one drawn game on top. So a player who won all games has a finite
    rating; it says less the fewer games there were.
    """
    points = np.asarray(points, np.float64)
    met = (points + points.swapaxes(-1, -2)) > 0
    points = points + PRIOR * met
    games = points + points.swapaxes(-1, -2)
    free = np.arange(points.shape[-1]) != anchor
    rating = np.zeros(points.shape[:-1])
    for _ in range(100):  # Newton: the likelihood is concave
        chance = 1 / (1 + np.exp(rating[..., None, :] - rating[..., :, None]))
        slope = (points - games * chance).sum(-1)[..., free]
        bend = games * chance * (1 - chance)
        curve = np.eye(points.shape[-1]) * bend.sum(-1)[..., None] - bend
        step = np.linalg.solve(curve[..., free, :][..., free], slope[..., None])[..., 0]
        rating[..., free] += step.clip(-2, 2)
        if np.abs(step).max() < 1e-9:
            break
    return POINTS * rating


def ratings(
    results: Float[np.ndarray, "P P 3"],
    anchor: int = 0,
    confidence: float = 0.9,
    resamples: int = 500,
    seed: int = 0,
) -> Rating:
    """Ratings with intervals: the games of every pair are drawn anew, as often as they were played.

    Args:
        results: row i, column j: games that i won, drew and lost against j. Each pair stands once,
            on one side of the diagonal.
    """
    results = np.asarray(results)
    random = np.random.default_rng(seed)
    drawn = np.zeros((resamples, *results.shape))
    for i, j in zip(*results.sum(-1).nonzero(), strict=True):
        number = results[i, j].sum()
        drawn[:, i, j] = random.multinomial(number, results[i, j] / number, resamples)
    ends = np.quantile(fit(table(drawn), anchor), [(1 - confidence) / 2, (1 + confidence) / 2], 0)
    return Rating(fit(table(results), anchor), *ends)


def table(results: Float[np.ndarray, "*S P P 3"]) -> Float[np.ndarray, "*S P P"]:
    """Points of everyone against everyone, from games that stand once for each pair."""
    worth = np.array([1.0, 0.5, 0.0])
    return results @ worth + (results @ worth[::-1]).swapaxes(-1, -2)
