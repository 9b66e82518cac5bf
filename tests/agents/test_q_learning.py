"""Every function against a loop over agents in plain Python, given the same random numbers."""

import heapq
import json
import random

import numpy as np
import pytest
import torch

from utils.agents.dyna import PackedDynaQ, Settings, duel, dyna_q, list_dyna_q, numpy_dyna_q
from utils.agents.q_learning import (
    epsilon_greedy,
    greedy_policy,
    plan,
    plan_curious,
    predecessor_priorities,
    q_update,
    sweep,
    update_errors,
    value_iteration,
)
from utils.data.tables import DYNA_MAZE, expected_outcome, fewest_steps, maze, optimal_values
from utils.worlds.tabular import Counts, Tabular

torch.set_num_threads(1)
B, S, A, N = 4, 6, 3, 7
ALPHA, GAMMA, KAPPA = 0.3, 0.9, 0.05


def transitions(generator):
    state, after = torch.randint(S, (2, B), generator=generator)
    action = torch.randint(A, (B,), generator=generator)
    reward = torch.randn(B, generator=generator)
    return state, action, reward, after, torch.rand(B, generator=generator) < 0.3


def explored(kind=Tabular, steps=12, seed=0):
    """A model of a random world, random values, and the generator to go on with."""
    generator = torch.Generator().manual_seed(seed)
    model = kind(B, S, A)
    for _ in range(steps):
        model.learn(*transitions(generator))
    return model, torch.randn(B, S, A, generator=generator), generator


def updated(q, state, action, reward, after, ended, alpha=ALPHA):
    """Q-learning on the list of lists of one agent; returns the error."""
    error = reward + (0.0 if ended else GAMMA * max(q[after])) - q[state][action]
    q[state][action] += alpha * error
    return error


def test_q_update_is_the_book_s_for_every_agent():
    _, q, generator = explored()
    step = transitions(generator)
    expected = q.tolist()
    errors = [updated(expected[b], *(x[b].item() for x in step)) for b in range(B)]
    error = q_update(q, *step, ALPHA, GAMMA)
    assert torch.allclose(q, torch.tensor(expected))
    assert torch.allclose(error, torch.tensor(errors))
    again = torch.tensor(
        [updated(expected[b], *(x[b].item() for x in step), 0.0) for b in range(B)]
    )
    before = q.clone()
    assert torch.allclose(q_update(q, *step, 0.0, GAMMA), again, atol=1e-6)
    assert torch.equal(q, before)


def test_what_a_terminal_state_holds_is_never_read():
    _, q, generator = explored()
    state, action, reward, after, _ = transitions(generator)
    after = (state + 1) % S
    q[torch.arange(B), after] = float("nan")
    error = q_update(q, state, action, reward, after, torch.ones(B).bool(), 1.0, GAMMA)
    assert error.isfinite().all()
    assert torch.allclose(q[torch.arange(B), state, action], reward)


def test_greedy_choices_break_ties_at_random():
    q = torch.tensor([[[0.0, 1.0, 1.0]]]).expand(30_000, 1, A)
    generator = torch.Generator().manual_seed(0)
    noise = torch.rand(30_000, 1 + A, generator=generator)
    action = epsilon_greedy(q, torch.zeros(30_000).long(), 0.3, noise)
    share = action.bincount(minlength=A) / len(action)
    assert torch.allclose(share, torch.tensor([0.1, 0.45, 0.45]), atol=0.012)
    greedy = epsilon_greedy(q, torch.zeros(30_000).long(), 0.0, noise)
    assert torch.equal(greedy, 1 + noise[:, 2:].argmax(-1))
    policy = greedy_policy(q[:1])
    assert policy.tolist() == [[[0.0, 0.5, 0.5]]]


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_planning_is_n_updates_one_after_the_other(kind):
    model, q, generator = explored(kind)
    noise = torch.rand(2, N, B, generator=generator)
    expected = q.tolist()
    visited = plan(q, model, noise, ALPHA, GAMMA)
    for n in range(N):
        for b in range(B):
            state, action = model.pairs[b, int(noise[0, n, b] * model.number[b])].tolist()
            arguments = (torch.full((B,), x) for x in (state, action, noise[1, n, b].item()))
            outcome = (x[b].item() for x in model.predict(*arguments))
            updated(expected[b], state, action, *outcome)
            assert visited[n, b] == state
    assert torch.allclose(q, torch.tensor(expected), atol=1e-6)


def test_curious_planning_adds_the_bonus_and_imagines_untried_actions():
    model, q, generator = explored(steps=4)
    noise = torch.rand(3, 40, B, generator=generator)
    expected, untried = q.tolist(), 0
    plan_curious(q, model, noise, ALPHA, GAMMA, KAPPA)
    for n in range(40):
        for b in range(B):
            state, _ = model.pairs[b, int(noise[0, n, b] * model.number[b])].tolist()
            action = int(noise[1, n, b] * A)
            tau = (model.clock - model.last[b, state, action]).item()
            if model.tried[b, state, action]:
                reward, after, ended = (
                    x[b, state, action].item() for x in (model.reward, model.next, model.terminated)
                )
            else:
                reward, after, ended, untried = 0.0, state, False, untried + 1
                assert tau == 4
            updated(expected[b], state, action, reward + KAPPA * tau**0.5, after, ended)
    assert torch.allclose(q, torch.tensor(expected), atol=1e-5)
    assert untried


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_value_iteration_is_a_loop_over_pairs(kind):
    model, _, _ = explored(kind, steps=60)
    found = value_iteration(*model.outcomes(), GAMMA, 3)
    arrived, probability, reward, ended = (x.tolist() for x in model.outcomes())
    for b in range(B):
        q = [[0.0] * A for _ in range(S)]
        for _ in range(3):
            q = [
                [
                    sum(
                        p * (r + (0.0 if d else GAMMA * max(q[k])))
                        for k, p, r, d in zip(
                            *(x[b][s][a] for x in (arrived, probability, reward, ended)),
                            strict=True,
                        )
                    )
                    for a in range(A)
                ]
                for s in range(S)
            ]
        assert torch.allclose(found[b], torch.tensor(q), atol=1e-5)


def test_value_iteration_finds_the_shortest_path_of_an_explored_maze():
    table = maze(DYNA_MAZE)
    model = Tabular(1, table.states, table.actions)
    for s in range(table.states):
        for a in range(table.actions):
            pair = (torch.tensor([s]), torch.tensor([a]))
            model.learn(*pair, *table.step(*pair, torch.zeros(1)))
    q = value_iteration(*model.outcomes(), 0.95, 60)
    assert torch.allclose(q[0], optimal_values(table, 0.95), atol=1e-6)
    length = expected_outcome(table, greedy_policy(q), 100)[1]
    assert length.item() == pytest.approx(fewest_steps(table)[table.start.argmax()].item())


def sweep_with_heap(model, q, priority, updates, theta, b):
    """Prioritised sweeping of agent b with a heap; entries that are out of date are skipped."""
    queue = {
        (s, a): priority[b, s, a].item()
        for s in range(S)
        for a in range(A)
        if priority[b, s, a] > 0
    }
    heap = [(-p, pair) for pair, p in queue.items()]
    heapq.heapify(heap)
    made = 0
    while made < updates and queue:
        urgency, (s, a) = heapq.heappop(heap)
        if queue.get((s, a)) != -urgency:
            continue
        del queue[s, a]
        model_of = (model.reward[b], model.next[b], model.terminated[b])
        updated(q, s, a, *(x[s, a].item() for x in model_of))
        made += 1
        for s0 in range(S):
            for a0 in range(A):
                if not model.tried[b, s0, a0] or model.terminated[b, s0, a0]:
                    continue
                if model.next[b, s0, a0] == s:
                    p = abs(model.reward[b, s0, a0].item() + GAMMA * max(q[s]) - q[s0][a0])
                    if p > theta and p > queue.get((s0, a0), 0.0):
                        queue[s0, a0] = p
                        heapq.heappush(heap, (-p, (s0, a0)))
    return made, queue


@pytest.mark.parametrize("seed", range(3))
def test_sweeping_on_tensors_equals_sweeping_with_a_heap(seed):
    model, q, _ = explored(steps=14, seed=seed)
    theta, updates = 0.3, 12
    priority = torch.zeros(B, S, A)
    for b in range(1, B):  # agent 0 has an empty queue
        priority[b, *model.pairs[b, 0].tolist()] = 1.0
    expected, before = q.tolist(), q.clone()
    results = [sweep_with_heap(model, expected[b], priority, updates, theta, b) for b in range(B)]
    made = sum(sweep(q, model, priority, ALPHA, GAMMA, theta).long() for _ in range(updates))
    assert torch.allclose(q, torch.tensor(expected), atol=1e-5)
    assert made.tolist() == [count for count, _ in results]
    for b, (_, queue) in enumerate(results):
        left = {(s, a) for s, a in (priority[b] > 0).nonzero().tolist()}
        assert left == set(queue)
    assert made[0] == 0
    assert torch.equal(q[0], before[0])
    assert made.max() > 2


def test_a_queued_pair_keeps_the_larger_priority():
    model = Tabular(1, 3, 1)
    for s, a, r, after, ended in [(0, 0, 0.0, 1, False), (1, 0, 1.0, 2, True)]:
        model.learn(*(torch.tensor([x]) for x in (s, a, r, after, ended)))
    for queued, left in ((0.8, 0.8), (0.2, 0.5)):  # the update of 1 makes 0 urgent by 0.5
        priority = torch.tensor([[[queued], [0.9], [0.0]]])
        sweep(torch.zeros(1, 3, 1), model, priority, 1.0, 0.5, 0.1)
        assert priority.flatten().tolist() == pytest.approx([left, 0.0, 0.0])


def test_predecessors_are_the_pairs_that_lead_there_and_go_on():
    model = Tabular(1, 3, 2)
    for s, a, r, after, ended in [(0, 0, 2.0, 2, 0), (1, 1, 5.0, 2, 1), (2, 0, 0.0, 1, 0)]:
        model.learn(*(torch.tensor([x]) for x in (s, a, r, after, bool(ended))))
    q = torch.tensor([[[1.0, 0.0], [0.0, 0.0], [4.0, -9.0]]])
    found = predecessor_priorities(q, model, torch.tensor([2]), 0.5)
    # (2, 1) was never tried: its entry says "stays in 2", and is no predecessor.
    assert found.tolist() == [[[3.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]


@pytest.mark.parametrize("branching", [2, 10, 100])
def test_sample_updates_err_as_the_book_says(branching):
    generator = torch.Generator().manual_seed(0)
    runs = 4000
    values = torch.randn(runs, branching, generator=generator)
    draws = torch.randint(branching, (runs, 2 * branching), generator=generator)
    sample, expected = update_errors(values, draws)
    t = torch.arange(1, 2 * branching + 1)
    assert torch.allclose(sample, ((branching - 1) / (branching * t)).sqrt(), rtol=0.06)
    assert expected.tolist() == [1.0] * (branching - 1) + [0.0] * (branching + 1)


def test_update_errors_by_hand():
    values, draws = torch.tensor([[1.0, 3.0], [0.0, 4.0]]), torch.tensor([[0, 1, 1], [1, 1, 0]])
    sample, _ = update_errors(values, draws)
    squares = [[1, 4], [0, 4], [(7 / 3 - 2) ** 2, (8 / 3 - 2) ** 2]]
    assert sample.tolist() == pytest.approx([(sum(x) / 2) ** 0.5 for x in squares])


def test_all_loops_learn_the_maze_alike():
    """They differ in their random numbers only."""
    table, settings, steps = maze(DYNA_MAZE), Settings(planning=5), 1000
    q = torch.zeros(200, table.states, table.actions)
    model = Tabular(200, table.states, table.actions)
    ended = dyna_q(table, model, q, steps, settings, torch.Generator().manual_seed(0)).sum(0)
    batched = ended.double()
    for loop, make, runs in (
        (list_dyna_q, random.Random, 100),
        (numpy_dyna_q, np.random.default_rng, 20),
    ):
        plain = [sum(loop(table, steps, settings, make(i))) for i in range(runs)]
        plain = torch.tensor(plain).double()
        error = (plain.var() / runs + batched.var() / 200).sqrt()
        assert (plain.mean() - batched.mean()).abs() < 4 * error
    assert batched.mean() > 5


def test_the_fast_twin_makes_the_same_updates():
    table, settings, seeds = maze(DYNA_MAZE), Settings(), 50
    states, actions = table.next.shape[:2]
    q, model = torch.zeros(seeds, states, actions), Tabular(seeds, states, actions)
    packed = PackedDynaQ(table, seeds, settings)
    state = table.start.argmax().expand(seeds)
    generator, episodes = torch.Generator().manual_seed(0), 0
    for _ in range(700):
        choice = torch.rand(seeds, 1 + actions, generator=generator)
        draw = torch.rand(settings.planning, seeds, generator=generator)
        action = epsilon_greedy(q, state, settings.epsilon, choice)
        reward, after, ended = table.step(state, action, draw[0])
        q_update(q, state, action, reward, after, ended, settings.alpha, settings.gamma)
        model.learn(state, action, reward, after, ended)
        plan(q, model, torch.stack([draw, draw]), settings.alpha, settings.gamma)
        state = torch.where(ended, table.start.argmax(), after)
        assert torch.equal(packed.step(choice, draw), ended)
        episodes += ended.sum().item()
    assert torch.allclose(packed.values(), q, atol=1e-6)
    assert episodes > 50


def test_the_duel_reports_numbers():
    table = maze(DYNA_MAZE)
    result = duel(table, Tabular(10, table.states, table.actions), rounds=2, steps=5)
    assert min(result[f"{name} steps/s"] for name in ("packed", "batched", "numpy", "lists")) > 0
    json.dumps(result)
