"""What every world model of the course is: types, the protocol, and what runs on any world.

Data convention: **arrival**. Row t holds what arrived together: the observation, the action that
led to it, the reward that came with it, whether it is the first of an episode, and whether the
episode terminated in it. Action and reward are zero where `first`.

Shape key: B batch, T time, H horizon, A action size, N rows of a bank of states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import gymnasium as gym
import torch
from jaxtyping import Bool, Float
from torch import Tensor

State = dict[str, Tensor]  # flat, batch first, a value: no world changes its argument
Policy = Callable[[State, torch.Generator | None], Tensor]  # (state, generator) -> action [B, A]


class Step(NamedTuple):
    """One row of experience in the arrival convention: `[B, ...]`, in data sets `[B, T, ...]`."""

    observation: Tensor  # [B, *shape] as the data holds it; one-hot float [B, n] if Discrete(n)
    action: Float[Tensor, "B A"]  # led to the observation; one-hot if discrete; zero where first
    reward: Float[Tensor, " B"]  # came with the observation; zero where first
    first: Bool[Tensor, " B"]  # the observation starts an episode
    terminated: Bool[Tensor, " B"]  # the episode ended in it for good (not by a time limit)


class Dreamt(NamedTuple):
    """One imagined step: the state arrived in and what came with it."""

    state: State
    reward: Float[Tensor, " B"] | None  # expected reward; None where the system predicts none
    cont: Float[Tensor, " B"] | None  # P(not terminated), without gamma; None where there is none


@dataclass(frozen=True)
class Spec:
    """What a world consumes and predicts.

    The spaces are those of a single environment. `observation_space` describes what one step
    emits: a world whose step is a chunk of video has the frames as its first axis, and says so in
    `frames`. A `Discrete` space stands for one-hot float tensors, in observations and in actions.
    """

    observation_space: gym.Space
    action_space: gym.Space
    frames: int = 1  # frames that one step emits
    observation: bool = True  # decode returns an observation, else None
    reward: bool = True  # imagine predicts a reward, else None
    cont: bool = True  # imagine predicts a continuation, else None
    differentiable: bool = True  # gradients of the imagined state reach the action

    @property
    def discrete(self) -> bool:
        """Actions are one-hot."""
        return isinstance(self.action_space, gym.spaces.Discrete)

    @property
    def action_size(self) -> int:
        """A, the last axis of an action tensor."""
        return gym.spaces.flatdim(self.action_space)


class World(Protocol):
    """A learned (or exact) simulator. Outside the protocol, the same names everywhere:
    `loss(batch, generator) -> (loss, metrics, starts)` and `chance(state, action) -> logits`.

    No method carries `no_grad` or a detach that its paper's equation does not have: the caller
    decides. All sampling goes through `utils.nn.random` with the generator given.
    """

    spec: Spec

    def initial(self, batch: int) -> State:
        """The state that knows nothing yet; it may not be able to imagine yet."""
        ...

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """Filter one step `[B, ...]`: posterior, encoder, token, context. Forgets rows where
        `step.first`; learns nothing."""
        ...

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One step of dream; `mode` replaces every sample by the distribution's mode."""
        ...

    def decode(self, state: State) -> Tensor | None:
        """The expected observation `[B, *shape]`, in the space of the data (probabilities for a
        one-hot space); None where `spec.observation` is False."""
        ...


def where(mask: Bool[Tensor, " B"], a: State, b: State) -> State:
    """Row by row: `a` where the mask is True, else `b`."""
    return {k: torch.where(mask.view(-1, *[1] * (a[k].ndim - 1)), a[k], b[k]) for k in a}


def take(state: State, index: Tensor | slice) -> State:
    """The rows that `index` (integers, a mask or a slice) names."""
    return {k: v[index] for k, v in state.items()}


def detach(state: State) -> State:
    """The same values, cut off from the graph that made them."""
    return {k: v.detach() for k, v in state.items()}


def repeat(state: State, n: int) -> State:
    """Every row `n` times in place: rows a, b become a, a, b, b for `n=2`."""
    return {k: v.repeat_interleave(n, 0) for k, v in state.items()}
