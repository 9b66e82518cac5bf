"""The cross-entropy method: against the official numbers, on known costs, on a pendulum."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from utils.agents.cem import Planner, candidate_returns, cem, refit
from utils.course.exercise import ROOT
from utils.data.pendulum import ACTION, OBSERVATION, ExactPendulum, pendulums
from utils.world import Dreamt, Spec, interact

torch.set_num_threads(1)


class Linear:
    """p' = p W + a / 2, with a reward of minus the squared distance of p' from a goal."""

    def __init__(self, weight, goal):
        self.weight, self.goal = weight, goal
        box = Box(-1, 1, (2,), np.float32)
        self.spec = Spec(box, box, cont=False)

    def imagine(self, state, action, *, generator=None, mode=False):
        p = state["p"] @ self.weight + 0.5 * action
        reward = -(p - state["goal"]).square().sum(-1)
        return Dreamt({"p": p, "goal": state["goal"]}, reward, None)


def official():
    data = np.load(ROOT / "tests/fixtures/planet_cem.npz")
    arrays = {k.rpartition("/")[2]: torch.from_numpy(data[k]) for k in data.files}
    return arrays, Linear(arrays["W"], arrays["goal"])


def test_the_plan_is_the_official_one():
    arrays, world = official()
    state = {"p": arrays["s0"], "goal": arrays["goal"]}
    plan = cem(lambda a: candidate_returns(world, state, a), arrays["noise"], elites=8)
    torch.testing.assert_close(plan, arrays["mean"], rtol=1e-4, atol=1e-5)


def test_a_batch_is_its_rows():
    """Where the official code mixes states and candidates of several environments."""
    world = official()[1]
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(5, 3, 50, 4, 2, generator=generator)
    state = {k: torch.randn(3, 2, generator=generator) for k in ("p", "goal")}
    together = cem(lambda a: candidate_returns(world, state, a), noise, elites=8)
    for b in range(3):
        row = {k: v[b : b + 1] for k, v in state.items()}
        alone = cem(lambda a: candidate_returns(world, row, a), noise[:, b : b + 1], elites=8)  # noqa: B023
        torch.testing.assert_close(alone, together[b : b + 1])


def test_elites_are_the_best():
    returns = torch.tensor([[3.0, 1.0, 2.0, 0.0]])
    actions = torch.arange(4.0).view(1, 4, 1, 1)
    mean, std = refit(actions, returns, 2)
    assert mean.item() == 1.0  # candidates 0 and 2
    assert std.item() == pytest.approx((1 + 1e-6) ** 0.5)


@pytest.mark.parametrize("seed", range(3))
def test_better_than_random_shooting_on_a_quadratic(seed):
    generator = torch.Generator().manual_seed(seed)
    goal = torch.rand(1, 1, 12, 1, generator=generator) - 0.5

    def score(actions):
        return -(actions - goal).square().sum((-1, -2))

    noise = torch.randn(10, 1, 100, 12, 1, generator=generator)
    plan = cem(score, noise, elites=10)
    shot = noise.transpose(0, 1).flatten(1, 2).clamp(-1, 1)
    assert -score(plan[:, None]).item() <= 0.1 * -score(shot).max().item()


def test_an_exact_world_swings_the_pendulum_up():
    world = ExactPendulum()
    planner = Planner(world, candidates=64, elites=8, iterations=4)
    generator = torch.Generator().manual_seed(0)
    seen = interact(pendulums(4), world, planner, episodes=1, seed=0, generator=generator)
    assert seen.returns.min() >= -400


def test_noise_is_added_to_the_action_and_clipped():
    world = ExactPendulum()
    state = world.initial(512)
    planner = Planner(world, candidates=4, elites=2, iterations=1, horizon=2, action_noise=0.3)
    action = planner(state, torch.Generator().manual_seed(0))
    assert action.shape == (512, 1)
    assert action.abs().max() <= 1
    assert (OBSERVATION.shape, ACTION.shape) == ((3,), (1,))
