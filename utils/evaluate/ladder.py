"""The ladder: one table in which every world is measured alike, from a table to a diffusion model.

A row is a plain dict (name, ground, then numbers; None where a system has no such quantity), so
that it can be stored as json. `measure` makes it and `dream_real_gap` adds to it; the caller adds
what it alone knows: `row | {"agent return": 5.8, "trained": "120 CPU-s"}`. Rows are compared within
a ground, never across grounds. Point errors take the mode of every prediction; calibration samples.

Shape key: B test windows, C rows of context, H steps ahead, N episodes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from utils.world import (
    Dream,
    Dreamt,
    Policy,
    Rollout,
    Spec,
    State,
    Step,
    World,
    interact,
    rollout,
    rows,
)

Row = dict[str, Any]
ErrorFunction = Callable[[Tensor, Tensor], Tensor]  # (predicted, target [B, H, ...]) -> [B, H]
STEPS = (1, 5, 15, 50)  # k of the k-step errors
SHORT, LONG = 5, 15  # steps ahead for sensitivity and calibration; for events
SAMPLES = 16  # dreams per window for calibration
MISSING = "–"


# ---- grounds: what an error is


@dataclass(frozen=True)
class Ground:
    """A kind of data with its errors.

    Args:
        errors: name -> `(predicted, target [B, H, ...]) -> [B, H]`; calibration uses the first.
        wrong: `(predicted, target) -> bool [B, H]`: the prediction is no longer valid.
        heeds: the error that tells whether actions were heeded; by default the first.
    """

    name: str
    errors: Mapping[str, ErrorFunction]
    wrong: ErrorFunction
    heeds: str | None = None


def wrong_cells(
    predicted: Float[Tensor, "B H *cells V"], target: Float[Tensor, "B H *cells V"]
) -> Float[Tensor, "B H"]:
    """Fraction of cells whose most likely value is not the true one (one-hot on the last axis)."""
    wrong = predicted.argmax(-1) != target.argmax(-1)
    return wrong.float().reshape(*wrong.shape[:2], -1).mean(-1)


def normalised_rmse(std: Float[Tensor, " D"]) -> ErrorFunction:
    """Root mean squared error in units of `std`, that of the training data: 1 says "the mean"."""

    def error(predicted: Tensor, target: Tensor) -> Tensor:
        return ((predicted - target) / std).square().flatten(2).mean(-1).sqrt()

    return error


GRID = Ground(
    "grid",
    {"wrong cells": wrong_cells},
    lambda predicted, target: wrong_cells(predicted, target) > 0,
)


def vectors(name: str, std: Float[Tensor, " D"], tolerance: float = 0.5) -> Ground:
    """A ground of state vectors; a prediction is valid up to an error of `tolerance` deviations."""
    error = normalised_rmse(std)
    return Ground(
        name, {"nRMSE": error}, lambda predicted, target: error(predicted, target) > tolerance
    )


class Persistence:
    """The world in which nothing ever happens: the row that every other is read against."""

    def __init__(self, spec: Spec) -> None:
        self.spec = Spec(
            spec.observation_space,
            spec.action_space,
            spec.frames,
            reward=False,
            cont=False,
            differentiable=False,
        )

    def initial(self, batch: int) -> State:
        size = gym.spaces.flatdim(self.spec.observation_space)
        return {"observation": torch.zeros(batch, *(self.spec.observation_space.shape or (size,)))}

    def observe(
        self,
        state: State,
        step: Step,
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> State:
        return {"observation": step.observation.float()}

    def imagine(
        self,
        state: State,
        action: Float[Tensor, "B A"],
        *,
        generator: torch.Generator | None = None,
        mode: bool = False,
    ) -> Dreamt:
        return Dreamt(state, None, None)

    def decode(self, state: State) -> Tensor:
        return state["observation"]


# ---- measurements


def counted(windows: Step, context: int) -> Bool[Tensor, "B H"]:
    """Steps ahead that lie in the episode of the context's last row; its terminal row counts."""
    return windows.first[:, context:].cumsum(1) == 0


def filtered(
    world: World, windows: Step, context: int, generator: torch.Generator | None = None
) -> State:
    """The state after `context` rows; by mode, unless a generator is given."""
    state = world.initial(len(windows.reward))
    for t in range(context):
        step = Step(*(v[:, t] for v in windows))
        state = world.observe(state, step, generator=generator, mode=generator is None)
    return state


def ahead(
    world: World,
    state: State,
    action: Float[Tensor, "B H A"],
    generator: torch.Generator | None = None,
) -> Rollout:
    """Dream under recorded actions; the `state` of the result holds the decoded frames."""
    horizon, mode = action.shape[1], generator is None
    return rollout(world, state, action, horizon, generator=generator, mode=mode, read=world.decode)


@torch.no_grad()
def measure(
    world: World,
    windows: Step,
    context: int,
    ground: Ground,
    name: str,
    *,
    subsets: Mapping[str, Bool[Tensor, "B H"]] | None = None,
    seed: int = 0,
) -> Row:
    """The row of a world on test windows `[B, C + H, ...]`, filtered for C = `context` rows.

    Returns a dict with these keys, None where the world or the windows have no such quantity:
        `<error>@k`: for k of 1, 5, 15, 50, the mean over windows still in their episode.
        `valid`: median steps before the first wrong one, over windows H steps in their episode.
        `shuffled@5`: an error under another window's actions. No higher than the same error @5
            says that the world ignores actions.
        `calibration@5`: the first error of sampled dreams to the truth, less that to each other.
            0 where the truth might be one more sample; above, the world is surer than it is right.
        `reward precision`, `reward recall`, `end ...`: over 15 steps.
        `seconds` of wall time per imagined frame at this batch; `parameters`.
        `<key> (<subset>)`: each of the above but the last two again, from the steps ahead that a
            mask in `subsets` names; `valid` from the windows whose first step it names.
    """
    horizon = windows.reward.shape[1] - context
    if context < 1 or horizon < 1:
        raise ValueError(
            f"Windows of {windows.reward.shape[1]} rows leave {horizon} steps after a context of "
            f"{context}: both must be at least 1."
        )
    inside = counted(windows, context)
    state, action = filtered(world, windows, context), windows.action[:, context:]
    out, seconds = _timed(lambda: ahead(world, state, action), windows.reward.device)
    errors, right, short = {}, None, {}
    if world.spec.observation:
        target = windows.observation[:, context:].float()
        errors = {name: error(out.state, target) for name, error in ground.errors.items()}
        right = ~ground.wrong(out.state, target)
        if horizon >= SHORT and inside[:, SHORT - 1].sum() > 1:
            short = _short(world, windows, context, ground, seed)
    row: Row = {"name": name, "ground": ground.name}
    for subset, mask in {"": inside, **(subsets or {})}.items():
        part = inside & mask
        quantities = _open_loop(ground, errors, right, inside, part)
        quantities |= {k: _mean(v, part[:, SHORT - 1]) for k, v in short.items()}
        quantities |= _events(out, windows, context, part)
        row |= {f"{k} ({subset})" if subset else k: v for k, v in quantities.items()}
    row["seconds"] = seconds / (inside.numel() * world.spec.frames)
    parameters = world.parameters() if isinstance(world, nn.Module) else ()
    row["parameters"] = sum(p.numel() for p in parameters)
    return row


def _mean(values: Float[Tensor, " B"], mask: Bool[Tensor, " B"]) -> float | None:
    return values[mask].mean().item() if mask.any() else None


def _open_loop(
    ground: Ground,
    errors: Mapping[str, Float[Tensor, "B H"]],
    right: Bool[Tensor, "B H"] | None,
    inside: Bool[Tensor, "B H"],
    part: Bool[Tensor, "B H"],
) -> Row:
    """Errors and valid time, and the places of what `_short` adds."""
    row: Row = dict.fromkeys(f"{error}@{k}" for error in ground.errors for k in STEPS)
    row |= dict.fromkeys(["valid", f"shuffled@{SHORT}", f"calibration@{SHORT}"])
    for name, values in errors.items():
        for k in (k for k in STEPS if k <= part.shape[1]):
            row[f"{name}@{k}"] = _mean(values[:, k - 1], part[:, k - 1])
    whole = inside.all(1) & part[:, 0]
    if right is not None and whole.any():
        row["valid"] = right[whole].cumprod(1).sum(1).float().quantile(0.5).item()
    return row


def _short(
    world: World, windows: Step, context: int, ground: Ground, seed: int
) -> dict[str, Float[Tensor, " B"]]:
    """`SHORT` steps ahead: does it heed actions, do its samples spread as they err?"""
    windows = Step(*(v[:, : context + SHORT] for v in windows))
    action, target = windows.action[:, context:], windows.observation[:, -1:].float()
    error = next(iter(ground.errors.values()))
    # The next window's actions: every window gets wrong ones, and the mixture stays the same.
    shuffled = ahead(world, filtered(world, windows, context), action.roll(1, 0)).state[:, -1:]
    generator = torch.Generator(target.device).manual_seed(seed)
    samples = []
    for _ in range(SAMPLES):
        state = filtered(world, windows, context, generator)
        samples.append(ahead(world, state, action, generator).state[:, -1:])
    wrong = torch.stack([error(sample, target) for sample in samples]).mean(0)
    pairs = zip(samples, samples[1:] + samples[:1], strict=True)
    spread = torch.stack([error(sample, other) for sample, other in pairs]).mean(0)
    heeds = ground.errors[ground.heeds] if ground.heeds else error
    return {
        f"shuffled@{SHORT}": heeds(shuffled, target)[:, 0],
        f"calibration@{SHORT}": (wrong - spread)[:, 0],
    }


def _events(out: Rollout, windows: Step, context: int, part: Bool[Tensor, "B H"]) -> Row:
    """Precision and recall of rewards of at least a half (with their sign) and of ends."""
    row: Row = dict.fromkeys(
        f"{e} {value}" for e in ("reward", "end") for value in ("precision", "recall")
    )
    part = part[:, :LONG]
    reward, terminated = (v[:, context:][:, :LONG] for v in (windows.reward, windows.terminated))
    if out.reward is not None:
        predicted, true = (
            r.sign() * (r.abs() >= 0.5) * part for r in (out.reward[:, :LONG], reward)
        )
        row |= _precision_recall("reward", predicted, true)
    if out.cont is not None:
        predicted, true = (out.cont[:, :LONG] < 0.5) & part, terminated & part
        row |= _precision_recall("end", predicted.float(), true.float())
    return row


def _precision_recall(name: str, predicted: Tensor, true: Tensor) -> Row:
    hits = ((predicted == true) & (true != 0)).sum().item()
    found, there = (predicted != 0).sum().item(), (true != 0).sum().item()
    return {
        f"{name} precision": hits / found if found else None,
        f"{name} recall": hits / there if there else None,
    }


def _timed(call: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """The result and the wall seconds of the faster of two calls (the first may set things up)."""
    best = float("inf")
    for _ in range(2):
        start = time.perf_counter()
        result = call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = min(best, time.perf_counter() - start)
    return result, best


# ---- a policy here and there


@torch.no_grad()
def dream_returns(
    world: World, starts: State, policy: Policy, batch: int, limit: int, *, seed: int = 0
) -> Float[Tensor, " N"]:
    """Undiscounted returns of one dreamed episode per row, cut at `limit` steps."""
    if not world.spec.reward:
        raise ValueError("This world predicts no reward, so a policy has no return in it.")
    dream = Dream(world, starts, batch, limit, seed=seed)
    dream.reset(index=torch.arange(batch, device=dream.device) % rows(starts))
    total = torch.zeros(batch, device=dream.device)
    alive = torch.ones(batch, dtype=torch.bool, device=dream.device)
    for _ in range(limit):
        outcome = dream.step(policy(dream.state, dream.generator))
        total += outcome.reward * alive
        alive &= ~outcome.terminated
    return total


def dream_real_gap(
    env: gym.Env | gym.vector.VectorEnv,
    world: World,
    policy: Policy,
    episodes: int,
    limit: int,
    *,
    seed: int = 0,
) -> Row:
    """What a policy earns in the real environment, in the dream, and the difference.

    `episodes` per row of `env` are played, and as many dreams start from their first observations.
    `limit` must be the environment's own time limit, or the two returns are of different lengths.
    """
    generator = torch.Generator(_device(world)).manual_seed(seed)
    seen = interact(env, world, policy, episodes=episodes, seed=seed, generator=generator)
    opening = Step(*(v[seen.step.first] for v in seen.step))
    starts = world.observe(world.initial(len(opening.reward)), opening, generator=generator)
    dreamed = dream_returns(world, starts, policy, len(seen.returns), limit, seed=seed)
    real, dreamt = seen.returns.mean().item(), dreamed.mean().item()
    return {"real return": real, "dream return": dreamt, "dream-real gap": dreamt - real}


def _device(world: World) -> torch.device:
    return next(iter(world.initial(1).values())).device


# ---- the table


def relative_cost(table: Sequence[Row], base: str) -> list[Row]:
    """The rows with `cost`: seconds per imagined frame as a ratio to the row `base` of the same
    ground (None where a ground has no such row).

    Measure all of them in one run: seconds of different machines or hours do not compare.
    """
    seconds = {row["ground"]: row["seconds"] for row in table if row["name"] == base}
    if not seconds:
        raise ValueError(f"There is no row {base!r}: the rows are {[r['name'] for r in table]}.")
    costs = (
        row["seconds"] / seconds[row["ground"]] if row["ground"] in seconds else None
        for row in table
    )
    return [{**row, "cost": cost} for row, cost in zip(table, costs, strict=True)]


def render(table: Sequence[Row]) -> str:
    """Markdown, one table per ground: a column for every world, and a row for every quantity that
    some world of the ground has. A quantity of subsets stands behind that of all: `0.5 / 0.2`."""
    grounds: dict[str, list[Row]] = {}
    for row in table:
        grounds.setdefault(row["ground"], []).append(row)
    return "\n\n".join(_table(ground, members) for ground, members in grounds.items())


def _table(ground: str, members: list[Row]) -> str:
    names = dict.fromkeys(key for row in members for key in row if key not in ("ground", "name"))
    names = [n for n in names if any(row.get(n) is not None for row in members)]
    of_subsets = [n for n in names if n.endswith(")") and n.partition(" (")[0] in names]
    subsets = dict.fromkeys(n.partition(" (")[2].rstrip(")") for n in of_subsets)
    head = f"{ground} (all{''.join(f' / {s}' for s in subsets)})" if subsets else ground
    lines = [[head, *(row["name"] for row in members)], ["---"] + ["---:"] * len(members)]
    for name in (n for n in names if n not in of_subsets):
        keys = [name, *(k for k in (f"{name} ({s})" for s in subsets) if k in names)]
        lines.append([name, *(_cells([row.get(k) for k in keys]) for row in members)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(values: list[Any]) -> str:
    """One cell: a quantity, and after it the same of each subset."""
    return MISSING if set(values) == {None} else " / ".join(map(_cell, values))


def _cell(value: Any) -> str:
    if value is None:
        return MISSING
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
