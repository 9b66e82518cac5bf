"""The parts of probes: nothing random but by the generator, and gradients where there are none."""

import numpy as np
import pytest
import torch

from utils.course.probes import gradient, gradients, normal, seeded, uniform


@pytest.mark.parametrize("draw", [normal, uniform])
def test_what_is_drawn_depends_on_the_generator_alone(draw):
    one, same, other = (draw(np.random.default_rng(seed), 3, 2) for seed in (1, 1, 2))
    assert one.shape == (3, 2)
    assert one.dtype == torch.float32
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_a_seeded_generator_follows_the_probe():
    drawn = [torch.rand(2, generator=seeded(np.random.default_rng(seed))) for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_gradients_are_those_of_the_sum():
    x, w = torch.arange(6.0).view(2, 3).requires_grad_(), torch.ones(3, requires_grad=True)
    y = x.square() @ w
    assert torch.equal(gradient(y, x), 2 * x)
    found = gradients(y, input=[x], both_leaves=(w, x))
    assert list(found) == ["gradient at the input", "gradient at the both leaves"]
    expected = torch.cat([x.square().sum(0), 2 * x.flatten()])
    assert torch.equal(found["gradient at the both leaves"], expected)


def test_where_no_gradient_arrives_there_are_zeros():
    x, aside = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    assert torch.equal(gradient(2 * x, aside), torch.zeros(3))
    assert torch.equal(gradient((2 * x).detach(), x), torch.zeros(2))
