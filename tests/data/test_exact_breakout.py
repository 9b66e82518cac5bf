"""The exact world is Breakout: it goes through the game's own steps beside it."""

import numpy as np
import pytest
import torch

from tests.conformance import RULES, Case
from utils.data import minatar
from utils.data.exact_breakout import ExactBreakout
from utils.data.minatar_players import Wanderer
from utils.data.sequences import sample_windows
from utils.world import Step, rollout, to_tensor

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def data():
    """Episodes of both players, from plain and random states, with and without bricks."""
    return minatar.make("breakout", 6000, 1000, seed=5)[0].train


@pytest.fixture(scope="module")
def walk(data):
    """The stream in 50 pieces side by side, filtered row by row: the steps, the states, and what
    imagining from each state gives."""
    world, length = ExactBreakout(), len(data.reward) // 50
    steps = Step(*(v[: 50 * length].unflatten(0, (50, length)) for v in data))
    state, states, dreamt = world.initial(50), [], []
    for t in range(length):
        state = world.observe(state, Step(*(v[:, t] for v in steps)))
        states.append(world.decode(state))
        if t + 1 < length:
            after, reward, cont = world.imagine(state, steps.action[:, t + 1])
            dreamt.append((world.decode(after), reward, cont))
    return steps, torch.stack(states, 1), [torch.stack(v, 1) for v in zip(*dreamt, strict=True)]


def test_it_looks_like_what_it_has_seen(walk):
    assert torch.equal(walk[1], walk[0].observation.float())


def test_the_next_frame_reward_and_end_are_the_game_s_own(walk):
    """From the first frame of an episode on, or the fifth where a piece begins within one."""
    steps, _, (frames, reward, cont) = walk
    going = ~steps.first[:, 1:]
    going[:, :4] &= steps.first[:, :4].cumsum(1) > 0
    truth = Step(*(v[:, 1:][going] for v in steps))
    assert torch.equal(frames[going], truth.observation.float())
    assert torch.equal(reward[going], truth.reward)
    assert torch.equal(cont[going] == 0, truth.terminated)
    # The rare rules were among them.
    bricks = steps.observation[..., 3].flatten(2).sum(2)
    assert (bricks.diff(dim=1)[~steps.first[:, 1:]] > 0).any()  # new bricks
    assert (steps.observation[..., 1] & steps.observation[..., 3]).any()  # a ball within a brick
    assert truth.terminated.sum() > 50


def test_a_context_cut_out_anywhere_is_enough(data):
    """Five frames from the middle of an episode, then 20 steps of dream: no mistake."""
    window = sample_windows(data, 3000, 25, torch.Generator().manual_seed(0))
    world = ExactBreakout()
    state = world.initial(3000)
    for t in range(5):
        state = world.observe(state, Step(*(v[:, t] for v in window)))
    out = rollout(world, state, window.action[:, 5:], 20, read=world.decode)
    inside = window.first[:, 5:].cumsum(1) == 0
    assert torch.equal(out.state[inside], window.observation[:, 5:][inside].float())


def test_a_game_that_is_over_stands_still():
    world = ExactBreakout()
    state = world.initial(1) | {"ball": torch.tensor([[8, 2]]), "paddle": torch.tensor([9])}
    stay = to_tensor(world.spec.action_space, torch.tensor([0]))
    lost = world.imagine(state, stay)
    assert (lost.cont.item(), lost.state["ball"].tolist()) == (0, [[9, 3]])
    after = world.imagine(lost.state, stay)
    assert (after.cont.item(), after.reward.item()) == (0, 0)
    assert all(torch.equal(after.state[k], v) for k, v in lost.state.items())


def test_its_hidden_state_is_the_game_s_own():
    """2,000 steps beside the environment, without ever looking at it again in a game."""
    env, world, action_space = minatar.MinAtar(), ExactBreakout(), minatar.MinAtar().action_space
    player, none = Wanderer(np.random.RandomState(0)), torch.zeros(1)
    env.reset(seed=1)
    terminated, games = True, 0
    for _ in range(2000):
        if terminated:
            frame = torch.from_numpy(env.reset(options={"scattered": games % 2 == 1})[0])[None]
            opening = Step(frame, torch.zeros(1, 3), none, none == 0, none != 0)
            state, games = world.observe(world.initial(1), opening), games + 1
        action = player(env.game.env)
        frame, reward, terminated, _, _ = env.step(action)
        state, dreamt, cont = world.imagine(state, to_tensor(action_space, np.array([action])))
        game = env.game.env
        assert (dreamt.item(), cont.item()) == (reward, not terminated)
        assert np.array_equal(world.decode(state)[0].numpy(), frame)
        way = [1 if game.ball_dir in (2, 3) else -1, 1 if game.ball_dir in (1, 2) else -1]
        assert state["strike"].item() == game.strike
        assert terminated or state["way"][0].tolist() == way
    assert games > 10


def openings(spec):
    """Windows of the data, the first row of each made the first of an episode."""
    window = sample_windows(
        minatar.make("breakout", 600, 100, seed=2)[0].train,
        batch=3,
        length=6,
        generator=torch.Generator().manual_seed(3),
    )
    first = window.first.clone()
    first[:, 0] = True
    action, reward = window.action * ~first[..., None], window.reward * ~first
    return window._replace(first=first, action=action, reward=reward)


CASE = Case(ExactBreakout, data=openings)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_conformance(rule):
    rule(CASE)
