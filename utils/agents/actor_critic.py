"""The actor and critic of DreamerV3, trained on imagined states alone.

From every state that a replayed sequence was filtered into, the actor dreams H steps. λ-returns of
the dream train the critic, and REINFORCE with the critic as baseline trains the actor. Hafner et
al. 2025, "Mastering diverse control tasks through world models"; danijar/dreamerv3 at `e3f0224`.

Shape key: N dreams side by side, H imagined steps (row 0 is the start, so H + 1 rows), B batch, T
time, F features of a state, A actions, O outputs of the actor, V bins.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Float
from torch import Tensor, nn

from utils.nn.gaussian import log_prob
from utils.nn.mlp import mlp
from utils.nn.one_hot import draw
from utils.nn.random import normal, uniform
from utils.nn.two_hot import TwoHot
from utils.world import Policy, State, Step


@dataclass(frozen=True)
class Config:
    """The official names and defaults."""

    units: int = 1024
    layers: int = 3
    bins: int = 255
    horizon: int = 15  # H
    lam: float = 0.95  # λ
    entropy: float = 3e-4  # scale of the entropy bonus
    slow_rate: float = 0.02  # how fast the slow critic follows
    replay_value: float = 0.3  # scale of the critic's loss on replayed states


def lambda_return(
    reward: Float[Tensor, "B T"],
    discount: Float[Tensor, "B T"],
    value: Float[Tensor, "B T"],
    lam: float | Float[Tensor, "B T"],
) -> Float[Tensor, "B T-1"]:
    """Exponentially weighted mean of all n-step returns, backwards in time:

        R_t = r_{t+1} + d_{t+1} ((1 - λ) v_{t+1} + λ R_{t+1}),        R_{T-1} = v_{T-1}

    Rows arrive: `reward[:, t]` came with state t, and `discount[:, t]` is 0 if the episode ended in
    it. λ may differ from row to row; λ = 0 at row t + 1 lets R_t end in its value.
    """
    later = reward[:, 1:] + (discount * (1 - lam) * value)[:, 1:]
    carry = (discount * lam)[:, 1:]
    returns = [value[:, -1]]
    for t in reversed(range(later.shape[1])):
        returns.append(later[:, t] + carry[:, t] * returns[-1])
    return torch.stack(returns[:0:-1], 1)


class ReturnRange(nn.Module):
    """How far returns reach: the moving average of their 5th and 95th percentile.

    It starts at 0 and is not corrected for that, so advantages are hardly scaled down at first.
    """

    low: Float[Tensor, ""]
    high: Float[Tensor, ""]

    def __init__(self, rate: float = 0.01) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def update(self, returns: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
        """Take a batch of returns in, and give the scale that advantages are divided by.

            low  <- (1 - rate) low  + rate (5th percentile of returns)
            high <- (1 - rate) high + rate (95th percentile),        scale = max(1, high - low)

        The percentiles are those of all numbers in `returns`, whatever its shape, as
        `torch.quantile` interpolates them. `self.low` and `self.high` are buffers and change in
        place; no gradient is kept. Returns that reach less far than 1 are not blown up: their noise
        would be.
        """
        # Made where the returns are: numbers sent from the host would make it wait for a GPU.
        quantiles = torch.linspace(0.05, 0.95, 2, device=returns.device)
        low, high = torch.quantile(returns.detach().flatten(), quantiles)
        self.low.lerp_(low, self.rate)
        self.high.lerp_(high, self.rate)
        return (self.high - self.low).clamp(min=1)


class Categorical:
    """Discrete actions, one-hot; without a uniform mixture, as the official head in effect."""

    def __init__(self, actions: int) -> None:
        self.outputs = actions

    def noise(self, *batch: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
        return uniform(batch, like, generator)

    def sample(
        self, outputs: Float[Tensor, "*batch A"], noise: Float[Tensor, "*batch"]
    ) -> Float[Tensor, "*batch A"]:
        index = draw(outputs.softmax(-1), noise)
        return nn.functional.one_hot(index, self.outputs).to(outputs.dtype)

    def score(
        self, outputs: Float[Tensor, "*batch A"], action: Float[Tensor, "*batch A"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Log-probability of the action, and entropy, in nats."""
        log_probs = outputs.log_softmax(-1)
        return (action * log_probs).sum(-1), -(log_probs.exp() * log_probs).sum(-1)


class BoundedNormal:
    """Continuous actions: Gaussians with means in (-1, 1) and deviations in (0.1, 1)."""

    def __init__(self, actions: int) -> None:
        self.outputs, self.actions = 2 * actions, actions

    def noise(self, *batch: int, like: Tensor, generator: torch.Generator | None) -> Tensor:
        return normal(like.new_zeros(*batch, self.actions), 1.0, generator)

    def spread(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, deviation = outputs.chunk(2, -1)
        return mean.tanh(), 0.9 * torch.sigmoid(deviation + 2) + 0.1

    def sample(
        self, outputs: Float[Tensor, "*batch 2A"], noise: Float[Tensor, "*batch A"]
    ) -> Float[Tensor, "*batch A"]:
        mean, deviation = self.spread(outputs)
        return mean + deviation * noise

    def score(
        self, outputs: Float[Tensor, "*batch 2A"], action: Float[Tensor, "*batch A"]
    ) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch"]]:
        """Log-density of the action, and entropy, in nats, summed over the action's axes."""
        mean, deviation = self.spread(outputs)
        entropy = deviation.log() + 0.5 * (math.log(2 * math.pi) + 1)
        return log_prob(action, mean, deviation.log()).sum(-1), entropy.sum(-1)


class ActorCritic(nn.Module):
    """What acts in the world and what judges it.

    `features` is F of the world. The world gives `features(state)`, `predict(features)` (expected
    reward, and gamma times the probability of going on) and the recurrence `rssm`. `two_hot` and
    `returns` are classes to build it from, for whoever changes one of them.
    """

    def __init__(
        self,
        features: int,
        action_space: gym.Space,
        config: Config,
        *,
        two_hot: type[TwoHot] = TwoHot,
        returns: type[ReturnRange] = ReturnRange,
    ) -> None:
        super().__init__()
        self.config = config
        actions = gym.spaces.flatdim(action_space)
        discrete = isinstance(action_space, Discrete)
        self.choice = Categorical(actions) if discrete else BoundedNormal(actions)
        units, layers = config.units, config.layers
        self.actor = mlp(features, units, layers, self.choice.outputs, scale=0.01)
        self.critic = mlp(features, units, layers, config.bins, scale=0.0)
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        self.two_hot, self.range = two_hot(config.bins), returns()

    def policy(self, world) -> Policy:
        """Acts on states of the world, sampling: also when it is judged."""

        def act(state: State, generator: torch.Generator | None) -> Float[Tensor, "B A"]:
            outputs = self.actor(world.features(state))
            noise = self.choice.noise(len(outputs), like=outputs, generator=generator)
            return self.choice.sample(outputs, noise)

        return act

    def imagine(
        self, world, starts: State, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, "N H+1 F"], Float[Tensor, "N H A"]]:
        """Features of dreamed states, the starts first, and the actions between them.

        Each action is drawn by the actor at the state before it, and leads to the state after it.
        Neither result hangs on a graph: REINFORCE needs no gradient through the world, and with one
        the losses of actor and critic would bend the world to their liking.
        """
        rows, steps, like = len(starts["deter"]), self.config.horizon, starts["deter"]
        latent = world.noise(steps, rows, generator=generator)
        choice = self.choice.noise(steps, rows, like=like, generator=generator)
        with torch.no_grad():
            state, features, actions = starts, [world.features(starts)], []
            for t in range(steps):
                actions.append(self.choice.sample(self.actor(features[-1]), choice[t]))
                state = world.rssm.imagine(state, actions[-1], latent[t])
                features.append(world.features(state))
        return torch.stack(features, 1), torch.stack(actions, 1)

    def loss(
        self, world, states: State, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Actor and critic on dreams from all filtered states `[B, T, ...]` of a batch.

        Call it once for each step of the optimiser: each call moves the slow critic and the range
        of returns. The critic's loss on the replayed states themselves sends its gradient into the
        world model; nothing else does.
        """
        self.follow()
        starts = {k: v.detach().flatten(0, 1) for k, v in states.items()}
        features, actions = self.imagine(world, starts, generator)
        log_probs = self.critic(features).log_softmax(-1)
        with torch.no_grad():
            reward, discount = world.predict(features)
            value, slow = self.two_hot.mean(log_probs), self.slow_value(features)
            returns = lambda_return(reward, discount, value, self.config.lam)
        weight = discount.cumprod(1)  # that the dream has not ended; the start's own discount, too
        advantage = (returns - value[:, :-1]) / self.range.update(returns)
        chosen = self.actor(features)[:, :-1], actions
        replayed = world.features(states), batch, world.discount, returns[:, 0]
        parts = {
            "actor": self.actor_loss(*chosen, advantage, weight[:, :-1]),
            "critic": self.critic_loss(log_probs[:, :-1], returns, slow[:, :-1], weight[:, :-1]),
            "replay value": self.config.replay_value * self.replay_loss(*replayed),
        }
        metrics = {name: part.detach() for name, part in parts.items()}
        metrics |= {"return": returns.mean(), "range": self.range.high - self.range.low}
        return sum(parts.values()), metrics

    @torch.no_grad()
    def follow(self) -> None:
        """The slow critic takes a small step towards the critic."""
        for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
            slow.lerp_(fast, self.config.slow_rate)

    @torch.no_grad()
    def slow_value(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch"]:
        """What the slow critic expects."""
        return self.two_hot.mean(self.slow(features).log_softmax(-1))

    def actor_loss(
        self,
        outputs: Float[Tensor, "N H O"],
        action: Float[Tensor, "N H A"],
        advantage: Float[Tensor, "N H"],
        weight: Float[Tensor, "N H"],
    ) -> Float[Tensor, ""]:
        """`-weight (log π(a|s) sg(advantage) + η entropy)`, a mean over all N H.

        `self.choice.score(outputs, action)` gives the log-probability of the action under the
        actor's outputs, and the entropy, `[N, H]` each; η is `config.entropy`. REINFORCE: the
        advantage is a number, not a path for gradients, which reach `outputs` alone.
        """
        log_prob, entropy = self.choice.score(outputs, action)
        return -(weight * (log_prob * advantage.detach() + self.config.entropy * entropy)).mean()

    def critic_loss(
        self,
        log_probs: Float[Tensor, "*batch V"],
        returns: Float[Tensor, "*batch"],
        slow: Float[Tensor, "*batch"],
        weight: Float[Tensor, "*batch"],
    ) -> Float[Tensor, ""]:
        """Cross entropy to the returns, and to what the slow critic expects; a mean over all."""
        return (weight * self.two_hot.loss(log_probs, returns, slow)).mean()

    def replay_loss(
        self,
        features: Float[Tensor, "B T F"],
        batch: Step,
        gamma: float,
        dreamed: Float[Tensor, " N"],
    ) -> Float[Tensor, ""]:
        """The critic's loss on replayed states, with the rewards that were really paid.

            R = lambda_return(reward, discount, dreamed, λ (1 - last)),
            discount = gamma (1 - terminated)

        The value after a real reward is the return dreamed from there: `dreamed` has one for each
        row of the batch, row by row (N = B T). `last` is 1 in a row that is followed by a `first`
        one: no return looks beyond it, and it has no loss of its own (weight 0; others weigh 1).
        The loss is `critic_loss` of rows 0 to T - 2, with `slow_value` as the slow critic; through
        `features` its gradient reaches the world model.
        """
        last = batch.first.roll(-1, 1).float()  # the next row starts another episode
        discount = gamma * (~batch.terminated).float()
        dreamed = dreamed.view_as(batch.reward)
        returns = lambda_return(batch.reward, discount, dreamed, self.config.lam * (1 - last))
        log_probs, slow = self.critic(features).log_softmax(-1), self.slow_value(features)
        return self.critic_loss(log_probs[:, :-1], returns, slow[:, :-1], 1 - last[:, :-1])
