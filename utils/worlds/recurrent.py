"""The recurrent world model of 1990: M predicts the next input and the reinforcement (lesson 1.2).

Schmidhuber, "An on-line algorithm for dynamic reinforcement learning and planning in reactive
environments" (IJCNN 1990), and the report FKI-126-90, "Making the world differentiable". There M
is a fully recurrent net of simple units; here it is an LSTM with small heads. It is deterministic,
and it predicts what the sensors will say: there is no latent state but its memory.

Shape key: B batch, T time, O observation, A actions, D units.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy

from utils.nn.recurrent import LSTM, SHARP
from utils.world import Dreamt, Spec, State, Step, detach, stack, where


class Recurrent(nn.Module):
    """M. Its state is what it remembers ("hidden", "cell") and what it last saw or predicted.

    Args:
        spec: the task's; its spaces give the units of inputs.
        units: D, of the LSTM.
        cell: the class of the recurrent cell, called as `cell(inputs, units)`.

    Attributes:
        given: how many rows of a window `loss` gives M to see before it must go on alone.
        change: standard deviation of one step's change [O], and `pain` of the reinforcement: the
            units in which M predicts. `measure_units` sets them from data.
    """

    change: Float[Tensor, " O"]
    pain: Float[Tensor, ""]

    def __init__(self, spec: Spec, units: int = 64, cell: type = LSTM) -> None:
        nn.Module.__init__(self)
        self.spec, self.units, self.given = spec, units, 10**9
        size = spec.observation_space.shape[0]
        self.cell = cell(size + spec.action_size, units)
        self.heads = nn.Sequential(
            nn.Linear(units + size, units), nn.Tanh(), nn.Linear(units, size + 1 + spec.cont)
        )
        self.register_buffer("change", torch.ones(size))
        self.register_buffer("pain", torch.ones(()))

    def measure_units(self, data: Step) -> None:
        """Takes the units of prediction from steps [B, T, ...]."""
        inside = ~data.first[:, 1:]
        change = (data.observation[:, 1:] - data.observation[:, :-1])[inside]
        self.change.copy_(change.std(0))
        self.pain.copy_(data.reward[:, 1:][inside].std())

    def initial(self, batch: int) -> State:
        """Nothing seen, nothing remembered."""
        zeros = self.change.new_zeros
        return {
            "hidden": zeros(batch, self.units),
            "cell": zeros(batch, self.units),
            "observation": zeros(batch, len(self.change)),
        }

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """Remember what led here, then see: prediction and correction."""
        return self.correct(self.imagine(state, step.action).state, step)

    def correct(self, state: State, step: Step) -> State:
        """What was really seen in place of the prediction; memory wiped where an episode begins."""
        kept = where(step.first, self.initial(len(step.first)), state)
        return {**kept, "observation": step.observation}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One step of M: what will be seen after `action`, and how much it will hurt.

            hidden', cell' = LSTM([SHARP * x, action], hidden, cell)       x: state["observation"]
            out = heads([hidden', SHARP * x])        [B, O + 1], or [B, O + 2] if spec.cont
            x' = x + change * out[:O],   reinforcement = pain * out[O],   cont = sigmoid(out[O + 1])

        Returns Dreamt(state', reinforcement [B], cont [B] or None), state' with the keys "hidden",
        "cell", "observation". Nothing is sampled, nothing detached: gradients reach the action.
        """
        x = state["observation"]
        seen = SHARP * x
        inputs = torch.cat([seen, action], 1)
        hidden, cell = self.cell(inputs, state["hidden"], state["cell"])
        out = self.heads(torch.cat([hidden, seen], 1))
        size = x.shape[1]
        after = {"hidden": hidden, "cell": cell, "observation": x + self.change * out[:, :size]}
        cont = out[:, size + 1].sigmoid() if self.spec.cont else None
        return Dreamt(after, self.pain * out[:, size], cont)

    def decode(self, state: State) -> Float[Tensor, "B O"]:
        """The observation is part of the state."""
        return state["observation"]

    def loss(
        self, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """Prediction error on windows [B, T, ...], in units of `change` and `pain`.

        M sees the first `self.given` rows; after those it is fed its own predictions, except where
        a new episode begins. Row t is predicted from the state after row t - 1 and the action that
        led to row t. First rows cannot be predicted and are left out. Returns the loss, its parts,
        and the states after each row [B * T, ...], detached.
        """
        rows = [Step(*(v[:, t] for v in batch)) for t in range(batch.reward.shape[1])]
        state = self.correct(self.initial(len(batch.reward)), rows[0])
        states, dreams = [state], []
        for t, step in enumerate(rows[1:], 1):
            dreamt = self.imagine(state, step.action)
            seen = self.correct(dreamt.state, step)
            state = seen if t < self.given else where(step.first, seen, dreamt.state)
            states.append(state)
            dreams.append(dreamt)
        inside = (~batch.first[:, 1:]).to(batch.reward.dtype)
        predicted = torch.stack([d.state["observation"] for d in dreams], 1)
        error = ((predicted - batch.observation[:, 1:]) / self.change).square().mean(-1)
        reward = torch.stack([d.reward for d in dreams], 1)
        parts = {
            "observation": error,
            "pain": ((reward - batch.reward[:, 1:]) / self.pain).square(),
        }
        if self.spec.cont:
            cont = torch.stack([d.cont for d in dreams], 1)
            alive = 1 - batch.terminated[:, 1:].to(cont.dtype)
            parts["cont"] = binary_cross_entropy(cont, alive, reduction="none")
        means = {name: (v * inside).sum() / inside.sum() for name, v in parts.items()}
        starts = {k: v.flatten(0, 1) for k, v in detach(stack(states)).items()}
        return sum(means.values()), {k: v.detach() for k, v in means.items()}, starts
