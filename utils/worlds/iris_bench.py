"""What IRIS costs at the size of speed comparisons: the bench of `iris.py`.

1,019,141 parameters: width 128, 4 layers, 4 heads, a window of 20 frames with 16 tokens of 512, 4
actions. The tokens are ready made, so that only the transformer is timed. Each function returns
what is timed as calls, by name, ours first; compilation happens in the first call.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from gymnasium.spaces import Discrete, MultiBinary
from torch import Tensor, nn
from torch.nn.functional import one_hot

from utils.world import State, Step
from utils.worlds import iris_compiled
from utils.worlds.iris import IRIS, Config

Calls = dict[str, Callable[[], object]]
BATCH, FRAMES, TOKENS, VOCABULARY, ACTIONS = 4, 20, 16, 512, 4


class Ready(nn.Module):
    """Frames that are tokens already."""

    vocabulary, tokens = VOCABULARY, TOKENS

    def encode(self, frames: Tensor) -> Tensor:
        return frames

    def decode(self, tokens: Tensor) -> Tensor:
        return tokens


def world() -> IRIS:
    config = Config(width=128, layers=4, heads=4, frames=FRAMES, keep=1)
    return IRIS(MultiBinary(TOKENS), Discrete(ACTIONS), Ready(), config)


def windows() -> Step:
    """One batch of full windows."""
    action = one_hot(torch.randint(ACTIONS, (BATCH, FRAMES)), ACTIONS).float()
    never = torch.zeros(BATCH, FRAMES, dtype=torch.bool)
    frames = torch.randint(VOCABULARY, (BATCH, FRAMES, TOKENS))
    return Step(frames, action, torch.randn(BATCH, FRAMES), never, never)


def train(compiled: bool = True) -> Calls:
    """One train step; compiled also in bfloat16, which is other arithmetic: a line of its own."""

    def made(compiled: bool, half: bool = False) -> Callable[[], None]:
        ours, rows = world(), windows()
        adam = torch.optim.AdamW(ours.parameters(), 1e-4, weight_decay=0.01, fused=True)
        loss = torch.compile(iris_compiled.loss) if compiled else iris_compiled.loss

        def step() -> None:
            adam.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                value = loss(ours, rows)
            value.backward()
            nn.utils.clip_grad_norm_(ours.parameters(), 10.0)
            adam.step()

        return step

    calls = {"ours": made(False)}
    if compiled:
        calls |= {"ours, compiled": made(True), "ours, compiled, bfloat16": made(True, half=True)}
    return calls


@torch.no_grad()
def first_frame(ours: IRIS) -> State:
    """States after one frame, of random tokens."""
    frame = torch.randint(VOCABULARY, (BATCH, 1, TOKENS))
    nothing, one = torch.zeros(BATCH, 1, dtype=torch.long), torch.ones(BATCH, dtype=torch.long)
    return ours.read(frame, nothing, one)


def imagine(frames: int = FRAMES - 1, compiled: bool = True) -> Calls:
    """19 frames for each of 4 streams, from one frame each: the window is full at the end."""

    def made(compiled: bool) -> Callable[[], None]:
        ours = world()
        action = one_hot(torch.randint(ACTIONS, (BATCH,)), ACTIONS).float()
        step = iris_compiled.Fast(ours).imagine if compiled else ours.imagine

        @torch.no_grad()
        def run() -> None:
            state = first_frame(ours)
            for _ in range(frames):
                state = step(state, action).state

        return run

    calls = {"ours": made(False)}
    return calls | {"ours, compiled": made(True)} if compiled else calls
