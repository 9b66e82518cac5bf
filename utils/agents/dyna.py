"""Dyna-Q as one loop, twice: all seeds at once on tensors, and one seed in plain Python.

The first is what lesson 1.1 writes flat in the notebook; the second is what it is raced against.
"""

from __future__ import annotations

import random
import statistics
import time
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor

from utils.agents.q_learning import epsilon_greedy, plan, q_update


class Settings(NamedTuple):
    """Sutton & Barto's defaults for the Dyna maze, with n = 5."""

    planning: int = 5
    alpha: float = 0.1
    gamma: float = 0.95
    epsilon: float = 0.1


def dyna_q(
    table, model, q: Tensor, steps: int, settings: Settings, generator: torch.Generator
) -> Bool[Tensor, "T B"]:
    """`steps` real steps of B agents with Dyna-Q, in place in `q` [B, S, A] and in `model`; returns
    where episodes ended. `table` is a `Table` of utils.data.tables."""
    planning, alpha, gamma, epsilon = settings
    seeds, actions = len(q), q.shape[-1]
    ended = torch.zeros(steps, seeds, dtype=torch.bool)
    state = table.reset(torch.rand(seeds, generator=generator))
    for t in range(steps):
        noise = torch.rand(actions + 3, seeds, generator=generator)
        action = epsilon_greedy(q, state, epsilon, noise[2:].T)
        reward, next_state, terminated = table.step(state, action, noise[0])
        q_update(q, state, action, reward, next_state, terminated, alpha, gamma)
        model.learn(state, action, reward, next_state, terminated)
        plan(q, model, torch.rand(2, planning, seeds, generator=generator), alpha, gamma)
        state = torch.where(terminated, table.reset(noise[1]), next_state)
        ended[t] = terminated
    return ended


def plain_dyna_q(
    table, steps: int, settings: Settings, rng: random.Random
) -> tuple[list[list[float]], list[bool]]:
    """The same for one agent and a deterministic table, on lists, which Python indexes about ten
    times faster than numpy arrays or tensors. Returns Q and where episodes ended."""
    planning, alpha, gamma, epsilon = settings
    after, reward, final = (
        x[..., 0].tolist() for x in (table.next, table.reward, table.terminated)
    )
    start, actions = int(table.start.argmax()), range(table.actions)
    uniform = rng.random
    q = [[0.0] * table.actions for _ in range(table.states)]
    model: dict[tuple[int, int], tuple[float, int, bool]] = {}
    pairs: list[tuple[int, int]] = []
    ended = []
    s = start
    for _ in range(steps):
        row = q[s]
        if uniform() < epsilon:
            a = int(uniform() * len(row))
        else:
            top = max(row)
            best = [b for b in actions if row[b] == top]
            a = best[int(uniform() * len(best))]
        r, s2, over = reward[s][a], after[s][a], final[s][a]
        row[a] += alpha * ((r if over else r + gamma * max(q[s2])) - row[a])
        if (s, a) not in model:
            pairs.append((s, a))
        model[s, a] = (r, s2, over)
        for _ in range(planning):
            pair = pairs[int(uniform() * len(pairs))]
            r, s3, end = model[pair]
            row, a = q[pair[0]], pair[1]
            row[a] += alpha * ((r if end else r + gamma * max(q[s3])) - row[a])
        ended.append(over)
        s = start if over else s2
    return q, ended


def duel(table, model, rounds: int = 7, steps: int = 300) -> dict[str, float | int | str]:
    """Real steps per second of both loops, taking turns in one process; `model` is fresh and names
    the number of seeds. The ratio is the median over rounds of the ratio within a round."""
    settings = Settings()
    seeds, states, actions = model.next.shape
    q = torch.zeros(seeds, states, actions)
    generator, rng = torch.Generator().manual_seed(0), random.Random(0)
    dyna_q(table, model, q, 20, settings, generator)  # the first calls set up libraries
    speeds = []
    for _ in range(rounds):
        begin = time.perf_counter()
        dyna_q(table, model, q, steps, settings, generator)
        middle = time.perf_counter()
        plain_dyna_q(table, 100 * steps, settings, rng)
        end = time.perf_counter()
        speeds.append((seeds * steps / (middle - begin), 100 * steps / (end - middle)))
    batched, plain = (statistics.median(column) for column in zip(*speeds, strict=True))
    return {
        "what": f"Dyna-Q, n = {settings.planning}, {seeds} seeds at once against one in Python",
        "batched steps/s": round(batched),
        "plain steps/s": round(plain),
        "ratio": round(statistics.median(b / p for b, p in speeds), 2),
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }


def bench() -> dict[str, float | int | str]:
    """The duel on the Dyna maze with 1,000 seeds."""
    from utils.data.tables import DYNA_MAZE, maze  # here, because agents know no world or data
    from utils.worlds.tabular import Tabular

    table = maze(DYNA_MAZE)
    return duel(table, Tabular(1000, table.states, table.actions))
