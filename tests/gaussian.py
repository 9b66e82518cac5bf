"""A small world with everything a world may have, for tests of what runs on any world."""

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from torch.nn import functional as F

from utils.nn.random import normal
from utils.world import Dreamt, Spec, stack, where

CARTPOLE = Box(-4.8, 4.8, (4,), np.float32)
TWO = Discrete(2)


class Gaussian(nn.Module):
    """GRU + Gaussian latent, with decoder, reward and continuation: the smallest RSSM."""

    def __init__(self, observation=CARTPOLE, action=TWO, parts=("reward", "cont")):
        super().__init__()
        torch.manual_seed(3)
        self.spec = Spec(observation, action, reward="reward" in parts, cont="cont" in parts)
        size = int(np.prod(observation.shape))
        self.encoder = nn.Linear(size, 8)
        self.cell = nn.GRUCell(4 + self.spec.action_size, 8)
        self.prior, self.posterior = nn.Linear(8, 8), nn.Linear(16, 8)
        self.decoder, self.heads = nn.Linear(12, size), nn.Linear(12, 2)

    def initial(self, batch):
        device = self.prior.weight.device
        return {
            "deter": torch.zeros(batch, 8, device=device),
            "stoch": torch.zeros(batch, 4, device=device),
        }

    def embed(self, observation):
        return self.encoder(observation.float().flatten(-len(self.spec.observation_space.shape)))

    def sample(self, stats, generator, mode):
        mean, std = stats.chunk(2, -1)
        return mean if mode else normal(mean, F.softplus(std), generator)

    def recur(self, state, embed, action, first, generator, mode):
        state = where(first, self.initial(len(first)), state)
        deter = self.cell(torch.cat([state["stoch"], action], -1), state["deter"])
        stats = self.posterior(torch.cat([deter, embed], -1))
        return {"deter": deter, "stoch": self.sample(stats, generator, mode)}

    def observe(self, state, step, *, generator=None, mode=False):
        embed = self.embed(step.observation)
        return self.recur(state, embed, step.action, step.first, generator, mode)

    def imagine(self, state, action, *, generator=None, mode=False):
        deter = self.cell(torch.cat([state["stoch"], action], -1), state["deter"])
        state = {"deter": deter, "stoch": self.sample(self.prior(deter), generator, mode)}
        return Dreamt(state, *self.predict(state))

    def predict(self, state):
        reward, cont = self.heads(self.features(state)).unbind(-1)
        return reward if self.spec.reward else None, cont.sigmoid() if self.spec.cont else None

    def features(self, state):
        return torch.cat([state["deter"], state["stoch"]], -1)

    def decode(self, state):
        return self.decoder(self.features(state)).unflatten(-1, self.spec.observation_space.shape)

    def parallel(self, batch, generator=None, mode=True):
        """Encodes all of time at once and keeps only the recurrence in the loop."""
        embed, state, states = self.embed(batch.observation), self.initial(len(batch.reward)), []
        for t in range(embed.shape[1]):
            args = embed[:, t], batch.action[:, t], batch.first[:, t]
            state = self.recur(state, *args, generator, mode)
            states.append(state)
        return stack(states)

    def loss(self, batch, generator=None):
        states = self.parallel(batch, generator, mode=False)
        reward, cont = self.predict(states)
        shape = self.spec.observation_space.shape
        loss = (
            (self.decoder(self.features(states)).unflatten(-1, shape) - batch.observation)
            .square()
            .mean()
        )
        loss = loss + (0 if reward is None else (reward - batch.reward).square().mean())
        if cont is not None:
            loss = loss + F.binary_cross_entropy(cont, 1 - batch.terminated.float())
        starts = {k: v.detach().flatten(0, 1) for k, v in states.items()}
        return loss, {"loss": loss.detach()}, starts
