"""The recurrent state-space model: what PlaNet, Dreamer, DreamerV2 and DreamerV3 share.

The state has two parts. The deterministic one remembers, the stochastic one leaves to chance:

    h_t = cell(h_{t-1}, z_{t-1}, a_t)       deterministic path, `deter`
    z_t ~ p(z | h_t)                        prior: what the model expects
    z_t ~ q(z | h_t, x_t)                   posterior: what an observation x_t tells it, `stoch`

(arrival convention: the action a_t led to x_t). Hafner et al. 2019, "Learning Latent Dynamics for
Planning from Pixels". A world file gives the parts: its cell, its two networks, its kind of latent.

Shape key: B batch, T time, D deterministic features, E features of an embedded observation, A
actions, U hidden units, S categorical variables, K classes, L = S K logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from utils.nn.mlp import gathered
from utils.nn.one_hot import draw, straight_through, unimix
from utils.nn.random import uniform
from utils.world import State, Step, stack, where


@dataclass(frozen=True)
class Categoricals:
    """S categorical variables of K classes each, mixed with `share` of the uniform distribution."""

    variables: int
    classes: int
    share: float

    @property
    def shape(self) -> tuple[int, int]:
        """Of one sample: (S, K)."""
        return self.variables, self.classes

    def noise(
        self, *batch: int, like: Tensor, generator: torch.Generator | None
    ) -> Float[Tensor, "*batch S"]:
        """All the randomness that samples for `batch` states need."""
        return uniform((*batch, self.variables), like, generator)

    def probability(self, logits: Float[Tensor, "*batch L"]) -> Float[Tensor, "*batch S K"]:
        return unimix(logits.unflatten(-1, self.shape), self.share)

    def sample(
        self, logits: Float[Tensor, "*batch L"], noise: Float[Tensor, "*batch S"] | None
    ) -> Float[Tensor, "*batch S K"]:
        """One-hot, with straight-through gradients; the most likely classes without noise."""
        probability = self.probability(logits)
        index = probability.argmax(-1) if noise is None else draw(probability, noise)
        return straight_through(probability, index)

    def kl(
        self, p: Float[Tensor, "*batch L"], q: Float[Tensor, "*batch L"]
    ) -> Float[Tensor, "*batch"]:
        """KL(p || q) in nats, summed over the S independent variables; both given as logits."""
        p, q = self.probability(p), self.probability(q)
        return (p * (p.log() - q.log())).sum((-2, -1))


class RSSM(nn.Module):
    """The recurrence.

    Args:
        cell: `cell(deter, stoch [B, S, K], inputs) -> deter`, where `inputs = cell.inputs(action)`
            is the work on the action alone; `cell.size` is D.
        prior: `prior(deter) -> logits`.
        posterior: `posterior(deter, inputs) -> logits`, where `inputs = posterior.inputs(embed)` is
            the work on the observation alone.
        latent: how logits become samples and divergences.
    """

    def __init__(
        self, cell: nn.Module, prior: nn.Module, posterior: nn.Module, latent: Categoricals
    ) -> None:
        super().__init__()
        self.cell, self.prior, self.posterior, self.latent = cell, prior, posterior, latent

    def initial(self, batch: int) -> State:
        """Zeros."""
        like = next(self.parameters())
        zero = torch.zeros((), device=like.device, dtype=like.dtype)
        return {
            "deter": zero.expand(batch, self.cell.size),
            "stoch": zero.expand(batch, *self.latent.shape),
        }

    def observe(
        self,
        state: State,
        embed: Float[Tensor, "B E"],
        action: Float[Tensor, "B A"],
        first: Bool[Tensor, " B"],
        noise: Float[Tensor, "B S"] | None,
    ) -> tuple[State, Float[Tensor, "B L"]]:
        """One step of filtering: the posterior state and its logits. Where `first`, state and
        action are forgotten. Without noise, the most likely classes."""
        action = self.cell.inputs(action.masked_fill(first[:, None], 0.0))
        return self.recur(state, self.posterior.inputs(embed), action, first, noise)

    def recur(
        self,
        state: State,
        embed: Float[Tensor, "B U"],
        action: Float[Tensor, "B U"],
        first: Bool[Tensor, " B"],
        noise: Float[Tensor, "B S"] | None,
    ) -> tuple[State, Float[Tensor, "B L"]]:
        """What `observe` and every step of `filter` do, once the work on the action and on the
        observation alone is done: `action` and `embed` are what `cell.inputs` and
        `posterior.inputs` have made of them.

        Rows where `first` start from `initial`. Then the deterministic path: `cell(deter, stoch,
        action)` is the new `deter`; `posterior(deter, embed)` are the logits of the new `stoch`,
        which `latent.sample(logits, noise)` draws. Returns the new state, a dict with `deter` and
        `stoch`, and the logits.
        """
        state = where(first, self.initial(len(first)), state)
        deter = self.cell(state["deter"], state["stoch"], action)
        logits = self.posterior(deter, embed)
        return {"deter": deter, "stoch": self.latent.sample(logits, noise)}, logits

    def filter(
        self,
        embed: Float[Tensor, "B T E"],
        action: Float[Tensor, "B T A"],
        first: Bool[Tensor, "B T"],
        noise: Float[Tensor, "B T S"] | None,
    ) -> tuple[State, Float[Tensor, "B T L"]]:
        """`observe` over whole sequences from the initial state: the states `[B, T, ...]`.

        The same numbers as step by step, but only the recurrence stands in the loop: the work on
        actions and observations alone is done before it, and the gradients of the weights after
        it, for all of time at once.
        """
        actions = self.cell.inputs(action.masked_fill(first[..., None], 0.0)).unbind(1)
        embeds = self.posterior.inputs(embed).unbind(1)
        noises = [None] * len(actions) if noise is None else noise.unbind(1)
        state, states, logits = self.initial(len(first)), [], []
        with gathered(self.cell, self.posterior):
            for inputs in zip(embeds, actions, first.unbind(1), noises, strict=True):
                state, logit = self.recur(state, *inputs)
                states.append(state)
                logits.append(logit)
        return stack(states), torch.stack(logits, 1)

    def imagine(
        self, state: State, action: Float[Tensor, "B A"], noise: Float[Tensor, "B S"] | None
    ) -> State:
        """One step of dream: the prior takes the posterior's place.

        `cell(deter, stoch, inputs)` with `inputs = cell.inputs(action)` is the new `deter`,
        `prior(deter)` the logits of the new `stoch`, which `latent.sample(logits, noise)` draws.
        Nothing is looked at and nothing is reset.
        """
        deter = self.cell(state["deter"], state["stoch"], self.cell.inputs(action))
        return {"deter": deter, "stoch": self.latent.sample(self.prior(deter), noise)}


class LatentWorld(nn.Module):
    """What every world over an RSSM does alike.

    A world file gives `codec` (observations to what the posterior sees, and back), `rssm`, and the
    methods `features`, `imagine` and `objective`, in which the worlds differ.
    """

    codec: nn.Module
    rssm: RSSM

    def initial(self, batch: int) -> State:
        return self.rssm.initial(batch)

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        noise = None if mode else self.noise(len(step.reward), generator=generator)
        embed = self.codec.encode(step.observation)
        return self.rssm.observe(state, embed, step.action, step.first, noise)[0]

    def decode(self, state: State) -> Tensor:
        return self.codec.expected(self.codec.decode(self.features(state)))

    def noise(self, *batch: int, generator: torch.Generator | None) -> Tensor:
        """What one sample of every latent of `batch` states is drawn from."""
        like = next(self.rssm.parameters())
        return self.rssm.latent.noise(*batch, like=like, generator=generator)

    def filter(
        self, batch: Step, generator: torch.Generator | None = None, mode: bool = False
    ) -> tuple[State, Float[Tensor, "B T L"]]:
        """Posterior states of whole sequences `[B, T, ...]` and what the posterior said of them
        (logits or stats), with gradients."""
        noise = None if mode else self.noise(*batch.reward.shape, generator=generator)
        embed = self.codec.encode(batch.observation)
        return self.rssm.filter(embed, batch.action, batch.first, noise)

    def loss(
        self, batch: Step, generator: torch.Generator | None = None
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor], State]:
        """One batch `[B, T, ...]`: loss, its parts, and all B T posterior states, detached."""
        states, posterior = self.filter(batch, generator)
        loss, metrics = self.objective(batch, states, posterior)
        return loss, metrics, {k: v.detach().flatten(0, 1) for k, v in states.items()}
