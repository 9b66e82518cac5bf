"""Worlds of the course as models of a tree search: with `imagine` in mode, or with chance nodes.

A tree asks for each edge once. A world that samples would be searched in the one future that was
drawn then, as if one could count on it. So either every sample is replaced by its mode, right for
deterministic worlds, or chance gets nodes of its own (Stochastic MuZero, Antonoglou et al. 2022):
an action leads to an *afterstate*, and from there one of C outcomes follows.

Shape key: B trees, N nodes, A actions, C outcomes (codes) of chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot, pad

from utils.agents.mcts import Decision, Reached, Root, Score, Tree, legal_actions, muzero, puct
from utils.world import Dreamt, State, World, repeat

Predict = Callable[[State], tuple[Tensor, Tensor]]  # state -> policy logits [B, A], value [B]


class ChanceWorld(World, Protocol):
    """A world that can say what may happen. `imagine` is `outcome` with a code drawn by chance."""

    def chance(self, state: State, action: Float[Tensor, "B A"]) -> Float[Tensor, "B C"]:
        """Logits of the codes that may follow an action."""
        ...

    def outcome(
        self, state: State, action: Float[Tensor, "B A"], code: Float[Tensor, "B C"]
    ) -> Dreamt:
        """One step of dream in which chance has decided for `code` (one-hot)."""
        ...


@dataclass
class WorldModel:
    """`world.imagine(..., mode=True)` and two heads.

    Args:
        predict: policy logits and value of a state; with two players, for the one who moves in it.
        gamma: discount of a step; the world's `cont` comes on top.
        players: 1, or 2 who move in turn in a game of zero sum. Then a reward is the mover's, and
            what is good for the opponent counts negative.
    """

    world: World
    predict: Predict
    gamma: float
    players: int = 1

    def __post_init__(self):
        self.actions = self.world.spec.action_size  # A: asking the spec would not compile

    def root(self, state: State) -> Root:
        """Where a search from `state` starts."""
        return Root(state, *self.predict(state))

    def __call__(self, state: State, action: Int[Tensor, " B"]) -> Reached:
        chosen = one_hot(action, self.actions).to(torch.get_default_dtype())
        return self.reached(self.world.imagine(state, chosen, mode=True))

    def reached(self, dreamt: Dreamt) -> Reached:
        """One step of dream with the heads at its end: `Reached(state, reward, discount, logits,
        value)`, each number [B].

        `self.predict(state)` gives logits and value. The discount is `self.gamma`, for two
        `self.players` its negative, times `dreamt.cont`. A world that says no reward (None) gives
        0, one that says no `cont` never ends.
        """
        logits, value = self.predict(dreamt.state)
        reward = torch.zeros_like(value) if dreamt.reward is None else dreamt.reward
        cont = torch.ones_like(value) if dreamt.cont is None else dreamt.cont
        discount = self.gamma if self.players == 1 else -self.gamma
        return Reached(dreamt.state, reward, discount * cont, logits, value)


@dataclass
class ChanceModel(WorldModel):
    """A world with chance codes: edges 0 to A - 1 of a node are actions, the C others are codes.

    A node is a state, where actions are possible, or an afterstate, where codes are. The state in
    the tree says which (`search_chance`) and remembers the action of an afterstate
    (`search_action`); an afterstate keeps the world's state that the action was taken in.

    Args:
        codes: C.
        afterstate: value of an afterstate, from state and action [B, A], for the player who acted.
            None computes it from all C outcomes, with C times the work.
    """

    codes: int = 1
    afterstate: Callable[[State, Tensor], Tensor] | None = None

    def root(self, state: State) -> Root:
        logits, value = self.predict(state)
        marks = {
            "search_action": torch.zeros_like(logits),
            "search_chance": torch.zeros_like(value, dtype=torch.bool),
        }
        return Root({**state, **marks}, self._wide(logits), value)

    def __call__(self, state: State, edge: Int[Tensor, " B"]) -> Reached:
        by_chance, action = state["search_chance"], state["search_action"]
        state = {k: v for k, v in state.items() if k not in ("search_chance", "search_action")}
        actions = self.actions
        taken = one_hot(edge.clamp(max=actions - 1), actions).to(action.dtype)
        action = torch.where(by_chance[:, None], action, taken)
        code = one_hot((edge - actions).clamp(min=0), self.codes).to(action.dtype)

        # Some rows leave a state, others an afterstate: both are worked out, one is used.
        happened = self.reached(self.world.outcome(state, action, code))
        chance = pad(self.world.chance(state, action), (actions, 0), value=-torch.inf)
        value = (self.afterstate or self.expected)(state, action)
        marked = {"search_action": action, "search_chance": by_chance}
        acted = Reached(
            state,
            torch.zeros_like(value),
            torch.ones_like(value),
            chance,
            value,
        )
        happened = happened._replace(logits=self._wide(happened.logits))
        chosen = _where(by_chance, happened, acted)
        return chosen._replace(state={**chosen.state, **marked, "search_chance": ~by_chance})

    def expected(self, state: State, action: Float[Tensor, "B A"]) -> Float[Tensor, " B"]:
        """The value of an afterstate: reward and value of every outcome, by its probability."""
        chance = self.world.chance(state, action).softmax(-1)
        code = torch.eye(self.codes, device=action.device).repeat(len(action), 1)
        action = action.repeat_interleave(self.codes, 0)
        each = self.reached(self.world.outcome(repeat(state, self.codes), action, code))
        returns = each.reward + each.discount * each.value
        return (chance * returns.unflatten(0, chance.shape)).sum(-1)

    def _wide(self, logits: Float[Tensor, "B A"]) -> Float[Tensor, "B A+C"]:
        """No codes where one acts."""
        return pad(logits, (0, self.codes), value=-torch.inf)


def _where(mask: Bool[Tensor, " B"], a: Reached, b: Reached) -> Reached:
    """Row by row."""

    def pick(x: Tensor, y: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (x.ndim - 1)), x, y)

    state = {k: pick(a.state[k], b.state[k]) for k in a.state}
    return Reached(state, *(pick(x, y) for x, y in zip(a[1:], b[1:], strict=True)))


def with_chance(score: Score) -> Score:
    """At states as `score` says; at afterstates, the outcome whose visits lag behind its
    probability most: the arg max of P / (1 + N), which needs no random number."""

    def both(tree: Tree) -> Float[Tensor, "B N A+C"]:
        chance = tree.state["search_chance"][..., None]
        return torch.where(chance, tree.prior / (tree.visits + 1), score(tree))

    return both


puct_with_chance = with_chance(puct)


def stochastic_muzero(
    root: Root,
    model: ChanceModel,
    simulations: int,
    *,
    legal: Bool[Tensor, "B A"] | None = None,
    noise: Float[Tensor, "B A"] | None = None,
    score: Score = puct_with_chance,
    **options,
) -> Decision:
    """`muzero` with chance nodes; arguments as there. One simulation adds a state or an afterstate,
    so that a line of k real steps takes 2 k of them."""
    actions = model.actions
    legal = legal_actions(root.logits[:, :actions], legal)
    decision = muzero(
        root,
        model,
        simulations,
        legal=pad(legal, (0, model.codes), value=False),
        noise=None if noise is None else pad(noise, (0, model.codes)),
        score=score,
        **options,
    )
    return decision._replace(policy=decision.policy[:, :actions])
