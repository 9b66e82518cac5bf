"""MuZero (Schrittwieser et al. 2020): a model of what matters for planning, and of nothing else.

Three networks: the *representation* h turns an observation into a latent state, the *dynamics* g
takes an action there and says what reward comes with it, the *prediction* f gives policy and value.
None of them is ever asked what the next observation looks like. What the latent state holds is
decided by rewards, values and policies, several steps ahead.

What plans with it is utils.agents.mcts, through utils.agents.mcts_models.WorldModel, whose heads
are `MuZero.predict`.

Shape key: B batch, K unrolled steps, A actions, D latent features, S size of the support, V = 2 S +
1 atoms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from utils.nn.mlp import Linear, mlp
from utils.nn.random import uniform
from utils.nn.two_hot import two_hot
from utils.world import Dreamt, Spec, State, Step

EPSILON = 0.001  # of the value transform


class Played(NamedTuple):
    """Rows of experience with what the search found at each: `Step`, and two columns more."""

    observation: Tensor
    action: Float[Tensor, "B A"]
    reward: Float[Tensor, " B"]
    first: Bool[Tensor, " B"]
    terminated: Bool[Tensor, " B"]
    policy: Float[Tensor, "B A"]  # of the search at this observation; any where the episode is over
    value: Float[Tensor, " B"]  # for the player who moves here: of the search, or a target


# Targets


def value_transform(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """`h(x) = sign(x) (sqrt(|x| + 1) - 1) + 0.001 x`: large returns shrink to their root.

    The last term keeps h invertible with a slope that never vanishes. MuZero, Appendix F; from
    Pohlen et al. 2018.
    """
    return x.sign() * ((x.abs() + 1).sqrt() - 1) + EPSILON * x


def inverse_transform(y: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """x with `value_transform(x) = y`.

    With e = 0.001, m = |y| and s = sqrt((1 + 2 e)^2 + 4 e m), x is sign(y) (u^2 - 1) where
    u = 2 (m + 1 + e) / (s + 1). In the usual form of u, and in u^2 - 1, numbers that are nearly
    equal are subtracted, which costs three digits in float32; here u - 1 is found without that.
    """
    size = y.abs()
    root = ((1 + 2 * EPSILON) ** 2 + 4 * EPSILON * size).sqrt()
    excess = size * (2 - 4 * EPSILON / (1 + 2 * EPSILON + root)) / (root + 1)  # u - 1
    return y.sign() * excess * (excess + 2)


def n_step_targets(rows: Played, n: int, discount: float) -> Float[Tensor, "B T-n"]:
    """What a value head should say at rows 0 to T - n - 1 of windows `[B, T]`.

        z_t = sum over i = 1..n of discount^(i-1) reward_{t+i}  +  discount^n value_{t+n}

    `rows.value` is what the search found. Where the episode terminates on the way, the sum ends
    with that row's reward. Where it was cut (the next row is `first`, but nothing terminated), the
    sum ends with the discounted value of its last row. A row in which the episode terminated has
    the target 0. `discount` is gamma, or -gamma where two players move in turn: then a reward is
    that of the player who moved, and what comes to the opponent counts negative. Appendix G.
    """
    length = rows.reward.shape[1] - n
    value = rows.value.masked_fill(rows.terminated, 0.0)
    target = value[:, n:]
    for i in reversed(range(n)):  # from i + 1 steps after the row to i steps after it
        arrived = slice(i + 1, i + 1 + length)
        onward = rows.reward[:, arrived] + discount * target
        target = torch.where(rows.first[:, arrived], value[:, i : i + length], onward)
    return target


def scale_gradient(x: Float[Tensor, "*shape"], scale: float) -> Float[Tensor, "*shape"]:
    """x itself; the gradient that comes back through what is returned is multiplied by `scale`,
    not the one that x has from elsewhere. Appendix G."""
    return x.detach() + scale * (x - x.detach())


@dataclass(frozen=True)
class Config:
    """Sizes."""

    latent: int = 64  # D
    units: int = 128
    layers: int = 1  # hidden layers of each network
    support: int = 300  # S: values up to h^-1(S), about 59,000; 0: a number, no distribution
    squash: bool = True  # by h; False in board games, whose values lie between -1 and 1
    value_weight: float = 0.25


class MuZero(nn.Module):
    """The world. It keeps no memory: the latent state is made from one observation.

    An observation that does not show all that matters must hold the last few frames.
    """

    atoms: Float[Tensor, " V"]

    def __init__(
        self, observation_space: gym.Space, action_space: Discrete, config: Config | None = None
    ) -> None:
        super().__init__()
        self.config = c = config or Config()
        self.spec = Spec(observation_space, action_space, observation=False, cont=False)
        seen, actions, values = (
            gym.spaces.flatdim(observation_space),
            int(action_space.n),
            2 * c.support + 1,
        )
        self.representation = mlp(seen, c.units, c.layers, c.latent)
        self.dynamics = mlp(c.latent + actions, c.units, c.layers)
        self.to_latent = Linear(c.units, c.latent)
        self.to_reward = Linear(c.units, values, scale=0.0)
        self.prediction = mlp(c.latent, c.units, c.layers)
        self.to_policy = Linear(c.units, actions, scale=0.0)
        self.to_value = Linear(c.units, values, scale=0.0)
        self.register_buffer("atoms", torch.arange(-c.support, c.support + 1.0), persistent=False)

    # ---- the three functions

    def scaled(self, latent: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Every row with mean 0 and variance 1 (of the D features, with 1e-5 added to it).

        So no feature grows from step to step, and the state has the size of the one-hot action
        beside it. A row of equal features becomes 0. Appendix G stretches rows to [0, 1]; there
        one feature that sticks out flattens all others, and learning takes several times as long.
        """
        centred = latent - latent.mean(-1, keepdim=True)
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()

    def represent(self, observation: Float[Tensor, "B ..."]) -> Float[Tensor, "B D"]:
        """h: the latent state of an observation."""
        return self.scaled(self.representation(observation.flatten(1).to(self.atoms.dtype)))

    def step(
        self, latent: Float[Tensor, "B D"], action: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B D"], Float[Tensor, "B V"]]:
        """g: the next latent state, and logits of the reward that comes with it."""
        hidden = self.dynamics(torch.cat([latent, action], -1))
        return self.scaled(latent + self.to_latent(hidden)), self.to_reward(hidden)

    def heads(
        self, latent: Float[Tensor, "*shape D"]
    ) -> tuple[Float[Tensor, "*shape A"], Float[Tensor, "*shape V"]]:
        """f: logits of the policy and of the value."""
        hidden = self.prediction(latent)
        return self.to_policy(hidden), self.to_value(hidden)

    # ---- numbers as distributions

    def to_support(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape V"]:
        """The distribution over `self.atoms` (-S, ..., S) whose mean is `value_transform(x)`, or x
        if `config.squash` is False: all of it on the two atoms beside that. Beyond the ends it is
        all on the last atom. With S = 0 it is that number itself."""
        x = value_transform(x) if self.config.squash else x
        return two_hot(x, self.atoms) if self.config.support else x[..., None]

    def from_support(self, logits: Float[Tensor, "*shape V"]) -> Float[Tensor, "*shape"]:
        """The number that logits stand for: the mean atom, transformed back by h^-1."""
        mean = logits.softmax(-1) @ self.atoms if self.config.support else logits[..., 0]
        return inverse_transform(mean) if self.config.squash else mean

    def misfit(
        self, logits: Float[Tensor, "*shape V"], target: Float[Tensor, "*shape V"]
    ) -> Float[Tensor, "*shape"]:
        """What a prediction costs, its target given by `to_support`: the cross entropy; with S = 0
        the squared error, as in the paper's board games."""
        if self.config.support:
            return cross_entropy(logits, target)
        return (logits - target).square().squeeze(-1)

    # ---- the protocol

    def initial(self, batch: int) -> State:
        return {"latent": self.atoms.new_zeros(batch, self.config.latent)}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        """The latent state of what is seen now. Nothing is remembered, so nothing is forgotten."""
        return {"latent": self.represent(step.observation)}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """One step of g, which is deterministic. It has no notion of an end: after one, the model
        should say that nothing comes any more, reward 0 and value 0."""
        latent, reward = self.step(state["latent"], action)
        return Dreamt({"latent": latent}, self.from_support(reward), None)

    def decode(self, state: State) -> None:
        """There is no picture in a latent state of MuZero's."""
        return None

    def predict(self, state: State) -> tuple[Float[Tensor, "B A"], Float[Tensor, " B"]]:
        """Policy logits and value of a state, for the search."""
        policy, value = self.heads(state["latent"])
        return policy, self.from_support(value)

    # ---- training

    def unroll(
        self, latent: Float[Tensor, "B D"], action: Float[Tensor, "B K A"]
    ) -> tuple[Float[Tensor, "B K+1 A"], Float[Tensor, "B K+1 V"], Float[Tensor, "B K V"]]:
        """What the model says along K actions: logits of policy and value (`self.heads`) at the
        first state and after each action, of the reward with each action (`self.step`).

        No observation is seen on the way. The gradient is halved (`scale_gradient`) in the state
        that goes into `step`, not in what the heads read: the state after k actions has come
        through g k times, and what is far counts less. Appendix G.
        """
        latents, rewards = [latent], []
        for k in range(action.shape[1]):
            latent, reward = self.step(scale_gradient(latent, 0.5), action[:, k])
            latents.append(latent)
            rewards.append(reward)
        policy, value = self.heads(torch.stack(latents, 1))
        return policy, value, torch.stack(rewards, 1)

    def loss(
        self, rows: Played, generator: torch.Generator | None = None
    ) -> tuple[Tensor, dict[str, Tensor], State]:
        """The unrolled loss of windows `[B, K + 1]`, whose `value` holds the value targets.

        Row 0 is seen, and the K actions after it are unrolled. What counts at every row: the cross
        entropy of the policy, `misfit` of the value (times `config.value_weight`), from row 1 on
        `misfit` of the reward. Rows 1 to K count 1 / K each, so that a longer unroll weighs no more
        (Appendix G).

        Where the episode terminated, nothing comes any more: value 0, from then on reward 0 too,
        whatever one does (actions are drawn), and there is no policy to learn. Where it was cut,
        nothing is known of later rows, and nothing counts.
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
        policy, value, reward = self.unroll(latent, action[:, 1:])
        value_target = self.to_support(rows.value.masked_fill(over | ~inside, 0.0))
        reward_target = self.to_support(rows.reward.masked_fill(~inside, 0.0)[:, 1:])
        parts = {
            "policy": counts * ~over * cross_entropy(policy, rows.policy),
            "value": counts * self.misfit(value, value_target),
            "reward": counts[:, 1:] * self.misfit(reward, reward_target),
        }
        means = {name: part.sum(1).mean() for name, part in parts.items()}
        loss = means["policy"] + self.config.value_weight * means["value"] + means["reward"]
        return loss, {k: v.detach() for k, v in means.items()}, {"latent": latent.detach()}


def random_actions(
    like: Float[Tensor, "*shape A"], generator: torch.Generator | None
) -> Float[Tensor, "*shape A"]:
    """One-hot actions, each equally likely."""
    number = like.shape[-1]
    drawn = (uniform(like.shape[:-1], like, generator) * number).long()
    return one_hot(drawn, number).to(like.dtype)


def cross_entropy(
    logits: Float[Tensor, "*shape V"], target: Float[Tensor, "*shape V"]
) -> Float[Tensor, "*shape"]:
    """`-sum of target log softmax(logits)`, in nats."""
    return -(target * logits.log_softmax(-1)).sum(-1)
