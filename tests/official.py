"""Inputs and outputs of official code, for tests of our parts against them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

FIXTURES = Path(__file__).parent / "fixtures"


def official(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What went into the official function and what came out, of the one case in `name`.npz."""
    sides: dict[str, dict[str, Tensor]] = {"in": {}, "out": {}}
    with np.load(FIXTURES / f"{name}.npz", allow_pickle=False) as arrays:
        for key in arrays.files:
            _, side, name = key.split("/", 2)
            sides[side][name] = torch.from_numpy(arrays[key])
    return sides["in"], sides["out"]


def close(ours: Tensor, theirs: Tensor, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol, check_dtype=False)
