"""The tasks are gymnasium's; a recording is in the arrival convention; pictures show the pose."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from utils.agents.through_model import Controller
from utils.data.hidden import (
    Babble,
    CartPole,
    Pendulum,
    pain_rate,
    real_steps,
    record,
    windows,
)

torch.set_num_threads(1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_pendulum_is_gymnasium_s_with_each_action_held_twice():
    env, task = gym.make("Pendulum-v1").unwrapped, Pendulum(visible=True)
    state = task.reset(1, generator(3))
    env.reset(seed=0)
    env.state = state[0].double().numpy()
    for t in range(60):
        share = np.float32(np.sin(0.4 * t) * 1.3)  # beyond the largest torque at times
        rewards = [env.step(np.array([2 * share]))[:2] for _ in range(2)]
        state, pain, terminated = task.step(state, torch.tensor([[share]]))
        seen = task.observe(state)[0].numpy() * [1, 1, 8]
        assert np.allclose(seen, rewards[-1][0], atol=2e-3), t
        mean = (rewards[0][1] + rewards[1][1]) / 2
        assert pain.item() == pytest.approx(mean / task.worst, abs=1e-3)
        assert not terminated.any()


def test_the_pole_is_gymnasium_s_and_pays_its_pain():
    env = gym.make("CartPole-v1", sutton_barto_reward=True).unwrapped
    task, rng = CartPole(visible=True), np.random.default_rng(0)
    for episode in range(5):
        env.reset(seed=episode)
        state, fallen = torch.tensor(env.state, dtype=torch.float32)[None], False
        while not fallen:
            push = int(rng.integers(2))
            _, reward, fallen, _, _ = env.step(push)
            state, pain, terminated = task.step(state, torch.eye(2)[[push]])
            assert np.allclose(state[0].numpy(), env.state, atol=1e-5)
            assert (pain.item(), terminated.item()) == (reward, fallen)


def test_velocities_are_hidden_unless_asked_for():
    for kind, size in ((Pendulum, 2), (CartPole, 2)):
        task, open_task = kind(), kind(visible=True)
        slow = task.reset(1, generator())
        fast = slow.clone()
        fast[:, 1] += 1.0
        assert torch.equal(task.observe(slow), task.observe(fast))
        assert not torch.equal(open_task.observe(slow), open_task.observe(fast))
        assert task.spec.observation_space.shape == (size,)
        assert open_task.spec.observation_space.shape == open_task.observe(slow).shape[1:]


class Watched:
    """Pushes right, and notes what memory it was given: the number of steps of this episode."""

    def __init__(self, spec):
        self.spec, self.ages = spec, []

    def initial(self, batch):
        return torch.zeros(batch, 1)

    def __call__(self, observation, memory):
        self.ages.append(memory[:, 0].clone())
        output = torch.zeros(len(memory), self.spec.action_size)
        output[:, -1] = 1.0
        return output, memory + 1

    def sample(self, output, generator=None):
        return output

    action = sample


@pytest.mark.parametrize("task", [CartPole(), Pendulum()], ids=["pole", "pendulum"])
def test_a_recording_is_in_the_arrival_convention(task):
    who = Watched(task.spec)
    step, state = record(task, who, 3, 250, generator())
    assert step.first[:, 0].all()
    assert step.first.sum() > 3
    assert (step.action[step.first] == 0).all()
    assert (step.reward[step.first] == 0).all()
    assert not (step.first & step.terminated).any()
    assert (step.action[~step.first][:, -1] == 1).all()
    # A new episode begins exactly behind an end or the time limit, and there memory is empty.
    ages = torch.stack(who.ages, 1)
    assert torch.equal(ages == 0, step.first)
    over = step.terminated | (ages >= task.limit)
    assert torch.equal(step.first[:, 1:], over[:, :-1])
    # Rows follow from each other by the task's own physics.
    for t in range(1, 250):
        inside = ~step.first[:, t]
        after, pain, fallen = task.step(state[:, t - 1], step.action[:, t])
        assert torch.equal(after[inside], state[inside, t])
        assert torch.equal(pain[inside], step.reward[inside, t])
        assert torch.equal(fallen[inside], step.terminated[inside, t])
    assert torch.equal(task.observe(state.flatten(0, 1)), step.observation.flatten(0, 1))
    assert real_steps(step) == 750 - int(step.first.sum())


def test_pain_of_the_pole_is_falls_per_step():
    task = CartPole()
    rate = pain_rate(task, Watched(task.spec), 8)
    step, _ = record(task, Watched(task.spec), 8, 501, generator(0), mode=True)
    assert rate == pytest.approx((step.terminated.sum() / (~step.first).sum()).item())
    assert 0.09 < rate < 0.13  # pushed to the right only it falls after about nine steps


def test_mode_takes_the_most_likely_action():
    task = CartPole()
    torch.manual_seed(0)
    c = Controller(task.spec, 4)
    with torch.no_grad():
        c.out.bias[1] = 0.1
    step, _ = record(task, c, 2, 50, generator(), mode=True)
    assert (step.action[~step.first] == torch.tensor([0.0, 1.0])).all()
    drawn, _ = record(task, c, 2, 50, generator())
    assert 0.2 < drawn.action[~drawn.first][:, 1].mean() < 0.8


def test_babble_holds_its_actions_as_long_as_it_is_told():
    for hold in (1.0, 4.0):
        step, _ = record(
            Pendulum(), Babble(Pendulum().spec, generator(), hold), 20, 100, generator()
        )
        same = (step.action[:, 2:] == step.action[:, 1:-1]).float().mean().item()
        assert same == pytest.approx(1 - 1 / hold, abs=0.03)
        assert step.action.abs().max() <= 1
        assert abs(step.action.std() - 3**-0.5) < 0.05
    pushes, _ = record(CartPole(), Babble(CartPole().spec, generator()), 5, 100, generator())
    assert (pushes.action[~pushes.first].sum(-1) == 1).all()
    assert 0.4 < pushes.action[~pushes.first][:, 0].mean() < 0.6


def test_windows_are_stretches_of_the_recording():
    step, _ = record(Pendulum(), Babble(Pendulum().spec, generator()), 3, 40, generator())
    cut = windows(step, 50, 7, generator(1))
    assert cut.observation.shape == (50, 7, 2)
    every = step.observation.unfold(1, 7, 1).flatten(0, 1).transpose(1, 2)
    assert all((every == one).all((1, 2)).any() for one in cut.observation)
    starts = {tuple(one[0].tolist()) for one in windows(step, 2000, 7, generator()).observation}
    assert len(starts) == 3 * 34


def test_pictures_show_where_things_are():
    up, right = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    picture = Pendulum().picture(torch.cat([up, right]), 32)
    assert picture.shape == (2, 32, 32)
    assert picture.min() == 0
    assert 0.9 < picture.max() <= 1
    assert picture[0, :14].sum() > 10 * picture[0, 18:].sum()
    assert picture[1, :, 18:].sum() > 10 * picture[1, :, :14].sum()
    leaning = CartPole().picture(torch.tensor([[0.5, 0.8], [-0.5, -0.8]]), 32)
    assert leaning[0, :, 16:].sum() > 10 * leaning[0, :, :16].sum()
    assert torch.allclose(leaning[0], leaning[1].flip(-1), atol=1e-5)
