"""Cue and coin: a sequence with something to remember and something that nobody can know.

A row shows two numbers. The first is the cue, -1 or 1, drawn once for each sequence: it is seen in
row 0, hidden (0) for six rows, and seen again from then on. The second is a coin, -1 or 1, thrown
anew in every row. A good model of this world *knows* what the cue will be when it returns, and *is
undecided* about every coin: it expects one of -1 and 1, and never their mean.

Shape key: B sequences, T rows.
"""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float
from torch import Tensor

from utils.world import Step

LENGTH, HIDDEN = 10, 6  # rows of a sequence; rows in which the cue is not seen
OBSERVATION = Box(-1, 1, (2,), np.float32)
ACTION = Box(-1, 1, (1,), np.float32)  # has no effect: always 0


def cue_and_coin(batch: int, generator: torch.Generator | None = None) -> Step:
    """B sequences `[B, 10, ...]` on the generator's device, without reward and without an end."""
    device = "cpu" if generator is None else generator.device
    signs = torch.randint(2, (batch, 1 + LENGTH), generator=generator, device=device) * 2.0 - 1.0
    cue = signs[:, :1].repeat(1, LENGTH)
    cue[:, 1 : 1 + HIDDEN] = 0.0
    observation = torch.stack([cue, signs[:, 1:]], -1)
    zeros = torch.zeros_like(cue)
    first = torch.zeros_like(cue, dtype=torch.bool)
    first[:, 0] = True
    return Step(observation, zeros[..., None], zeros.clone(), first, torch.zeros_like(first))


def recall(dreamt: Float[Tensor, "B H 2"], sequences: Step) -> float:
    """Share of dreams, from row 1 on, that show the right cue in their last row."""
    return (dreamt[:, -1, 0].sign() == sequences.observation[:, -1, 0]).float().mean().item()


def boldness(dreamt: Float[Tensor, "B H 2"]) -> float:
    """Mean size of the coins that were dreamt: 1 if each is -1 or 1, 0 if each is their mean."""
    return dreamt[..., 1].abs().mean().item()
