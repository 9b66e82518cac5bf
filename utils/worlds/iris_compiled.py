"""The dreams of `iris.py` again, faster, and proven to be the same (`tests/worlds/test_iris.py`).

With few dreams at a time a pass is so short that what stands around its products costs more than
they do: a hundred small operations to launch, masks made anew, a memory that is written in place.
Here one pass, from a word to the next token drawn, is compiled ahead of time, with the weights
inside, and called as one function. It returns the keys and values of its word, and they are written
after it: attention looks at the memory and at the new word side by side.

What a pass reads decides how long it takes: all weights, all keys and values so far. So keys lie
slot by slot for each of their numbers, and weights in columns, in the order in which they are read.
A frame is written behind those before it, into the same memory, as long as it goes on from the
newest state; going on from an older one begins with a copy.

Shape key: as in `iris.py`; R layers, S slots that are filled in the longest row.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from utils.nn.one_hot import draw
from utils.nn.random import uniform
from utils.world import Dreamt, State, Step
from utils.worlds.iris import IRIS


def product(layer: nn.Linear, x: Float[Tensor, "B D"]) -> Float[Tensor, "B E"]:
    """As the layer's, but its bias is no argument of the product, which would copy it first."""
    return ((x @ layer.weight.T)[:, None] + layer.bias)[:, 0]


FAST_PRODUCTS = {"freezing": True, "max_autotune": True, "max_autotune_gemm_backends": "CPP,ATEN"}


class Pass(nn.Module):
    """One word of the text, and the token behind it. A word is a token, or V + an action."""

    def __init__(self, world: IRIS) -> None:
        super().__init__()
        self.transformer = copy.deepcopy(world.transformer)
        self.to_token = copy.deepcopy(world.to_token)
        self.register_buffer("words", torch.cat([world.token.weight, world.action.weight]).detach())
        self.register_buffer("position", world.position.weight.detach().clone())
        for layer in self.modules():
            if isinstance(layer, nn.Linear):  # in columns, as a product reads them
                layer.weight.data = layer.weight.data.T.contiguous().T
        self.requires_grad_(False)

    def forward(
        self,
        word: Int[Tensor, " B"],
        slot: Int[Tensor, " B"],
        keys: Float[Tensor, "R B heads d S"],
        values: Float[Tensor, "R B heads S d"],
        noise: Float[Tensor, " B"] | None,
    ) -> tuple[
        Int[Tensor, " B"],
        Float[Tensor, "B D"],
        Float[Tensor, "R B heads d"],
        Float[Tensor, "R B heads d"],
    ]:
        """The word at `slot`, after all slots before it: the next token (without noise the most
        likely one), the transformer's output, and the word's keys and values."""
        x = self.words[word] + self.position[slot]
        filled = torch.arange(keys.shape[-1], device=x.device) < slot[:, None]
        mask = torch.where(filled, 0.0, -torch.inf)[:, None]
        new = []
        for i, block in enumerate(self.transformer.blocks):
            qkv = product(block.attention.qkv, block.norm1(x))
            q, k, v = qkv.unflatten(-1, (3, block.attention.heads, -1)).unbind(1)
            q = q * q.shape[-1] ** -0.5
            old = (q[..., None, :] @ keys[i]).squeeze(-2) + mask
            own = (q * k).sum(-1, keepdim=True)
            top = torch.maximum(old.amax(-1, keepdim=True), own)
            old, own = (old - top).exp(), (own - top).exp()
            seen = (old[..., None, :] @ values[i]).squeeze(-2) + own * v
            seen = (seen / (old.sum(-1, keepdim=True) + own)).flatten(1)
            x = x + product(block.attention.out, seen)
            hidden = block.mlp[1](product(block.mlp[0], block.norm2(x)))
            x = x + product(block.mlp[2], hidden)
            new.append((k, v))
        output = self.transformer.norm(x)
        hidden = self.to_token[1](product(self.to_token[0], output))
        probability = product(self.to_token[2], hidden).softmax(-1)
        token = probability.argmax(-1) if noise is None else draw(probability, noise)
        return token, output, *(torch.stack(part) for part in zip(*new, strict=True))


class Fast:
    """`imagine` of a world as it is now: after more training, make another.

    The first frame compiles, for its batch size and for either samples or modes: about 30 CPU
    seconds, and it needs a C++ compiler.

    A state keeps its keys and values, in the slots that are its own. Behind them it may find those
    of a later frame, where the clear form has zeros; nobody looks there.

    Args:
        compiled: False runs the same functions as they stand.
    """

    def __init__(self, world: IRIS, compiled: bool = True) -> None:
        self.world, self.compiled, self.fits = world, compiled, None
        self.one_pass, self.newest = Pass(world), None

    def example(self, batch: int, mode: bool) -> tuple[Tensor | None, ...]:
        """Arguments of a pass, in the layout that is compiled for: nobody looks at it later."""
        world = self.world
        memory = world.transformer.empty(batch, world.config.frames * world.block)
        keys, values = (part.transpose(0, 1).contiguous() for part in memory)
        word, slot = torch.zeros(2, batch, dtype=torch.long, device=keys.device)
        noise = None if mode else keys.new_zeros(batch)
        return word, slot, keys.mT.contiguous()[..., :-2], values[..., :-2, :], noise

    def _compile(self, batch: int, mode: bool) -> None:
        filled = torch.export.Dim("filled", min=2, max=len(self.world.position.weight) - 1)
        shapes = None, None, {4: filled}, {3: filled}, None
        arguments = self.example(batch, mode)
        program = torch.export.export(self.one_pass, arguments, dynamic_shapes=shapes)
        with tempfile.TemporaryDirectory(prefix="wm-") as folder:
            path = str(Path(folder) / "pass.pt2")
            with contextlib.redirect_stderr(io.StringIO()):  # a report of what it has tried
                torch._inductor.aoti_compile_and_package(
                    program, package_path=path, inductor_configs=FAST_PRODUCTS
                )
            loader = torch._inductor.aoti_load_package(path, run_single_threaded=True).loader
        # Called as it stands, it would read two descriptions of its arguments in every pass.
        self.one_pass = lambda *given: loader.boxed_run([x for x in given if x is not None])

    def _fit(self, batch: int, mode: bool) -> None:
        if self.compiled and self.fits is None:
            self._compile(batch, mode)
        self.fits = self.fits or (batch, mode)
        if self.compiled and self.fits != (batch, mode):
            raise ValueError(
                f"These dreams were compiled for (batch, mode) = {self.fits}, and got "
                f"{(batch, mode)}: make another Fast for these."
            )

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
        batch, world = len(action), self.world
        self._fit(batch, mode)
        state = world.make_room(state, world.config.keep)
        keys, values = self._memory(state)
        row, frames = torch.arange(batch, device=action.device), state["frames"]
        noise = [None] * world.block
        if not mode:
            drawn = copied(uniform((batch, world.block - 1), keys, generator).T)
            noise = [drawn[0], *drawn]  # of the first word's token nothing is used
        start, chosen = frames * world.block - 2, action.argmax(-1)
        slots = start + torch.arange(world.block, device=start.device)[:, None]
        lengths = start.tolist()
        filled = max(lengths)
        even = min(lengths) == filled  # all rows write to the same slot, which is simpler
        word, tokens = state["tokens"][row, frames - 1, -1], []
        # the words: a frame's last token, the action, all tokens but one of the next frame
        for k, slot in enumerate(slots):
            token, output, key, value = self.one_pass(
                word, slot, keys[..., : filled + k], values[..., : filled + k, :], noise[k]
            )
            if even:
                keys[..., filled + k], values[..., filled + k, :] = key, value
            else:
                keys[:, row, :, :, slot] = key.transpose(0, 1)
                values[:, row, :, slot] = value.transpose(0, 1)
            if k == 1:
                predicted = world.predict(output)
            if k > 0:
                tokens.append(token)
            word = token if k > 0 else chosen + world.tokenizer.vocabulary
        after = world.append(state, chosen, torch.stack(tokens, 1))
        memory = {"keys": keys.permute(1, 0, 2, 4, 3), "values": values.transpose(0, 1)}
        self.newest = after | memory, keys, values
        return Dreamt(dict(self.newest[0]), *predicted)

    def _memory(
        self, state: State
    ) -> tuple[Float[Tensor, "R B heads d N"], Float[Tensor, "R B heads N d"]]:
        """Keys and values of a state, to be written behind its own."""
        if self.newest is not None:
            newest, keys, values = self.newest
            if all(state[name] is value for name, value in newest.items()):
                return keys, values
        return copied(state["keys"].permute(1, 0, 2, 4, 3)), copied(state["values"].transpose(0, 1))


def loss(world: IRIS, batch: Step) -> Float[Tensor, ""]:
    """That of `IRIS.loss`, without the states after the windows: what training alone needs."""
    tokens, action = world.encode(batch.observation), batch.action.argmax(-1).roll(-1, 1)
    outputs, _ = world.transformer(world.interleave(tokens, action)[:, :-2])
    return world.objective(outputs, tokens, batch)[0]


def copied(x: Tensor) -> Tensor:
    """A copy that lies in one piece, whatever the argument's layout."""
    return x.clone(memory_format=torch.contiguous_format)
