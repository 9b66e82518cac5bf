"""M is a world; its loss is what its docstring says; it can learn the pole."""

import pytest
import torch

from tests.conformance import RULES, Case
from utils.data.hidden import Babble, CartPole, Pendulum, record, windows
from utils.world import Step, rollout
from utils.worlds.recurrent import Recurrent

torch.set_num_threads(1)


def made(task):
    torch.manual_seed(0)
    world = Recurrent(task.spec, 8)
    world.change.copy_(torch.tensor([0.1, 0.3]))
    world.pain.fill_(0.5)
    return world


CASES = {
    "pole": Case(lambda: made(CartPole())),
    "pendulum": Case(lambda: made(Pendulum())),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", CASES)
def test_conformance(rule, name):
    rule(CASES[name])


def data(task, rows=4, steps=40, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return record(task, Babble(task.spec, generator), rows, steps, generator).step


def test_the_units_are_those_of_the_data():
    step = data(CartPole(), 6, 80)
    world = made(CartPole())
    world.measure_units(step)
    pairs = [
        (step.observation[i, t] - step.observation[i, t - 1], step.reward[i, t])
        for i in range(6)
        for t in range(1, 80)
        if not step.first[i, t]
    ]
    changes, pains = (torch.stack(column) for column in zip(*pairs, strict=True))
    assert torch.allclose(world.change, changes.std(0))
    assert torch.allclose(world.pain, pains.std())


def test_first_rows_are_no_part_of_the_loss():
    step, world = data(CartPole()), made(CartPole())
    assert step.first[:, 1:].any()
    before = world.loss(step)[0]
    poisoned = step.reward.masked_fill(step.first, 1e6)
    assert torch.equal(world.loss(step._replace(reward=poisoned))[0], before)


@pytest.mark.parametrize("given", [1, 4, 99])
def test_behind_the_given_rows_m_is_on_its_own(given):
    world, step = made(Pendulum()), data(Pendulum(), 3, 12)
    world.given = given
    _, _, starts = world.loss(step)
    seen = starts["observation"].view(3, 12, 2)
    assert torch.equal(seen[:, :given], step.observation[:, :given])
    if given < 12:
        state = {k: v.view(3, 12, -1)[:, given - 1] for k, v in starts.items()}
        alone = rollout(world, state, step.action[:, given:], 12 - given)
        assert torch.allclose(alone.state["observation"], seen[:, given:], atol=1e-6)


def test_the_loss_in_an_episode_that_starts_anew_is_that_of_two_episodes():
    world, step = made(CartPole()), data(CartPole(), 1, 60)
    cut = int(step.first[0, 1:].nonzero()[0]) + 1
    world.given = 2
    parts = [Step(*(v[:, part] for v in step)) for part in (slice(cut), slice(cut, 60))]
    _, _, whole = world.loss(step)
    _, _, first = world.loss(parts[0])
    assert torch.allclose(whole["hidden"][:cut], first["hidden"], atol=1e-6)
    # The first row of the second episode is seen in both; later rows are dreamt from there.
    world.given = 1
    _, _, second = world.loss(parts[1])
    assert torch.allclose(whole["hidden"][cut:], second["hidden"], atol=1e-6)


def test_it_learns_the_pole_better_than_standing_still():
    task = CartPole()
    generator = torch.Generator().manual_seed(0)
    step, test = data(task, 5, 101), data(task, 40, 30, seed=1)
    torch.manual_seed(0)
    world = Recurrent(task.spec, 32)
    world.measure_units(step)
    optimiser = torch.optim.Adam(world.parameters(), 1e-2)
    for _ in range(80):
        loss, _, _ = world.loss(windows(step, 64, 12, generator))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(world.parameters(), 1.0)
        optimiser.step()
    with torch.no_grad():
        _, parts, _ = world.loss(test)
    moved = (test.observation[:, 1:] - test.observation[:, :-1]) / world.change
    still = moved.square().mean(-1)[~test.first[:, 1:]].mean()
    assert parts["observation"] < 0.3 * still
