"""Dyna-Q's loop: all seeds at once on tensors, clear (`dyna_q`, what lesson 1.1 writes flat in the
notebook) and fast (`PackedDynaQ`); and what they are raced against, one seed in plain Python, on
numpy arrays (as such loops are usually written) and on lists (as fast as Python gets).
"""

from __future__ import annotations

import random
import statistics
import time
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
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


class PackedDynaQ:
    """The fast twin of `dyna_q`, for a deterministic table with one start: the same updates from
    the same noise in half the time, because less memory is touched by fewer and simpler calls.

    Everything is addressed by one number: row = agent * (S + 1) + state, pair = row * A + action.
    Episodes end in the extra state S, whose values stay 0, so that no target needs a mask. The
    model keeps next row and reward (its bits) side by side, in one cache line.
    """

    def __init__(self, table, seeds: int, settings: Settings):
        states, self.actions = table.next.shape[:2]
        pairs = states * self.actions
        self.settings, self.seeds, self.end = settings, seeds, states
        after = table.next[..., 0].masked_fill(table.terminated[..., 0], states)
        self.after, self.reward = after.flatten().int(), table.reward.flatten()
        self.start = table.start.argmax().int()
        self.state = self.start.expand(seeds)
        self.first_row = torch.arange(seeds, dtype=torch.int32) * (states + 1)
        self.first_slot = torch.arange(seeds, dtype=torch.int32) * (pairs + 1)
        self.q = torch.zeros(seeds * (states + 1), self.actions)
        self.model = torch.zeros(self.q.numel(), 2, dtype=torch.int32)
        self.tried = torch.zeros(self.q.numel(), dtype=torch.bool)
        self.list = torch.zeros(seeds * (pairs + 1), dtype=torch.int32)
        self.number = torch.zeros(seeds, dtype=torch.int32)

    def values(self) -> Float[Tensor, "B S A"]:
        """Q as the other loops have it."""
        return self.q.view(self.seeds, self.end + 1, self.actions)[:, : self.end]

    def update(self, pair: Tensor, row: Tensor, reward: Tensor) -> None:
        """Q-learning of all agents, each [B]."""
        _, alpha, gamma, _ = self.settings
        flat = self.q.view(-1)
        target = torch.add(reward, self.q.index_select(0, row).amax(1), alpha=gamma)
        flat.index_add_(0, pair, target.sub_(flat.index_select(0, pair)), alpha=alpha)

    def step(self, choice: Float[Tensor, "B A+1"], draw: Float[Tensor, "N B"]) -> Tensor:
        """One real step and N imagined ones of every agent; returns where episodes ended."""
        row = self.first_row + self.state
        value = self.q.index_select(0, row)
        allowed = (value == value.amax(1, keepdim=True)) | (choice[:, :1] < self.settings.epsilon)
        action = choice[:, 1:].masked_fill(~allowed, -1.0).argmax(1).int()
        here = self.state * self.actions + action
        after, reward = self.after.index_select(0, here), self.reward.index_select(0, here)
        pair, to = row * self.actions + action, self.first_row + after
        self.update(pair, to, reward)
        self.model.index_copy_(0, pair.long(), torch.stack([to, reward.view(torch.int32)], 1))
        self.list.index_copy_(0, (self.first_slot + self.number).long(), pair)
        self.number += ~self.tried.index_select(0, pair)
        self.tried.index_fill_(0, pair.long(), True)
        slot = self.first_slot + (draw * self.number).int()
        pairs = self.list.index_select(0, slot.flatten())
        rows, bits = self.model.index_select(0, pairs).T.contiguous().view(2, *draw.shape)
        for imagined in zip(pairs.view_as(rows), rows, bits.view(torch.float32), strict=True):
            self.update(*imagined)
        self.state = torch.where(after == self.end, self.start, after)
        return after == self.end

    def run(self, steps: int, generator: torch.Generator) -> Bool[Tensor, "T B"]:
        """`steps` real steps of every agent; returns where episodes ended."""
        ended = torch.zeros(steps, self.seeds, dtype=torch.bool)
        for t in range(steps):
            noise = torch.rand(
                self.actions + 1 + self.settings.planning, self.seeds, generator=generator
            )
            ended[t] = self.step(noise[: self.actions + 1].T, noise[self.actions + 1 :])
        return ended


def numpy_dyna_q(table, steps: int, settings: Settings, rng: np.random.Generator) -> list[bool]:
    """The same for one agent and a deterministic table: Q is an array, the model a dictionary.
    Returns where episodes ended."""
    planning, alpha, gamma, epsilon = settings
    after, reward, final = (x[..., 0].numpy() for x in (table.next, table.reward, table.terminated))
    q = np.zeros(after.shape)
    model, pairs, ended = {}, [], []
    start = s = int(table.start.argmax())
    for _ in range(steps):
        if rng.random() < epsilon:
            a = rng.integers(table.actions)
        else:
            a = rng.choice(np.flatnonzero(q[s] == q[s].max()))
        r, s2, over = reward[s, a], after[s, a], final[s, a]
        q[s, a] += alpha * (r + gamma * (0.0 if over else q[s2].max()) - q[s, a])
        if (s, a) not in model:
            pairs.append((s, a))
        model[s, a] = r, s2, over
        for i in rng.integers(len(pairs), size=planning):
            r, s3, end = model[pairs[i]]
            q[pairs[i]] += alpha * (r + gamma * (0.0 if end else q[s3].max()) - q[pairs[i]])
        ended.append(bool(over))
        s = start if over else s2
    return ended


def list_dyna_q(table, steps: int, settings: Settings, rng: random.Random) -> list[bool]:
    """The same on lists, which Python indexes about ten times faster than arrays."""
    planning, alpha, gamma, epsilon = settings
    after, reward, final = (
        x[..., 0].tolist() for x in (table.next, table.reward, table.terminated)
    )
    actions, uniform = range(table.actions), rng.random
    q = [[0.0] * table.actions for _ in range(table.states)]
    model, pairs, ended = {}, [], []
    start = s = int(table.start.argmax())
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
        model[s, a] = r, s2, over
        for _ in range(planning):
            pair = pairs[int(uniform() * len(pairs))]
            r, s3, end = model[pair]
            row, a = q[pair[0]], pair[1]
            row[a] += alpha * ((r if end else r + gamma * max(q[s3])) - row[a])
        ended.append(over)
        s = start if over else s2
    return ended


def duel(table, model, rounds: int = 7, steps: int = 200) -> dict[str, float | int | str]:
    """Real steps per second of the four loops, taking turns in one process; `model` is fresh and
    sets the number of seeds. A ratio is the median over rounds of the ratio within a round."""
    seeds, states, actions = model.next.shape
    settings, q = Settings(), torch.zeros(seeds, states, actions)
    generator = torch.Generator().manual_seed(0)
    packed = PackedDynaQ(table, seeds, settings)
    loops = {
        "packed": (lambda n: packed.run(n, generator), steps, seeds),
        "batched": (lambda n: dyna_q(table, model, q, n, settings, generator), steps, seeds),
        "numpy": (
            lambda n: numpy_dyna_q(table, n, settings, np.random.default_rng(0)),
            10 * steps,
            1,
        ),
        "lists": (lambda n: list_dyna_q(table, n, settings, random.Random(0)), 100 * steps, 1),
    }
    speeds = {name: [] for name in loops}
    for _ in range(rounds + 1):
        for name, (run, length, at_once) in loops.items():
            begin = time.perf_counter()
            run(length)
            speeds[name].append(length * at_once / (time.perf_counter() - begin))
    speeds = {name: values[1:] for name, values in speeds.items()}  # the first round warms up
    ratios = {
        f"{fast} / {slow}": statistics.median(
            ours / theirs for ours, theirs in zip(speeds[fast], speeds[slow], strict=True)
        )
        for fast in ("packed", "batched")
        for slow in ("numpy", "lists")
    }
    return {
        "what": f"Dyna-Q, n = {settings.planning}: {seeds} seeds at once against one in Python",
        **{f"{name} steps/s": round(statistics.median(values)) for name, values in speeds.items()},
        **{name: round(ratio, 1) for name, ratio in ratios.items()},
        "rounds": rounds,
        "threads": torch.get_num_threads(),
    }


def bench() -> dict[str, float | int | str]:
    """The duel on the Dyna maze with 1,000 seeds, on one thread: calls this small gain nothing from
    a second one, and wait for it where the core is busy."""
    from utils.data.tables import DYNA_MAZE, maze  # here, because agents know no world or data
    from utils.worlds.tabular import Tabular

    table, threads = maze(DYNA_MAZE), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return duel(table, Tabular(1000, table.states, table.actions))
    finally:
        torch.set_num_threads(threads)
