"""Intervals and aggregates for a handful of seeds.

Percentile bootstrap (Efron 1979), resampled all at once; the interquartile mean and its stratified
bootstrap as in Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice" (rliable).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Values = Sequence[float] | Float[np.ndarray, " n"]
Statistic = Callable[..., np.ndarray]  # statistic(values [..., n], axis=-1) -> [...]

RESAMPLES = 5000  # the ends of a 90 % interval then vary by about 1 % of its width


class Interval(NamedTuple):
    """A statistic and the percentile interval around it, in the units of the values."""

    point: float
    low: float
    high: float


def iqm(values: Float[np.ndarray, "*batch n"], axis: int = -1) -> Float[np.ndarray, "*batch"]:
    """Interquartile mean: the mean without the lowest and the highest quarter.

    A quarter is rounded down to whole values, as in `scipy.stats.trim_mean(values, 0.25)`.
    """
    values = np.sort(np.asarray(values, np.float64), axis)
    n = values.shape[axis]
    return values.take(range(n // 4, n - n // 4), axis).mean(axis)


def bootstrap_interval(
    values: Values, confidence: float = 0.9, seed: int = 0, statistic: Statistic = np.mean
) -> Interval:
    """Percentile bootstrap interval of `statistic` over values of independent seeds."""
    values = _checked(values, "values")
    index = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    draws = statistic(values[index], axis=-1)
    return _interval(float(statistic(values, axis=-1)), draws, confidence)


def ratio_interval(
    values: Values, relative_to: Values, confidence: float = 0.9, seed: int = 0
) -> Interval:
    """Interval of mean(values) / mean(relative_to), paired by seed: pairs are drawn, not values.

    What it is relative to has one sign: all gains, or all losses.
    """
    values, base = _checked(values, "values"), _checked(relative_to, "relative_to")
    if len(values) != len(base):
        raise ValueError(
            f"{len(values)} values cannot be paired with {len(base)}: give one of each per seed."
        )
    if not ((base > 0).all() or (base < 0).all()):
        raise ValueError("A ratio needs a relative_to of one sign: compare differences instead.")
    index = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    draws = values[index].mean(-1) / base[index].mean(-1)
    return _interval(float(values.mean() / base.mean()), draws, confidence)


def curve_interval(
    curves: Float[np.ndarray, "n T"],
    statistic: Callable[[Float[np.ndarray, " T"]], float],
    confidence: float = 0.9,
    seed: int = 0,
) -> Interval:
    """Interval of a number read off the mean curve, such as the first episode below a bound.

    Seeds are drawn, their curves averaged, and the number read off again.
    """
    curves = np.asarray(curves, np.float64)
    if curves.ndim != 2 or len(curves) < 2:
        raise ValueError(f"Curves must be [seeds, T] with 2 seeds or more, got {curves.shape}.")
    index = np.random.default_rng(seed).integers(len(curves), size=(RESAMPLES // 5, len(curves)))
    draws = np.array([statistic(curves[draw].mean(0)) for draw in index])
    return _interval(float(statistic(curves.mean(0))), draws, confidence)


def stratified_interval(
    scores: Float[np.ndarray, "runs tasks"],
    confidence: float = 0.95,
    seed: int = 0,
    statistic: Statistic = iqm,
) -> Interval:
    """Interval of `statistic` over all runs and tasks; runs are drawn anew inside every task."""
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.shape[0] < 2:
        raise ValueError(f"Scores must be [runs, tasks] with 2 runs or more, got {scores.shape}.")
    runs, tasks = scores.shape
    draw = np.random.default_rng(seed).integers(runs, size=(RESAMPLES, runs, tasks))
    resampled = scores[draw, np.arange(tasks)].reshape(RESAMPLES, -1)
    draws = statistic(resampled, axis=-1)
    return _interval(float(statistic(scores.ravel(), axis=-1)), draws, confidence)


def _checked(values: Values, name: str) -> Float[np.ndarray, " n"]:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(
            f"{name} must be one finite number for each of 2 or more seeds, got {values.tolist()}."
        )
    return values


def _interval(point: float, draws: Float[np.ndarray, " R"], confidence: float) -> Interval:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence} must lie between 0 and 1, such as 0.9.")
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(point, float(low), float(high))
