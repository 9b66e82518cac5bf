"""Categoricals against danijar/dreamerv3 at e3f0224 (embodied/jax/outs.py) and theory."""

import math

import torch

from tests.official import close, official
from utils.nn.one_hot import draw, straight_through, unimix

torch.set_num_threads(1)


def test_unimix_and_straight_through_are_the_official_ones():
    given, expected = official("dreamerv3_categorical_unimix")
    logits = given["logits_a"].requires_grad_()
    probability = unimix(logits, 0.1)
    close(probability.log(), expected["logits"], rtol=1e-5, atol=1e-5)
    value = straight_through(probability, given["event"].long())
    assert torch.equal(value.detach(), expected["straight_through_value"])
    (gradient,) = torch.autograd.grad((given["w"] * value).sum(), logits)
    close(gradient, expected["straight_through_grad"], rtol=1e-5, atol=1e-5)


def test_no_class_is_impossible():
    logits = torch.tensor([[200.0, 0.0, 0.0, -200.0]])
    probability = unimix(logits, 0.01)
    assert torch.allclose(probability.sum(-1), torch.ones(1))
    assert probability.min() >= 0.01 / 4 * (1 - 1e-6)
    other = unimix(-logits, 0.01)
    kl = (probability * (probability / other).log()).sum()
    assert 5 < kl < math.log(4 / 0.01)
    assert torch.equal(unimix(logits, 0.0), logits.softmax(-1))


def test_a_draw_falls_where_the_noise_falls():
    probability = torch.tensor([0.0, 0.25, 0.5, 0.0, 0.25, 0.0])
    noise = torch.tensor([0.0, 0.2, 0.25, 0.7, 0.75, 0.9999999])
    assert draw(probability.expand(6, 6), noise).tolist() == [1, 1, 2, 2, 4, 4]
    assert draw(3 * probability.expand(6, 6), noise).tolist() == [1, 1, 2, 2, 4, 4]


def test_draws_have_their_probabilities():
    generator = torch.Generator().manual_seed(0)
    probability = torch.tensor([0.1, 0.2, 0.7])
    index = draw(probability.expand(20000, 3), torch.rand(20000, generator=generator))
    share = torch.nn.functional.one_hot(index, 3).float().mean(0)
    assert torch.allclose(share, probability, atol=0.015)  # 4 standard errors


def test_a_certain_class_is_drawn_whatever_the_noise():
    noise = torch.rand(10000, generator=torch.Generator().manual_seed(1))
    noise[0] = 1 - 2**-24  # the largest float below one
    logits = torch.full((10000, 7), -60.0)
    logits[:, 2] = 60.0
    assert (draw(logits.softmax(-1), noise) == 2).all()
