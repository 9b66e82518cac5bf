"""The published scores: the headline numbers come out of them."""

import numpy as np
import pytest
from scipy.stats import bootstrap

from utils.course.exercise import ROOT
from utils.data.atari_100k import load, normalised
from utils.evaluate.statistics import iqm

HEADLINES = {  # mean and median over games, games at human level or above
    "SimPLe": (0.332, 0.134, 1),
    "MuZero": (0.562, 0.227, 5),
    "SPR": (0.616, 0.396, 6),
    "TWM": (0.956, 0.505, 8),
    "IRIS": (1.046, 0.289, 10),
    "DIAMOND": (1.459, 0.373, 11),
    "EfficientZero": (1.943, 1.090, 14),
}


@pytest.mark.parametrize("name", HEADLINES)
def test_headline_numbers_come_out(name):
    scores = load()[name]
    each = scores.normalised.mean(0)
    assert len(each) == len(scores.games) == 26
    found = round(each.mean(), 3), round(float(np.median(each)), 3), int((each >= 1).sum())
    assert found == HEADLINES[name]
    assert " at " in scores.source  # repository and commit


def test_diamond_is_that_of_the_official_fixture():
    data = np.load(ROOT / "tests/fixtures/rliable_atari100k.npz")
    ours = load()["DIAMOND"].normalised
    assert np.allclose(ours, data["DIAMOND/out/hns"], rtol=1e-6, atol=1e-9)
    assert np.isclose(iqm(ours.ravel()), data["DIAMOND/out/mean_median_iqm_optgap"][2])


def test_a_sample_for_each_game_is_the_official_stratified_bootstrap():
    def over_all(*games, axis=-1):
        return iqm(np.concatenate(games, axis), axis=axis)

    games = tuple(load()["DIAMOND"].normalised.T)
    luck = np.random.default_rng(0)
    found = bootstrap(games, over_all, n_resamples=2000, method="percentile", rng=luck)
    data = np.load(ROOT / "tests/fixtures/rliable_atari100k.npz")
    assert np.allclose(
        found.confidence_interval, data["DIAMOND/out/ci95_low_high"][:, 2], atol=0.02
    )


def test_normalised_is_0_at_random_and_1_at_human():
    random, human = np.array([10.0, -20.0]), np.array([30.0, 20.0])
    assert normalised(random, random, human).tolist() == [0, 0]
    assert normalised(human, random, human).tolist() == [1, 1]
    assert normalised(np.array([[50.0, 0.0]]), random, human).tolist() == [[2, 0.5]]
