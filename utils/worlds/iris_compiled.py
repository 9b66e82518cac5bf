"""The dreams of `iris.py` again, faster, and proven to be the same (`tests/worlds/test_iris.py`).

In the clear form each layer writes into the memory, in place. A compiler turns such a write into a
copy of all of it. Here a pass returns the keys and values of its new tokens, for all layers at
once, and they are written after it: attention looks at the memory and at the new tokens side by
side. So one pass, from a token to the next one drawn, is compiled as a whole. Memory stands layer
first here, so that every layer's part of it lies in one piece.

Shape key: as in `iris.py`; T new tokens, 1 or 2; R layers.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from utils.nn.one_hot import draw
from utils.nn.random import uniform
from utils.nn.transformer import Transformer
from utils.world import Dreamt, State
from utils.worlds.iris import IRIS


def one_pass(
    net: Transformer,
    x: Float[Tensor, "B T D"],
    keys: Float[Tensor, "R B heads N d"],
    values: Float[Tensor, "R B heads N d"],
    start: Int[Tensor, " B"],
) -> tuple[Float[Tensor, "B D"], Float[Tensor, "R B T heads d"], Float[Tensor, "R B T heads d"]]:
    """T tokens from slot `start` on: the last output, and the new keys and values of all layers."""
    slots, new = keys.shape[3], x.shape[1]
    filled = torch.arange(slots, device=x.device) < start[:, None]
    before = torch.where(filled, 0.0, -torch.inf)[:, None, None]
    among = torch.ones(new, new, device=x.device).tril().log()  # 0, or minus infinity
    kept = []
    for i, block in enumerate(net.blocks):
        q, k, v = block.attention.split(block.norm1(x))
        q = q * q.shape[-1] ** -0.5
        old, own = q @ keys[i].mT + before, q @ k.mT + among
        weight = torch.cat([old, own], -1).softmax(-1)
        y = weight[..., :slots] @ values[i] + weight[..., slots:] @ v
        x = x + block.attention.out(y.transpose(1, 2).flatten(2))
        x = x + block.mlp(block.norm2(x))
        kept.append(torch.stack([k, v]))
    kept = torch.stack(kept, 1).transpose(3, 4)  # [2, R, B, T, heads, d]
    return net.norm(x[:, -1]), kept[0], kept[1]


class Fast:
    """`imagine` of a world, with its two kinds of pass compiled, for one batch size and either
    samples or modes. The first frame compiles, in about 20 CPU seconds, and on the CPU needs a C++
    compiler.

    Args:
        compiled: False runs the same functions as they stand.
    """

    def __init__(self, world: IRIS, compiled: bool = True) -> None:
        self.world, self.compiled, self.fits = world, compiled, None
        self.enter, self.go_on = self._compile(self._enter), self._compile(self._go_on)

    def _compile(self, function: Callable) -> Callable:
        if not self.compiled:
            return function
        # PyTorch would look at all weights before every pass, to see whether the graph still fits;
        # and there would be Python between two kernels.
        options = {"guard_filter_fn": lambda guards: [False] * len(guards), "cpp_wrapper": True}
        return torch.compile(function, options=options, dynamic=False, fullgraph=True)

    def _check(self, batch: int, mode: bool) -> None:
        self.fits = self.fits or (batch, mode)
        if self.compiled and self.fits != (batch, mode):
            raise ValueError(
                f"These dreams were compiled for (batch, mode) = {self.fits}, and got "
                f"{(batch, mode)}: make another Fast for these."
            )

    def _choose(self, output: Tensor, noise: Tensor | None) -> Int[Tensor, " B"]:
        probability = self.world.to_token(output).softmax(-1)
        return probability.argmax(-1) if noise is None else draw(probability, noise)

    def _enter(self, last, action, keys, values, start, noise):
        """The newest frame's last token and the action; the first token of the next frame."""
        world = self.world
        slot = start[:, None] + torch.arange(2, device=start.device)
        pair = torch.stack([world.token(last), world.action(action)], 1) + world.position(slot)
        output, k, v = one_pass(world.transformer, pair, keys, values, start)
        return (self._choose(output, noise), *world.predict(output), k, v)

    def _go_on(self, token, keys, values, start, noise):
        """One token of the frame; the next one."""
        x = (self.world.token(token) + self.world.position(start))[:, None]
        output, k, v = one_pass(self.world.transformer, x, keys, values, start)
        return self._choose(output, noise), k, v

    @torch.no_grad()
    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        """As the world's own.

        Raises:
            ValueError: compiled for another batch size, or for modes instead of samples.
        """
        self._check(len(action), mode)
        world, row = self.world, torch.arange(len(action), device=action.device)
        state = world.make_room(state, world.config.keep)
        memory = [
            state[name].transpose(0, 1).clone(memory_format=torch.contiguous_format)
            for name in ("keys", "values")
        ]
        chosen, frames = action.argmax(-1), state["frames"]
        start, per_frame = frames * world.block - 2, world.block - 1
        noise = [None] * per_frame
        if not mode:
            drawn = uniform((len(action), per_frame), state["keys"], generator)
            noise = drawn.unbind(1)

        def write(new, start: Int[Tensor, " B"]) -> None:
            slot = start[:, None] + torch.arange(new[0].shape[2], device=start.device)
            for part, value in zip(memory, new, strict=True):
                part[:, row[:, None], :, slot] = value.permute(1, 2, 0, 3, 4)

        last = state["tokens"][row, frames - 1, -1]
        token, reward, cont, *new = self.enter(last, chosen, *memory, start, noise[0])
        write(new, start)
        tokens, start = [token], start + 2
        for k in range(1, per_frame):
            token, *new = self.go_on(token, *memory, start, noise[k])
            write(new, start)
            tokens.append(token)
            start = start + 1
        keys, values = (part.transpose(0, 1) for part in memory)
        after = world.append(state, chosen, torch.stack(tokens, 1))
        return Dreamt(after | {"keys": keys, "values": values}, reward, cont)
