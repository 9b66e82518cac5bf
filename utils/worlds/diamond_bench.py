"""What DIAMOND costs at 64 x 64 pixels: a train step of the denoiser, a batch of sampled frames.

The size is that of `tests/duels/diamond.py`: four levels of 32 channels, 8 frames at once. Weights
and pictures lie with their channels innermost, the order in which convolutions are fastest. What
`torch.compile` makes of it is measured by the duel: to compile takes longer than all of this.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from utils.worlds.diamond import DIAMOND, Config
from utils.worlds.diamond_fast import fast

BATCH, SIDE, ACTIONS = 8, 64, 3  # "no action" is one more
CONFIG = Config(channels=(32, 32, 32, 32))


class Work:
    """A denoiser, its optimiser and random frames.

    Args:
        compiled: its networks, the fast one for samples too, go through torch.compile.
    """

    def __init__(
        self, compiled: bool, config: Config = CONFIG, batch: int = BATCH, side: int = SIDE
    ) -> None:
        torch.manual_seed(0)
        space = Box(0, 255, (side, side, 3), np.uint8)
        self.world = DIAMOND(space, Discrete(ACTIONS), config).to(memory_format=torch.channels_last)
        self.denoiser = self.world.denoiser
        self.parameters = sum(p.numel() for p in self.denoiser.parameters())
        self.dreamer = fast(self.world)
        if compiled:
            for denoiser in (self.denoiser, self.dreamer.denoiser):
                denoiser.net = torch.compile(denoiser.net)
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

    def sample(self) -> Tensor:
        """A batch of frames, three steps of denoising each, by the fast network."""
        return self.sampled(self.dreamer)

    def sample_clearly(self) -> Tensor:
        """The same by the clear one."""
        return self.sampled(self.world)

    @torch.no_grad()
    def sampled(self, world: DIAMOND) -> Tensor:
        return world.sample(self.frames, self.actions, torch.randn_like(self.following))


def bench(race: Callable[..., dict]) -> dict:
    """Seconds of each work on one thread, eager, and frames a second."""
    work = Work(compiled=False)
    found = {
        "train step": race({"clear": work.train}, rounds=5),
        "3-step samples": race({"fast": work.sample, "clear": work.sample_clearly}, rounds=5),
    }
    for how in ("fast", "clear"):
        seconds = found["3-step samples"][f"{how} seconds"]
        found["3-step samples"][f"{how} frames/s"] = round(BATCH / seconds, 2)
    return found
