"""The actor and critic of Dreamer, the first: returns are differentiated through the dream.

From states that replayed sequences were filtered into, the actor dreams H steps. The dream is a
differentiable function of its actions, so the actor climbs the gradient of λ-returns along it; the
critic learns the returns and makes them reach beyond H. Hafner et al. 2020, "Dream to Control";
danijar/dreamer at `56d4d44`.

Shape key: N dreams side by side, H imagined steps, F features of a state, A actions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import torch
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.dense import dense, glorot
from utils.nn.random import normal
from utils.world import Policy, Rollout, State, World, frozen, rollout


@dataclass(frozen=True)
class Config:
    """The official defaults."""

    units: int = 400
    actor_layers: int = 4
    critic_layers: int = 3
    horizon: int = 15  # H
    discount: float = 0.99  # γ
    lam: float = 0.95  # λ
    init_std: float = 5.0  # of the Gaussian before the tanh, when training begins
    action_noise: float = 0.3  # standard deviation of what is added to actions, to explore


def lambda_return(
    reward: Float[Tensor, "N H"],
    discount: Float[Tensor, "N H"],
    value: Float[Tensor, "N H"],
    lam: float,
) -> Float[Tensor, "N H-1"]:
    """The exponentially weighted mean of all n-step returns, backwards in time:

        R_t = r_t + d_t ((1 - λ) v_{t+1} + λ R_{t+1}),        R_{H-1} = v_{H-1}

    Rows arrive: r_t came with state t, d_t is the discount of what follows it. So the value of a
    state counts the reward that came with it, and only the last row's reward and discount are left
    over. Dreamer and DreamerV2 count like this; DreamerV3's values begin with the next reward.
    Gradients reach rewards, discounts and values. Hafner et al. 2020, equations 4 to 6.
    """
    returns = [value[:, -1]]
    for t in reversed(range(reward.shape[1] - 1)):
        later = (1 - lam) * value[:, t + 1] + lam * returns[-1]
        returns.append(reward[:, t] + discount[:, t] * later)
    return torch.stack(returns[:0:-1], 1)


Returns = Callable[[Tensor, Tensor, Tensor, float], Tensor]  # as `lambda_return`


def dream_weights(discount: Float[Tensor, "N H"]) -> Float[Tensor, "N H"]:
    """How much each step of a dream counts: the product of all discounts before it, and 1 for the
    first. No gradient: the actor shall not end the dream to avoid a loss."""
    return torch.cat([torch.ones_like(discount[:, :1]), discount[:, :-1]], 1).cumprod(1).detach()


class TanhNormal:
    """Actions in (-1, 1): the hyperbolic tangent of a Gaussian.

    `outputs` [..., 2 A] come from the actor: first A numbers for the mean, then A for the standard
    deviation.
    """

    def __init__(self, actions: int, init_std: float) -> None:
        self.outputs, self.actions = 2 * actions, actions
        self.raw_init_std = math.log(math.expm1(init_std))

    def sample(
        self, outputs: Float[Tensor, "*batch O"], noise: Float[Tensor, "*batch A"] | None
    ) -> Float[Tensor, "*batch A"]:
        """An action that gradients pass through; that of the mean where noise is None.

            m, s = the two halves of outputs
            mean = 5 tanh(m / 5)            std = softplus(s + raw_init_std) + 1e-4
            action = tanh(mean + std * noise),                   noise ~ N(0, 1)

        The mean stays within 5, where the outer tanh has still a slope. `self.raw_init_std` makes
        the standard deviation `init_std` where s is 0. danijar/dreamer, ActionDecoder.
        """
        m, s = outputs.chunk(2, -1)
        mean = 5 * torch.tanh(m / 5)
        if noise is None:
            return torch.tanh(mean)
        std = F.softplus(s + self.raw_init_std) + 1e-4
        return torch.tanh(mean + std * noise)


class PathwiseActorCritic(nn.Module):
    """What acts in the world and what judges it.

    `features` is F of the world. Of the world it needs the protocol and `features(state)`. Actions
    are from -1 to 1.

    Args:
        returns, choice: what counts returns and what draws actions, for whoever changes them.
    """

    def __init__(
        self,
        features: int,
        action_space: gym.Space,
        config: Config,
        *,
        returns: Returns = lambda_return,
        choice: type[TanhNormal] = TanhNormal,
    ) -> None:
        super().__init__()
        if not isinstance(action_space, Box):
            raise TypeError(f"Dreamer differentiates through actions, and {action_space} has none.")
        self.config, self.returns = config, returns
        self.choice = choice(gym.spaces.flatdim(action_space), config.init_std)
        self.actor = dense(features, config.units, config.actor_layers, self.choice.outputs)
        self.critic = dense(features, config.units, config.critic_layers, 1)
        glorot(self)

    def policy(self, world: World, explore: bool = True) -> Policy:
        """Acts on states of the world: samples and adds noise to explore, or takes the mean."""

        def act(state: State, generator: torch.Generator | None) -> Float[Tensor, "B A"]:
            outputs = self.actor(world.features(state))
            if not explore:
                return self.choice.sample(outputs, None)
            action = self.choice.sample(outputs, self.noise(outputs, generator))
            return normal(action, self.config.action_noise, generator).clamp(-1, 1)

        return act

    def noise(
        self, outputs: Float[Tensor, "*batch O"], generator: torch.Generator | None
    ) -> Float[Tensor, "*batch A"]:
        """What one action for each row of outputs is drawn from."""
        return normal(torch.zeros_like(outputs[..., : self.choice.actions]), 1.0, generator)

    def imagine(
        self, world: World, starts: State, generator: torch.Generator | None = None
    ) -> Rollout:
        """A dream of `self.config.horizon` steps from `starts`, differentiable in its actions.

        `rollout` dreams and asks a policy for actions; `read=world.features` keeps the features
        [N, H, F] of every dreamed state in the place of the states. The policy samples:
        `self.choice.sample(outputs, self.noise(outputs, generator))` with the actor's outputs.
        The actor looks at *detached* features: a gradient flows from a return to an action through
        the world, and not through later actions, which looked at what that action led to.
        """

        def act(state: State, generator: torch.Generator | None) -> Float[Tensor, "N A"]:
            outputs = self.actor(world.features(state).detach())
            return self.choice.sample(outputs, self.noise(outputs, generator))

        horizon = self.config.horizon
        return rollout(world, starts, act, horizon, generator=generator, read=world.features)

    def value(self, features: Float[Tensor, "*batch F"]) -> Float[Tensor, "*batch"]:
        """The return that the critic expects from a state on, its own reward included."""
        return self.critic(features).squeeze(-1)

    def loss(
        self, world: World, starts: State, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Actor and critic on dreams from `starts` [N, ...]: the sum of two losses, and metrics.

        `self.imagine` dreams; `self.value` of the dream's features is what the critic expects;
        `self.returns(reward, discount, value, self.config.lam)` [N, H-1] and
        `dream_weights(discount)`, without its last column, go into `self.actor_loss` and
        `self.critic_loss`. Every discount is `self.config.discount`.

        Dream and values are made inside `frozen(world, self.critic)`: the actor's gradient passes
        through both and changes neither. The critic's own loss, outside, reaches only the critic.
        Metrics are both parts, "actor" and "critic", and the mean "return", detached.
        """
        with frozen(world, self.critic):
            dream = self.imagine(world, starts, generator)
            discount = torch.full_like(dream.reward, self.config.discount)
            value = self.value(dream.state)
        returns = self.returns(dream.reward, discount, value, self.config.lam)
        weight = dream_weights(discount)[:, :-1]
        parts = {
            "actor": self.actor_loss(returns, weight),
            "critic": self.critic_loss(dream.state[:, :-1], returns, weight),
        }
        metrics = {name: part.detach() for name, part in parts.items()}
        return sum(parts.values()), metrics | {"return": returns.detach().mean()}

    def actor_loss(
        self, returns: Float[Tensor, "N H-1"], weight: Float[Tensor, "N H-1"]
    ) -> Float[Tensor, ""]:
        """Minus the weighted mean of returns: gradient ascent, through the returns themselves."""
        return -(weight * returns).mean()

    def critic_loss(
        self,
        features: Float[Tensor, "N H-1 F"],
        returns: Float[Tensor, "N H-1"],
        weight: Float[Tensor, "N H-1"],
    ) -> Float[Tensor, ""]:
        """Half the squared error of `value`, weighted. Features and returns are numbers here."""
        error = self.value(features.detach()) - returns.detach()
        return 0.5 * (weight * error.square()).mean()
