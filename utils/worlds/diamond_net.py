"""The networks of DIAMOND: what a denoiser is made of, without a word about noise levels.

Structure and names follow eloialonso/diamond at `5bcd159`, `src/models/blocks.py` and
`src/models/diffusion/inner_model.py`; a U-Net of the same sizes has the same parameters, and gives
the same numbers. `Stack` is what small frames need: blocks one after the other, at one resolution.

Shape key: B batch, C channels of a feature map, F channels of the conditioning, L frames of
context, P channels of a frame, H W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

HEAD = 8  # channels of an attention head


class FourierFeatures(nn.Module):
    """A number as cosines and sines of random frequencies, which training leaves alone."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.randn(1, features // 2))

    def forward(self, number: Float[Tensor, " B"]) -> Float[Tensor, "B F"]:
        angle = 2 * math.pi * number[:, None] @ self.weight
        return torch.cat([angle.cos(), angle.sin()], -1)


class AdaGroupNorm(nn.Module):
    """Group normalisation whose scale and shift are read off a condition (adaptive: AdaGN).

    Args:
        group: channels that are normalised together.
    """

    def __init__(self, channels: int, features: int, group: int) -> None:
        super().__init__()
        self.groups = max(1, channels // group)
        self.linear = nn.Linear(features, 2 * channels)

    def forward(
        self, x: Float[Tensor, "B C H W"], condition: Float[Tensor, "B F"]
    ) -> Float[Tensor, "B C H W"]:
        """Normalises x, then lets the condition say how large each channel is.

            y = GN(x) (1 + scale) + shift,        [scale, shift] = W condition + b

        GN has `self.groups` groups, an epsilon of 1e-5 and no parameters of its own.
        `self.linear(condition)` [B, 2 C] holds first C scales, then C shifts: one of each for a
        channel, the same at every pixel. blocks.py.
        """
        scale, shift = self.linear(condition)[:, :, None, None].chunk(2, 1)
        return F.group_norm(x, self.groups, eps=1e-5) * (1 + scale) + shift


class Attention(nn.Module):
    """Every pixel attends to all others. The result is added to the normalised map, not to the map
    itself: so does the official code."""

    def __init__(self, channels: int, group: int) -> None:
        super().__init__()
        self.heads = max(1, channels // HEAD)
        self.norm = nn.GroupNorm(max(1, channels // group), channels, eps=1e-5)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B C H W"]:
        x = self.norm(x)
        qkv = self.qkv(x).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2)
        seen = F.scaled_dot_product_attention(*(part.contiguous() for part in qkv.unbind(1)))
        return x + self.out(seen.transpose(-1, -2).flatten(1, 2).unflatten(-1, x.shape[-2:]))


class ResBlock(nn.Module):
    """Twice: normalise as the condition says, bend, convolve; then add what came in."""

    def __init__(
        self,
        before: int,
        after: int,
        features: int,
        group: int,
        norm: type[AdaGroupNorm] = AdaGroupNorm,
        attention: bool = False,
    ) -> None:
        super().__init__()
        self.norm1, self.norm2 = (norm(channels, features, group) for channels in (before, after))
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        self.project = nn.Identity() if before == after else nn.Conv2d(before, after, 1)
        self.attention = Attention(after, group) if attention else nn.Identity()
        nn.init.zeros_(self.conv2.weight)

    def forward(
        self, x: Float[Tensor, "B C H W"], condition: Float[Tensor, "B F"]
    ) -> Float[Tensor, "B C H W"]:
        h = self.conv1(F.silu(self.norm1(x, condition)))
        h = self.conv2(F.silu(self.norm2(h, condition)))
        return self.attention(h + self.project(x))


class Stack(nn.Module):
    """Blocks at one resolution, made by `block(channels before, channels after)`."""

    def __init__(self, block: Callable[..., ResBlock], depth: int, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(block(channels, channels) for _ in range(depth))

    def forward(
        self, x: Float[Tensor, "B C H W"], condition: Float[Tensor, "B F"]
    ) -> Float[Tensor, "B C H W"]:
        for block in self.blocks:
            x = block(x, condition)
        return x


class UNet(nn.Module):
    """Down to small maps and up again; each map on the way down is handed across.

    A level of depth n has n blocks on the way down and n + 1 on the way up, whose inputs are
    joined with the outputs of the way down, and with what came into it. Two blocks with attention
    lie at the bottom.

    Args:
        block: makes one, `block(channels before, channels after, attention=False)`.
        depths, channels: of the levels, the finest first. H and W must be multiples of
            2^(levels - 1).
    """

    def __init__(
        self, block: Callable[..., ResBlock], depths: Sequence[int], channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for before, after, depth in zip(
            (channels[0], *channels[:-1]), channels, depths, strict=True
        ):
            there = [(before, after)] + [(after, after)] * (depth - 1)
            back = [(2 * after, after)] * depth + [(before + after, before)]
            self.down.append(nn.ModuleList(block(*io) for io in there))
            self.up.insert(0, nn.ModuleList(block(*io) for io in back))
        low = channels[-1]
        self.bottom = nn.ModuleList(block(low, low, attention=True) for _ in range(2))
        coarser = [nn.Conv2d(c, c, 3, stride=2, padding=1) for c in channels[:-1]]
        finer = [nn.Conv2d(c, c, 3, padding=1) for c in reversed(channels[:-1])]
        for layer in coarser:
            nn.init.orthogonal_(layer.weight)
        self.coarser = nn.ModuleList([nn.Identity(), *coarser])
        self.finer = nn.ModuleList([nn.Identity(), *finer])

    def forward(
        self, x: Float[Tensor, "B C H W"], condition: Float[Tensor, "B F"]
    ) -> Float[Tensor, "B C H W"]:
        across = []
        for coarser, blocks in zip(self.coarser, self.down, strict=True):
            x = coarser(x)
            across.append(x)
            for block in blocks:
                x = block(x, condition)
                across.append(x)
        for block in self.bottom:
            x = block(x, condition)
        for number, (finer, blocks) in enumerate(zip(self.finer, self.up, strict=True)):
            x = finer(F.interpolate(x, scale_factor=2.0) if number else x)
            for block in blocks:
                x = block(torch.cat([x, across.pop()], 1), condition)
        return x


class Net(nn.Module):
    """F of the denoiser: frames in, a frame out, under the noise level and the last actions.

    Noisy frame and context go in as channels of one picture; noise level and actions as the
    condition of every normalisation.

    Args:
        actions: number of actions; index 0 stands for none, so that there is one row more.
        channels, depths: of a U-Net, or, if they have one entry each, of a stack.
        norm: class to build it from, for whoever changes it.
    """

    def __init__(
        self,
        picture: int,
        context: int,
        actions: int,
        features: int,
        depths: Sequence[int],
        channels: Sequence[int],
        group: int,
        norm: type[AdaGroupNorm] = AdaGroupNorm,
    ) -> None:
        super().__init__()
        self.level = FourierFeatures(features)
        self.action = nn.Embedding(actions + 1, features // context)
        self.condition = nn.Sequential(
            nn.Linear(features, features), nn.SiLU(), nn.Linear(features, features)
        )
        self.inwards = nn.Conv2d((context + 1) * picture, channels[0], 3, padding=1)
        block = partial(ResBlock, features=features, group=group, norm=norm)
        if len(channels) == 1:
            self.body = Stack(block, depths[0], channels[0])
        else:
            self.body = UNet(block, depths, channels)
        self.norm = nn.GroupNorm(max(1, channels[0] // group), channels[0], eps=1e-5)
        self.outwards = nn.Conv2d(channels[0], picture, 3, padding=1)
        nn.init.zeros_(self.outwards.weight)

    def forward(
        self,
        noisy: Float[Tensor, "B P H W"],
        level: Float[Tensor, " B"],
        frames: Float[Tensor, "B L P H W"],
        actions: Int[Tensor, "B L"],
    ) -> Float[Tensor, "B P H W"]:
        condition = self.condition(self.level(level) + self.action(actions).flatten(1))
        x = self.inwards(torch.cat([frames.flatten(1, 2), noisy], 1))
        return self.outwards(F.silu(self.norm(self.body(x, condition))))


class RewardEnd(nn.Module):
    """What came with a frame: reward and end, from the frame before it, itself and the action.

    Logits of three signs of the reward (-1, 0, 1) and of two ends (no, yes). Convolutions halve
    the frames until they are at most 10 pixels wide.
    """

    def __init__(
        self, picture: int, size: tuple[int, int], actions: int, channels: int = 16, units: int = 64
    ) -> None:
        super().__init__()
        layers = [nn.Conv2d(2 * picture, channels, 3, padding=1), nn.SiLU()]
        while max(size) > 10:
            layers += [nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1), nn.SiLU()]
            channels, size = 2 * channels, tuple(math.ceil(side / 2) for side in size)
        self.convolutions = nn.Sequential(*layers, nn.Flatten())
        self.action = nn.Embedding(actions + 1, units)
        self.hidden = nn.Linear(channels * math.prod(size), units)
        self.out = nn.Linear(units, 3 + 2)

    def forward(
        self,
        before: Float[Tensor, "B P H W"],
        frame: Float[Tensor, "B P H W"],
        action: Int[Tensor, " B"],
    ) -> tuple[Float[Tensor, "B 3"], Float[Tensor, "B 2"]]:
        hidden = self.hidden(self.convolutions(torch.cat([before, frame], 1)))
        return self.out(F.silu(hidden + self.action(action))).split([3, 2], -1)
