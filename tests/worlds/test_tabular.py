"""The learned tables against dictionaries, frequencies and the protocol."""

import copy

import pytest
import torch

from tests.conformance import RULES, Case
from utils.world import Step
from utils.worlds.tabular import Counts, Tabular

torch.set_num_threads(1)
B, S, A = 3, 5, 2


def experience(steps, seed=0):
    """Random transitions (state, action, reward, next state, terminated), each [B]."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        state, after = torch.randint(S, (2, B), generator=generator)
        action = torch.randint(A, (B,), generator=generator)
        reward = torch.randn(B, generator=generator)
        yield state, action, reward, after, torch.rand(B, generator=generator) < 0.3


def learned(kind, steps=25, seed=0):
    model = kind(B, S, A)
    for step in experience(steps, seed):
        model.learn(*step)
    return model


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_conformance(kind, rule):
    rule(Case(lambda: learned(kind)))


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_each_seed_remembers_what_a_dictionary_would(kind):
    model, steps = learned(kind), list(experience(25))
    for b in range(B):
        last, time = {}, {}
        for t, step in enumerate(steps, 1):
            s, a, *outcome = (x[b].item() for x in step)
            last[s, a], time[s, a] = outcome, t
        assert model.clock == 25
        assert model.number[b] == len(last)
        order = [list(pair) for pair in last]  # a dictionary keeps the order of the first time
        assert model.pairs[b, : len(last)].tolist() == order
        for s in range(S):
            for a in range(A):
                reward, after, ended = last.get((s, a), (0.0, s, False))
                assert model.next[b, s, a] == after
                assert model.reward[b, s, a].item() == reward
                assert model.terminated[b, s, a].item() == ended
                assert model.tried[b, s, a].item() == ((s, a) in last)
                assert model.last[b, s, a] == time.get((s, a), 0)


def test_every_tried_pair_is_drawn_equally_often():
    model = learned(Tabular)
    state, action = model.draw(((torch.arange(10_000) + 0.5) / 10_000)[:, None].expand(-1, B))
    for b in range(B):
        drawn = (state[:, b] * A + action[:, b]).bincount(minlength=S * A)
        assert (drawn[model.tried[b].flatten()] - 10_000 / model.number[b]).abs().max() <= 1
        assert drawn.sum() == 10_000
        assert (drawn > 0).sum() == model.number[b]


def test_all_pairs_fit():
    model = Tabular(1, S, A)
    for s in range(S):
        for a in range(A):
            for _ in range(2):
                model.learn(*(torch.tensor([x]) for x in (s, a, 1.0, s, False)))
    assert model.number.item() == S * A
    assert model.pairs[0, :-1].tolist() == [[s, a] for s in range(S) for a in range(A)]


def test_counts_are_frequencies():
    steps = list(experience(400))
    model = learned(Counts, 400)
    arrived, probability, reward, ended = model.outcomes()
    assert arrived[1, 2, 0].tolist() == list(range(S))
    followed = [(s2, r, d) for s, a, r, s2, d in steps if (s[1], a[1]) == (2, 0)]
    for k in range(S):
        times = [(r[1].item(), d[1].item()) for s2, r, d in followed if s2[1] == k]
        assert probability[1, 2, 0, k].item() == pytest.approx(len(times) / len(followed))
        assert (reward[1, 2, 0, k].item(), ended[1, 2, 0, k].item()) == times[-1]


def test_an_untried_pair_leads_nowhere():
    for kind in (Tabular, Counts):
        model = kind(B, S, A)
        state = torch.tensor([4, 0, 2])
        action = torch.tensor([0, 1, 1])
        reward, after, ended = model.predict(state, action, torch.full((B,), 0.9))
        assert after.tolist() == state.tolist()
        assert not reward.any()
        assert not ended.any()
        arrived, probability, reward, ended = model.outcomes()
        mean = (arrived * probability).sum(-1)
        assert torch.equal(mean, torch.arange(S)[:, None].expand(B, S, A).float())
        assert not reward.any()
        assert not ended.any()


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_predictions_have_the_frequencies_of_outcomes(kind):
    model = learned(kind, 60)
    count = 10_000
    noise = ((torch.arange(count) + 0.5) / count)[:, None].expand(-1, B)
    for s in range(S):
        for a in range(A):
            state = torch.full((count, B), s)
            reward, after, ended = model.predict(state, torch.full_like(state, a), noise)
            arrived, probability, gain, over = (x[:, s, a] for x in model.outcomes())
            for b in range(B):
                for k in range(arrived.shape[-1]):
                    hit = after[:, b] == arrived[b, k]
                    share = probability[b, k].item()
                    assert hit.float().mean().item() == pytest.approx(share, abs=2e-4)
                    if probability[b, k] > 0:
                        assert (reward[hit, b] == gain[b, k]).all()
                        assert (ended[hit, b] == over[b, k]).all()


def test_what_was_never_seen_is_never_drawn():
    model = Counts(1, S, A)
    step = [torch.tensor([x]) for x in (0, 1, 1.0, 3, False)]
    model.learn(*step)
    noise = torch.tensor([[0.0], [1 - 2**-24]])
    assert model.predict(*(x.expand(2, 1) for x in step[:2]), noise)[1].tolist() == [[3], [3]]


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_a_dream_uses_the_model_of_its_seed(kind):
    model = learned(kind, 8)
    grid = torch.cartesian_prod(torch.arange(B), torch.arange(S), torch.arange(A))
    seed, cell, action = grid.unbind(1)
    state = {**model.initial(len(grid)), "cell": cell, "seed": seed}
    dreamt = model.imagine(state, torch.nn.functional.one_hot(action, A).float(), mode=True)
    arrived, probability, reward, ended = (x[seed, cell, action] for x in model.outcomes())
    best = probability.argmax(-1, keepdim=True)
    assert torch.equal(dreamt.state["cell"], arrived.gather(1, best)[:, 0])
    assert torch.equal(dreamt.state["known"], model.tried[seed, cell, action])
    assert torch.equal(dreamt.state["seed"], seed)
    assert torch.equal(dreamt.reward, reward.gather(1, best)[:, 0])
    assert torch.equal(dreamt.cont, 1 - ended.gather(1, best)[:, 0].float())
    assert not dreamt.state["known"].all()


def test_a_stochastic_dream_has_the_model_s_frequencies():
    model = learned(Counts, 200)
    state = {k: v + (k != "known") for k, v in model.initial(20_000).items()}
    action = torch.tensor([[0.0, 1.0]]).expand(20_000, A)
    after = model.imagine(state, action, generator=torch.Generator().manual_seed(0)).state["cell"]
    found = after.bincount(minlength=S) / len(after)
    assert torch.allclose(found, model.outcomes()[1][1, 1, 1], atol=0.015)


def test_observe_reads_the_cell_and_keeps_the_seed():
    model = learned(Tabular)
    state = {**model.initial(2), "seed": torch.tensor([2, 1])}
    frame = torch.eye(S)[[3, 0]]
    step = Step(frame, torch.zeros(2, A), torch.zeros(2), torch.ones(2).bool(), torch.zeros(2))
    seen = model.observe(state, step)
    assert seen["cell"].tolist() == [3, 0]
    assert seen["seed"].tolist() == [2, 1]
    assert seen["known"].all()
    assert torch.equal(model.decode(seen), frame)


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_learning_needs_no_value_on_the_host(kind):
    model = kind(B, S, A).to("meta")
    for step in experience(2):
        model.learn(*(x.to("meta") for x in step))
    state, action = model.draw(torch.zeros(4, B, device="meta"))
    assert model.predict(state, action, torch.zeros(4, B, device="meta"))[0].shape == (4, B)


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_a_model_can_be_stored(kind):
    model, other = learned(kind), kind(B, S, A)
    other.load_state_dict(copy.deepcopy(model.state_dict()))
    for a, b in zip(model.outcomes(), other.outcomes(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", [Tabular, Counts])
def test_take_copies_the_models_of_some_seeds(kind):
    model = kind(3, 4, 2)
    one, two = torch.ones(3, dtype=torch.long), torch.full((3,), 2)
    model.learn(one, one, torch.arange(3.0), two, torch.zeros(3, dtype=torch.bool))
    some = model.take(torch.tensor([True, False, True]))
    assert type(some) is kind
    assert some.reward[:, 1, 1].tolist() == [0.0, 2.0]
    assert int(some.clock) == 1
    some.learn(one[:2], 0 * one[:2], torch.ones(2), two[:2], torch.zeros(2, dtype=torch.bool))
    assert int(model.clock) == 1  # the old one learns nothing from it
    assert not model.tried[:, 1, 0].any()
