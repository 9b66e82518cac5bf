"""Layers of DreamerV3 (Hafner et al. 2025): linear, normalised, activated.

Shape key: I input features, O output features, G blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def initialise(weight: Tensor, fan_in: int, scale: float = 1.0) -> None:
    """Normal noise of standard deviation `scale / sqrt(fan_in)`, cut off at 2.27 of them, in place.

    The factor 1.1368 makes up for what the cut takes from the variance.
    """
    nn.init.trunc_normal_(weight, a=-2, b=2)
    with torch.no_grad():
        weight *= 1.1368 * scale / fan_in**0.5


class Linear(nn.Linear):
    """`x W^T + b`, started as above. `scale` 0 starts a head at exactly zero output."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        bias: bool = True,
        scale: float = 1.0,
        fan_in: int | None = None,
    ) -> None:
        """`fan_in`: what the start counts as inputs of a unit; by default `inputs`."""
        super().__init__(inputs, outputs, bias)
        initialise(self.weight, fan_in or inputs, scale)
        if bias:
            nn.init.zeros_(self.bias)
        self.tape: Tape | None = None

    def forward(self, x: Float[Tensor, "*batch I"]) -> Float[Tensor, "*batch O"]:
        if self.tape is None:
            return F.linear(x, self.weight, self.bias)
        return self.tape(x)


class Tape:
    """A linear layer that is used at every step of a recurrence.

    Autograd would form the gradient of the whole matrix at every step, from a few rows, and add it
    up. Here each step only keeps its rows, and one product at the end makes the same sum of them.
    """

    def __init__(self, layer: Linear) -> None:
        self.rows: list[tuple[Tensor, Tensor]] = []  # inputs [B, I], gradients of outputs [B, O]
        self.weight, self.bias = AllSteps.apply(self.rows, layer.weight, layer.bias)

    def __call__(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        return OneStep.apply(self.rows, x, self.weight, self.bias)


class AllSteps(torch.autograd.Function):
    """Hands the parameters to the steps. Its way back comes when all of theirs are done."""

    @staticmethod
    def forward(ctx, rows: list, weight: Tensor, bias: Tensor | None):
        ctx.rows, ctx.biased = rows, bias is not None
        ctx.set_materialize_grads(False)
        return weight.view_as(weight), bias.view_as(bias) if ctx.biased else None

    @staticmethod
    def backward(ctx, *_: None) -> tuple[None, Tensor, Tensor | None]:
        inputs, gradients = (torch.cat(side) for side in zip(*ctx.rows, strict=True))
        ctx.rows.clear()
        return None, gradients.t() @ inputs, gradients.sum(0) if ctx.biased else None


class OneStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: list, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.rows = rows
        ctx.save_for_backward(x, weight)
        return F.linear(x, weight, bias)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        ctx.rows.append((x, grad))
        return None, grad @ weight, None, None


@contextmanager
def gathered(*modules: nn.Module) -> Iterator[None]:
    """Inside, every `Linear` of the modules keeps a `Tape`: for the loop over time."""
    layers = [m for module in modules for m in module.modules() if isinstance(m, Linear)]
    for layer in layers:
        layer.tape = Tape(layer)
    try:
        yield
    finally:
        for layer in layers:
            layer.tape = None


class BlockLinear(nn.Module):
    """G linear maps side by side: block g of the output sees block g of the input only.

    A block-diagonal matrix, so it costs a G-th of a full one in weights and in time.
    """

    def __init__(self, inputs: int, outputs: int, blocks: int, fan_in: int | None = None) -> None:
        """`fan_in`: what the start counts as inputs of a unit. By default all of them, as in the
        official code, though a unit sees only those of its block: the start is on the small side.
        """
        super().__init__()
        if inputs % blocks or outputs % blocks:
            raise ValueError(f"{inputs} and {outputs} features do not make {blocks} equal blocks.")
        self.blocks = blocks
        self.weight = nn.Parameter(torch.empty(blocks, inputs // blocks, outputs // blocks))
        self.bias = nn.Parameter(torch.zeros(outputs))
        initialise(self.weight, fan_in or inputs)

    def grouped(self, x: Float[Tensor, "N I"]) -> Float[Tensor, "G N O/G"]:
        """The blocks of the output, one after the other."""
        blocks = x.view(len(x), self.blocks, -1).transpose(0, 1)
        return torch.baddbmm(self.bias.view(self.blocks, 1, -1), blocks, self.weight)

    def forward(self, x: Float[Tensor, "N I"]) -> Float[Tensor, "N O"]:
        return self.grouped(x).transpose(0, 1).flatten(1)


class RMSNorm(nn.Module):
    """`weight * x / sqrt(mean(x^2) + 1e-4)` over the last axis: no mean taken off, no shift added
    (Zhang and Sennrich 2019)."""

    def __init__(self, features: int, eps: float = 1e-4) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(features))

    def forward(self, x: Float[Tensor, "*shape O"]) -> Float[Tensor, "*shape O"]:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Activate(nn.Module):
    """`silu(norm(x))`: RMS norm, then SiLU, as after every hidden linear map."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = RMSNorm(features)

    def forward(self, x: Float[Tensor, "*shape O"]) -> Float[Tensor, "*shape O"]:
        if x.is_cuda:  # torch has one kernel for the norm there
            return F.silu(self.norm(x))
        return FastActivate.apply(x, self.norm.weight, self.norm.eps)


class FastActivate(torch.autograd.Function):
    """The same in fewer passes over the memory, by hand: about twice as fast on a CPU.

    With n = x / size, size = sqrt(mean(x^2) + eps), y = weight n and g the gradient of y:

        dx = (g weight - n mean(g weight n)) / size,        dweight = sum over rows of g n

    Nothing but x and 1 / size is kept for the way back.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_()
        scale = square.div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, scale, weight)
        return F.silu((x * scale).mul_(weight), inplace=True)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, scale, weight = ctx.saved_tensors
        n = x * scale
        grad = torch.ops.aten.silu_backward(grad, n * weight)
        along = grad * n
        mean = (along @ weight / len(weight)).unsqueeze(-1)
        grad.mul_(weight).addcmul_(n, mean, value=-1).mul_(scale)
        return grad, along.flatten(0, -2).sum(0), None


def mlp(
    inputs: int, units: int, layers: int, outputs: int | None = None, scale: float = 1.0
) -> nn.Sequential:
    """`layers` hidden layers; then, if `outputs` is given, a linear map that starts at `scale`."""
    stack: list[nn.Module] = []
    for i in range(layers):
        stack += [Linear(units if i else inputs, units), Activate(units)]
    if outputs is not None:
        stack.append(Linear(units if layers else inputs, outputs, scale=scale))
    return nn.Sequential(*stack)
