"""IRIS: its tokenizer and heads against official numbers, its memory against the full pass, and the
protocol."""

import pytest
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary

from tests.conformance import RULES, Case, filtered, random_steps
from tests.official import close, official
from utils.agents.actor_critic import lambda_return
from utils.world import Step
from utils.worlds import iris_compiled
from utils.worlds.iris import IRIS, Config, Factorised
from utils.worlds.iris_compiled import Fast
from utils.worlds.iris_tokenizer import Patches, Tokenizer

torch.set_num_threads(1)
SPACE = MultiBinary((4, 6, 2))
SIZES = {"width": 16, "layers": 2, "heads": 2, "frames": 4}


def made(kind=IRIS, learned=False, **changes):
    def make():
        torch.manual_seed(3)
        frames = (torch.rand(200, 4, 6, 2) < 0.3).float()
        tokenizer = Tokenizer((4, 6, 2), 9, 4, 5) if learned else Patches(frames, 2)
        world = kind(SPACE, Discrete(3), tokenizer, Config(**(SIZES | changes)))
        with torch.no_grad():
            for parameter in world.parameters():  # so that nothing is nearly zero
                parameter.add_(torch.randn_like(parameter) * 0.2)
        return world

    return make


def short(spec):
    """As many rows as fit the window."""
    return random_steps(spec, time=4)


CASES = {
    "slides": Case(made(keep=3), short),
    "keeps one": Case(made(keep=1), short),
    "learned codes": Case(made(learned=True), short),
    "factorised": Case(made(Factorised), short),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_conformance(case, rule):
    rule(case)


# ---- text


def test_the_text_is_frame_action_frame_action():
    world = made()()
    tokens, action = torch.randint(9, (2, 3, 6)), torch.randint(3, (2, 3))
    text = world.interleave(tokens, action)
    assert text.shape == (2, 21, 16)
    for t in range(3):
        for k in range(6):
            want = world.token.weight[tokens[:, t, k]] + world.position.weight[7 * t + k]
            assert torch.equal(text[:, 7 * t + k], want)
        want = world.action.weight[action[:, t]] + world.position.weight[7 * t + 6]
        assert torch.equal(text[:, 7 * t + 6], want)


def test_the_official_slices_of_a_block_are_ours():
    """Which outputs a head reads, for a text fed in pieces; our heads read whole texts."""
    given, expected = official("iris_slicer")
    mask = given["block_mask"].bool()
    for name, indices in expected.items():
        number, before = (int(part[3 if i == 0 else 4 :]) for i, part in enumerate(name.split("_")))
        kept = [i for i in range(number) if mask[(before + i) % len(mask)]]
        assert indices.tolist() == kept
    actions = torch.zeros(7, dtype=torch.bool)
    actions[-1] = True
    outputs = torch.arange(3 * 7 - 2)
    assert outputs[6::7].tolist() == [i for i in range(len(outputs)) if actions[i % 7]]


def test_each_token_is_predicted_from_what_stands_before_it():
    place = torch.arange(3 * 7 - 2.0)[None, :, None]
    found = made()().predictors(place)[0, :, :, 0]
    assert found.tolist() == [[6, 7, 8, 9, 10, 11], [13, 14, 15, 16, 17, 18]]


@pytest.mark.parametrize("kind", [IRIS, Factorised])
def test_a_token_is_predicted_from_no_later_one(kind):
    world, data = made(kind)(), one_episode()
    tokens, action = world.encode(data.observation), data.action.argmax(-1).roll(-1, 1)

    def logits(tokens):
        outputs, _ = world.transformer(world.interleave(tokens, action)[:, :-2])
        return world.logits(outputs)

    before = logits(tokens)
    for t in range(1, 4):
        for k in range(6):
            other = tokens.clone()
            other[:, t, k] = (other[:, t, k] + 1) % world.tokenizer.vocabulary
            same = (logits(other) == before).all(-1).all(0).flatten().tolist()
            place = (t - 1) * 6 + k
            assert all(same[: place + 1])
            heeded = not all(same[place + 1 : t * 6])
            assert heeded == (kind is IRIS and k < 5)


# ---- states


def one_episode(time=4, batch=3):
    """Windows that hold one episode each."""
    data = random_steps(made()().spec, batch, time)
    first = torch.zeros_like(data.first)
    first[:, 0] = True
    return data._replace(first=first, terminated=torch.zeros_like(first))


def test_observing_step_by_step_finds_what_the_training_pass_leaves():
    world, data = made()(), one_episode()
    stepwise = filtered(world, data)
    for t in range(2, 5):
        _, _, starts = world.loss(Step(*(v[:, :t] for v in data)))
        for name, value in starts.items():
            close(stepwise[name][:, t - 1], value)


def test_a_window_that_crosses_a_border_counts_up_to_it():
    world, data = made()(), one_episode()
    first, terminated = data.first.clone(), data.terminated.clone()
    first[0, 3], terminated[0, 2] = True, True
    crossing = data._replace(first=first, terminated=terminated)
    _, metrics, starts = world.loss(crossing)
    assert starts["frames"].tolist() == [3, 4, 4]
    poisoned = crossing.observation.clone()
    poisoned[0, 3] = 1 - poisoned[0, 3]
    _, same, _ = world.loss(crossing._replace(observation=poisoned))
    assert metrics == same
    stepwise = filtered(world, Step(*(v[:1, :3] for v in crossing)))
    for name, value in starts.items():
        close(stepwise[name][:, -1], value[:1])


@pytest.mark.parametrize("kind", [IRIS, Factorised])
@pytest.mark.parametrize("keep", [1, 2, 3])
def test_a_dream_is_what_the_full_pass_says(kind, keep):
    """Every token of six imagined frames, without any memory: the window is read from its beginning
    for each of them."""
    world, data = made(kind, keep=keep)(), one_episode(time=10)
    state = world.initial(3)
    for t in range(3):
        state = world.observe(state, Step(*(v[:, t] for v in data)))
    window, actions = [world.encode(data.observation[:, t]) for t in range(3)], []
    actions = [data.action[:, t].argmax(-1) for t in (1, 2)]
    for t in range(3, 9):
        if len(window) == 4:
            window, actions = window[-keep:], actions[len(actions) - (keep - 1) :]
        actions.append(data.action[:, t].argmax(-1))
        frame = torch.zeros(3, 6, dtype=torch.long)
        for k in range(6):
            tokens = torch.stack([*window, frame], 1)
            text = world.interleave(tokens, torch.stack([*actions, actions[-1]], 1))[:, :-2]
            outputs, _ = world.transformer(text)
            frame[:, k] = world.logits(outputs)[:, -1, k].argmax(-1)
        window.append(frame)
        state, reward, cont = world.imagine(state, data.action[:, t], mode=True)
        at_action = outputs[:, world.block - 1 :: world.block][:, -1]
        close(reward, world.predict(at_action)[0])
        close(cont, world.predict(at_action)[1])
        count = state["frames"][0]
        assert torch.equal(state["tokens"][:, count - 1], frame)
        assert count == len(window)
        close(world.decode(state), world.tokenizer.decode(frame))


@pytest.mark.parametrize("mode", [True, False])
def test_the_form_that_is_compiled_dreams_the_same(mode):
    """Six frames over the end of the window, without generating code, which takes too long here."""
    world, data = made(keep=2)(), one_episode(time=10)
    state = world.initial(3)
    for t in range(3):
        state = world.observe(state, Step(*(v[:, t] for v in data)))
    ours = theirs = state
    fast = Fast(world, compiled=False)
    for t in range(3, 9):
        seeds = [torch.Generator().manual_seed(t) for _ in range(2)]
        plain = world.imagine(ours, data.action[:, t], generator=seeds[0], mode=mode)
        other = fast.imagine(theirs, data.action[:, t], generator=seeds[1], mode=mode)
        for name, value in plain.state.items():
            close(other.state[name], value)
        close(other.reward, plain.reward)
        close(other.cont, plain.cont)
        ours, theirs = plain.state, other.state


def test_two_dreams_from_one_state_do_not_disturb_each_other():
    """Both would be written into the same memory: the second begins with a copy."""
    world, data = made(keep=2)(), one_episode()
    fast = Fast(world, compiled=False)
    state = {name: value[:, 0] for name, value in filtered(world, data).items()}
    state = fast.imagine(state, data.action[:, 1], mode=True).state
    actions = data.action[:, 2], data.action[:, 2].roll(1, -1)
    want = [world.imagine(state, action, mode=True).state for action in actions]
    made_of = [fast.imagine(state, action, mode=True).state for action in actions]
    for late in (1, 0):  # the one that is the newest, and the one that is not
        again = [
            system.imagine(start, actions[0], mode=True).state
            for system, start in ((world, want[late]), (fast, made_of[late]))
        ]
        own = (Ellipsis, slice(int(want[late]["frames"].max()) * world.block - 2), slice(None))
        for name, value in want[late].items():
            part = own if name in ("keys", "values") else ...
            close(made_of[late][name][part], value[part])
            close(again[1][name], again[0][name])
    assert not torch.allclose(want[0]["keys"], want[1]["keys"])


def test_compiled_dreams_refuse_what_they_were_not_compiled_for():
    world, data = made()(), one_episode()
    state = filtered(world, data)
    state = {name: value[:, 0] for name, value in state.items()}
    fast = Fast(world)
    fast._compile = lambda batch, mode: None
    fast.imagine(state, data.action[:, 1], mode=True)
    with pytest.raises(ValueError, match="make another Fast"):
        fast.imagine(state, data.action[:, 1])


@pytest.mark.parametrize("mode", [True, False])
def test_every_pass_has_the_layout_that_is_compiled_for(mode):
    """Compiled code takes it for granted: another layout would be read as other numbers."""
    world, data = made(keep=2)(), one_episode(time=10)
    state = {name: value[:, 2] for name, value in filtered(world, data).items()}
    fast = Fast(world, compiled=False)
    one_pass, seen = fast.one_pass, []

    def watched(*arguments):
        seen.append(arguments)
        return one_pass(*arguments)

    fast.one_pass = watched
    for t in range(3, 6):
        state = fast.imagine(state, data.action[:, t], mode=mode).state
    assert len(seen) == 3 * world.block
    for arguments in seen:
        for example, argument in zip(fast.example(3, mode), arguments, strict=True):
            assert (example is None) == (argument is None)
            if example is not None:
                assert argument.dtype == example.dtype
                assert argument.stride() == example.stride()
                assert argument.is_contiguous() == example.is_contiguous()


def test_the_loss_for_training_alone_is_the_loss():
    world, data = made(changed=5.0)(), one_episode()
    assert torch.equal(iris_compiled.loss(world, data), world.loss(data)[0])


def test_a_full_window_slides_where_it_observes():
    world, data = made(keep=1)(), one_episode(time=9)
    late = data._replace(first=torch.zeros_like(data.first))
    long = filtered(world, data)
    short = filtered(world, Step(*(v[:, 5:] for v in late)))
    for name, value in short.items():
        close(long[name][:, -1], value[:, -1])


def test_samples_have_the_frequencies_of_the_text_s_probability():
    """Two binary tokens: the joint distribution over four frames, by the chain rule."""
    torch.manual_seed(0)
    tokenizer = Patches(torch.tensor([0.0, 1.0, 1.0, 0.0]).view(2, 1, 2, 1), 1)
    world = IRIS(MultiBinary((1, 2, 1)), Discrete(2), tokenizer, Config(8, 1, 2, frames=3))
    with torch.no_grad():
        for parameter in world.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    batch = 20_000
    state = world.read(
        torch.tensor([[[0, 1]]]).expand(batch, -1, -1),
        torch.zeros(batch, 1, dtype=torch.long),
        torch.ones(batch, dtype=torch.long),
    )
    action = torch.eye(2)[torch.ones(batch, dtype=torch.long)]
    dreamt = world.imagine(state, action, generator=torch.Generator().manual_seed(1))
    found = dreamt.state["tokens"][:, 1] @ torch.tensor([2, 1])
    share = torch.bincount(found, minlength=4) / batch
    every = torch.tensor([[a, b] for a in (0, 1) for b in (0, 1)])
    tokens = torch.stack([torch.tensor([[0, 1]]).expand(4, -1), every], 1)
    action = torch.ones(4, 2, dtype=torch.long)
    logits = world.logits(world.transformer(world.interleave(tokens, action)[:, :-2])[0])[:, 0]
    chance = logits.log_softmax(-1).gather(-1, every[..., None]).sum((1, 2)).exp()
    assert chance.sum().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(share, chance.detach(), rtol=0, atol=0.02)


# ---- loss


def test_the_loss_by_hand():
    world, data = made(changed=5.0)(), one_episode()
    ended = data.terminated.clone()
    ended[1, 3] = True
    data = data._replace(terminated=ended, reward=data.reward * 2)
    tokens, action = world.encode(data.observation), data.action.argmax(-1).roll(-1, 1)
    outputs, _ = world.transformer(world.interleave(tokens, action)[:, :-2])
    loss, metrics, _ = world.loss(data)
    frame = reward = end = weighted = 0.0
    for b in range(3):
        for t in range(1, 4):
            place = 7 * t - 1
            for k in range(6):
                cost = -world.to_token(outputs[b, place + k]).log_softmax(-1)[tokens[b, t, k]]
                frame += cost / 9
                weighted += cost / 9 * (5 if tokens[b, t, k] != tokens[b, t - 1, k] else 1)
            sign = int(data.reward[b, t].sign()) + 1
            reward -= world.to_reward(outputs[b, place]).log_softmax(-1)[sign] / 9
            end -= world.to_end(outputs[b, place]).log_softmax(-1)[int(ended[b, t])] / 9
    close(metrics["frame"], frame, rtol=1e-4)
    close(metrics["reward"], reward, rtol=1e-4)
    close(metrics["end"], end, rtol=1e-4)
    close(loss, weighted + reward + end, rtol=1e-4)


def test_the_loss_trains_all_but_the_tokenizer():
    world = made(learned=True)()
    world.loss(one_episode())[0].backward()
    for name, parameter in world.named_parameters():
        assert (parameter.grad is None) == name.startswith("tokenizer")


def test_what_does_not_fit_is_refused():
    world = made()()
    for time in (1, 5):
        with pytest.raises(ValueError, match=f"Windows of {time} rows"):
            world.loss(one_episode(time=time))
    with pytest.raises(TypeError, match="Discrete"):
        IRIS(SPACE, Box(-1, 1, (2,)), world.tokenizer, Config())
    with pytest.raises(ValueError, match="keep 4"):
        made(keep=4)()


def test_the_official_size():
    """1,019,141 parameters, as counted in the official code with these sizes."""

    class Stub(torch.nn.Module):
        vocabulary, tokens = 512, 16

    world = IRIS(SPACE, Discrete(4), Stub(), Config(128, 4, 4, frames=20, keep=1))
    assert sum(p.numel() for p in world.parameters()) == 1_019_141


def test_the_official_returns_are_ours():
    """There reward and end stand with the state that was left, here with the one arrived in."""
    given, expected = official("iris_lambda_returns")
    arrived = {name: given[name].roll(1, 1) for name in ("rewards", "ends")}
    discount = 0.995 * (~arrived["ends"]).float()
    found = lambda_return(arrived["rewards"], discount, given["values"], 0.95)
    close(found, expected["returns"][:, :-1])
    close(given["values"][:, -1], expected["returns"][:, -1])
