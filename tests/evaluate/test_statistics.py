"""Intervals cover as often as they say, and agree with rliable and with closed forms."""

from pathlib import Path

import numpy as np
import pytest

from utils.evaluate.statistics import (
    bootstrap_interval,
    curve_interval,
    iqm,
    ratio_interval,
    stratified_interval,
)

RLIABLE = np.load(Path(__file__).parents[1] / "fixtures/rliable_atari100k.npz", allow_pickle=False)
HNS = RLIABLE["DIAMOND/out/hns"]
MEAN, _, IQM, _ = RLIABLE["DIAMOND/out/mean_median_iqm_optgap"]
(MEAN_LOW, _, IQM_LOW, _), (MEAN_HIGH, _, IQM_HIGH, _) = RLIABLE["DIAMOND/out/ci95_low_high"]


def test_iqm_is_the_mean_of_the_middle_half():
    assert iqm(np.array([100.0, 1, 2, -100])) == 1.5
    assert iqm(np.array([100.0, 1, 2, 3, -100])) == 2.0  # a quarter of 5 is one value
    assert iqm(np.array([3.0, 1, 2])) == 2.0
    batch = np.arange(24.0).reshape(2, 3, 4)
    np.testing.assert_allclose(iqm(batch, axis=1), batch.mean(1))


def test_iqm_is_rliables():
    np.testing.assert_allclose(iqm(HNS.ravel()), IQM, rtol=1e-9)


def test_stratified_interval_is_rliables():
    interval = stratified_interval(HNS)
    np.testing.assert_allclose(interval.point, IQM, rtol=1e-9)
    np.testing.assert_allclose([interval.low, interval.high], [IQM_LOW, IQM_HIGH], atol=0.02)
    mean = stratified_interval(HNS, statistic=np.mean)
    np.testing.assert_allclose(mean.point, MEAN, rtol=1e-9)
    np.testing.assert_allclose([mean.low, mean.high], [MEAN_LOW, MEAN_HIGH], atol=0.05)


def test_stratified_draws_stay_in_their_task():
    """Tasks far apart, runs alike: any draw across tasks would widen the interval."""
    scores = np.array([[0.0, 1000.0], [0.0, 1000.0], [0.0, 1000.0]])
    assert stratified_interval(scores, statistic=np.mean) == (500, 500, 500)


def test_bootstrap_of_two_values_is_known():
    """Resamples of (0, 1) have mean 0, 1/2, 1 with probability 1/4, 1/2, 1/4."""
    assert bootstrap_interval([0.0, 1.0], confidence=0.9) == (0.5, 0.0, 1.0)
    assert bootstrap_interval([0.0, 1.0], confidence=0.4) == (0.5, 0.5, 0.5)


def test_bootstrap_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = [
        low <= 0 <= high
        for _, low, high in (bootstrap_interval(rng.normal(size=40)) for _ in range(200))
    ]
    assert 0.83 < np.mean(covered) < 0.96  # 0.9 less the known shortfall at n = 40, 3 s.e.


def test_bootstrap_takes_other_statistics_and_repeats():
    values = [0.0, 1.0, 2.0, 3.0, 100.0]
    assert bootstrap_interval(values, statistic=np.median).point == 2
    assert bootstrap_interval(values, statistic=iqm).point == 2
    assert bootstrap_interval(values).point == 21.2
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)


def test_ratio_is_paired():
    base = np.array([1.0, 10.0, 100.0])
    np.testing.assert_allclose(ratio_interval(2 * base, base), [2, 2, 2])  # unpaired: very wide
    interval = ratio_interval([1.0, 3.0], [1.0, 1.0])
    np.testing.assert_allclose(interval, [2, 1, 3])
    losses = ratio_interval([-1.0, -3.0], [-1.0, -1.0])  # of losses as of gains
    np.testing.assert_allclose(losses, interval)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: bootstrap_interval([1.0]), "2 or more seeds"),
        (lambda: bootstrap_interval([1.0, np.nan]), "finite"),
        (lambda: bootstrap_interval([1.0, 2.0], confidence=90), "between 0 and 1"),
        (lambda: ratio_interval([1.0, 2.0], [1.0, 2.0, 3.0]), "cannot be paired"),
        (lambda: ratio_interval([1.0, 2.0], [1.0, 0.0]), "one sign"),
        (lambda: ratio_interval([1.0, 2.0], [1.0, -1.0]), "one sign"),
        (lambda: stratified_interval(np.ones(3)), "runs, tasks"),
    ],
)
def test_wrong_input_is_named(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_curve_interval_reads_a_number_off_the_mean_curve():
    curves = np.array([[30.0, 20.0, 10.0], [30.0, 16.0, 10.0], [30.0, 12.0, 10.0]])

    def first_below_18(curve):
        return float((curve <= 18).argmax() + 1)

    found = curve_interval(curves, first_below_18)
    assert found.point == 2.0  # the mean of the middle column is 16
    assert (found.low, found.high) == (2.0, 3.0)  # only draws of the first two seeds exceed 18
    with pytest.raises(ValueError, match="2 seeds or more"):
        curve_interval(curves[:1], first_below_18)
