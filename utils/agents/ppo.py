"""Proximal policy optimisation (Schulman et al. 2017): the control without a world model.

It learns from its last few steps alone, a few times over, and forgets them. So it needs many real
steps, and little time for each.

Shape key: N environments side by side, T rows, B a minibatch, F numbers of an observation, A
actions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gymnasium.spaces import Space, flatdim
from jaxtyping import Float
from torch import Tensor, nn

from utils.agents.actor_critic import Categorical, lambda_return
from utils.world import Policy, State, Step


@dataclass(frozen=True)
class Config:
    units: int = 64
    gamma: float = 0.99
    lam: float = 0.95  # of generalised advantage estimation
    clip: float = 0.2  # how far a probability may move, as a share of itself
    entropy: float = 0.01
    rate: float = 1e-3
    epochs: int = 4  # times that each stretch is learned from
    minibatches: int = 4


class PPO(nn.Module):
    """Actor and critic, two networks of two layers each, that see one observation as it is."""

    def __init__(self, observation_space: Space, action_space: Space, config: Config) -> None:
        super().__init__()
        self.config, inputs = config, flatdim(observation_space)
        self.choice = Categorical(flatdim(action_space))
        self.actor = network(inputs, config.units, self.choice.outputs, 0.01)
        self.critic = network(inputs, config.units, 1, 1.0)
        self.adam = torch.optim.Adam(self.parameters(), config.rate, eps=1e-5)

    def policy(self) -> Policy:
        """Acts on states that hold the `observation` itself, as `ladder.Persistence` has them."""

        def act(state: State, generator: torch.Generator | None) -> Float[Tensor, "B A"]:
            outputs = self.actor(state["observation"].flatten(1).float())
            noise = self.choice.noise(len(outputs), like=outputs, generator=generator)
            return self.choice.sample(outputs, noise)

        return act

    def learn(self, rows: Step, generator: torch.Generator | None = None) -> None:
        """From one stretch of rows `[N, T, ...]` that the policy, as it is now, has made.

        Row t + 1 holds what the action in row t earned. What a border between two episodes holds is
        no one's doing and is left out.
        """
        config, seen = self.config, rows.observation.flatten(2).float()
        with torch.no_grad():
            value = self.critic(seen).squeeze(-1)
            before = self.choice.score(self.actor(seen[:, :-1]), rows.action[:, 1:])[0]
        last = rows.first.roll(-1, 1).float()
        discount = config.gamma * (~rows.terminated).float()
        returns = lambda_return(rows.reward, discount, value, config.lam * (1 - last))
        acted = ~rows.first[:, 1:]
        advantage = (returns - value[:, :-1])[acted]
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        columns = seen[:, :-1][acted], rows.action[:, 1:][acted], before[acted], returns[acted]
        for _ in range(config.epochs):
            order = torch.randperm(len(advantage), generator=generator)
            for part in order.chunk(config.minibatches):
                loss = self.loss(*(column[part] for column in columns), advantage[part])
                self.adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.parameters(), 0.5)
                self.adam.step()

    def loss(
        self,
        seen: Float[Tensor, "B F"],
        action: Float[Tensor, "B A"],
        before: Float[Tensor, " B"],
        returns: Float[Tensor, " B"],
        advantage: Float[Tensor, " B"],
    ) -> Float[Tensor, ""]:
        """Clipped surrogate (equation 7), squared error of the critic, and entropy.

        `before` is the log-probability that the action had when it was taken. Where the ratio has
        left `1 ± clip` in the direction of its advantage, no gradient pulls it further.
        """
        log_prob, entropy = self.choice.score(self.actor(seen), action)
        ratio = (log_prob - before).exp()
        near = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        gain = torch.minimum(ratio * advantage, near * advantage)
        error = (self.critic(seen).squeeze(-1) - returns).square()
        return (0.5 * error - gain - self.config.entropy * entropy).mean()


def network(inputs: int, units: int, outputs: int, scale: float) -> nn.Sequential:
    """Two hidden layers of tanh, started orthogonally; the last layer `scale` times as large."""
    layers = nn.Linear(inputs, units), nn.Linear(units, units), nn.Linear(units, outputs)
    for layer, gain in zip(layers, (2**0.5, 2**0.5, scale), strict=True):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
