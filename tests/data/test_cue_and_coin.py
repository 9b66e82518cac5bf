"""The cue returns, the coin is fair, and the two measures say so."""

import torch

from utils.data.cue_and_coin import boldness, cue_and_coin, recall

torch.set_num_threads(1)


def test_cue_hides_and_returns_and_the_coin_is_fair():
    data = cue_and_coin(4000, torch.Generator().manual_seed(0))
    cue, coin = data.observation.unbind(-1)
    assert (cue[:, 1:7] == 0).all()
    assert (cue[:, 7:] == cue[:, :1]).all()
    assert abs(cue[:, 0].mean()) < 0.06
    assert coin.abs().eq(1).all()
    assert coin.mean(0).abs().max() < 0.06
    flat = coin - coin.mean(0)
    covariance = flat.T @ flat / len(flat)
    assert (covariance - covariance.diag().diag()).abs().max() < 0.07
    assert data.first[:, 0].all()
    assert not data.first[:, 1:].any()


def test_measures():
    data = cue_and_coin(100, torch.Generator().manual_seed(0))
    truth = data.observation[:, 1:]
    assert (recall(truth, data), boldness(truth)) == (1.0, 1.0)
    assert (recall(-truth, data), boldness(0 * truth)) == (0.0, 0.0)
