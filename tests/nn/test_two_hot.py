"""Symlog and two-hot against danijar/dreamerv3 at e3f0224 (embodied/jax/nets.py, heads.py, outs.py)
and against their definitions."""

import pytest
import torch

from tests.official import close, official
from utils.nn.symlog import symexp, symlog
from utils.nn.two_hot import TwoHot, exponential_bins, two_hot

torch.set_num_threads(1)


def test_symexp_is_the_official_one():
    given, expected = official("dreamerv3_symlog")
    x = given["x"].requires_grad_()
    y = symexp(x)
    close(y, expected["y"], rtol=2e-6, atol=1e-30)
    y.sum().backward()
    away = given["x"] != 0
    close(x.grad[away], expected["dydx"][away], rtol=2e-6, atol=1e-30)


def test_symlog_and_symexp_undo_each_other():
    x = torch.linspace(-8, 8, 41, dtype=torch.float64)
    assert torch.allclose(symlog(symexp(x)), x)
    big = torch.tensor([-1e6, -0.1, 0.0, 3.0, 1e8], dtype=torch.float64)
    assert torch.allclose(symexp(symlog(big)), big)
    assert torch.allclose(symlog(torch.tensor(1e-6)), torch.tensor(1e-6))  # slope 1 at zero


def test_bins_loss_and_mean_are_the_official_ones():
    given, expected = official("dreamerv3_symexp_twohot")
    head = TwoHot(254)
    # Theirs are spaced in float32: 20 (1 - 125/126) alone is 7e-6 off there. Ours are exact.
    exact = symexp(torch.linspace(-20, 0, 127, dtype=torch.float64))
    assert torch.equal(head.bins[:127], exact.float())
    close(head.bins, expected["bins"], rtol=1e-5, atol=0)
    head.bins = expected["bins"]
    logits = given["logits"].requires_grad_()
    log_probs = logits.log_softmax(-1)
    loss = head.loss(log_probs, given["target"])
    close(loss, expected["loss"], rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    close(gradient, expected["dloss_dlogits"], rtol=1e-5, atol=1e-6)
    # Sums of terms up to 5e8 that cancel: compare to the size of what is summed.
    size = (log_probs.exp() * head.bins.abs()).sum(-1).detach()
    mean = head.mean(log_probs).detach()
    assert ((mean - expected["pred"]).abs() <= 1e-3 + 1e-6 * size).all()
    assert mean[[0, 4]].tolist() == [0, 0]  # uniform and symmetric logits


@pytest.mark.parametrize("number", [254, 255])
def test_bins_are_symmetric_to_the_bit(number):
    bins = exponential_bins(number)
    assert len(bins) == number
    assert torch.equal(bins, -bins.flip(0))
    assert (bins.diff() >= 0).all()
    assert bins[-1].item() == pytest.approx(485165194, rel=1e-6)


@pytest.mark.parametrize("number", [254, 255])
def test_a_head_that_starts_at_zero_predicts_exactly_zero(number):
    head = TwoHot(number)
    assert head.mean(torch.zeros(3, number).log_softmax(-1)).tolist() == [0, 0, 0]


def test_two_hot_has_two_neighbours_and_the_mean_of_its_value():
    bins = exponential_bins(255).double()
    value = torch.tensor([-3e5, -7.3, -1e-3, 0.0, 0.4, 12.0, 2e7], dtype=torch.float64)
    target = two_hot(value, bins)
    assert torch.allclose(target @ bins, value)
    assert torch.allclose(target.sum(-1), torch.ones(7, dtype=torch.float64))
    for row in target:
        places = row.nonzero().flatten()
        assert len(places) <= 2
        assert (places.diff() == 1).all()
    on_a_bin = two_hot(bins, bins)
    assert torch.equal(on_a_bin, torch.eye(255, dtype=torch.float64))
    beyond = two_hot(torch.tensor([-1e10, 1e10], dtype=torch.float64), bins)
    assert beyond[0].argmax() == 0
    assert beyond[1].argmax() == 254
    assert beyond.amax(-1).tolist() == [1, 1]


def test_the_gathered_loss_is_the_cross_entropy_of_the_target():
    generator = torch.Generator().manual_seed(0)
    head = TwoHot()
    logits = torch.randn(50, 255, generator=generator, requires_grad=True)
    value = 1000 * torch.randn(50, generator=generator) ** 3
    log_probs = logits.log_softmax(-1)
    plain = -(two_hot(value, head.bins) * log_probs).sum(-1)
    close(head.loss(log_probs, value), plain, atol=1e-5)
    other = torch.randn(50, generator=generator)
    both = head.loss(log_probs, value, other)
    close(both, plain + head.loss(log_probs, other), atol=1e-5)
    (gathered,) = torch.autograd.grad(head.loss(log_probs, value).sum(), logits, retain_graph=True)
    close(gathered, torch.autograd.grad(plain.sum(), logits)[0])


def test_targets_get_no_gradient():
    value = torch.ones(4, requires_grad=True)
    log_probs = torch.zeros(4, 255, requires_grad=True).log_softmax(-1)
    TwoHot().loss(log_probs, value).sum().backward()
    assert value.grad is None
