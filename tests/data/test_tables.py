"""Tables equal their sources: pictures, gymnasium's own steps, breadth-first search."""

import dataclasses
from collections import deque

import numpy as np
import pytest
import torch
from gymnasium.envs.toy_text.cliffwalking import CliffWalkingEnv
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from gymnasium.envs.toy_text.taxi import TaxiEnv

from utils.data.tables import (
    BLOCKING_MAZE,
    DYNA_MAZE,
    MOVES,
    SHORTCUT_MAZE,
    expected_outcome,
    fewest_steps,
    from_gymnasium,
    maze,
    optimal_values,
    record,
)

torch.set_num_threads(1)
MAZES = [DYNA_MAZE, *BLOCKING_MAZE, *SHORTCUT_MAZE]


class Replayed:
    """A generator of random numbers given before."""

    def __init__(self, noise):
        self.noise = iter(noise.tolist())

    def random(self):
        return next(self.noise)


@pytest.mark.parametrize(
    "make",
    [
        FrozenLakeEnv,
        lambda: FrozenLakeEnv(is_slippery=False, map_name="8x8"),
        TaxiEnv,
        lambda: TaxiEnv(is_rainy=True),
        CliffWalkingEnv,
    ],
    ids=["lake", "dry lake", "taxi", "rainy taxi", "cliff"],
)
def test_steps_are_those_of_gymnasium(make):
    env = make()
    env.reset(seed=0)
    table = from_gymnasium(env)
    rng = np.random.default_rng(0)
    count = 300
    state = rng.integers(table.states, size=count)
    action = rng.integers(table.actions, size=count)
    noise = rng.random(count).astype(np.float32)
    env.np_random = Replayed(noise)
    expected = []
    for s, a in zip(state, action, strict=True):
        env.s = int(s)
        expected.append(env.step(int(a))[:3])
    found = table.step(*map(torch.from_numpy, (state, action, noise)))
    for ours, theirs in zip((1, 0, 2), zip(*expected, strict=True), strict=True):
        assert found[ours].tolist() == list(theirs)


def test_episodes_begin_where_gymnasium_begins_them():
    env = TaxiEnv()
    table = from_gymnasium(env)
    noise = torch.linspace(0, 1 - 1e-6, 3001)
    begun = table.reset(noise).bincount(minlength=table.states) / len(noise)
    assert torch.allclose(begun, torch.tensor(env.initial_state_distrib).float(), atol=1e-3)
    assert table.start.sum() == pytest.approx(1)


def search(picture, scale):
    """Breadth-first search on the characters of a magnified picture."""
    lines = ["".join(c * scale for c in line) for line in picture.split() for _ in range(scale)]
    cells = {(i, j): c for i, line in enumerate(lines) for j, c in enumerate(line)}
    start = min(cell for cell, c in cells.items() if c == "S")
    distance, queue = {start: 0}, deque([start])
    while queue:
        i, j = queue.popleft()
        for di, dj in MOVES.values():
            to = (i + di, j + dj)
            if to in cells and cells[to] != "#" and to not in distance:
                distance[to] = distance[i, j] + 1
                if cells[to] == "G":
                    return distance[to]
                queue.append(to)
    return None


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("picture", MAZES)
def test_shortest_paths_three_ways(picture, scale):
    table = maze(picture, scale)
    start = table.start.argmax()
    steps = fewest_steps(table)[start].item()
    assert steps == search(picture, scale)
    q = optimal_values(table, 0.9)
    assert q[start].max().item() == pytest.approx(0.9 ** (steps - 1), rel=1e-4)
    best = (q == q.amax(-1, keepdim=True)).float()
    gain, length = expected_outcome(table, (best / best.sum(-1, keepdim=True))[None], 4 * steps)
    assert (gain.item(), length.item()) == pytest.approx((1, steps))


def test_the_book_s_mazes():
    lengths = [fewest_steps(maze(m))[maze(m).start.argmax()].item() for m in MAZES]
    assert lengths == [14, 10, 16, 16, 10]


def test_moves_walls_and_the_goal_by_hand():
    table = maze("S#\n.G")  # cells 0 1 / 2 3
    up, down, left, right = range(4)
    state = torch.tensor([0, 0, 0, 0, 2, 2, 3, 1, 1])
    action = torch.tensor([up, down, left, right, right, up, left, down, left])
    reward, after, ended = table.step(state, action, torch.zeros(9))
    assert after.tolist() == [0, 2, 0, 0, 3, 0, 3, 3, 0]
    assert reward.tolist() == [0, 0, 0, 0, 1, 0, 0, 1, 0]
    assert ended.tolist() == [False, False, False, False, True, False, True, True, False]


def test_a_cell_without_a_way_out_has_no_distance():
    assert fewest_steps(maze("S.#.G")).tolist() == [-1, -1, 1 + 1, 1, 0]


def test_expected_outcome_is_the_mean_of_episodes():
    table = from_gymnasium(FrozenLakeEnv())
    policy = torch.rand(table.states, table.actions, generator=torch.Generator().manual_seed(0))
    policy = (policy / policy.sum(-1, keepdim=True))[None].expand(1, -1, -1)
    generator = torch.Generator().manual_seed(1)
    count = 20_000
    state = table.reset(torch.rand(count, generator=generator))
    alive, gain, length = torch.ones(count, dtype=torch.bool), 0.0, 0.0
    for _ in range(20):
        action = torch.multinomial(policy[0, state], 1, generator=generator)[:, 0]
        noise = torch.rand(count, generator=generator)
        reward, state, ended = table.step(state, action, noise)
        gain, length = gain + (reward * alive).mean(), length + alive.float().mean()
        alive &= ~ended
    exact = torch.cat(expected_outcome(table, policy, 20))
    assert torch.allclose(exact, torch.stack([gain, length]), atol=0.1, rtol=0)
    assert exact[0].item() == pytest.approx(gain.item(), abs=4 * (0.25 / count) ** 0.5)


def test_nothing_follows_the_end_of_an_episode():
    """The state in which a taxi ride ends has actions and values of its own in gymnasium's list."""
    env = TaxiEnv()
    table = from_gymnasium(env)
    q = optimal_values(table, 0.99)
    assert q[env.encode(0, 0, 4, 0), 5] == 20  # the passenger gets out at the destination
    best = (q == q.amax(-1, keepdim=True)).float()
    gain, length = expected_outcome(table, (best / best.sum(-1, keepdim=True))[None], 200)
    assert gain.item() == pytest.approx(21 - length.item(), abs=1e-4)  # -1 a step, 20 for the last
    assert length.item() == pytest.approx(13.07, abs=0.005)


def test_an_outcome_without_probability_never_happens():
    table = from_gymnasium(FrozenLakeEnv())
    probability = torch.tensor([0.0, 1.0, 0.0]).expand_as(table.probability)
    zero = torch.zeros(1, dtype=torch.long)
    sure = dataclasses.replace(table, probability=probability)
    for noise in (0.0, 1 - 2**-24):
        assert sure.step(zero, zero + 1, torch.tensor([noise]))[1] == table.next[0, 1, 1]


def test_a_table_moves_to_a_device_as_a_whole():
    table = maze(DYNA_MAZE).to("meta")
    state = torch.zeros(3, dtype=torch.long, device="meta")
    parts = table.step(state, state, torch.zeros(3, device="meta"))
    assert {x.device.type for x in (*parts, table.start, table.walls)} == {"meta"}


def test_record_follows_the_arrival_convention():
    table = maze("S.G")
    data = record(table, 200, 8, torch.Generator().manual_seed(0))
    assert data.observation.shape == (8, 200, 3)
    assert data.first[:, 0].all()
    assert (data.action.sum(-1) == (~data.first).float()).all()
    assert (data.reward[data.first] == 0).all()
    cell = data.observation.argmax(-1)
    assert (cell[data.first] == 0).all()
    assert (data.terminated == (cell == 2)).all()
    assert (data.reward == data.terminated.float()).all()
    assert (data.first[:, 1:] == data.terminated[:, :-1]).all()  # the row behind an end is a start
    # Each other row is where the table says that the action leads.
    inside = ~data.first[:, 1:]
    moved = table.next[cell[:, :-1], data.action[:, 1:].argmax(-1), 0]
    assert (moved[inside] == cell[:, 1:][inside]).all()
    assert data.terminated.any()
