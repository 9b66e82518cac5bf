"""Learned tables: the first world models (Dyna, 1991).

`Tabular` remembers what followed each pair of state and action the last time it was tried: right in
a deterministic world, wrong in a stochastic one. `Counts` repairs that by counting what followed.
One object holds the models of B agents (seeds) that learn side by side; a dreamed state names the
seed whose model it uses.

Shape key: B models side by side (seeds), S states, A actions, K outcomes of a pair, N imagined
steps of each seed, R rows of a dream.
"""

from __future__ import annotations

import copy

import gymnasium as gym
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from utils.nn.random import categorical
from utils.world import Dreamt, Spec, State, Step


class Tabular(nn.Module):
    """The last seen outcome of every pair: `Model(S, A) <- R, S'` (Sutton & Barto, section 8.2).

    A pair that was never tried leads back to its own state with reward 0 (the footnote on Dyna-Q+
    in section 8.3); `tried` tells which those are. Time counts real steps, from 1.
    """

    next: Int[Tensor, "B S A"]
    reward: Float[Tensor, "B S A"]
    terminated: Bool[Tensor, "B S A"]
    tried: Bool[Tensor, "B S A"]
    last: Int[Tensor, "B S A"]  # the time a pair was last tried, 0 if never
    pairs: Int[Tensor, "B SA+1 2"]  # the tried pairs (s, a) in the order of their first time
    number: Int[Tensor, " B"]  # how many of them there are
    clock: Int[Tensor, ""]  # real steps so far

    def __init__(self, seeds: int, states: int, actions: int, device: torch.device | str = "cpu"):
        nn.Module.__init__(self)
        shape = (seeds, states, actions)
        own = torch.arange(states, device=device)[:, None].expand(shape)
        self.register_buffer("next", own.clone())
        self.register_buffer("reward", torch.zeros(shape, device=device))
        self.register_buffer("terminated", torch.zeros(shape, dtype=torch.bool, device=device))
        self.register_buffer("tried", torch.zeros(shape, dtype=torch.bool, device=device))
        self.register_buffer("last", torch.zeros(shape, dtype=torch.long, device=device))
        # One place more than pairs exist: `learn` writes before it knows whether the pair is new.
        pairs = torch.zeros(seeds, states * actions + 1, 2, dtype=torch.long, device=device)
        self.register_buffer("pairs", pairs)
        self.register_buffer("number", torch.zeros(seeds, dtype=torch.long, device=device))
        self.register_buffer("clock", torch.zeros((), dtype=torch.long, device=device))
        self.spec = Spec(
            gym.spaces.Discrete(states), gym.spaces.Discrete(actions), differentiable=False
        )

    def learn(
        self,
        state: Int[Tensor, " B"],
        action: Int[Tensor, " B"],
        reward: Float[Tensor, " B"],
        next_state: Int[Tensor, " B"],
        terminated: Bool[Tensor, " B"],
    ) -> None:
        """Remember one real step of every seed, in place: `Model(S, A) <- R, S'`.

        Row b of the arguments belongs to the model of seed b. `self.clock` (shared by all seeds)
        goes one step on. The pair's entry in `self.next`, `self.reward` and `self.terminated` (each
        [B, S, A]) becomes what was just seen, `self.tried` says that the pair was tried and
        `self.last` when: the clock's new time. No other entry changes. A pair that was not tried
        before is also appended to the list that `draw` draws from: `self.pairs[b, self.number[b]]`
        becomes (state, action), and `self.number[b]` grows by 1. Returns nothing. Section 8.2, step
        (e).
        """
        rows = torch.arange(len(state), device=state.device)
        self.pairs[rows, self.number] = torch.stack([state, action], -1)
        self.number += ~self.tried[rows, state, action]
        self.clock += 1
        self.next[rows, state, action] = next_state
        self.reward[rows, state, action] = reward
        self.terminated[rows, state, action] = terminated
        self.tried[rows, state, action] = True
        self.last[rows, state, action] = self.clock

    def take(self, seeds: Tensor) -> Tabular:
        """The models of some of the seeds (a mask or numbers), copied."""
        some = copy.copy(self)
        some._buffers = {k: v[seeds] if v.ndim else v.clone() for k, v in self._buffers.items()}
        return some

    def draw(self, noise: Float[Tensor, "N B"]) -> tuple[Int[Tensor, "N B"], Int[Tensor, "N B"]]:
        """N pairs of each seed, states and actions, drawn uniformly from those it has tried (at
        least one). `noise` is uniform in [0, 1)."""
        rows = torch.arange(noise.shape[-1], device=noise.device)
        return self.pairs[rows, (noise * self.number).long()].unbind(-1)

    def outcomes(
        self,
    ) -> tuple[
        Int[Tensor, "B S A K"],
        Float[Tensor, "B S A K"],
        Float[Tensor, "B S A K"],
        Bool[Tensor, "B S A K"],
    ]:
        """What can follow every pair: next state, its probability, reward, terminated. K = 1."""
        certain = torch.ones_like(self.reward)
        tables = (self.next, certain, self.reward, self.terminated)
        return tuple(table[..., None] for table in tables)

    def predict(
        self,
        state: Int[Tensor, "*N B"],
        action: Int[Tensor, "*N B"],
        noise: Float[Tensor, "*N B"],
    ) -> tuple[Float[Tensor, "*N B"], Int[Tensor, "*N B"], Bool[Tensor, "*N B"]]:
        """What each seed's model says of pairs of its own: reward, next state, terminated. `noise`,
        uniform in [0, 1), chooses among the outcomes of a stochastic model; here there is one."""
        rows = torch.arange(state.shape[-1], device=state.device)
        pair = (rows, state, action)
        return self.reward[pair], self.next[pair], self.terminated[pair]

    def initial(self, batch: int) -> State:
        """Cell 0 of seed 0's model; set `seed` to dream in another."""
        zeros = torch.zeros(batch, dtype=torch.long, device=self.next.device)
        return {"cell": zeros, "seed": zeros.clone(), "known": zeros.bool()}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """The world shows its state, so nothing needs to be remembered or forgotten."""
        cell = step.observation.argmax(-1)
        return {"cell": cell, "seed": state["seed"], "known": torch.ones_like(state["known"])}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "R A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One imagined step. `known` in the new state is False where the model has no idea: the
        pair was never tried, the cell stays, the reward is 0."""
        pair = (state["seed"], state["cell"], action.argmax(-1))
        arrived, probability, reward, terminated = (table[pair] for table in self.outcomes())
        outcome = (probability.argmax(-1) if mode else categorical(probability.log(), generator))[
            :, None
        ]
        cell = arrived.gather(1, outcome).squeeze(1)
        after = {"cell": cell, "seed": state["seed"], "known": self.tried[pair]}
        cont = 1.0 - terminated.gather(1, outcome).squeeze(1).to(reward.dtype)
        return Dreamt(after, reward.gather(1, outcome).squeeze(1), cont)

    def decode(self, state: State) -> Float[Tensor, "R S"]:
        """The cell, one-hot."""
        return one_hot(state["cell"], self.next.shape[1]).to(self.reward.dtype)


class Counts(Tabular):
    """How often each state followed each pair: the model that a stochastic world needs.

    `count[b, s, a, k]` is how often state k followed the pair (s, a) in the life of seed b;
    `gain[b, s, a, k]` and `ended[b, s, a, k]` are the reward that came with it and whether the
    episode terminated, as last seen. Relative frequencies are the maximum-likelihood estimate of
    the transition probabilities. The memory grows with S^2: for small worlds only.
    """

    def __init__(self, seeds: int, states: int, actions: int, device: torch.device | str = "cpu"):
        Tabular.__init__(self, seeds, states, actions, device)
        zeros = torch.zeros((seeds, states, actions, states), device=device)
        self.register_buffer("count", zeros)
        self.register_buffer("gain", zeros.clone())
        self.register_buffer("ended", zeros.bool())

    def learn(
        self,
        state: Int[Tensor, " B"],
        action: Int[Tensor, " B"],
        reward: Float[Tensor, " B"],
        next_state: Int[Tensor, " B"],
        terminated: Bool[Tensor, " B"],
    ) -> None:
        """Count one real step of every seed, in place. Row b belongs to the model of seed b.

        `count` of (state, action, next_state) grows by 1; `gain` and `ended` of it become what was
        seen. What `Tabular.learn` remembers stays up to date too (clock, tried, last). Returns
        nothing.
        """
        Tabular.learn(self, state, action, reward, next_state, terminated)
        rows = torch.arange(len(state), device=state.device)
        self.count[rows, state, action, next_state] += 1.0
        self.gain[rows, state, action, next_state] = reward
        self.ended[rows, state, action, next_state] = terminated

    def outcomes(
        self,
    ) -> tuple[
        Int[Tensor, "B S A S"],
        Float[Tensor, "B S A S"],
        Float[Tensor, "B S A S"],
        Bool[Tensor, "B S A S"],
    ]:
        """What can follow every pair: next state, its probability, reward, terminated.

        Outcome k is "state k follows", so the first table holds 0, 1, ..., S - 1 along its last
        axis. The probability is the relative frequency `count / sum of counts`; a pair that was
        never tried leads back to its own state with probability 1 (and reward 0).
        """
        states = self.count.shape[1]
        arrived = torch.arange(states, device=self.count.device).expand(self.count.shape)
        own = torch.eye(states, device=self.count.device)[:, None, :]
        count = torch.where(self.tried[..., None], self.count, own)
        return arrived, count / count.sum(-1, keepdim=True), self.gain, self.ended

    def predict(
        self,
        state: Int[Tensor, "*N B"],
        action: Int[Tensor, "*N B"],
        noise: Float[Tensor, "*N B"],
    ) -> tuple[Float[Tensor, "*N B"], Int[Tensor, "*N B"], Bool[Tensor, "*N B"]]:
        """Draw what follows pairs of each seed from its model: reward, next state, terminated.

        State k is drawn with probability count[k] / (sum of counts): it is the first whose
        cumulative count exceeds `noise` (uniform in [0, 1)) times the sum. A pair that was never
        tried leads back to its own state with reward 0.
        """
        rows = torch.arange(state.shape[-1], device=state.device)
        reached = self.count[rows, state, action].cumsum(-1)  # [*N, B, S]
        drawn = (reached <= noise[..., None] * reached[..., -1:]).sum(-1)
        next_state = torch.where(self.tried[rows, state, action], drawn, state)
        triple = (rows, state, action, next_state)
        return self.gain[triple], next_state, self.ended[triple]
