"""TWM against jrobine/twm at e6a8e59, and by what must hold of any world."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case, filtered, last, random_steps
from tests.official import close, official
from utils.nn.one_hot import draw
from utils.nn.random import uniform
from utils.world import Step, rollout
from utils.worlds.transformer_xl import RelativeAttention, TransformerXL, relative_shift
from utils.worlds.twm import TWM, Config

torch.set_num_threads(1)
TINY = Config(
    **{"stoch": 3, "classes": 4, "width": 8, "blocks": 2, "heads": 2, "head": 3, "between": 10},
    **{"memory": 2, "context": 4, "units": 10, "layers": 1, "depth": 2},
)
LINE, TWO = Box(-4.8, 4.8, (4,), np.float32), Discrete(2)


def made(space=LINE, action=TWO, config=TINY):
    torch.manual_seed(3)
    return TWM(space, action, config)


CASES = {
    "vectors": Case(made),
    "continuous": Case(lambda: made(action=Box(-2, 2, (3,)))),
    "cells": Case(lambda: made(MultiBinary((10, 10, 4)), Discrete(3))),
    "pixels": Case(lambda: made(Box(0, 255, (64, 64, 3), np.uint8)), tolerance=1e-4),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


# ---- Transformer-XL


def test_attention_is_the_official_one():
    given, expected = official("twm_transformer_xl")
    attention = RelativeAttention(8, 2, 3, scale=8**-0.5)
    names = {"qkv": "qkv_proj", "distance": "pos_proj", "out": "out_proj"}
    weights = {f"{ours}.weight": given[f"param:{theirs}.weight"] for ours, theirs in names.items()}
    attention.load_state_dict(weights)
    x, mask = given["x"].transpose(0, 1), ~given["mask"][None, None]
    waves = given["pos_enc"][:, 0]
    found = attention(x, x[:, :0], waves, given["u_bias"], given["v_bias"], mask)
    close(found.transpose(0, 1), expected["out"])
    # The last tokens with the others as memory find the same.
    tail = attention(x[:, 3:], x[:, :3], waves, given["u_bias"], given["v_bias"], mask[:, :, 3:])
    close(tail, found[:, 3:])


def test_the_shift_turns_distances_into_tokens():
    scores = torch.arange(6).flip(0).expand(4, 6)  # the score of a distance is the distance
    shifted = relative_shift(scores.float())
    for i in range(4):
        for j in range(3 + i):
            assert shifted[i, j] == 2 + i - j


def test_a_memory_gives_what_one_pass_gives():
    torch.manual_seed(0)
    net, x = TransformerXL(8, 3, 2, 4, 16, 0.5), torch.randn(2, 9, 8)
    token = torch.arange(9)
    mask = (token <= token[:, None]) & (token[:, None] - token <= 3)  # three tokens back
    whole, _ = net(x, net.empty(2), mask.expand(2, 9, 9))
    memory, outputs = net.empty(2), []
    for piece in x.split(2, 1):
        size = memory.shape[2]
        start = sum(o.shape[1] for o in outputs)
        rows = slice(start, start + piece.shape[1])
        seen = mask[rows, start - size : rows.stop].expand(2, -1, -1)
        out, memory = net(piece, memory, seen)
        outputs.append(out)
        memory = memory[:, :, -3:]
    close(torch.cat(outputs, 1), whole, rtol=1e-4, atol=1e-5)


# ---- the sentence


def test_the_sentence_is_in_the_order_of_time():
    world = made()
    for part in ("from_z", "from_action", "from_reward"):
        setattr(world, part, torch.nn.Identity())
    world.sizes = 1, 1, 1
    time = torch.arange(4.0)
    sentence = world.words(torch.stack([time, 10 + time, 20 + time], -1)[None])
    assert sentence.flatten().tolist() == [0, 11, 21, 1, 12, 22, 2, 13]


@pytest.mark.parametrize("part", ["observation", "action", "reward"])
def test_a_prediction_knows_what_was_before_and_its_own_action(part):
    world, steps = made(), random_steps(made().spec, time=6)
    steps = steps._replace(first=torch.zeros_like(steps.first))

    def said(steps):
        code, _ = world.encode(steps.observation, None)
        rows = torch.cat([code.flatten(2), steps.action, steps.reward[..., None]], -1)
        return world.predict(rows, steps.first)[0]

    torch.nn.init.normal_(world.posterior[-1].weight)  # so that a code can change
    value = getattr(steps, part).clone()
    value[:, 2] = -3 * value[:, 2] - 1
    plain, other = said(steps), said(steps._replace(**{part: value}))
    for a, b in zip(plain, other, strict=True):
        changed = (a != b).flatten(2).any(2) if a.ndim == 3 else a != b
        # Columns are about rows 1 to 5. The sight is short: two layers of two steps.
        assert changed.any(0).tolist() == [False, part == "action", True, True, True]


def test_no_word_looks_across_an_end_or_beyond_the_memory():
    world = made()
    mask = world.mask(torch.tensor([[0, 0, 1, 0, 0]]).bool())[0]
    step = [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3]
    episode = [0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1]
    for i in range(11):
        for j in range(11):
            near = j <= i and step[i] - step[j] <= 2 and episode[i] == episode[j]
            assert mask[i, j] == near, (i, j)


def test_without_rewards_no_reward_is_read():
    for rewards in (True, False):
        world = made(config=replace(TINY, rewards=rewards))
        steps = random_steps(world.spec)
        loud = steps._replace(reward=5 * steps.reward)
        states = [filtered(world, s) for s in (steps, loud)]
        dreams = [world.imagine(last(s), steps.action[:, 1], mode=True) for s in states]
        assert (dreams[0].reward == dreams[1].reward).all() != rewards


# ---- acting


class Counted:
    """How often a module was called."""

    def __init__(self, module):
        self.calls = 0
        module.register_forward_hook(self.count)

    def count(self, *_):
        self.calls += 1


def test_to_observe_does_not_call_the_transformer():
    world = made()
    calls = Counted(world.transformer)
    state = last(filtered(world, random_steps(world.spec)))
    world.features(state)
    assert calls.calls == 0
    world.imagine(state, torch.zeros(3, 2))
    assert calls.calls == 1


@pytest.mark.parametrize("seen", [1, 3, 8])
@pytest.mark.parametrize(
    "config", [TINY, replace(TINY, memory=7, context=9)], ids=["slides", "fits"]
)
def test_a_dream_with_memory_is_the_same_dream(seen, config):
    world = made(config=config)
    torch.nn.init.normal_(world.prior[-1].weight)
    steps = random_steps(world.spec, time=8)
    steps = steps._replace(first=torch.zeros_like(steps.first))
    state = last(filtered(world, Step(*(v[:, :seen] for v in steps))))

    def policy(state, generator):
        noise = uniform((3,), state["stoch"], generator)
        index = draw(torch.ones(3, 2), noise)
        return torch.nn.functional.one_hot(index, 2).float()

    horizon = 6 if config is TINY else 3
    dreams = [
        dream(state, policy, horizon, generator=torch.Generator().manual_seed(1))
        for dream in (world.dream, lambda *a, **k: rollout(world, *a, **k))
    ]
    for a, b in zip(dreams[0][1:], dreams[1][1:], strict=True):
        close(a, b, rtol=1e-4, atol=1e-5)
    for name, value in dreams[1].state.items():
        close(dreams[0].state[name], value, rtol=1e-4, atol=1e-5)


# ---- losses


def test_the_consistency_is_the_official_one():
    given, expected = official("twm_world_model_losses")
    world = made(config=replace(TINY, stoch=4, classes=5))
    logits = given["z_logits"].clone().requires_grad_()  # normalised, as theirs are
    posterior = torch.cat([torch.zeros(2, 1, 4, 5), logits], 1).flatten(2)
    first = torch.zeros(2, 4, dtype=torch.bool)
    loss = world.balanced(posterior, given["z_hat_probs"].log().flatten(2), first)["consistency"]
    close(loss, expected["loss"])
    (gradient,) = torch.autograd.grad(loss, logits)
    # Theirs takes the logits as they are, ours normalises: p becomes p - q.
    close(gradient, expected["dlogits"] + 0.01 / 6 * logits.detach().softmax(-1))


def gradients(loss, *leaves):
    found = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
    return [0.0 if g is None else g.abs().sum().item() for g in found]


def test_codes_and_predictions_are_pulled_apart():
    world = made()
    torch.manual_seed(0)
    posterior = (5 * torch.randn(2, 5, 12)).requires_grad_()
    prior = torch.randn(2, 4, 12, requires_grad=True)
    parts = world.balanced(posterior, prior, torch.zeros(2, 5, dtype=torch.bool))
    moved = {name: [g > 0 for g in gradients(v, posterior, prior)] for name, v in parts.items()}
    assert moved["latent"] == [False, True]
    assert moved["consistency"] == [True, False]
    sure = world.balanced(100 * posterior, prior, torch.zeros(2, 5, dtype=torch.bool))["entropy"]
    assert 0 < sure <= 5 * 0.1


def test_no_gradient_goes_from_one_model_to_the_other():
    steps = random_steps(made().spec)
    found = {}
    for name, config in {
        "plain": TINY,
        "outcomes": replace(TINY, reward_scale=0.0, cont_scale=0.0),
        "pulls": replace(TINY, consistency_scale=7.0, entropy_scale=70.0),
    }.items():
        world = made(config=config)
        loss, metrics, starts = world.loss(steps, torch.Generator().manual_seed(0))
        seeing = [*world.codec.parameters(), *world.posterior.parameters()]
        foreseeing = [*world.transformer.parameters(), *world.from_z.parameters()]
        found[name] = [
            torch.autograd.grad(loss, p, retain_graph=True) for p in (seeing, foreseeing)
        ]
    assert set(metrics) == {
        *("reconstruction", "latent", "consistency", "entropy", "reward", "continuation")
    }
    assert starts["rows"].shape == (18, 5, 12 + 2 + 1)
    for name, model in (("outcomes", 0), ("pulls", 1)):
        for a, b in zip(found["plain"][model], found[name][model], strict=True):
            close(a, b)
        other = zip(found["plain"][1 - model], found[name][1 - model], strict=True)
        assert not all(torch.allclose(a, b) for a, b in other)


def test_an_arrival_counts_unless_it_begins_an_episode():
    world, steps = made(), random_steps(made().spec, time=6)
    said = world.predict(torch.zeros(3, 6, 15), steps.first)[0]
    plain = world.outcome(said, steps)
    end, begin = (steps.terminated | steps.first).nonzero()[-2:].tolist()
    assert steps.terminated[tuple(end)]
    assert steps.first[tuple(begin)]
    for (b, t), counts in ((end, True), (begin, False)):
        reward, terminated = steps.reward.clone(), steps.terminated.clone()
        reward[b, t] += 1
        terminated[b, t] ^= True
        other = world.outcome(said, steps._replace(reward=reward, terminated=terminated))
        for name in plain:
            assert (plain[name] != other[name]) == counts, name
