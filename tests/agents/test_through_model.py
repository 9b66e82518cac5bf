"""What C is given, what reaches it, and what its gradient is."""

import pytest
import torch

from utils.agents.through_model import Controller, dream_cost, remembered
from utils.data.hidden import Babble, CartPole, Pendulum, record
from utils.world import Step, frozen
from utils.worlds.recurrent import Recurrent

torch.set_num_threads(1)
TASKS = [CartPole(), Pendulum()]
NAMES = ["pole", "pendulum"]


def pair(task, dtype=torch.float32, **options):
    torch.manual_seed(0)
    world, c = Recurrent(task.spec, 6).to(dtype), Controller(task.spec, 5, **options).to(dtype)
    with torch.no_grad():
        c.out.weight.normal_()
    return world, c


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_gradients_reach_all_of_c_and_nothing_of_m(task):
    world, c = pair(task)
    state, memory = world.initial(3), c.initial(3)
    with frozen(world):
        dream_cost(world, c, state, memory, 5).sum().backward()
    assert all(p.grad is None for p in world.parameters())
    reached = {n for n, p in c.named_parameters() if p.grad is not None and (p.grad != 0).any()}
    assert reached == {n for n, _ in c.named_parameters()} - {"log_std"}
    assert all(p.requires_grad for p in world.parameters())


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_gradcheck_of_the_whole_roll_out(task):
    world, c = pair(task, torch.float64)
    generator = torch.Generator().manual_seed(0)
    memory = torch.randn(2, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    seen = torch.randn(2, 2, generator=generator, dtype=torch.float64, requires_grad=True)

    def cost(memory, seen):
        return dream_cost(world, c, world.initial(2) | {"observation": seen}, memory, 6, 0.2)

    assert torch.autograd.gradcheck(cost, (memory, seen))


def test_the_cost_is_half_the_squared_distance_from_what_is_desired():
    world, c = pair(Pendulum())
    state, memory = world.initial(3), c.initial(3)
    cost = dream_cost(world, c, state, memory, 2, desired=0.5)
    output, memory = c(state["observation"], memory)
    state, first, _ = world.imagine(state, output.tanh())
    output, _ = c(state["observation"], memory)
    _, second, _ = world.imagine(state, output.tanh())
    expected = torch.stack([(0.5 - first) ** 2 / 2, (0.5 - second) ** 2 / 2], 1)
    assert torch.allclose(cost, expected)


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_what_is_remembered_is_that_of_one_episode(task):
    world, c = pair(task)
    generator = torch.Generator().manual_seed(0)
    step, _ = record(task, Babble(task.spec, generator), 4, 130, generator)
    row, start = (step.first[:, 1:].nonzero() + torch.tensor([0, 1]))[0].tolist()
    here = [Step(*(v[row : row + 1, t : start + 3] for v in step)) for t in (start - 3, start)]
    (state, memory), (alone, own) = (remembered(world, c, part) for part in here)
    assert all(torch.allclose(state[k], alone[k]) for k in state)
    assert torch.allclose(memory, own)
    assert torch.equal(state["observation"][0], step.observation[row, start + 2])
    # C has not seen the last row yet: the dream begins with it.
    _, after = c(step.observation[row : row + 1, start], c.initial(1))
    _, after = c(step.observation[row : row + 1, start + 1], after)
    assert torch.allclose(memory, after)


def test_without_memory_the_past_changes_nothing():
    for remembers in (True, False):
        _, c = pair(CartPole(), remembers=remembers)
        seen = torch.tensor([[0.1, -0.2]])
        outputs = [c(seen, torch.full((1, 5), past))[0] for past in (0.0, 0.9)]
        assert torch.equal(*outputs) != remembers


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_samples_come_with_the_probability_that_log_prob_says(task):
    _, c = pair(task, std=0.4)
    generator = torch.Generator().manual_seed(0)
    output = torch.randn(1, task.spec.action_size, generator=generator).expand(20_000, -1)
    drawn = c.sample(output, generator)
    if task.spec.discrete:
        assert torch.allclose(drawn.mean(0), output[0].softmax(-1), atol=0.015)
        both = c.log_prob(torch.stack([output[0]] * 2), torch.eye(2)).exp()
        assert torch.allclose(both, c.action(output[:1])[0])
    else:
        normal = torch.distributions.Normal(output.tanh(), 0.4)
        assert torch.allclose(c.log_prob(output, drawn), normal.log_prob(drawn)[:, 0], atol=1e-5)
        assert abs(drawn.mean() - output[0].tanh()) < 0.015
        assert abs(drawn.std() - 0.4) < 0.01
