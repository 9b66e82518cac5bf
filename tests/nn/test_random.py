"""Samples follow their distributions, and their generator alone."""

import pytest
import torch

from utils.nn.random import bernoulli, categorical, dirichlet, gumbel, normal

torch.set_num_threads(1)
N = 20000


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_normal_has_its_mean_and_standard_deviation():
    mean, std = torch.tensor([-1.0, 5.0]), torch.tensor([0.5, 2.0])
    draw = normal(mean.expand(N, 2), std, seeded())
    assert torch.allclose(draw.mean(0), mean, atol=0.05)
    assert torch.allclose(draw.std(0), std, rtol=0.03)
    assert torch.equal(normal(mean, 0.0, seeded()), mean)


def test_normal_is_reparameterised():
    mean = torch.zeros(3, requires_grad=True)
    std = torch.ones(3, requires_grad=True)
    draw = normal(mean, std, seeded())
    draw.sum().backward()
    assert mean.grad.tolist() == [1, 1, 1]
    assert torch.allclose(std.grad, draw.detach())  # d(mean + std * e) / d std = e


def test_categorical_has_its_probabilities():
    logits = torch.tensor([[0.0, 1.0, 2.0, -torch.inf], [3.0, 3.0, 3.0, 3.0]]) + 7  # unnormalised
    draw = categorical(logits.expand(N, 2, 4), seeded())
    assert draw.shape == (N, 2)
    share = torch.nn.functional.one_hot(draw, 4).float().mean(0)
    assert torch.allclose(share, logits.softmax(-1), atol=0.015)  # 4 standard errors
    assert share[0, 3] == 0


def test_bernoulli_has_its_probability_and_its_limits():
    probability = torch.tensor([0.0, 0.3, 1.0]).expand(N, 3)
    share = bernoulli(probability, seeded()).float().mean(0)
    assert share[0] == 0
    assert share[2] == 1
    assert abs(share[1] - 0.3) < 0.015


def test_gumbel_noise_turns_an_arg_max_into_a_draw():
    logits = torch.tensor([0.0, 1.0, 2.0]).expand(N, 3)
    noise = gumbel(logits.shape, logits, seeded())
    assert abs(noise.mean() - 0.5772) < 0.02  # Euler's constant
    share = torch.nn.functional.one_hot((logits + noise).argmax(-1), 3).float().mean(0)
    assert torch.allclose(share, logits[0].softmax(-1), atol=0.015)


def test_dirichlet_has_its_mean_and_its_variance():
    for alpha in (0.03, 0.3, 2.0):
        draw = dirichlet(torch.full((N, 4), alpha) * torch.tensor([1.0, 1, 0, 1]), seeded())
        assert torch.allclose(draw.sum(-1), torch.ones(N))
        assert (draw[:, 2] == 0).all()
        mean, variance = 1 / 3, (1 / 3) * (2 / 3) / (3 * alpha + 1)
        assert torch.allclose(draw.mean(0)[[0, 1, 3]], torch.tensor(mean), atol=0.015)
        assert torch.allclose(draw.var(0)[[0, 1, 3]], torch.tensor(variance), atol=0.01)


SAMPLERS = {
    "normal": lambda x, generator: normal(x, 1.0, generator),
    "categorical": categorical,
    "bernoulli": lambda x, generator: bernoulli(x.sigmoid(), generator),
    "dirichlet": lambda x, generator: dirichlet(x.exp(), generator),
}


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS)
def test_samples_depend_on_their_generator_and_their_own_row(sample):
    x = torch.randn(64, 5, generator=seeded(9))
    ambient = torch.get_rng_state()
    once = sample(x, seeded(1))
    assert torch.equal(once, sample(x, seeded(1)))
    assert not torch.equal(once, sample(x, seeded(2)))
    assert torch.equal(ambient, torch.get_rng_state())
    other = x.clone()
    other[0] += 3
    assert torch.equal(once[1:], sample(other, seeded(1))[1:])
    generators = seeded(1), seeded(1)
    sample(x, generators[0])
    sample(other, generators[1])  # other values, same amount of noise
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS)
def test_a_cpu_generator_serves_every_device(sample):
    assert sample(torch.zeros(4, 3, device="meta"), seeded()).device.type == "meta"
    assert sample(torch.zeros(4, 3, device="meta"), None).device.type == "meta"


@pytest.mark.parametrize("sample", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu(sample):
    x = torch.zeros(400, 3)
    cpu, moved = sample(x, seeded()), sample(x.cuda(), seeded())
    assert torch.equal(cpu, moved.cpu())
    generator = torch.Generator("cuda").manual_seed(0)
    assert sample(x.cuda(), generator).is_cuda
