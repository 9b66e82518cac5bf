"""Play a learned world: what its dream looks like under somebody's keys, beside the truth.

    game = DreamGame(world, starts, draw_breakout)
    play(game.step, {"ArrowLeft": 1, "ArrowRight": 2}, idle=0, fps=8)

Shape key: N rows of the bank of starts, T frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from utils.world import Dream, State, World, take, to_tensor

Picture = Callable[[Tensor], UInt8[np.ndarray, "T H W 3"]]  # of frames [T, *shape]
GAP = 1 / 16  # of a picture's width, between the dream and the truth


class DreamGame:
    """A dream that somebody steers; `step` is what `utils.course.play.play` calls.

    The world samples as it does for an agent; how boldly is the world's own attribute
    (temperature, denoising steps). A dream ends by the world's own continuation or after `limit`
    steps. Its last picture then stays for `hold` steps, and the next dream starts from another row.

    Args:
        starts: N states, filtered over real contexts.
        picture: frames `[T, *shape]`, as `world.decode` gives them -> uint8 `[T, H, W, 3]`.
        truth: another world, such as an exact simulator, and its N states of the same moments. It
            is shown on the right, under the same actions.
    """

    def __init__(
        self,
        world: World,
        starts: State,
        picture: Picture,
        *,
        truth: tuple[World, State] | None = None,
        limit: int = 1000,
        hold: int = 10,
        seed: int = 0,
    ) -> None:
        self.dream = Dream(world, starts, 1, limit, seed=seed)
        self.picture, self.truth, self.hold = picture, truth, hold
        self.begin()

    def begin(self) -> None:
        """A new dream, from a row drawn from the bank."""
        index = self.dream.draw()
        self.shown = self.dream.reset(index=index)
        self.real = take(self.truth[1], index) if self.truth else None
        self.steps, self.total, self.over, self.held, self.fresh = 0, 0.0, "", 0, True

    @torch.no_grad()
    def step(self, action: Any) -> tuple[UInt8[np.ndarray, "H W 3"], str]:
        """One step under `action`, a member of the world's action space: picture and one line.

        The first call of each dream only shows where it starts.
        """
        if self.over and self.held == self.hold:
            self.begin()
        if self.over:
            self.held += 1
        elif not self.fresh:
            self._imagine(action)
        self.fresh = False
        return self._picture(), self._text()

    def _imagine(self, action: Any) -> None:
        world, device = self.dream.world, self.dream.device
        action = to_tensor(world.spec.action_space, np.asarray(action)[None]).float()
        action = action.flatten(1).to(device)
        outcome = self.dream.step(action)
        self.shown, self.steps = outcome.arrived, self.steps + 1
        self.total += 0.0 if outcome.reward is None else outcome.reward.item()
        if outcome.terminated:
            self.over = "the dream has ended"
        elif outcome.truncated:
            self.over = "the time is up"
        if self.truth:
            self.real = self.truth[0].imagine(self.real, action, mode=True).state

    def _picture(self) -> UInt8[np.ndarray, "H W 3"]:
        dreamt = self.picture(self.dream.world.decode(self.shown))[0]
        if self.truth is None:
            return dreamt
        real = self.picture(self.truth[0].decode(self.real))[0]
        gap = np.full((len(real), max(1, round(GAP * real.shape[1])), 3), 128, np.uint8)
        return np.concatenate([dreamt, gap, real], 1)

    def _text(self) -> str:
        reward = f", reward {self.total:.3g}" if self.dream.world.spec.reward else ""
        return f"step {self.steps}{reward}{'; ' * bool(self.over)}{self.over}"
