"""A duel with ctallec/world-models, the PyTorch implementation of World Models that is used most.

    git clone https://github.com/ctallec/world-models && git -C world-models checkout d6abd9c
    python -m tests.duels.world_models world-models

Its code stays where it is: `models/vae.py` and `models/mdrnn.py` are loaded from that folder, and
trained as its trainvae.py and trainmdrnn.py do, on batches that are ready. The systems take turns
call by call, on one thread; a ratio above 1 says how many times as long the peer takes.

- V: the same layers, 4,348,547 parameters each.
- M: the peer has one mixture for all 32 dimensions of z, with one weight a component; the official
  code and ours have one mixture for each, with 32. So at equal width ours is larger. The duel is
  held at equal width (256 units), and at equal parameters (238 units). Both predict reward and end:
  the peer by a linear layer, ours by two small networks (16 units).
- A dream step: M with a linear controller, drawn from the mixture, without gradients.
"""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import torch
from gymnasium.spaces import Box
from torch import nn
from torch.nn import functional as F

from utils.agents.evolution import linear_controller
from utils.course.bench import race
from utils.world import Step
from utils.worlds import vmc_bench
from utils.worlds.vmc import VMC, Direct, VMCConfig

BATCH, TIME, Z, A = 16, 32, 32, 3


def peer(folder: str, name: str):
    """One of its model files, as a module."""
    spec = importlib.util.spec_from_file_location(name, Path(folder) / "models" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def size(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def vae(folder: str) -> dict:
    frames = torch.rand(32, 3, 64, 64)
    net = peer(folder, "vae").VAE(3, Z)
    adam = torch.optim.Adam(net.parameters())

    def theirs() -> None:
        adam.zero_grad()
        picture, mean, log_std = net(frames)
        error = F.mse_loss(picture, frames, reduction="sum")
        spread = (2 * log_std).exp()
        (error - 0.5 * torch.sum(1 + 2 * log_std - mean.pow(2) - spread)).backward()
        adam.step()

    ours = vmc_bench.vae(32)["ours"]
    return {"parameters": [size(net)] * 2} | race({"ours": ours, "theirs": theirs}, 40)


def mdn_rnn(folder: str, hidden: int) -> dict:
    module = peer(folder, "mdrnn")
    z, after, action = (torch.randn(BATCH, TIME, n) for n in (Z, Z, A))
    reward, end = torch.randn(BATCH, TIME), torch.zeros(BATCH, TIME)
    net = module.MDRNN(Z, A, 256, 5)
    optimiser = torch.optim.RMSprop(net.parameters(), lr=1e-3, alpha=0.9)

    def theirs() -> None:
        z_, action_, reward_, end_, after_ = (
            x.transpose(1, 0) for x in (z, action, reward, end, after)
        )
        mean, std, log_weight, r, d = net(action_, z_)
        likelihood = module.gmm_loss(after_, mean, std, log_weight)
        loss = likelihood + F.binary_cross_entropy_with_logits(d, end_) + F.mse_loss(r, reward_)
        optimiser.zero_grad()
        (loss / (Z + 2)).backward()
        optimiser.step()

    world = VMC(
        Direct(Box(-1, 1, (Z,), np.float32)), vmc_bench.ACTIONS, VMCConfig(hidden, width=16)
    )
    adam = torch.optim.Adam(world.parameters(), 1e-3, fused=True)
    rows = Step(z, action, reward, end.bool(), end.bool())

    def ours() -> None:
        loss, _, _ = world.loss_of_latents(z, rows)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_value_(world.parameters(), 1.0)
        adam.step()

    sizes = {"hidden": [hidden, 256], "parameters": [size(world), size(net)]}
    return sizes | race({"ours": ours, "theirs": theirs}, 100)


def dream(folder: str, batch: int, steps: int = 20) -> dict:
    cell, controller = peer(folder, "mdrnn").MDRNNCell(Z, A, 256, 5), nn.Linear(Z + 256, A)
    world = VMC(Direct(Box(-1, 1, (Z,), np.float32)), vmc_bench.ACTIONS, VMCConfig(width=16))
    parameters, rows = torch.randn(1, 867), torch.arange(batch)

    @torch.no_grad()
    def theirs() -> None:
        hidden, z = [torch.zeros(batch, 256)] * 2, torch.zeros(batch, Z)
        for _ in range(steps):
            action = controller(torch.cat([z, hidden[0]], 1))
            mean, std, log_weight, _, _, hidden = cell(action, z, hidden)
            k = torch.distributions.Categorical(probs=log_weight.exp()).sample()
            z = mean[rows, k] + std[rows, k] * torch.randn(batch, Z)

    @torch.no_grad()
    def ours() -> None:
        state = world.initial(batch)
        for _ in range(steps):
            features = torch.cat([state["z"], state["h"]], -1)[None]
            state = world.imagine(state, linear_controller(parameters, features, A)[0]).state

    made = race({"ours": ours, "theirs": theirs}, 40)
    each = {
        f"{name} ms a step": round(1e3 * made.pop(f"{name} seconds") / steps, 3)
        for name in ("ours", "theirs")
    }
    return {"batch": batch} | each | made


def main(folder: str) -> None:
    torch.manual_seed(0)
    said = {
        "V, train step": lambda: vae(folder),
        "M, train step, equal width": lambda: mdn_rnn(folder, 256),
        "M, train step, equal parameters": lambda: mdn_rnn(folder, 238),
        "dream": lambda: dream(folder, 1),
        "dream of many": lambda: dream(folder, 64),
    }
    for name, made in said.items():
        print(json.dumps({"duel": name} | made()), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
