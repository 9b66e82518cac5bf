"""DIAMOND: against the official numbers, and by what must hold of any world."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from torch import nn

from tests.conformance import RULES, Case
from tests.official import close, official
from utils.agents.actor_critic import lambda_return
from utils.worlds.diamond import DIAMOND, Config, Denoiser, contexts, quantise, truncate
from utils.worlds.diamond_bench import Work
from utils.worlds.diamond_net import Attention, Net

torch.set_num_threads(1)
TINY = Config(context=3, depths=(1,), channels=(4,), features=12, group=2, steps=2, moving=3.0)
DEEP = Config(context=2, depths=(1, 1), channels=(4, 6), features=8, group=2)


def made(space, config):
    def make():
        torch.manual_seed(3)
        world = DIAMOND(space, Discrete(3), config)
        with torch.no_grad():  # layers that start at zero would hide what goes into them
            for parameter in world.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
        return world

    return make


def parallel(world, data):
    return world.filter(data)


CASES = {
    "cells": Case(made(MultiBinary((10, 10, 4)), TINY), parallel=parallel),
    "pixels": Case(made(Box(0, 255, (16, 16, 3), np.uint8), DEEP), parallel=parallel),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


# ---- the official numbers


class Linear(nn.Module):
    """The network of four parameters with which the official numbers were made."""

    def __init__(self, parameters):
        super().__init__()
        self.p = nn.Parameter(parameters.clone())

    def forward(self, noisy, level, frames, actions):
        a, b, c, d = self.p
        level, actions = level[:, None, None, None], actions.float().mean(1)[:, None, None, None]
        return a * noisy + b * frames.mean(1) + c * level + d * actions


def test_loss_and_its_gradient_are_the_official_ones():
    given, want = official("diamond_denoiser_loss")
    denoiser = Denoiser(Linear(given["model_params"]), Config())
    noise = given["sigma_normal"][0], given["pixel_normal"][0], given["offset_normal"][0]
    errors = denoiser.loss(given["obs"][:, -1], given["obs"][:, :-1], given["act"][:, :-1], noise)
    loss = errors[given["mask_padding"][:, -1]].mean()
    loss.backward()
    close(loss, want["loss"], rtol=1e-4)
    close(denoiser.net.p.grad, want["dparams"], rtol=1e-4)


def test_sampler_with_the_official_switches_gives_the_official_frames():
    given, want = official("diamond_sampler")
    world = DIAMOND(
        Box(0, 255, (4, 4, 3), np.uint8), Discrete(4), Config(depths=(1,), channels=(8,))
    )
    world.denoiser.net = Linear(given["model_params"])
    world.unit_start, world.quantised = True, truncate
    with torch.no_grad():
        frame = world.sample(given["prev_obs"], given["prev_act"], given["init_noise"])
    # A rounding tie may move a pixel by one of the 256 levels.
    assert (frame - want["x"]).abs().max() <= 2 / 255 + 1e-5
    assert ((frame - want["x"]).abs() < 1e-4).float().mean() > 0.97
    world.unit_start = False
    with torch.no_grad():
        other = world.sample(given["prev_obs"], given["prev_act"], given["init_noise"])
    assert (other - frame).abs().mean() > 0.01


def ours(name: str) -> str:
    """Where the official network keeps a parameter, in our names."""
    for theirs, here in {
        "noise_emb": "level",
        "act_emb.0": "action",
        "cond_proj": "condition",
        "conv_in": "inwards",
        "conv_out": "outwards",
        "norm_out.norm": "norm",
        "unet.": "body.",
        "mid_blocks": "bottom",
        "d_blocks": "down",
        "u_blocks": "up",
        "downsamples": "coarser",
        "upsamples": "finer",
        "resblocks.": "",
        ".conv.": ".",
        "attn": "attention",
        "proj": "project",
        "attention.norm.norm": "attention.norm",
        "qkv_project": "qkv",
        "out_project": "out",
    }.items():
        name = name.replace(theirs, here)
    return name.replace("cond_project", "condition")


def test_network_is_the_official_one():
    given, want = official("diamond_net")
    weights = {ours(k.removeprefix("weight:")): v for k, v in given.items() if ":" in k}
    net = Net(3, 4, 4, 16, (2, 1, 1), (8, 8, 16), 32)
    net.load_state_dict(weights)
    with torch.no_grad():
        frame = net(given["noisy"], given["level"], given["obs"], given["act"])
    close(frame, want["frame"], rtol=1e-4, atol=1e-5)


def test_lambda_returns_are_the_official_ones():
    """Ours take rows as they arrive, and let a λ of 0 end the return of a dream that was cut."""
    given, want = official("diamond_lambda_returns")
    pad = [nn.functional.pad(v.float(), (1, 0)) for v in given.values()]
    reward, end, cut, value = pad
    returns = lambda_return(reward.sign(), 0.985 * (1 - end), value, 0.95 * (1 - cut))
    close(returns, want["returns"])


# ---- what must hold


def test_an_official_denoiser_has_as_many_parameters_as_the_official_code():
    net = Net(3, 4, 3, 256, (2,) * 4, (32,) * 4, 32)  # no action is one of the four
    assert sum(p.numel() for p in net.parameters()) == 1_664_739


def test_quantised_frames_stay_and_truncated_ones_sink():
    frame = torch.linspace(-1.2, 1.2, 999)
    once = quantise(frame)
    assert torch.equal(quantise(once), once)
    assert (once - frame.clamp(-1, 1)).abs().max() <= 1 / 255 + 1e-6
    levels = torch.arange(256) / 255 * 2 - 1
    assert torch.equal(quantise(levels), levels)
    sunk = truncate(levels)
    for _ in range(9):
        sunk = truncate(sunk)
    assert (sunk < levels - 1e-6).float().mean() > 0.1


def test_contexts_forget_what_lies_before_an_episode():
    rows = torch.arange(1.0, 7)[None]
    first = torch.tensor([[False, False, False, True, False, False]])
    want = [[0, 0, 1], [0, 1, 2], [1, 2, 3], [0, 0, 4], [0, 4, 5], [4, 5, 6]]
    assert contexts(rows, first, 3)[0].tolist() == want


def test_actions_are_those_done_in_the_frames_of_the_context():
    """The new action belongs to the last frame, and the sampler is told it."""
    world = made(MultiBinary((10, 10, 4)), TINY)()
    seen = []
    world.sample = lambda frames, actions, noise: seen.append((frames, actions)) or frames[:, 0]
    state = world.initial(1) | {"actions": torch.tensor([[1, 2, 3]])}
    dreamt = world.step(state, torch.tensor([[0.0, 1.0, 0.0]]), torch.zeros(1, 4, 10, 10))
    assert seen[0][1].tolist() == [[2, 3, 2]]
    assert dreamt.state["actions"].tolist() == [[2, 3, 2]]


def test_rows_that_start_an_episode_teach_nothing():
    world = made(MultiBinary((10, 10, 4)), TINY)()
    data = CASES["cells"].data(world.spec, batch=4, time=5)
    data.first[:] = False
    data.first[0, 4] = True
    noise = torch.Generator().manual_seed(0)
    before = world.loss(data, noise)[0]
    data.observation[0, 4] = 1 - data.observation[0, 4]
    after = world.loss(data, noise.manual_seed(0))[0]
    close(before, after)


def test_attention_starts_as_a_normalisation():
    attention, x = Attention(16, 32), torch.randn(2, 16, 4, 4)
    assert torch.equal(attention(x), attention.norm(x))


def test_a_window_no_longer_than_the_context_is_refused():
    world = made(MultiBinary((10, 10, 4)), TINY)()
    with pytest.raises(ValueError, match="longer than the context"):
        world.loss(CASES["cells"].data(world.spec, time=3))


def test_the_bench_trains_and_samples():
    config = Config(depths=(1, 1), channels=(8, 8), features=16)
    work = Work(compiled=False, config=config, batch=2, side=16)
    before = [p.clone() for p in work.denoiser.parameters()]
    work.train()
    assert any(
        not torch.equal(a, b) for a, b in zip(before, work.denoiser.parameters(), strict=True)
    )
    assert work.sample().shape == work.sample_clearly().shape == (2, 3, 16, 16)
