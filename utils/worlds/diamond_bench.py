"""What DIAMOND costs at 64 x 64 pixels: a train step of the denoiser, a batch of sampled frames.

The size is that of `tests/duels/diamond.py`: four levels of 32 channels, 8 frames at once. Weights
and pictures lie with their channels innermost, the order in which convolutions are fastest.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from utils.worlds.diamond import DIAMOND, Config

BATCH, SIDE, ACTIONS = 8, 64, 3  # "no action" is one more
CONFIG = Config(channels=(32, 32, 32, 32))


class Work:
    """A denoiser, its optimiser and random frames.

    Args:
        compiled: its network goes through torch.compile.
    """

    def __init__(
        self, compiled: bool, config: Config = CONFIG, batch: int = BATCH, side: int = SIDE
    ) -> None:
        torch.manual_seed(0)
        space = Box(0, 255, (side, side, 3), np.uint8)
        self.world = DIAMOND(space, Discrete(ACTIONS), config).to(memory_format=torch.channels_last)
        self.denoiser = self.world.denoiser
        self.parameters = sum(p.numel() for p in self.denoiser.parameters())
        if compiled:
            self.denoiser.net = torch.compile(self.denoiser.net)
        self.optimiser = torch.optim.AdamW(
            self.denoiser.parameters(), 1e-4, weight_decay=1e-2, fused=True
        )
        frames = 2 * torch.rand(batch, config.context + 1, 3, side, side) - 1
        self.frames, self.following = frames[:, :-1], frames[:, -1]
        self.actions = torch.randint(1, ACTIONS + 1, (batch, config.context))

    def train(self) -> None:
        """One update of the denoiser."""
        noise = self.denoiser.noise(self.following)
        loss = self.denoiser.loss(self.following, self.frames, self.actions, noise).mean()
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimiser.step()

    @torch.no_grad()
    def sample(self) -> Tensor:
        """A batch of frames, three steps of denoising each."""
        return self.world.sample(self.frames, self.actions, torch.randn_like(self.following))


def works(**sizes) -> dict[str, dict[str, Callable]]:
    """Calls by work and by how it is done; the compiled ones have been compiled."""
    compiled, eager = Work(True, **sizes), Work(False, **sizes)
    made = {
        "train step": {"compiled": compiled.train, "eager": eager.train},
        "3-step samples": {"compiled": compiled.sample, "eager": eager.sample},
    }
    for calls in made.values():
        calls["compiled"]()
    return made


def bench(race: Callable[..., dict]) -> dict:
    """Seconds of each work on one thread, and frames a second."""
    begun, found = time.perf_counter(), {}
    calls = works()
    seconds = time.perf_counter() - begun
    for name, work in calls.items():
        found[name] = race(work, rounds=5)
        for how in work:
            found[name][f"{how} frames/s"] = round(BATCH / found[name][f"{how} seconds"], 2)
    return found | {"compilation seconds": round(seconds, 1)}
