"""What DreamerV3 costs: the recurrence over recorded rows, a step of imagination, a train step, a
step of acting; on one thread of a CPU, and on a GPU where there is one.

Sizes are the course's own and those of public implementations (`tests/duels/dreamer_v3.py`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor
from torch.nn.functional import one_hot

from utils.agents.actor_critic import ActorCritic, Config
from utils.nn.laprop import LaProp
from utils.world import State, Step

ROUNDS = 10
VECTORS, FRAMES, TWO = (
    Box(-np.inf, np.inf, (4,), np.float32),
    Box(0, 255, (64, 64, 3), np.uint8),
    Discrete(2),
)


class Agent:
    """World, actor, critic and optimiser, and a random batch `[B, T, ...]` to train on."""

    def __init__(self, space: gym.Space, sizes, batch: int, time: int, device="cpu") -> None:
        from utils.worlds.dreamer_v3 import DreamerV3

        generator = torch.Generator().manual_seed(0)
        self.generator = torch.Generator(device).manual_seed(0)
        torch.manual_seed(0)
        self.world = DreamerV3(space, TWO, sizes).to(device)
        config = Config(units=sizes.units, bins=sizes.bins)
        self.behaviour = ActorCritic(self.world.size, TWO, config).to(device)
        parts = (self.world, self.behaviour)
        parameters = [p for part in parts for p in part.parameters() if p.requires_grad]
        self.optimiser = LaProp(parameters)
        self.parameters = sum(p.numel() for p in parameters)
        first = torch.zeros(batch, time, dtype=torch.bool)
        first[:, 0] = True
        shape = (batch, time, *space.shape)
        frames = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        observation = frames if space is FRAMES else torch.randn(shape, generator=generator)
        rows = (
            observation,
            one_hot(torch.randint(0, 2, (batch, time), generator=generator), 2).float(),
            torch.randn(batch, time, generator=generator),
            first,
            torch.zeros_like(first),
        )
        self.batch = Step(*(v.to(device) for v in rows))

    def loss(self, batch: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """Of all parts."""
        states, posterior = self.world.filter(batch, self.generator)
        loss, metrics = self.world.objective(batch, states, posterior)
        behaviour, more = self.behaviour.loss(self.world, states, batch, self.generator)
        return loss + behaviour, metrics | more

    def train(self) -> None:
        """One full step of all parts: one loss, one backward pass, one step of the optimiser."""
        self.optimiser.zero_grad()
        self.loss(self.batch)[0].backward()
        self.optimiser.step()

    def recorded(self) -> Callable[[], None]:
        """The same, loss and gradients as one CUDA graph."""
        from utils.course.captured import Captured

        captured = Captured(self.loss, self.optimiser.param_groups[0]["params"], self.generator)

        def train() -> None:
            captured(self.batch)
            self.optimiser.step()

        return train

    def filter(self) -> tuple[State, Tensor]:
        """Posterior states of the batch."""
        return self.world.filter(self.batch, self.generator)

    def filter_and_back(self) -> None:
        """And the gradients of the recurrence."""
        states, posterior = self.filter()
        (states["deter"].mean() + posterior.mean()).backward()

    def imagination(self, compiled: bool = False) -> Callable[[], object]:
        """A call that imagines H steps from every state of the batch; if `compiled`, what the world
        does at a step is machine code."""
        with torch.no_grad():
            states, _ = self.filter()
        starts, world = {k: v.flatten(0, 1) for k, v in states.items()}, self.world
        if compiled:
            step = torch.compile(world.rssm.imagine, dynamic=False, fullgraph=True)
            parts = {"features": world.features, "noise": world.noise}
            world = SimpleNamespace(rssm=SimpleNamespace(imagine=step), **parts)
        return lambda: self.behaviour.imagine(world, starts, self.generator)

    def race(self, calls: dict[str, Callable[[], object]]) -> dict[str, float]:
        """Seconds of each call; on a GPU until its work is done."""
        from utils.course.bench import race

        def waits(call: Callable[[], object]) -> Callable[[], None]:
            def wait() -> None:
                call()
                torch.cuda.synchronize()

            return wait

        if self.batch.reward.is_cuda:
            calls = {name: waits(call) for name, call in calls.items()}
        return race(calls, ROUNDS)

    def acting(self) -> Callable[[], object]:
        """A call that filters one observation and chooses an action."""
        step, policy = Step(*(v[:1, 1] for v in self.batch)), self.behaviour.policy(self.world)
        state = self.world.initial(1)

        @torch.no_grad()
        def act() -> None:
            policy(self.world.observe(state, step, generator=self.generator), self.generator)

        return act


def agents(device="cpu") -> dict[str, Agent]:
    """The agents that are timed, by name."""
    from utils.worlds.dreamer_v3 import Config as Sizes

    small = {"hidden": 64, "stoch": 8, "classes": 8, "units": 64}
    duel = {"hidden": 128, "stoch": 16, "classes": 16, "units": 128}
    return {
        "small, batch 8 x 16": Agent(VECTORS, Sizes(deter=128, **small), 8, 16, device),
        "vectors, batch 8 x 32": Agent(VECTORS, Sizes(deter=256, **duel), 8, 32, device),
        "frames, batch 4 x 16": Agent(FRAMES, Sizes(deter=512, depth=16, **duel), 4, 16, device),
    }


def rssm() -> dict:
    """Recorded rows a second through the recurrence, without gradients and with them."""

    def measure(agent: Agent) -> dict[str, float]:
        with torch.no_grad():
            cost = agent.race({"filter": agent.filter})
        cost |= agent.race({"back": agent.filter_and_back})
        rows = agent.batch.reward.numel()
        return {
            "filtered rows a second": round(rows / cost["filter seconds"]),
            "with gradients": round(rows / cost["back seconds"]),
        }

    return everywhere(measure)


def imagine() -> dict:
    """Imagined steps a second, by all dreams of a batch together; what `torch.compile` adds, and
    the seconds it takes."""

    def measure(agent: Agent) -> dict[str, float]:
        steps = agent.batch.reward.numel() * agent.behaviour.config.horizon
        calls = {"plain": agent.imagination(), "compiled": agent.imagination(compiled=True)}
        begun = time.perf_counter()
        calls["compiled"]()
        seconds = time.perf_counter() - begun
        cost = agent.race(calls)
        return {
            "imagined steps a second": round(steps / cost["plain seconds"]),
            "compiled": round(steps / cost["compiled seconds"]),
            "compilation seconds": round(seconds, 1),
        }

    return everywhere(measure)


def dreamer() -> dict:
    """A train step of all parts, on a GPU also as one CUDA graph; policy steps a second."""

    def measure(agent: Agent) -> dict[str, float]:
        cost = agent.race({"train": agent.train, "act": agent.acting()})
        made = {
            "parameters": agent.parameters,
            "train step ms": round(1e3 * cost["train seconds"], 1),
            "policy steps a second": round(1 / cost["act seconds"]),
        }
        if agent.batch.reward.is_cuda:
            cost = agent.race({"graph": agent.recorded()})
            made["train step ms, one CUDA graph"] = round(1e3 * cost["graph seconds"], 1)
        return made

    return everywhere(measure)


def everywhere(measure: Callable[[Agent], dict[str, float]]) -> dict:
    """The measurement of every agent on every device, and what was measured on."""
    made = {}
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for name, agent in agents(device).items():
            torch.compiler.reset()
            made[f"{device}, {name}"] = measure(agent)
    if torch.cuda.is_available():
        made["GPU"] = torch.cuda.get_device_name()
    return made | {"CPU cores": os.cpu_count(), "threads": 1, "torch": torch.__version__}
