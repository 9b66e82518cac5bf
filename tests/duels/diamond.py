"""A duel with the official DIAMOND: a train step of the denoiser, and sampled frames, in turns.

    git clone https://github.com/eloialonso/diamond && git -C diamond checkout 5bcd159
    python -m tests.duels.diamond diamond [eager] [compiled]

Its code stays where it is and is not changed; of its modules only those of the diffusion model are
imported, and they need torch alone. The same U-Net on both sides, with the same 1,664,739
parameters: four levels of 32 channels, condition of 256, context of four frames of 64 x 64 in
colour, batches of 8, three Euler steps, float32, on one thread and on two. We train the clear
network and sample with the fast one (`utils/worlds/diamond_fast.py`). The official training
compiles its denoiser; here both sides run eager, a minute, and compiled, some minutes more for the
compiler. A ratio above 1 says how many times as long the official code takes as ours, compiled
against compiled and eager against eager. Two lines of their own: both samplers in bfloat16, with
the levels of 255 by which that moves the frames of a trained world; and the samplers first of all,
in a process that has held no larger blocks of memory yet.

Before the race both samplers are given the same weights and the same noise; with the official
switches on, the frames must be the same.

Measured (x86_64, torch 2.13, nothing beside it), on one thread and on two: sampling 1.30 and 1.36
eager, 1.06 and 1.06 compiled, 1.62 and 1.65 with both in bfloat16; train step 1.11 and 1.15 eager,
1.04 and 1.02 compiled. The aim for sampling was 1.5. In a fresh process it is 1.49 and 1.83: there
each large map costs page faults anew, until a larger block has been freed, and the official code
makes more maps. So float32 misses the aim as soon as something else has run.

What bounds it: a batch is 37 GFLOP of convolutions. On the core where this was written oneDNN does
143 GFLOP/s of them with 32 channels and 157 with 64, and the core is busy for 0.25 s of the 0.39
that our batch takes. Both sides have the same convolutions, and a compiler fuses on both sides what
the fast network does by hand. Tried in vain: mean and spread of a map taken once for all blocks
that normalise it, no joined maps, and a convolution before a map is doubled instead of after it;
each saves work, and together they were no faster. bfloat16 moves a frame of a trained world by 0.11
levels of 255 on average.
"""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import torch

from tests.fixtures.make_diamond import bare
from tests.worlds.test_diamond import ours as our_name
from utils.course import store
from utils.course.bench import race
from utils.course.exercise import ROOT
from utils.course.readme import record
from utils.data import atari
from utils.data.sequences import sample_windows
from utils.evaluate import atari_film, ladder
from utils.worlds.diamond import DIAMOND, Config, truncate
from utils.worlds.diamond_bench import ACTIONS, BATCH, CONFIG, Work
from utils.worlds.diamond_fast import fast

ROUNDS = 9


class Official:
    """Denoiser, optimiser and sampler of the official code, with our weights and our frames."""

    def __init__(self, path: str, work: Work, compiled: bool) -> None:
        source = Path(path).resolve() / "src/models"
        bare("models", source)
        bare("models.diffusion", source / "diffusion")
        for name, member in {"data": "Batch", "utils": "LossAndLogs"}.items():
            sys.modules[name] = types.SimpleNamespace(**{member: tuple})  # for annotations alone
        from models.diffusion.denoiser import Denoiser, DenoiserConfig, SigmaDistributionConfig
        from models.diffusion.diffusion_sampler import DiffusionSampler, DiffusionSamplerConfig
        from models.diffusion.inner_model import InnerModelConfig

        depths, channels = list(CONFIG.depths), list(CONFIG.channels)
        sizes = (3, CONFIG.context, CONFIG.features, depths, channels, [0] * 4, ACTIONS + 1)
        self.denoiser = Denoiser(DenoiserConfig(InnerModelConfig(*sizes), 0.5, CONFIG.offset))
        self.denoiser.setup_training(SigmaDistributionConfig(-0.4, 1.2, 2e-3, 20))
        net = self.denoiser.inner_model
        self.parameters = sum(p.numel() for p in net.parameters())
        weights = work.denoiser.net.state_dict()
        weights = {name.removeprefix("_orig_mod."): value for name, value in weights.items()}
        net.load_state_dict({name: weights[our_name(name)] for name in net.state_dict()})
        if compiled:
            self.denoiser.inner_model = torch.compile(net)
        self.optimiser = torch.optim.AdamW(
            self.denoiser.parameters(), lr=1e-4, weight_decay=1e-2, eps=1e-8
        )
        self.sampler = DiffusionSampler(self.denoiser, DiffusionSamplerConfig(3))
        self.frames, self.actions = work.frames.contiguous(), work.actions
        frames = torch.cat([work.frames, work.following[:, None]], 1)
        actions = torch.cat([work.actions, work.actions[:, :1]], 1)
        everything = torch.ones(frames.shape[:2], dtype=torch.bool)
        self.batch = types.SimpleNamespace(obs=frames, act=actions, mask_padding=everything)

    def train(self) -> None:
        """As in its trainer: forward, backward, clip, step, zero."""
        loss, _ = self.denoiser(self.batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.denoiser.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def sample(self) -> torch.Tensor:
        return self.sampler.sample(self.frames, self.actions)[0]


def agree(ours: Work, theirs: Official) -> float:
    """Share of the pixels that are the same from the same noise; asserts that nearly all are."""
    noise = torch.randn(ours.following.shape, generator=torch.manual_seed(1))
    torch.manual_seed(1)
    official, world = theirs.sample(), fast(ours.world)
    world.unit_start, world.quantised = True, truncate
    with torch.no_grad():
        frame = world.sample(ours.frames, ours.actions, noise)
    same = ((frame - official).abs() < 1e-4).double().mean().item()
    assert same > 0.99, f"only {same:.3f} of the pixels are the same"
    return same


def moved() -> dict[str, float]:
    """By how many of the 255 levels bfloat16 moves a frame of a trained world, from one noise."""
    checkpoint = ROOT / "assets/4.3_atari.safetensors"
    stored, frames = store.load(checkpoint), []
    world = DIAMOND(atari.OBSERVATION, atari.ACTION, Config(**stored["config"]))
    world.load_state_dict(stored["weights"])
    _, seen = atari_film.record(1000, seed=1)
    state = ladder.filtered(world, sample_windows(seen, 32, 5, torch.manual_seed(0)), 5)
    for low in (False, True):
        luck = torch.Generator().manual_seed(0)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=low):
            after = fast(world).imagine(state, torch.eye(4).repeat(8, 1), generator=luck)
        frames.append(world.decode(after.state))
    away = (frames[0] - frames[1]).abs()
    return {
        "mean": round(away.mean().item(), 3),
        "pixels by more than 2": round((away > 2.5).double().mean().item(), 5),
    }


def duel(what: str, how: str, ours: Callable, theirs: Callable, **facts: object) -> None:
    """Races one work on one thread and on two, prints and keeps what was found."""
    made = dict(facts)
    for threads in (1, 2):
        found = race({"ours": ours, "theirs": theirs}, ROUNDS, threads)
        print(json.dumps({"duel": "diamond", "work": f"{what}, {how}"} | found), flush=True)
        made[f"theirs / ours, {threads} threads"] = found["theirs / ours"]
        made[f"our seconds, {threads} threads"] = found["ours seconds"]
    made |= {"rounds": ROUNDS, "CPU cores": os.cpu_count(), "batch": BATCH}
    record("speeds", f"diamond, against eloialonso, {what}, {how}", made)


def in_bfloat16(call: Callable) -> Callable:
    def low() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            call()

    return low


def main(path: str, *ways: str) -> None:
    torch.set_num_threads(1)
    for how in ways or ("eager", "compiled"):
        work = Work(how == "compiled")
        with torch.no_grad():  # layers that start at zero would hide what goes into them
            for parameter in work.denoiser.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        peer = Official(path, work, how == "compiled")
        assert work.parameters == peer.parameters
        if how == "eager":
            duel("sample", "eager, fresh process", work.sample, peer.sample)
            same = agree(work, peer)
            print(json.dumps({"duel": "diamond", "pixels that are the same": round(same, 5)}))
            levels = moved()
            low = in_bfloat16(work.sample), in_bfloat16(peer.sample)
            duel("sample", "eager, both in bfloat16", *low, levels=levels)
        for what in ("train", "sample"):
            ours, theirs = (getattr(each, what) for each in (work, peer))
            duel(what, how, ours, theirs, parameters=work.parameters)


if __name__ == "__main__":
    main(*sys.argv[1:])
