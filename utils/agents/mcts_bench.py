"""The searches that `python -m utils bench mcts` measures, and that peers are compared with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot, relu

from utils.agents.mcts import Model, Reached, Root, Tree, search, simulate
from utils.agents.mcts_compiled import compiled
from utils.world import State

ACTIONS, HIDDEN, GAMMA = 4, 64, 0.997


class Network(nn.Module):
    """A model of two layers with linear heads for policy, value and reward."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(HIDDEN + ACTIONS, HIDDEN)
        self.second = nn.Linear(HIDDEN, HIDDEN)
        self.heads = nn.Linear(HIDDEN, ACTIONS + 2)

    def step(self, latent: Float[Tensor, "B F"], action: Int[Tensor, " B"]) -> tuple[Tensor, ...]:
        """The next latent, logits, value and reward."""
        given = torch.cat([latent, one_hot(action, ACTIONS).float()], -1)
        latent = relu(self.second(relu(self.first(given))))
        return latent, *self.heads(latent).split([ACTIONS, 1, 1], -1)

    def forward(self, state: State, action: Int[Tensor, " B"]) -> Reached:
        latent, logits, value, reward = self.step(state["latent"], action)
        value, reward = value.squeeze(-1), reward.squeeze(-1)
        return Reached({"latent": latent}, reward, torch.full_like(value, GAMMA), logits, value)

    def root(self, batch: int) -> Root:
        """Random latents and what the heads say of them."""
        latent = torch.randn(batch, HIDDEN, generator=torch.Generator().manual_seed(0))
        logits, value, _ = self.heads(latent).split([ACTIONS, 1, 1], -1)
        return Root({"latent": latent}, logits, value.squeeze(-1))


def network(seed: int = 0) -> Network:
    """The network that all searches share."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Network().requires_grad_(False)


def no_network(state: State, action: Int[Tensor, " B"]) -> Reached:
    """A model that costs next to nothing: what remains is the work of the tree."""
    latent = (state["latent"] + 0.3 * action[:, None]).sin()
    discount = torch.full_like(latent[:, 0], GAMMA)
    return Reached({"latent": latent}, latent[:, 0], discount, latent[:, 1:5], latent[:, 5])


class Work(NamedTuple):
    """Searches of the same batch, by name, ready to be called."""

    calls: dict[str, Callable[[], Tree]]
    compilation_seconds: float


def searches(model: Model, batch: int, simulations: int, backend: str = "inductor") -> Work:
    """Compiled and eager."""
    root, fast = network().root(batch), compiled(backend)
    calls = {
        "compiled": lambda: search(root, model, simulations, simulate=fast),
        "eager": lambda: search(root, model, simulations, simulate=simulate),
    }
    begun = time.perf_counter()
    calls["compiled"]()
    return Work(calls, time.perf_counter() - begun)


def works(
    batches: tuple[int, ...] = (1, 16, 64, 256), simulations: int = 50, backend: str = "inductor"
) -> Iterator[tuple[str, int, Work]]:
    """Name, simulations of all trees together, and what to call."""
    for name, model in (("with a network", network()), ("tree alone", no_network)):
        for batch in batches:
            torch.compiler.reset()  # each shape is compiled anew, and there is a limit
            work = searches(model, batch, simulations, backend)
            yield f"batch {batch} {name}", batch * simulations, work
