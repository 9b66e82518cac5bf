"""The network of `diamond_net.py` again, faster, for dreams: the same numbers without gradients
(`tests/worlds/test_diamond_fast.py`).

On a CPU a convolution takes two thirds of the time. The rest goes into reading and writing maps,
and what has no gradient need not keep them:

- Normalise, scale, shift and bend is one product and one sum a number, and SiLU in place.
- Mean and spread of a map are taken once, for all blocks that normalise it.
- Maps are not joined: each is normalised into its channels of what a convolution reads.
- The 1 x 1 convolution of a block is a product of matrices, added into the block's output.
- Scales and shifts of all blocks come from the condition in one product.
- A map is not doubled before it is convolved: on the small map that is four convolutions of 2 x 2,
  with less than half of the products.

`torch.compile` finds most of this by itself: give it the clear network.

Shape key: as in `diamond_net.py`; U units of a map: groups of channels whose moments are kept; R
rows of a batch times pixels.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from utils.worlds.diamond import DIAMOND
from utils.worlds.diamond_net import Net, ResBlock, UNet

Affine = tuple[Float[Tensor, "B C"], Float[Tensor, "B C"]]  # 1 + scale, and shift


class Map(NamedTuple):
    """A feature map whose channels lie innermost, and its sums over units of channels."""

    x: Float[Tensor, "B H W C"]
    sums: Float[Tensor, "B U"]
    squares: Float[Tensor, "B U"]


def measured(x: Float[Tensor, "B C H W"], unit: int) -> Map:
    """The map with its sums, in float32, over pixels and `unit` channels each."""
    x = x.contiguous(memory_format=torch.channels_last).movedim(1, -1)  # as it lies, but tiny ones
    parts = x.reshape(len(x), -1, x.shape[-1] // unit, unit)
    if parts.shape[2] == 1:  # all of it, in the order in which it lies
        parts, over = parts.flatten(1)[..., None], (1,)
    else:
        over = (3, 1)
    sums, norm = parts, parts
    for axis in over:
        sums = sums.sum(axis, dtype=torch.float32)
        norm = torch.linalg.vector_norm(norm, dim=axis, dtype=torch.float32)
    return Map(x, sums, norm.square())


def bend(maps: Sequence[Map], groups: int, affine: Affine) -> Float[Tensor, "B C H W"]:
    """SiLU of the maps side by side, normalised in `groups`, scaled and shifted."""
    scale, shift = affine
    sizes = [part.x.shape[-1] for part in maps]
    shape = maps[0].x.shape[:-1]
    number = shape[1] * shape[2] * sum(sizes) // groups
    mean, square = (
        torch.cat(moment, 1).unflatten(1, (groups, -1)).sum(-1, keepdim=True) / number
        for moment in ([part.sums for part in maps], [part.squares for part in maps])
    )
    spread = (square - mean.square()).clamp(min=0).add(1e-5).rsqrt()
    scale = scale.unflatten(1, (groups, -1)) * spread  # (x - mean) spread scale + shift
    shift = (shift.unflatten(1, (groups, -1)) - mean * scale).flatten(1)[:, None, None]
    scale = scale.flatten(1)[:, None, None]
    bent, start = scale.new_empty(*shape, sum(sizes)), 0
    for part, size in zip(maps, sizes, strict=True):
        place = slice(start, start := start + size)
        torch.addcmul(shift[..., place], part.x, scale[..., place], out=bent[..., place])
    return F.silu(bent, inplace=True).movedim(-1, 1)


class FastBlock(nn.Module):
    """A block that reads one map or several side by side, and whose condition is the scales and
    shifts of all blocks.

    Args:
        block: whose weights it takes, and changes.
        place: of its two pairs of scale and shift among those of all blocks.
        unit: see `measured`.
    """

    def __init__(self, block: ResBlock, place: int, unit: int) -> None:
        super().__init__()
        self.block, self.place, self.unit = block, place, unit
        if not isinstance(block.project, nn.Identity):  # one bias for both
            block.conv2.bias += block.project.bias

    def forward(self, maps: Sequence[Map], affine: list[Affine]) -> Float[Tensor, "B C H W"]:
        block = self.block
        h = block.conv1(bend(maps, block.norm1.groups, affine[self.place]))
        h = measured(h, self.unit)
        h = block.conv2(bend([h], block.norm2.groups, affine[self.place + 1]))
        h = h.contiguous(memory_format=torch.channels_last).movedim(1, -1)
        if isinstance(block.project, nn.Identity):
            h += maps[0].x
        else:
            weight, start = block.project.weight.flatten(1).T.to(h.dtype), 0  # [all C, C after]
            for part in maps:
                x = part.x.flatten(0, 2).to(h.dtype)
                h.view(-1, h.shape[-1]).addmm_(x, weight[start : (start := start + x.shape[1])])
        return block.attention(h.movedim(-1, 1))


class Doubled(nn.Module):
    """A 3 x 3 convolution of a map with every pixel twice both ways, from the map itself.

    Of three neighbours in the doubled map two are the same pixel, so that a row of the result sees
    two rows of the map: the one before and its own (an even row), or its own and the one after. So
    with columns, which makes four kernels of 2 x 2, whose numbers are sums of the 3 x 3.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        taps = torch.tensor([[[1.0, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # even, odd; 2 of 3
        weight = torch.einsum("atk,bsl,oikl->aboits", taps, taps, convolution.weight.detach())
        weight = weight.flatten(0, 2).contiguous(memory_format=torch.channels_last)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", convolution.bias.detach().repeat(4))

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C 2*H 2*W"]:
        high, wide = x.shape[-2:]
        all_four = F.conv2d(x, self.weight, self.bias, padding=1).movedim(1, -1)
        all_four = all_four.unflatten(-1, (2, 2, -1))  # [B, H + 1, W + 1, 2, 2, C]
        result = all_four.new_empty(len(x), high, 2, wide, 2, all_four.shape[-1])
        for a in (0, 1):
            for b in (0, 1):
                result[:, :, a, :, b] = all_four[:, a : a + high, b : b + wide, a, b]
        return result.flatten(1, 2).flatten(2, 3).movedim(-1, 1)


class FastUNet(nn.Module):
    """`UNet` for maps that are measured once and not joined."""

    def __init__(self, net: UNet, unit: int) -> None:
        super().__init__()
        self.net, self.unit = net, unit
        self.finer = nn.ModuleList(map(Doubled, net.finer[1:]))

    def forward(
        self, x: Float[Tensor, "B C H W"], affine: list[Affine]
    ) -> Float[Tensor, "B C H W"]:
        across = []
        for coarser, blocks in zip(self.net.coarser, self.net.down, strict=True):
            across.append(measured(coarser(x), self.unit))
            for block in blocks:
                x = block(across[-1:], affine)
                across.append(measured(x, self.unit))
        for block in self.net.bottom:
            x = block([measured(x, self.unit)], affine)
        for number, blocks in enumerate(self.net.up):
            if number:
                x = self.finer[number - 1](x)
            for block in blocks:
                x = block([measured(x, self.unit), across.pop()], affine)
        return x


class FastStack(nn.Module):
    """`Stack` for maps that are measured."""

    def __init__(self, blocks: nn.ModuleList, unit: int) -> None:
        super().__init__()
        self.blocks, self.unit = blocks, unit

    def forward(
        self, x: Float[Tensor, "B C H W"], affine: list[Affine]
    ) -> Float[Tensor, "B C H W"]:
        for block in self.blocks:
            x = block([measured(x, self.unit)], affine)
        return x


class FastNet(nn.Module):
    """What `net` is now, in its place. It takes no gradient, and does not learn when `net` does."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net = copy.deepcopy(net).requires_grad_(False)
        net.to(memory_format=torch.channels_last)
        blocks = [block for block in net.modules() if isinstance(block, ResBlock)]
        norms = [norm for block in blocks for norm in (block.norm1, block.norm2)]
        # every map is a number of such units, and every group of a normalisation is
        groups = (norm.linear.out_features // 2 // norm.groups for norm in norms)
        self.unit = math.gcd(*groups, *(block.conv1.out_channels for block in blocks))
        self.unit = math.gcd(self.unit, net.inwards.out_channels // net.norm.num_groups)
        for parent in list(net.modules()):
            for name, block in list(parent.named_children()):
                if isinstance(block, ResBlock):
                    place = 2 * blocks.index(block)
                    parent.register_module(name, FastBlock(block, place, self.unit))
        unet = isinstance(net.body, UNet)
        net.body = FastUNet(net.body, self.unit) if unet else FastStack(net.body.blocks, self.unit)
        self.sizes = [norm.linear.out_features for norm in norms]
        self.register_buffer("weight", torch.cat([norm.linear.weight for norm in norms]))
        self.register_buffer("bias", torch.cat([norm.linear.bias for norm in norms]))

    @torch.no_grad()
    def forward(
        self,
        noisy: Float[Tensor, "B P H W"],
        level: Float[Tensor, " B"],
        frames: Float[Tensor, "B L P H W"],
        actions: Int[Tensor, "B L"],
    ) -> Float[Tensor, "B P H W"]:
        net = self.net
        condition = net.condition(net.level(level) + net.action(actions).flatten(1))
        product = F.linear(condition, self.weight, self.bias).float()
        pairs = (part.chunk(2, -1) for part in product.split(self.sizes, -1))
        affine = [(1 + scale, shift) for scale, shift in pairs]
        x = torch.cat([frames.flatten(1, 2), noisy], 1)
        x = net.inwards(x.contiguous(memory_format=torch.channels_last))
        x = measured(net.body(x, affine), self.unit)
        last = net.norm.weight[None], net.norm.bias[None]
        return net.outwards(bend([x], net.norm.num_groups, last))


def fast(world: DIAMOND) -> DIAMOND:
    """The world as it is now, for dreams alone."""
    world = copy.deepcopy(world)
    world.denoiser.net = FastNet(world.denoiser.net)
    return world
