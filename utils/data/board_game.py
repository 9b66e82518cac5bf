"""What Tic-tac-toe and Connect Four have in common: how boards are seen, and the rules as a world.

A board holds 1 where the player who moves next has a stone, -1 where the opponent has one, 0 where
a cell is empty: each player sees the game as their own.

Shape key: B games side by side, N boards, C cells, A actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from utils.world import Dreamt, Spec, State, Step


def observation(board: Int[Tensor, "N C"]) -> Float[Tensor, "N 2*C"]:
    """Two planes: one's own stones, and the opponent's."""
    return torch.cat([board == 1, board == -1], -1).float()


def board_of(observation: Float[Tensor, "N 2*C"]) -> Int[Tensor, "N C"]:
    """The way back."""
    own, other = observation.long().chunk(2, -1)
    return own - other


class Rules(NamedTuple):
    """Of one game. `legal` has no action once a game is over."""

    lost: Callable[[Int[Tensor, "N C"]], Bool[Tensor, " N"]]  # the one who moves next has lost
    legal: Callable[[Int[Tensor, "N C"]], Bool[Tensor, "N A"]]
    moved: Callable[[Int[Tensor, "N C"], Int[Tensor, " N"]], Int[Tensor, "N C"]]  # as seen then


class Exact:
    """A game as a world: what a search has if it knows the rules."""

    def __init__(self, spec: Spec, rules: Rules) -> None:
        self.spec, self.rules = spec, rules

    def initial(self, batch: int) -> State:
        cells = self.spec.observation_space.n // 2
        return {"board": torch.zeros(batch, cells, dtype=torch.long)}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        return {"board": board_of(step.observation)}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """An action that is not legal, or one after the end, changes nothing."""
        before, number = state["board"], action.argmax(-1)
        free = self.rules.legal(before).gather(1, number[:, None])
        board = torch.where(free, self.rules.moved(before, number), before)
        won = self.rules.lost(board) & free[:, 0]
        goes_on = self.rules.legal(board).any(-1)
        return Dreamt({"board": board}, won.float(), goes_on.float())

    def decode(self, state: State) -> Float[Tensor, "B 2*C"]:
        return observation(state["board"])
