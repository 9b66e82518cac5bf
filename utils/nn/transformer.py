"""A causal transformer as in GPT-2, and what it remembers as a value (lessons 4.1 and 4.2).

Layer norm stands before attention and before the two-layer network, and once more at the end
(Radford et al. 2019). Positions are added outside. Everything a later token can see of an earlier
one are its keys and values: with these at hand (`Memory`), a new token costs one pass over itself.

Shape key: B batch, T tokens, D width, N slots of memory, d width of a head (D / heads).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Memory(NamedTuple):
    """Keys and values of the tokens so far, in slots; batch first, so a `State` can hold them."""

    keys: Float[Tensor, "B layers heads N d"]
    values: Float[Tensor, "B layers heads N d"]


def visible(
    position: Int[Tensor, "B T"], slots: int, block: int = 1
) -> Bool[Tensor, "B 1 T {slots}"]:
    """Which slots the tokens at `position` see: those up to the end of their own block, as far as
    they are filled. Blocks of one token are plain causal attention. The tokens are the newest."""
    slot = torch.arange(slots, device=position.device)
    seen = slot // block <= (position // block)[..., None]
    return (seen & (slot <= position[:, -1, None, None]))[:, None]


class Attention(nn.Module):
    """Scaled dot-product attention with `heads` heads; queries, keys and values in one product."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"A width of {width} cannot be split into {heads} heads.")
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def split(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "3 B heads T d"]:
        """Queries, keys and values of each head."""
        return self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B 1 T T"] | None
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "2 B heads T d"]]:
        """All tokens at once, each with those before it and itself (or as `mask` says); also their
        keys and values."""
        q, k, v = qkv = self.split(x)
        y = scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.out(y.transpose(1, 2).flatten(2)), qkv[1:]

    def attend(
        self,
        x: Float[Tensor, "B T D"],
        keys: Float[Tensor, "B heads N d"],
        values: Float[Tensor, "B heads N d"],
        position: Int[Tensor, "B T"],
        mask: Bool[Tensor, "B 1 T N"],
    ) -> Float[Tensor, "B T D"]:
        """New tokens only, each with the slots that `mask` shows it, its own among them.

        Their keys and values are written into slots `position` of `keys` and `values`, in place;
        then y = softmax(q k^T / sqrt(d)) v over the slots, heads side by side, and `self.out`.
        """
        q, k, v = self.split(x)
        row = torch.arange(len(x), device=x.device)[:, None]
        keys[row, :, position] = k.permute(0, 2, 1, 3)
        values[row, :, position] = v.permute(0, 2, 1, 3)
        y = scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, width: int, heads: int, attention: type[Attention] = Attention) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = attention(width, heads)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(
        self, x: Float[Tensor, "B T D"], mask: Bool[Tensor, "B 1 T T"] | None = None
    ) -> tuple[Float[Tensor, "B T D"], Float[Tensor, "2 B heads T d"]]:
        """All tokens at once; also their keys and values."""
        y, keys_values = self.attention(self.norm1(x), mask)
        x = x + y
        return x + self.mlp(self.norm2(x)), keys_values

    def extend(self, x: Float[Tensor, "B T D"], *memory: Tensor) -> Float[Tensor, "B T D"]:
        """New tokens only; `memory` as `Attention.attend` takes it."""
        x = x + self.attention.attend(self.norm1(x), *memory)
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """`layers` blocks and a last norm. `block` tokens see each other both ways (1: causal).

    Args:
        attention: the class to build it from, for whoever changes it.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        block: int = 1,
        *,
        attention: type[Attention] = Attention,
    ) -> None:
        super().__init__()
        self.width, self.block = width, block
        self.blocks = nn.ModuleList(Block(width, heads, attention) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def empty(self, batch: int, slots: int) -> Memory:
        """Memory without tokens, on the device and with the dtype of the weights."""
        heads = self.blocks[0].attention.heads
        shape = (batch, len(self.blocks), heads, slots, self.width // heads)
        return Memory(*(self.norm.weight.new_zeros(shape) for _ in range(2)))

    def forward(self, x: Float[Tensor, "B T D"]) -> tuple[Float[Tensor, "B T D"], Memory]:
        """All T tokens in one pass, as in training; also what they leave behind, in T slots and cut
        off from the graph: the memory of every prefix, because no token depends on a later one."""
        mask = None
        if self.block > 1:
            position = torch.arange(x.shape[1], device=x.device).expand(len(x), -1)
            mask = visible(position, x.shape[1], self.block)
        kept = []
        for layer in self.blocks:
            x, keys_values = layer(x, mask)
            kept.append(keys_values.detach())
        return self.norm(x), Memory(*torch.stack(kept, 2))

    @torch.no_grad()  # what is sampled carries no gradient, and the memory is written in place
    def extend(
        self, x: Float[Tensor, "B T D"], memory: Memory, position: Int[Tensor, " B"]
    ) -> Float[Tensor, "B T D"]:
        """T new tokens after those in the memory: the outputs that one pass over all would give.

        Row i's tokens go to slots `position[i]`, `position[i] + 1`, ...; what stands there is
        overwritten, what stands behind is not seen. Writes into `memory`: it must be the caller's
        own copy.
        """
        index = position[:, None] + torch.arange(x.shape[1], device=x.device)
        mask = visible(index, memory.keys.shape[3], self.block)
        for i, layer in enumerate(self.blocks):
            x = layer.extend(x, memory.keys[:, i], memory.values[:, i], index, mask)
        return self.norm(x)
