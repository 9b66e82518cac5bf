"""The network of `diamond_net.py` again, faster, for dreams: the same numbers without gradients
(`tests/worlds/test_diamond_fast.py`).

On a CPU a convolution takes half of the time. The rest goes into reading and writing maps, and what
has no gradient need not keep them:

- Normalise, scale, shift and bend happen in one map, in place, in three passes instead of five.
- The 1 x 1 convolution of a block is a product of matrices, added into the block's output.
- Scales and shifts of all blocks come from the condition in one product.

Shape key: as in `diamond_net.py`; R rows of a batch times pixels.
"""

from __future__ import annotations

import copy

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from utils.worlds.diamond import DIAMOND
from utils.worlds.diamond_net import Net, ResBlock

Affine = tuple[Float[Tensor, "B 1 1 C"], Float[Tensor, "B 1 1 C"]]  # 1 + scale, and shift


def bend(x: Float[Tensor, "B C H W"], groups: int, affine: Affine) -> Float[Tensor, "B C H W"]:
    """SiLU of the normalised, scaled and shifted map; only the result is a new one."""
    scale, shift = affine
    h = F.group_norm(x, groups, eps=1e-5)
    inside = h.movedim(1, -1)  # the same memory, in its own order
    torch.addcmul(shift, inside, scale, out=inside)
    return F.silu(h, inplace=True)


def pixels(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "R C"]:
    """A view of a map whose channels lie innermost."""
    return x.movedim(1, -1).view(-1, x.shape[1])


class FastBlock(nn.Module):
    """A block whose condition is the scales and shifts of all blocks.

    Args:
        block: whose weights it takes, and changes.
        place: of its two pairs of scale and shift among those of all blocks.
    """

    def __init__(self, block: ResBlock, place: int) -> None:
        super().__init__()
        self.block, self.place = block, place
        if not isinstance(block.project, nn.Identity):  # one bias for both
            block.conv2.bias += block.project.bias

    def forward(
        self, x: Float[Tensor, "B C H W"], affine: list[Affine]
    ) -> Float[Tensor, "B C H W"]:
        block = self.block
        h = block.conv1(bend(x, block.norm1.groups, affine[self.place]))
        h = block.conv2(bend(h, block.norm2.groups, affine[self.place + 1]))
        if isinstance(block.project, nn.Identity):
            h += x
        else:
            h = h.contiguous(memory_format=torch.channels_last)  # as it is, but for tiny maps
            x = x.contiguous(memory_format=torch.channels_last)
            weight = block.project.weight.flatten(1).T.to(h.dtype)  # autocast leaves it as it is
            pixels(h).addmm_(pixels(x), weight)
        return block.attention(h)


class FastNet(nn.Module):
    """What `net` is now, in its place. It takes no gradient, and does not learn when `net` does."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = copy.deepcopy(net).requires_grad_(False).to(memory_format=torch.channels_last)
        norms = []
        for parent in list(self.net.modules()):
            for name, block in list(parent.named_children()):
                if isinstance(block, ResBlock):
                    parent.register_module(name, FastBlock(block, len(norms)))
                    norms += [block.norm1.linear, block.norm2.linear]
        self.sizes = [linear.out_features for linear in norms]
        self.register_buffer("weight", torch.cat([linear.weight for linear in norms]))
        self.register_buffer("bias", torch.cat([linear.bias for linear in norms]))

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
        product = F.linear(condition, self.weight, self.bias)[:, None, None]
        pairs = (part.chunk(2, -1) for part in product.split(self.sizes, -1))
        affine = [(1 + scale, shift) for scale, shift in pairs]
        x = torch.cat([frames.flatten(1, 2), noisy], 1)
        x = net.inwards(x.contiguous(memory_format=torch.channels_last))
        return net.outwards(F.silu(net.norm(net.body(x, affine)), inplace=True))


def fast(world: DIAMOND) -> DIAMOND:
    """The world as it is now, for dreams alone."""
    world = copy.deepcopy(world)
    world.denoiser.net = FastNet(world.denoiser.net)
    return world
