"""The actor and critic of DreamerV2: REINFORCE mixed with gradients through the dream.

As Dreamer (`pathwise_actor_critic.py`), but actions are categories, drawn straight through; the
actor learns by REINFORCE, by the gradient of returns through the dream, or by a mixture of both;
and returns bootstrap from a slow copy of the critic. Hafner et al. 2021, "Mastering Atari with
Discrete World Models"; danijar/dreamerv2 at `07d906e`.

Shape key: N dreams side by side, H imagined steps (row 0 is the start, so H + 1 rows), B batch, T
time, F features of a state, A actions.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Float
from torch import Tensor, nn

from utils.agents.pathwise_actor_critic import (
    PathwiseActorCritic,
    Returns,
    dream_weights,
    lambda_return,
)
from utils.nn.dense import dense, glorot
from utils.nn.one_hot import draw, straight_through
from utils.nn.random import uniform
from utils.world import Policy, State, Step, frozen


@dataclass(frozen=True)
class Config:
    """The official names and defaults for Atari."""

    units: int = 400
    layers: int = 4
    horizon: int = 15  # H
    lam: float = 0.95  # λ
    mix: float = 0.0  # share of the gradient through the dream; the rest is REINFORCE
    entropy: float = 1e-3  # scale of the entropy bonus
    slow_update: int = 100  # updates from one copy of the critic to the next


class MixedActorCritic(nn.Module):
    """What acts in the world and what judges it.

    `features` is F of the world. The world gives `features(state)`, `predict(features)` (expected
    reward, and gamma times the probability of going on) and the recurrence `rssm`.

    Args:
        returns: what counts returns, for whoever changes it.
    """

    updates: Tensor

    def __init__(
        self,
        features: int,
        action_space: gym.Space,
        config: Config,
        *,
        returns: Returns = lambda_return,
    ) -> None:
        super().__init__()
        if not isinstance(action_space, Discrete):
            raise TypeError(f"DreamerV2 here chooses among actions, and {action_space} is a range.")
        self.config, self.returns = config, returns
        units, layers = config.units, config.layers
        self.actor = dense(features, units, layers, int(action_space.n))
        self.critic = dense(features, units, layers, 1)
        glorot(self)
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def policy(self, world, explore: bool = True) -> Policy:
        """Acts on states of the world: samples, or takes the most likely action."""

        def act(state: State, generator: torch.Generator | None) -> Float[Tensor, "B A"]:
            logits = self.actor(world.features(state))
            noise = uniform(logits.shape[:-1], logits, generator) if explore else None
            return self.choose(logits, noise)

        return act

    def choose(
        self, logits: Float[Tensor, "*batch A"], noise: Float[Tensor, "*batch"] | None
    ) -> Float[Tensor, "*batch A"]:
        """One-hot actions with straight-through gradients; the most likely without noise."""
        probability = logits.softmax(-1)
        index = logits.argmax(-1) if noise is None else draw(probability, noise)
        return straight_through(probability, index)

    def imagine(
        self, world, starts: State, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "N H+1 F"], Float[Tensor, "N H A"]]:
        """Features of dreamed states, the starts first, and the actions between them.

        Gradients flow as in Dreamer: to an action through the world, not through the actor's look
        at a dreamed state.
        """
        rows, steps, like = len(starts["deter"]), self.config.horizon, starts["deter"]
        latent = world.noise(steps, rows, generator=generator)
        choice = uniform((steps, rows), like, generator)
        state, features, actions = starts, [world.features(starts)], []
        for t in range(steps):
            actions.append(self.choose(self.actor(features[-1].detach()), choice[t]))
            state = world.rssm.imagine(state, actions[-1], latent[t])
            features.append(world.features(state))
        return torch.stack(features, 1), torch.stack(actions, 1)

    value = PathwiseActorCritic.value
    critic_loss = PathwiseActorCritic.critic_loss

    def loss(
        self, world, states: State, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Actor and critic on dreams from all filtered states `[B, T, ...]` of a batch.

        Call it once for each step of the optimiser: each call counts for the slow critic. No
        gradient reaches the world; without a share of it, none is made on the way.
        """
        self.follow()
        starts = {k: v.detach().flatten(0, 1) for k, v in states.items()}
        going = world.discount * (~batch.terminated).flatten()  # known of the starts
        with frozen(world), torch.set_grad_enabled(self.config.mix > 0):
            features, actions = self.imagine(world, starts, generator)
            reward, discount = world.predict(features)
            discount = torch.cat([going[:, None], discount[:, 1:]], 1)
            value = self.slow(features).squeeze(-1)
            returns = self.returns(reward, discount, value, self.config.lam)
        weight = dream_weights(discount)
        parts = self.parts(features.detach(), actions, returns, value, weight)
        metrics = {name: part.detach() for name, part in parts.items()}
        return sum(parts.values()), metrics | {"return": returns.detach().mean()}

    def parts(
        self,
        features: Float[Tensor, "N H+1 F"],
        action: Float[Tensor, "N H A"],
        returns: Float[Tensor, "N H"],
        value: Float[Tensor, "N H+1"],
        weight: Float[Tensor, "N H+1"],
    ) -> dict[str, Tensor]:
        """The "actor" loss and the "critic" loss of dreams: which columns belong together.

        Column t of features, value and weight is about dreamt state t; `returns[:, t]` is R_t,
        which counts the reward that came with state t; `action[:, t]` was chosen in state t and led
        to state t + 1. The critic learns R_t in state t, for all H of them. The actor is paid
        R_{t+1} for the action of state t, with the value of state t as its baseline: H - 1 columns,
        because the last action leads to a state that has no return.
        """
        logits = self.actor(features[:, :-2])
        chosen = logits, action[:, :-1], returns[:, 1:], value[:, :-2], weight[:, :-2]
        return {
            "actor": self.actor_loss(*chosen),
            "critic": self.critic_loss(features[:, :-1], returns, weight[:, :-1]),
        }

    def follow(self) -> None:
        """Every `self.config.slow_update` calls, the first one included, the slow critic becomes a
        copy of the critic; in between it stays as it is. `self.updates` counts the calls."""
        share = (self.updates % self.config.slow_update == 0).float()
        with torch.no_grad():
            for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
                slow.lerp_(fast, share)
        self.updates += 1

    def actor_loss(
        self,
        logits: Float[Tensor, "N H-1 A"],
        action: Float[Tensor, "N H-1 A"],
        returns: Float[Tensor, "N H-1"],
        baseline: Float[Tensor, "N H-1"],
        weight: Float[Tensor, "N H-1"],
    ) -> Float[Tensor, ""]:
        """Minus the weighted mean of what the actor shall increase:

            ρ R_{t+1} + (1 - ρ) log π(a_t | s_t) sg(R_{t+1} - v_t) + η entropy(π(. | s_t))

        Column t of `logits` and `action` is what the actor said of state t and chose there, column
        t of `returns` is R_{t+1}, the return of the state that this led to, and of `baseline` v_t.
        ρ = `self.config.mix`, η = `self.config.entropy`. Through R_{t+1} the gradient flows back
        along the dream; in REINFORCE, action and advantage are numbers. Hafner et al. 2021, eq. 6.
        """
        log_probs = logits.log_softmax(-1)
        chosen = (action.detach() * log_probs).sum(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        reinforce = chosen * (returns - baseline).detach()
        mixed = self.config.mix * returns + (1 - self.config.mix) * reinforce
        return -(weight * (mixed + self.config.entropy * entropy)).mean()
