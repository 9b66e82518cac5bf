"""EfficientZero (Ye et al. 2021): MuZero's world, taught by more than rewards.

Two things are new in the world itself. What g predicts must agree with what h makes of the next
observation (*consistency*, in the manner of SimSiam), so that every step of experience teaches
something, paid or not. And rewards are predicted as the sum since a start (*value prefix*), by an
LSTM along the unrolled steps, so that nobody asks in which step a reward comes. The third change,
targets that fit the present policy, is utils.agents.reanalyse.

Shape key: B batch, K unrolled steps, A actions, D latent features, L units of the LSTM, P projected
features, V atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from utils.nn.mlp import Activate, Linear
from utils.world import Dreamt, State, Step
from utils.worlds import muzero
from utils.worlds.muzero import Played, cross_entropy, random_actions, scale_gradient

Memory = tuple[Tensor, Tensor]  # hidden and cell of the LSTM, [B, L] each


@dataclass(frozen=True)
class Config(muzero.Config):
    """Sizes, and the weight of consistency."""

    memory: int = 64  # L
    horizon: int = 5  # steps after which the value prefix starts over; 1 is a reward for each step
    projection: int = 64  # P, features in which imagined and seen states are compared
    consistency: float = 2.0


class BatchNorm(nn.BatchNorm1d):
    """Every feature with mean 0 and deviation 1 over the batch, whatever its shape; then scaled.

    It keeps states apart: what is alike in all of them is taken away before they are compared. No
    statistics are kept from batch to batch, because nothing is compared outside training.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, track_running_stats=False)

    def forward(self, x: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch F"]:
        return super().forward(x.flatten(0, -2)).view_as(x)


class EfficientZero(muzero.MuZero):
    """The world. Its state holds, beside the latent one, what the LSTM remembers of the rewards."""

    def __init__(
        self, observation_space: gym.Space, action_space: Discrete, config: Config | None = None
    ) -> None:
        super().__init__(observation_space, action_space, c := config or Config())
        self.memory = nn.LSTMCell(c.units, c.memory)
        self.to_reward = nn.Sequential(
            Activate(c.memory), Linear(c.memory, len(self.atoms), scale=0.0)
        )
        projection, narrow = c.projection, c.projection // 2
        self.projector = nn.Sequential(
            *(nn.Linear(c.latent, projection), BatchNorm(projection), nn.ReLU()),
            *(nn.Linear(projection, projection), BatchNorm(projection)),
        )
        self.predictor = nn.Sequential(
            *(nn.Linear(projection, narrow), BatchNorm(narrow), nn.ReLU()),
            nn.Linear(narrow, projection),
        )

    # ---- the three functions, g with a memory

    def blank(self, latent: Float[Tensor, "B D"]) -> Memory:
        """The memory of an LSTM that has seen nothing."""
        nothing = latent.new_zeros(len(latent), self.config.memory)
        return nothing, nothing

    def step(
        self, latent: Float[Tensor, "B D"], action: Float[Tensor, "B A"], memory: Memory
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B V"], Memory]:
        """g: the next latent state, logits of the value prefix up to there, the next memory."""
        hidden = self.dynamics(torch.cat([latent, action], -1))
        memory = self.memory(hidden, memory)
        return self.scaled(latent + self.to_latent(hidden)), self.to_reward(memory[0]), memory

    # ---- the protocol

    def rooted(self, latent: Float[Tensor, "B D"]) -> State:
        """The state that begins in a latent one: nothing remembered, nothing earned."""
        hidden, cell = self.blank(latent)
        nothing = latent.new_zeros(len(latent))
        return {"latent": latent, "hidden": hidden, "cell": cell, "prefix": nothing, "age": nothing}

    def initial(self, batch: int) -> State:
        return self.rooted(super().initial(batch)["latent"])

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """The latent state of what is seen now. Nothing is remembered, so nothing is forgotten."""
        return self.rooted(self.represent(step.observation))

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One step of g. The reward is what the value prefix has grown by.

        `state` holds `latent` [B, D], the LSTM's `hidden` and `cell` [B, L], `prefix` [B], the sum
        of rewards since the prefix began, and `age` [B], the steps since then. After
        `config.horizon` steps prefix, memory and age start over at zero.

        `self.step(latent, action, (hidden, cell))` gives the next latent state, logits of the
        prefix, and the next (hidden, cell); `self.from_support(logits)` is the number that they
        stand for. Returns `Dreamt(state, reward, None)`: nobody says how episodes end.
        """
        latent, logits, (hidden, cell) = self.step(
            state["latent"], action, (state["hidden"], state["cell"])
        )
        prefix, age = self.from_support(logits), state["age"] + 1
        goes_on = (age < self.config.horizon).to(prefix.dtype)
        after = {
            "latent": latent,
            "hidden": hidden * goes_on[:, None],
            "cell": cell * goes_on[:, None],
            "prefix": prefix * goes_on,
            "age": age * goes_on,
        }
        return Dreamt(after, prefix - state["prefix"], None)

    # ---- training

    def unroll(
        self, latent: Float[Tensor, "B D"], action: Float[Tensor, "B K A"]
    ) -> tuple[
        Float[Tensor, "B K+1 A"],
        Float[Tensor, "B K+1 V"],
        Float[Tensor, "B K V"],
        Float[Tensor, "B K+1 D"],
    ]:
        """Logits of policy and value as MuZero's, of the value prefix, and the latent states.

        The gradient is halved where a latent state enters g; the memory is passed on as it is, and
        is blank again after every `config.horizon` steps.
        """
        latents, prefixes, memory = [latent], [], self.blank(latent)
        for k in range(action.shape[1]):
            if k % self.config.horizon == 0:
                memory = self.blank(latent)
            latent, prefix, memory = self.step(scale_gradient(latent, 0.5), action[:, k], memory)
            latents.append(latent)
            prefixes.append(prefix)
        states = torch.stack(latents, 1)
        policy, value = self.heads(states)
        return policy, value, torch.stack(prefixes, 1), states

    def prefix_targets(
        self, reward: Float[Tensor, "B K"], inside: Bool[Tensor, "B K"]
    ) -> Float[Tensor, "B K"]:
        """What the value prefix should be after each of K steps.

        The sum of the rewards, without a discount, from the last start on: at step 0, and after
        every `config.horizon` steps. Rewards of steps that are not `inside` the episode count 0, so
        that the sum stands still after its end.
        """
        total = reward.masked_fill(~inside, 0.0).cumsum(1)
        step = torch.arange(total.shape[1], device=total.device)
        start = step - step % self.config.horizon  # where the prefix of each step began
        before = torch.cat([torch.zeros_like(total[:, :1]), total], 1)[:, start]
        return total - before

    def consistency(
        self, imagined: Float[Tensor, "*batch D"], seen: Float[Tensor, "*batch D"]
    ) -> Float[Tensor, "*batch"]:
        """`-cos(p(q(imagined)), q(seen))`: -1 where the imagined state says all of the seen one.

        q is `self.projector` and p `self.predictor`. No gradient goes into the side of what was
        seen: it is a target. Section 4.1; SimSiam (Chen and He 2021).
        """
        guess = normalize(self.predictor(self.projector(imagined)), dim=-1)
        return -(guess * normalize(self.projector(seen), dim=-1).detach()).sum(-1)

    def loss(
        self, rows: Played, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """MuZero's loss with the value prefix in place of rewards, and consistency beside it.

        Rows as there: windows `[B, K + 1]`, rows 1 to K count 1 / K each. After an end the value is
        0 and the prefix stands still; after a cut nothing counts. The states compared are those of
        rows of the episode that row 0 belongs to, its last one included. Value and prefix cost
        `self.misfit(logits, target)` [*shape], both [*shape, V], the target by `self.to_support`:
        cross entropy over V atoms, or the squared error of one number where `support` is 0.
        Returns the mean over the batch, its parts, and the states of row 0.
        """
        steps = rows.reward.shape[1] - 1
        inside = rows.first[:, 1:].cumsum(1) == 0  # [B, K]: still in the episode of row 0
        inside = torch.cat([torch.ones_like(inside[:, :1]), inside], 1)
        over = (rows.terminated & inside).cumsum(1) > 0  # in the row where it ended, and after it
        counts = (inside | over).to(rows.reward.dtype)
        counts[:, 1:] /= steps

        action = torch.where(inside[..., None], rows.action, random_actions(rows.action, generator))
        latent = self.represent(rows.observation[:, 0])
        policy, value, prefix, states = self.unroll(latent, action[:, 1:])
        seen = self.represent(rows.observation[:, 1:].flatten(0, 1)).view_as(states[:, 1:])
        value_target = self.to_support(rows.value.masked_fill(over | ~inside, 0.0))
        prefix_target = self.to_support(self.prefix_targets(rows.reward[:, 1:], inside[:, 1:]))
        agreement = self.consistency(states[:, 1:], seen)
        parts = {
            "policy": counts * ~over * cross_entropy(policy, rows.policy),
            "value": counts * self.misfit(value, value_target),
            "prefix": counts[:, 1:] * self.misfit(prefix, prefix_target),
            "consistency": counts[:, 1:] * inside[:, 1:] * agreement,
        }
        means = {name: part.sum(1).mean() for name, part in parts.items()}
        loss = means["policy"] + self.config.value_weight * means["value"] + means["prefix"]
        loss = loss + self.config.consistency * means["consistency"]
        return loss, {k: v.detach() for k, v in means.items()}, self.rooted(latent.detach())
