"""Surprise is the error of a prediction that was made before the row was seen."""

import torch

from utils.agents.curiosity import surprise
from utils.data.hidden import Babble, CartPole, record
from utils.evaluate.ladder import Persistence
from utils.world import Step
from utils.worlds.recurrent import Recurrent

torch.set_num_threads(1)


def rows(steps=60):
    task, generator = CartPole(), torch.Generator().manual_seed(0)
    return record(task, Babble(task.spec, generator), 3, steps, generator).step


def test_who_expects_no_change_is_surprised_by_all_change():
    step = rows()
    expected = torch.zeros_like(step.reward)
    moved = (step.observation[:, 1:] - step.observation[:, :-1]).square().mean(-1)
    expected[:, 1:] = moved.masked_fill(step.first[:, 1:], 0.0)
    found = surprise(Persistence(CartPole().spec), step)
    assert torch.allclose(found, expected)
    assert (found[step.first] == 0).all()


def test_the_future_surprises_nobody_before_it_comes():
    step = rows(20)
    torch.manual_seed(0)
    world = Recurrent(CartPole().spec, 6)
    before = surprise(world, step)
    late = torch.arange(20) >= 12
    other = step.observation.masked_fill(late[None, :, None], float("nan"))
    after = surprise(world, step._replace(observation=other))
    assert torch.equal(before[:, :12], after[:, :12])
    assert torch.allclose(surprise(world, Step(*(v[:, :12] for v in step))), before[:, :12])
