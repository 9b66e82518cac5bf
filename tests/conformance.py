"""What every world must do, as rules that each raise AssertionError with one sentence.

A test module of a world proves all of it:

    CASE = Case(lambda: MyWorld(config))

    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
    def test_conformance(rule):
        rule(CASE)

`tests/test_conformance.py` proves that each rule rejects a world that breaks it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor, nn

from utils.world import Spec, State, Step, World, rollout, rows, stack, take

B, T, H = 3, 6, 4


def random_steps(spec: Spec, batch: int = B, time: int = T, seed: int = 0) -> Step:
    """Random members of the spaces, `[B, T, ...]`, in the arrival convention: every window starts
    with `first`, and one row holds an episode's end and the next one's start."""
    generator = torch.Generator().manual_seed(seed)

    def draw(space: gym.Space) -> Tensor:
        if isinstance(space, Discrete):
            index = torch.randint(int(space.n), (batch, time), generator=generator)
            return nn.functional.one_hot(index, int(space.n)).float()
        bounds = (space.low, space.high) if isinstance(space, Box) else (0, 1)
        # An unbounded axis is drawn from -1 to 1.
        low, high = (torch.as_tensor(v).float().nan_to_num(0, 1, -1) for v in bounds)
        value = low + (high - low) * torch.rand(batch, time, *space.shape, generator=generator)
        if np.issubdtype(space.dtype, np.floating):
            return value
        return value.round().to(torch.from_numpy(np.zeros(1, space.dtype)).dtype)

    first = torch.zeros(batch, time, dtype=torch.bool)
    first[:, 0] = True
    terminated = torch.zeros_like(first)
    if time > 3:
        terminated[-1, time // 2 - 1] = True
        first[-1, time // 2] = True
    action = draw(spec.action_space).float().flatten(2) * ~first[..., None]
    reward = torch.randn(batch, time, generator=generator) * ~first
    return Step(draw(spec.observation_space), action, reward, first, terminated)


@dataclass(frozen=True)
class Case:
    """A world to test.

    Args:
        make: the world, with the same weights at every call.
        data: steps `[B, T, ...]` of its kind; by default random members of its spaces.
        parallel: `(world, steps [B, T, ...]) -> State [B, T, ...]`, the form used in training, by
            mode; None where training filters step by step.
    """

    make: Callable[[], World]
    data: Callable[[Spec], Step] = random_steps
    parallel: Callable[[World, Step], State] | None = None
    tolerance: float = 1e-5


def row(data: Step, t: int) -> Step:
    return Step(*(v[:, t] for v in data))


def filtered(world: World, data: Step, *, generator=None, mode=True) -> State:
    """The states after each step, `[B, T, ...]`."""
    state, states = world.initial(len(data.reward)), []
    for t in range(data.reward.shape[1]):
        state = world.observe(state, row(data, t), generator=generator, mode=mode)
        states.append(state)
    return stack(states)


def last(states: State) -> State:
    return {k: v[:, -1].clone() for k, v in states.items()}


def differing(a: State, b: State, tolerance: float = 0.0) -> list[str]:
    """Names of the parts that are not the same."""
    if a.keys() != b.keys():
        return sorted(a.keys() ^ b.keys())
    close = {
        k: torch.allclose(a[k].double(), b[k].double(), atol=tolerance, rtol=tolerance) for k in a
    }
    return [k for k, same in close.items() if not same]


def dream(world: World, state: State, action: Tensor, *, seed: int | None = None) -> State:
    """All that a roll-out predicts, as one dict; by mode without a seed."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    out = rollout(world, state, action, action.shape[1], generator=generator, mode=seed is None)
    frames = [world.decode({k: v[:, t] for k, v in out.state.items()}) for t in range(H)]
    parts = {"reward": out.reward, "cont": out.cont, **out.state}
    if frames[0] is not None:
        parts["observation"] = torch.stack(frames, 1)
    return {k: v for k, v in parts.items() if v is not None}


def start(case: Case) -> tuple[World, Step, State, Tensor]:
    """The world, its data, the state after all of it, and actions to go on with `[B, H, A]`."""
    world = case.make()
    data = case.data(world.spec)
    with torch.no_grad():
        state = last(filtered(world, data))
    time = data.action.shape[1]
    action = data.action[:, [1 + i % (time - 1) for i in range(H)]]
    return world, data, state, action


def shapes_and_parts_are_those_of_spec(case: Case) -> None:
    world, data, state, action = start(case)
    spec, batch = world.spec, len(data.reward)
    assert rows(world.initial(batch)) == batch, "initial(B) has another number of rows"
    with torch.no_grad():
        observed = world.observe(state, row(data, -1))
        dreamt = world.imagine(observed, action[:, 0])
    for name, value in (("observe", observed), ("imagine", dreamt.state)):
        bad = [
            k
            for k, v in value.items()
            if k in state and (v.shape, v.dtype) != (state[k].shape, state[k].dtype)
        ]
        bad += sorted(value.keys() ^ state.keys())
        assert not bad, f"{name} changes shape, dtype or presence of {bad}"
        assert not any(v.is_inference() for v in value.values()), f"{name} is in inference mode"
    for name in ("reward", "cont"):
        value, exists = getattr(dreamt, name), getattr(spec, name)
        assert (value is not None) == exists, f"spec.{name} is {exists}, imagine says otherwise"
        if exists:
            fits = value.shape == (batch,) and value.is_floating_point()
            assert fits, f"{name} is not float [B]: {value.dtype} {tuple(value.shape)}"
    if spec.cont:
        assert ((dreamt.cont >= 0) & (dreamt.cont <= 1)).all(), "cont is not a probability"
    frame, space = world.decode(observed), spec.observation_space
    assert (frame is not None) == spec.observation, "decode and spec.observation disagree"
    if frame is not None:
        shape = (int(space.n),) if isinstance(space, Discrete) else space.shape
        fits = frame.shape == (batch, *shape) and frame.is_floating_point()
        assert fits, f"decode gives {frame.dtype} {tuple(frame.shape)}, not float {(batch, *shape)}"


def arguments_keep_their_bits(case: Case) -> None:
    world, data, state, action = start(case)
    action, step = action[:, 0].clone(), row(data, -1)
    arguments = {**state, **step._asdict(), "the action to imagine": action}
    before, weights = {k: v.clone() for k, v in arguments.items()}, _weights(world)
    world.imagine(state, action)
    world.observe(state, step)
    world.decode(state)
    changed = differing(arguments, before)
    assert not changed, f"an argument was changed in place: {changed}"
    changed = differing(_weights(world), weights)
    assert not changed, f"the world learned while it only looked: {changed}"


def _weights(world: World) -> State:
    state = world.state_dict() if isinstance(world, nn.Module) else {}
    return {k: v.clone() for k, v in state.items()}


def a_batch_is_its_rows(case: Case) -> None:
    world, data, state, action = start(case)
    together = dream(world, state, action)
    for i in range(len(data.reward)):
        one = last(filtered(world, Step(*(v[i : i + 1] for v in data))))
        bad = differing(one, take(state, slice(i, i + 1)), case.tolerance)
        assert not bad, f"observe: row {i} alone gives another {bad}"
        alone = dream(world, one, action[i : i + 1])
        bad = differing(alone, take(together, slice(i, i + 1)), case.tolerance)
        assert not bad, f"imagine: row {i} alone gives another {bad}"


def a_reset_touches_its_row_only(case: Case) -> None:
    world, data, state, _ = start(case)
    step = row(data, -1)._replace(first=torch.zeros(len(data.reward), dtype=torch.bool))
    onward = world.observe(state, step, mode=True)
    first = step.first.clone()
    first[0] = True
    reset = world.observe(state, step._replace(first=first), mode=True)
    bad = differing(take(onward, slice(1, None)), take(reset, slice(1, None)), case.tolerance)
    assert not bad, f"a reset of row 0 changed other rows: {bad}"


def first_forgets(case: Case) -> None:
    world, data, state, _ = start(case)
    opening = row(data, 0)
    fresh = world.observe(world.initial(len(data.reward)), opening, mode=True)
    after = world.observe(state, opening, mode=True)
    bad = differing(fresh, after, case.tolerance)
    assert not bad, f"after `first` the state still depends on the episode before: {bad}"


def the_same_generator_gives_the_same_dream(case: Case) -> None:
    world, data, state, action = start(case)
    results = []
    for ambient in (1, 2):
        torch.manual_seed(ambient)  # what the global generator holds must not matter
        untouched = torch.get_rng_state()
        generator = torch.Generator().manual_seed(7)
        observed = filtered(world, data, generator=generator, mode=False)
        results.append(
            {**dream(world, state, action, seed=7), **{f"{k}*": observed[k] for k in observed}}
        )
        same = torch.equal(untouched, torch.get_rng_state())
        assert same, "a sample was drawn from torch's global generator"
    bad = differing(*results)
    assert not bad, f"the same generator gave another dream: {bad}"


def mode_draws_nothing(case: Case) -> None:
    world, data, state, action = start(case)
    generator = torch.Generator().manual_seed(7)
    before = generator.get_state()
    for _ in range(2):
        world.observe(state, row(data, -1), generator=generator, mode=True)
        world.imagine(state, action[:, 0], generator=generator, mode=True)
    assert torch.equal(before, generator.get_state()), "mode=True drew a random number"
    bad = differing(dream(world, state, action), dream(world, state, action))
    assert not bad, f"mode=True is not deterministic: {bad}"


def step_by_step_is_the_parallel_form(case: Case) -> None:
    if case.parallel is None:
        pytest.skip("training filters step by step")
    world, data, _, _ = start(case)
    parallel, stepwise = case.parallel(world, data), filtered(world, data)
    bad = differing(parallel, {k: stepwise[k] for k in parallel}, case.tolerance)
    assert not bad, f"observe and the parallel form of training disagree in {bad}"


def gradients_reach_the_action_as_spec_says(case: Case) -> None:
    world, _, state, action = start(case)
    action = action.clone().requires_grad_()
    generator = torch.Generator().manual_seed(7)
    out = rollout(world, state, action, H, generator=generator)
    last = [v[:, -1] for v in out.state.values() if v.is_floating_point()]
    # Random weights, because a plain sum may be constant, as it is behind a layer norm.
    end = sum((v * torch.randn(v.shape, dtype=v.dtype, generator=generator)).sum() for v in last)
    gradient = None
    if isinstance(end, Tensor) and end.requires_grad:
        gradient = torch.autograd.grad(end, action, allow_unused=True)[0]
    reach = torch.zeros(action.shape[:2]) if gradient is None else gradient.abs().sum(-1)
    assert reach.isfinite().all(), "the gradient of the action is not finite"
    if world.spec.differentiable:
        bad = (reach == 0).nonzero().tolist()
        assert not bad, f"no gradient from the last state to the action at [row, step] {bad}"
    else:
        assert (reach == 0).all(), "spec.differentiable is False, but gradients reach the action"


def a_train_step_runs_on_meta(case: Case) -> None:
    """No `.item()`, no branch on values, no tensor made on another device."""
    if not hasattr(case.make(), "loss"):
        pytest.skip("this world has no loss")
    world = case.make().to("meta")
    data = Step(*(v.to("meta") for v in case.data(world.spec)))
    try:
        _train_step(world, data)
    except (RuntimeError, NotImplementedError) as error:
        raise AssertionError(f"a train step needs values or mixes devices: {error}") from error


def a_train_step_never_waits_for_the_gpu(case: Case) -> None:
    if not torch.cuda.is_available() or not hasattr(case.make(), "loss"):
        pytest.skip("needs a GPU and a world with a loss")
    world = case.make().to("cuda")
    data = Step(*(v.to("cuda") for v in case.data(world.spec)))
    generator = torch.Generator("cuda").manual_seed(0)
    _train_step(world, data, generator)  # the first one may set up libraries
    torch.cuda.set_sync_debug_mode("error")
    try:
        _train_step(world, data, generator)
    except RuntimeError as error:
        raise AssertionError(f"a train step waits for the GPU: {error}") from error
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _train_step(world: nn.Module, data: Step, generator: torch.Generator | None = None) -> State:
    optimiser = torch.optim.SGD(world.parameters(), lr=1e-3)
    loss, _, starts = world.loss(data, generator)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return starts


def loss_is_finite_and_gives_starts(case: Case) -> None:
    if not hasattr(case.make(), "loss"):
        pytest.skip("this world has no loss")
    world, data, state, action = start(case)
    generator = torch.Generator().manual_seed(7)
    loss, metrics, starts = world.loss(data, generator)
    fits = loss.ndim == 0 and bool(loss.isfinite())
    assert fits, f"loss is not one finite number: {loss}"
    assert isinstance(metrics, dict), "metrics is not a dict"
    shapes = {k: v.shape[1:] for k, v in state.items()}
    assert {k: v.shape[1:] for k, v in starts.items()} == shapes, "starts is no state of this world"
    assert not any(v.requires_grad for v in starts.values()), "starts hang on the world's graph"
    world.imagine(starts, action[:1, 0].expand(rows(starts), -1), generator=generator)


RULES = [
    shapes_and_parts_are_those_of_spec,
    arguments_keep_their_bits,
    a_batch_is_its_rows,
    a_reset_touches_its_row_only,
    first_forgets,
    the_same_generator_gives_the_same_dream,
    mode_draws_nothing,
    step_by_step_is_the_parallel_form,
    gradients_reach_the_action_as_spec_says,
    a_train_step_runs_on_meta,
    a_train_step_never_waits_for_the_gpu,
    loss_is_finite_and_gives_starts,
]
