"""The exact pendulum is gymnasium's."""

import pytest
import torch

from tests.conformance import RULES, Case, random_steps
from utils.data.pendulum import ExactPendulum, pendulums
from utils.world import Step, interact, rows

torch.set_num_threads(1)


def any_action(state, generator):
    return 2 * torch.rand(rows(state), 1, generator=generator) - 1


def slow(spec):
    """Away from the largest velocity, where the torque has no more effect."""
    data = random_steps(spec)
    return data._replace(observation=data.observation * torch.tensor([1.0, 1.0, 0.2]))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_conformance(rule):
    rule(Case(ExactPendulum, data=slow))


def test_equations_are_gymnasiums():
    world, generator = ExactPendulum(), torch.Generator().manual_seed(0)
    seen = interact(pendulums(3), world, any_action, episodes=1, seed=0, generator=generator)
    rows_ = seen.step
    assert rows_.reward.shape == (3, 101)  # 200 frames, two for each decision
    state = world.observe(world.initial(3), Step(*(v[:, 0] for v in rows_)))
    total = torch.zeros(3)
    for t in range(1, 101):
        dreamt = world.imagine(state, rows_.action[:, t])
        torch.testing.assert_close(dreamt.reward, rows_.reward[:, t], rtol=1e-3, atol=1e-3)
        decoded = world.decode(dreamt.state)
        torch.testing.assert_close(decoded, rows_.observation[:, t], rtol=1e-3, atol=1e-3)
        state = world.observe(dreamt.state, Step(*(v[:, t] for v in rows_)))
        total = total + rows_.reward[:, t]
    torch.testing.assert_close(total, seen.returns)
    assert (seen.returns < -200).all()
