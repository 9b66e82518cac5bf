"""Transformer-XL: attention by distance, and a memory that slides (Dai, Yang, Yang, Carbonell, Le,
Salakhutdinov, "Transformer-XL: Attentive Language Models beyond a Fixed-Length Context", ACL 2019).

A token looks at another by what it holds and by how far back it stands, never by where it stands.
So what a layer has computed stays right when the window moves on, and need not be computed again.
Layers are as in jrobine/twm at `e6a8e59` (norm after the sum, ReLU's smooth cousin SiLU between).

Shape key: B batch, I new tokens, M tokens in memory, J = M + I tokens in all, D width, h heads, d
features of a head, L layers.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from utils.nn.sinusoids import sinusoids


def relative_shift(scores: Float[Tensor, "*batch I J"]) -> Float[Tensor, "*batch I J"]:
    """From scores by distance to scores by token.

    Row i of the input is token J - I + i, the i-th of the I newest; its column r is its score for
    whatever stands J - 1 - r tokens before it: the last column is the token itself. In the output,
    column j is token j. Tokens after row i's own have no distance: what stands there is never
    looked at. Dai et al. 2019, appendix B.
    """
    rows, columns = scores.shape[-2:]
    # One zero before each row; read again in rows that are one shorter, each row begins one later.
    padded = F.pad(scores, (1, 0)).flatten(-2)
    return padded[..., rows:].unflatten(-1, (rows, columns))


class RelativeAttention(nn.Module):
    """Attention of I new tokens over M old ones and themselves."""

    def __init__(self, width: int, heads: int, size: int, scale: float) -> None:
        """`size`: d. `scale`: what scores are multiplied by."""
        super().__init__()
        self.heads, self.scale = heads, scale
        self.qkv = nn.Linear(width, 3 * heads * size, bias=False)
        self.distance = nn.Linear(width, heads * size, bias=False)
        self.out = nn.Linear(heads * size, width, bias=False)

    def forward(
        self,
        x: Float[Tensor, "B I D"],
        memory: Float[Tensor, "B M D"],
        waves: Float[Tensor, "J D"],
        u: Float[Tensor, "h d"],
        v: Float[Tensor, "h d"],
        mask: Bool[Tensor, "B 1 I J"],
    ) -> Float[Tensor, "B I D"]:
        """What each new token finds, `self.out` of its heads side by side.

            score(i, j) = (q_i + u) . k_j + (q_i + v) . r_{distance of j before i},  times the scale
            found_i = sum_j softmax(score(i, .))_j value_j    over the j that the mask shows to i

        `self.qkv` of memory and x, one behind the other, is all queries, then all keys, then all
        values, each of these head after head: `unflatten(-1, (3, self.heads, -1))` takes them
        apart. Only the new tokens ask. `waves` are sinusoids of the distances J - 1, ..., 0, and
        `self.distance` makes them into r, head after head. Dai et al. 2019, section 3.3.
        """
        source = self.qkv(torch.cat([memory, x], 1)).unflatten(-1, (3, self.heads, -1))
        query, key, value = source.permute(2, 0, 3, 1, 4)  # [B, h, J, d]
        query = query[:, :, -x.shape[1] :]
        far = self.distance(waves).unflatten(-1, (self.heads, -1)).transpose(0, 1)  # [h, J, d]
        by_distance = relative_shift((query + v[:, None]) @ far.mT) * self.scale
        bias = by_distance.masked_fill(~mask, -torch.inf)
        found = F.scaled_dot_product_attention(
            query + u[:, None], key, value, attn_mask=bias, scale=self.scale
        )
        return self.out(found.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """x' = norm(x + attention(x)), then norm(x' + mlp(x'))."""

    def __init__(self, width: int, between: int, attention: RelativeAttention) -> None:
        super().__init__()
        self.attention = attention
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, between), nn.SiLU(), nn.Linear(between, width))

    def forward(self, x: Float[Tensor, "B I D"], *context: Tensor) -> Float[Tensor, "B I D"]:
        x = self.norm1(x + self.attention(x, *context))
        return self.norm2(x + self.mlp(x))


class TransformerXL(nn.Module):
    """L layers. `u` and `v`, the scores that content and distance have by themselves, are shared.

    What is remembered of a token are the inputs of all layers, so that a later one can look at it
    in each of them.

    Args:
        size: features of a head. between: units between the two maps of a layer's network.
        attention: class of it, for whoever changes it.
    """

    def __init__(
        self,
        width: int,
        layers: int,
        heads: int,
        size: int,
        between: int,
        scale: float,
        attention: type[RelativeAttention] = RelativeAttention,
    ) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(
            Layer(width, between, attention(width, heads, size, scale)) for _ in range(layers)
        )
        self.u, self.v = (nn.Parameter(torch.empty(heads, size)) for _ in range(2))
        nn.init.xavier_normal_(self.u)
        nn.init.xavier_normal_(self.v)

    def empty(self, batch: int) -> Float[Tensor, "B L 0 D"]:
        """A memory of no tokens."""
        return self.u.new_zeros(batch, len(self.layers), 0, self.width)

    def forward(
        self,
        x: Float[Tensor, "B I D"],
        memory: Float[Tensor, "B L M D"],
        mask: Bool[Tensor, "B I J"],
    ) -> tuple[Float[Tensor, "B I D"], Float[Tensor, "B L J D"]]:
        """The outputs of the new tokens, and the memory with them in it (cut it to taste)."""
        distance = torch.arange(memory.shape[2] + x.shape[1], device=x.device).flip(0)
        waves, inputs = sinusoids(distance, self.width).to(x.dtype), []
        for layer, old in zip(self.layers, memory.unbind(1), strict=True):
            inputs.append(x)
            x = layer(x, old, waves, self.u, self.v, mask[:, None])
        return x, torch.cat([memory, torch.stack(inputs, 1)], 2)
