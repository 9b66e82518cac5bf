"""Frames as a few whole numbers: the tokenizers of IRIS (`utils/worlds/iris.py`).

`VectorQuantizer` rounds vectors to the nearest of V learned codes (van den Oord, Vinyals,
Kavukcuoglu, "Neural Discrete Representation Learning", NeurIPS 2017), and `Tokenizer` puts it
between two small networks of convolutions. `Patches` learns nothing: its codes are all pieces that
were ever seen. The code followed is eloialonso/iris at `24326aa`, `src/models/tokenizer`.

Every tokenizer has `vocabulary` (V), `tokens` (K), and for any leading axes

    encode(frames [..., H, W, C]) -> tokens [..., K]        decode(tokens) -> frames, 0 to 1

Shape key: K tokens of a frame, V codes, D numbers of a code, P numbers of a patch, H W C height,
width and channels of a frame.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


def nearest(z: Float[Tensor, "*batch D"], codes: Float[Tensor, "V D"]) -> Int[Tensor, "*batch"]:
    """The code with the smallest squared distance; the first of equal ones.

    |z - e|^2 = |z|^2 - 2 z e + |e|^2, and |z|^2 is the same for all codes: what is left is one
    matrix product.
    """
    return (codes.square().sum(-1) - 2 * z @ codes.T).argmin(-1)


def perplexity(tokens: Int[Tensor, "*batch"], vocabulary: int) -> Float[Tensor, ""]:
    """How many codes are in use, counted as if all of them were used alike.

        exp(-sum_v p_v log p_v),     p_v the share of tokens that are v

    1 if it is always the same one, V if each comes equally often. A code that never comes adds 0.
    """
    share = torch.bincount(tokens.flatten(), minlength=vocabulary) / tokens.numel()
    return torch.special.entr(share).sum().exp()


class VectorQuantizer(nn.Module):
    """V codes of D numbers, and the rounding to them.

    Args:
        commitment: beta, how hard vectors are pulled to their codes. The first paper has 0.25; IRIS
            has 1.
    """

    def __init__(self, vocabulary: int, width: int, commitment: float = 1.0) -> None:
        super().__init__()
        self.commitment = commitment
        self.codes = nn.Parameter(torch.empty(vocabulary, width))
        nn.init.uniform_(self.codes, -1 / vocabulary, 1 / vocabulary)

    def quantise(
        self, z: Float[Tensor, "*batch D"]
    ) -> tuple[Float[Tensor, "*batch D"], Int[Tensor, "*batch"]]:
        """Each vector's nearest code, and which one that is.

        Forward the result is the code itself, `self.codes[token]`. Backward it is as if nothing had
        been rounded (straight-through): the gradient of the result goes to z unchanged, and none of
        it to the codes. `nearest(z, codes)` finds the tokens.
        """
        tokens = nearest(z, self.codes)
        return z + (self.codes[tokens] - z).detach(), tokens

    def loss(
        self, z: Float[Tensor, "*batch D"], tokens: Int[Tensor, "*batch"]
    ) -> Float[Tensor, ""]:
        """What brings codes and vectors together: each of the two is pulled to where the other is.

            mean (sg(z) - e)^2  +  beta mean (z - sg(e))^2,        e = self.codes[tokens]

        sg stops the gradient, beta is `self.commitment`, the means are over all numbers. The first
        term moves codes only, the second one vectors only. Equation 3 of van den Oord et al. 2017,
        with means for sums, without its reconstruction term.
        """
        codes = self.codes[tokens]
        codebook = (z.detach() - codes).square().mean()
        commitment = (z - codes.detach()).square().mean()
        return codebook + self.commitment * commitment

    def revive(self, z: Float[Tensor, "N D"], index: Int[Tensor, " V"]) -> Int[Tensor, ""]:
        """Moves every code that none of the N vectors is nearest to onto a vector: code v onto
        z[index[v]]. Returns how many were moved.

        A code that is never the nearest gets no gradient, and may be lost for good. Codes in use
        stay where they are. `self.codes` is changed in place. Not in IRIS; random restarts are from
        Dhariwal et al. 2020 (Jukebox).
        """
        used = torch.bincount(nearest(z, self.codes), minlength=len(self.codes)) > 0
        with torch.no_grad():
            self.codes.copy_(torch.where(used[:, None], self.codes, z[index]))
        return (~used).sum()


def to_patches(frames: Float[Tensor, "*batch H W C"], size: int) -> Float[Tensor, "*batch K P"]:
    """Square pieces of `size` x `size` cells, row by row."""
    height, width = frames.shape[-3:-1]
    rows = frames.unflatten(-3, (height // size, size)).unflatten(-2, (width // size, size))
    return rows.transpose(-4, -3).flatten(-3).flatten(-3, -2)


def from_patches(
    patches: Float[Tensor, "*batch K P"], shape: tuple[int, int, int], size: int
) -> Float[Tensor, "*batch H W C"]:
    """The way back; `shape` is that of a frame, (H, W, C)."""
    height, width, channels = shape
    pieces = patches.unflatten(-1, (size, size, channels))
    pieces = pieces.unflatten(-4, (height // size, width // size))
    return pieces.transpose(-4, -3).flatten(-5, -4).flatten(-3, -2)


class Patches(nn.Module):
    """All pieces of `size` x `size` binary cells that occur in `frames`, each one a code: exact, as
    long as nothing new is seen. A new piece becomes the nearest known one."""

    def __init__(self, frames: Float[Tensor, "N H W C"], size: int) -> None:
        super().__init__()
        self.shape, self.size = tuple(frames.shape[1:]), size
        pieces = to_patches(frames, size).flatten(0, 1).double()
        if pieces.shape[1] > 52:
            raise ValueError(f"A piece of {pieces.shape[1]} cells is too large: at most 52.")
        bit = 2.0 ** torch.arange(pieces.shape[1], dtype=torch.float64)
        numbers = (pieces @ bit).unique()  # a piece as one number: quick to compare
        self.register_buffer("codes", (numbers[:, None] / bit % 2).floor().float())
        self.vocabulary = len(numbers)
        self.tokens = (self.shape[0] // size) * (self.shape[1] // size)

    def encode(self, frames: Float[Tensor, "*batch H W C"]) -> Int[Tensor, "*batch K"]:
        return nearest(to_patches(frames.to(self.codes.dtype), self.size), self.codes)

    def decode(self, tokens: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch H W C"]:
        return from_patches(self.codes[tokens], self.shape, self.size)


class Tokenizer(nn.Module):
    """A learned one for frames of binary cells: convolutions, codes, convolutions.

    A token stands for a piece of 2 x 2 cells as the convolutions around it see it. IRIS has
    residual networks for 64 x 64 pixels, four halvings, an L1 loss and a perceptual one; cells that
    are 0 or 1 have a likelihood, and need neither.

    Args:
        width: D. channels: of the convolutions.
        quantizer: class to build it from, for whoever changes it.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        vocabulary: int,
        width: int = 16,
        channels: int = 32,
        *,
        quantizer: type[VectorQuantizer] = VectorQuantizer,
    ) -> None:
        super().__init__()
        height, wide, colours = shape
        self.shape, self.vocabulary = tuple(shape), vocabulary
        self.grid = (height // 2, wide // 2)
        self.tokens = self.grid[0] * self.grid[1]
        self.encoder = nn.Sequential(
            *(nn.Conv2d(colours, channels, 3, padding=1), nn.SiLU()),
            *(nn.Conv2d(channels, channels, 2, stride=2), nn.SiLU()),
            nn.Conv2d(channels, width, 1),
        )
        self.quantizer = quantizer(vocabulary, width)
        self.decoder = nn.Sequential(
            *(nn.Conv2d(width, channels, 3, padding=1), nn.SiLU()),
            *(nn.ConvTranspose2d(channels, channels, 2, stride=2), nn.SiLU()),
            nn.Conv2d(channels, colours, 3, padding=1),
        )

    def embed(self, frames: Float[Tensor, "*batch H W C"]) -> Float[Tensor, "*batch K D"]:
        """The vectors before rounding."""
        x = frames.flatten(0, -4).movedim(-1, 1).to(self.quantizer.codes.dtype)
        z = self.encoder(x).flatten(2).transpose(1, 2)
        return z.unflatten(0, frames.shape[:-3])

    def paint(self, codes: Float[Tensor, "*batch K D"]) -> Float[Tensor, "*batch H W C"]:
        """Logits of the cells."""
        x = codes.flatten(0, -3).transpose(1, 2).unflatten(2, self.grid)
        return self.decoder(x).movedim(1, -1).unflatten(0, codes.shape[:-2])

    def encode(self, frames: Float[Tensor, "*batch H W C"]) -> Int[Tensor, "*batch K"]:
        return nearest(self.embed(frames), self.quantizer.codes)

    def decode(self, tokens: Int[Tensor, "*batch K"]) -> Float[Tensor, "*batch H W C"]:
        return self.paint(self.quantizer.codes[tokens]).sigmoid()

    def loss(self, frames: Float[Tensor, "B H W C"]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Reconstruction in nats a frame, and the quantizer's loss; both detached as well."""
        z = self.embed(frames)
        rounded, tokens = self.quantizer.quantise(z)
        cells = F.binary_cross_entropy_with_logits(
            self.paint(rounded), frames.to(z.dtype), reduction="none"
        )
        parts = {
            "reconstruction": cells.sum((1, 2, 3)).mean(),
            "quantizer": self.quantizer.loss(z, tokens),
        }
        metrics = {name: part.detach() for name, part in parts.items()}
        metrics["perplexity"] = perplexity(tokens, self.vocabulary)
        return sum(parts.values()), metrics
