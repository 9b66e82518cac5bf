"""What DreamerV3 costs: one train step, a step of imagination, a step of acting.

Sizes are those of public implementations in `tests/duels/dreamer_v3.py`, and the course's own.
"""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch.nn.functional import one_hot

from utils.agents.actor_critic import ActorCritic, Config
from utils.nn.laprop import LaProp
from utils.world import Step

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

    def train(self) -> None:
        """One full step of all parts: one loss, one backward pass, one step of the optimiser."""
        states, posterior = self.world.filter(self.batch, self.generator)
        loss, _ = self.world.objective(self.batch, states, posterior)
        behaviour, _ = self.behaviour.loss(self.world, states, self.batch, self.generator)
        self.optimiser.zero_grad()
        (loss + behaviour).backward()
        self.optimiser.step()

    def imagination(self) -> Callable[[], object]:
        """A call that imagines H steps from every state of the batch."""
        with torch.no_grad():
            states, _ = self.world.filter(self.batch, self.generator)
        starts = {k: v.flatten(0, 1) for k, v in states.items()}
        return lambda: self.behaviour.imagine(self.world, starts, self.generator)

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
    from utils.worlds.dreamer_v3 import SMALL
    from utils.worlds.dreamer_v3 import Config as Sizes

    duel = {"hidden": 128, "stoch": 16, "classes": 16, "units": 128}
    return {
        "small, vectors, batch 8 x 16": Agent(VECTORS, SMALL, 8, 16, device),
        "vectors, batch 8 x 32": Agent(VECTORS, Sizes(deter=256, **duel), 8, 32, device),
        "frames, batch 4 x 16": Agent(FRAMES, Sizes(deter=512, depth=16, **duel), 4, 16, device),
    }


def bench() -> dict:
    """Train steps, imagined steps and policy steps a second, on one thread of a CPU, and on a GPU
    where there is one."""
    from utils.course.bench import race

    made = {}
    for device in ("cpu", *(["cuda"] if torch.cuda.is_available() else [])):
        for name, agent in agents(device).items():
            calls = {
                "train": agent.train,
                "imagine": agent.imagination(),
                "act": agent.acting(),
            }
            if device == "cuda":
                calls = {key: _waits(call) for key, call in calls.items()}
            cost = race(calls, 10)
            rows = agent.batch.reward.numel() * agent.behaviour.config.horizon
            made[f"{device}, {name}"] = {
                "parameters": agent.parameters,
                "train step ms": round(1e3 * cost["train seconds"], 1),
                "imagined steps a second": round(rows / cost["imagine seconds"]),
                "policy steps a second": round(1 / cost["act seconds"]),
            }
    return made | {"threads": 1, "torch": torch.__version__}


def _waits(call: Callable[[], object]) -> Callable[[], None]:
    def wait() -> None:
        call()
        torch.cuda.synchronize()

    return wait
