"""On worlds small enough to know the answer, the ladder gives it."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from torch.nn.functional import one_hot

from tests.conformance import random_steps
from tests.counter import Counter, CounterEnv, always, bank
from tests.gaussian import Gaussian
from utils.evaluate.ladder import (
    GRID,
    Ground,
    Persistence,
    counted,
    dream_real_gap,
    dream_returns,
    filtered,
    measure,
    relative_cost,
    render,
    vectors,
    wrong_cells,
)
from utils.nn.random import bernoulli
from utils.world import Dreamt, Spec, Step

torch.set_num_threads(1)
N, C = 12, 2


class Ring:
    """A runner on a ring of 12 cells goes on by the action (0 or 1), plus one with probability
    `slip`. Arriving on cell 0 pays 1; cell 11 is an end."""

    def __init__(self, slip=0.0, heeds=True, parts=("observation", "reward", "cont"), reward=1.0):
        exists = {k: k in parts for k in ("observation", "reward", "cont")}
        self.spec = Spec(Discrete(N), Discrete(2), differentiable=False, **exists)
        self.slip, self.heeds, self.reward = slip, heeds, reward

    def initial(self, batch):
        return {"cell": torch.zeros(batch, dtype=torch.long)}

    def observe(self, state, step, *, generator=None, mode=False):
        return {"cell": step.observation.argmax(-1)}

    def imagine(self, state, action, *, generator=None, mode=False):
        chance = torch.full(action.shape[:1], self.slip)
        slipped = chance > 0.5 if mode else bernoulli(chance, generator)
        cell = (state["cell"] + self.heeds * action[:, 1].long() + slipped) % N
        reward = self.reward * (cell == 0).float() if self.spec.reward else None
        return Dreamt({"cell": cell}, reward, (cell != 11).float() if self.spec.cont else None)

    def decode(self, state):
        return one_hot(state["cell"], N).float() if self.spec.observation else None


def windows(action, start=0, slip=0.0, seed=0):
    """What the ring gives for actions `[B, H]`, after C rows of standing still; never ends."""
    action = torch.as_tensor(action)
    slips = torch.rand(action.shape, generator=torch.Generator().manual_seed(seed)) < slip
    moved = nn.functional.pad((action + slips).cumsum(1), (C, 0))
    cell = (torch.as_tensor(start).reshape(-1, 1) + moved) % N
    none = torch.zeros_like(cell, dtype=torch.bool)
    reward = (cell == 0).float()
    return Step(
        one_hot(cell, N).float(),
        one_hot(nn.functional.pad(action, (C, 0)), 2).float(),
        reward,
        none,
        none,
    )


def alternating(batch, horizon):
    """Half of the windows run, half stand still."""
    return (torch.arange(batch) % 2)[:, None].expand(batch, horizon)


def test_an_exact_world_and_persistence():
    data = windows(alternating(8, 50))
    exact = measure(Ring(), data, C, GRID, "exact")
    assert [exact[f"wrong cells@{k}"] for k in (1, 5, 15, 50)] == [0, 0, 0, 0]
    assert exact["valid"] == 50
    assert exact["shuffled@5"] == 1  # a runner's actions for a stander, and the reverse
    assert exact["calibration@5"] == 0
    assert exact["parameters"] == 0
    assert exact["seconds"] > 0
    still = measure(Persistence(Ring().spec), data, C, GRID, "persistence")
    assert [still[f"wrong cells@{k}"] for k in (1, 5, 15, 50)] == [0.5] * 4
    assert still["valid"] == 25  # 0 for runners, 50 for standers
    assert still["shuffled@5"] == still["wrong cells@5"]
    assert still["reward precision"] is None


def test_a_world_that_ignores_actions_shows_it():
    row = measure(Ring(heeds=False), windows(alternating(8, 5)), C, GRID, "deaf")
    assert row["shuffled@5"] == row["wrong cells@5"] == 0.5
    assert row["wrong cells@15"] is None


def test_valid_time_counts_steps_before_the_first_wrong_one():
    """The true runner jumps at step 4; a world that does not know it is right for 3 steps, and its
    being right again later does not count."""
    action = torch.ones(3, 20, dtype=torch.long)
    data = windows(action)
    cell = data.observation.argmax(-1)
    cell[:, C + 3] = (cell[:, C + 3] + 5) % N
    data = data._replace(observation=one_hot(cell, N).float())
    assert measure(Ring(), data, C, GRID, "exact")["valid"] == 3


def test_only_steps_of_the_same_episode_count():
    data = windows(torch.ones(2, 10, dtype=torch.long))
    first = data.first.clone()
    first[:, 0] = True  # inside the context: no border
    first[1, C + 3] = True
    data = data._replace(first=first)
    assert counted(data, C).sum(1).tolist() == [10, 3]
    garbage = data.observation.clone()
    garbage[1, C + 3 :] = one_hot(torch.tensor(6), N).float()
    row = measure(Ring(), data._replace(observation=garbage), C, GRID, "exact")
    assert row["wrong cells@5"] == 0
    assert row["valid"] == 10


def test_samples_are_calibrated_overconfident_or_too_wide():
    """Positions after 5 slips of 1/2 are Bin(5, 1/2): two of them are the same with probability
    252/1024, and one of them is at its start with probability 1/32."""
    batch = 3000
    data = windows(torch.zeros(batch, 5, dtype=torch.long), slip=0.5)
    row = {s: measure(Ring(slip=s), data, C, GRID, "x")["calibration@5"] for s in (0.0, 0.5)}
    assert abs(row[0.5]) < 0.02
    assert (
        abs(row[0.0] - 31 / 32) < 0.02
    )  # never slips: wrong unless the truth never did, no spread
    certain = windows(torch.zeros(batch, 5, dtype=torch.long))
    wide = measure(Ring(slip=0.5), certain, C, GRID, "wide")
    assert abs(wide["calibration@5"] - (31 / 32 - (1 - 252 / 1024))) < 0.02


def test_calibration_is_negative_for_a_spread_that_the_truth_lacks():
    std = torch.tensor([1.0])
    space = Box(-9, 9, (1,), np.float32)

    class Noisy(Persistence):
        def imagine(self, state, action, *, generator=None, mode=False):
            size = state["observation"].shape
            noise = 0 if mode else torch.randn(size, generator=generator)
            return Dreamt({"observation": state["observation"] + noise}, None, None)

    zero = torch.zeros(2000, C + 5)
    data = Step(zero[..., None], zero[..., None], zero, zero.bool(), zero.bool())
    row = measure(Noisy(Spec(space, space)), data, C, vectors("line", std), "noisy")
    # E|x| - E|x - y| for x, y ~ N(0, 5)
    expected = math.sqrt(5) * math.sqrt(2 / math.pi) * (1 - math.sqrt(2))
    assert abs(row["calibration@5"] - expected) < 0.05


def test_reward_and_end_accuracy():
    data = windows(torch.ones(4, 13, dtype=torch.long), start=[0, 0, 3, 11])
    terminated = data.observation.argmax(-1) == 11
    terminated[:, :C] = False
    first = terminated.roll(1, 1)
    data = data._replace(terminated=terminated)
    row = measure(Ring(), data, C, GRID, "exact")
    assert [row[f"{e} {m}"] for e in ("reward", "end") for m in ("precision", "recall")] == [1] * 4
    # Row 3 stands on its end and goes on to the reward; the others end before they reach it.
    inside = measure(Ring(), data._replace(first=first), C, GRID, "exact")
    assert (inside["reward precision"], inside["reward recall"]) == (1, 1)
    double = torch.cat([data.reward[:2], torch.zeros(2, C + 13)])
    half = measure(Ring(), data._replace(reward=double), C, GRID, "exact")
    assert half["reward recall"] == 1
    assert half["reward precision"] == pytest.approx(double[:, C:].sum() / data.reward[:, C:].sum())
    blind = measure(Ring(reward=0.0), data, C, GRID, "blind")
    assert (blind["reward precision"], blind["reward recall"]) == (None, 0)
    flipped = measure(Ring(reward=-1.0), data, C, GRID, "flipped")
    assert (flipped["reward precision"], flipped["reward recall"]) == (0, 0)


def test_the_context_is_filtered_by_mode_unless_it_is_to_be_sampled():
    world, data = Gaussian(), random_steps(Gaussian().spec)
    by_mode = filtered(world, data, 3)["stoch"]
    assert torch.equal(by_mode, filtered(world, data, 3)["stoch"])
    sampled = [filtered(world, data, 3, torch.Generator().manual_seed(s))["stoch"] for s in (0, 1)]
    assert not torch.equal(*sampled)


def test_a_world_without_frames_keeps_its_other_rows():
    row = measure(Ring(parts=("reward",)), windows(alternating(4, 15)), C, GRID, "latent")
    assert row["wrong cells@1"] is None
    assert row["valid"] is None
    assert row["end recall"] is None
    assert row["reward recall"] == 1


def test_errors_of_cells_and_vectors():
    target = one_hot(torch.tensor([[[[0, 1], [2, 0]]]]), 3).float()  # [B, H, rows, columns, V]
    predicted = target.clone()
    predicted[0, 0, 0, 0] = torch.tensor([0.2, 0.5, 0.3])
    assert wrong_cells(predicted, target).tolist() == [[0.25]]
    ground = vectors("line", torch.tensor([1.0, 4.0]))
    error = ground.errors["nRMSE"](torch.tensor([[[1.0, 4.0]]]), torch.zeros(1, 1, 2))
    assert error.tolist() == [[1.0]]
    assert ground.wrong(
        torch.tensor([[[1.0, 0.0]], [[0.5, 0.0]]]), torch.zeros(2, 1, 2)
    ).tolist() == [
        [True],
        [False],
    ]


def test_frames_and_parameters_are_counted():
    class Module(nn.Module, Ring):
        def __init__(self):
            nn.Module.__init__(self)
            Ring.__init__(self)
            self.weight = nn.Parameter(torch.zeros(2, 3))

    assert measure(Module(), windows(alternating(2, 5)), C, GRID, "m")["parameters"] == 6


def test_a_subset_gives_every_number_again():
    """Standers are easy and runners hard for a world in which nothing moves."""
    data = windows(alternating(8, 50))
    runs = (torch.arange(8) % 2 == 1)[:, None].expand(8, 50)
    late = torch.arange(50) >= 10  # a mask of single steps
    subsets = {"runners": runs, "late": late.expand(8, 50), "none": torch.zeros_like(runs)}
    row = measure(Ring(heeds=False), data, C, GRID, "still", subsets=subsets)
    plain = measure(Ring(heeds=False), data, C, GRID, "still")
    assert {k: v for k, v in row.items() if not k.endswith(")") and k != "seconds"} == {
        k: v for k, v in plain.items() if k != "seconds"
    }
    assert [row[f"wrong cells@{k} (runners)"] for k in (1, 5, 15, 50)] == [1] * 4
    assert (row["valid"], row["valid (runners)"]) == (25, 0)
    assert row["valid (late)"] is None  # no window begins in it
    assert (row["wrong cells@5 (late)"], row["wrong cells@15 (late)"]) == (None, 0.5)
    assert (row["shuffled@5 (runners)"], row["calibration@5 (runners)"]) == (1, 1)
    # It stands on cell 0 and says that each step pays; runners are paid when they come round.
    assert row["reward precision (runners)"] == pytest.approx(1 / 15)
    assert row["reward recall (runners)"] == 1
    assert {row[k] for k in row if k.endswith("(none)")} == {None}
    kinds = ("seconds", "parameters", "name", "ground")
    assert {k for k in row if k.endswith("(late)")} == {
        f"{k} (late)" for k in plain if k not in kinds
    }


def test_a_subset_never_reaches_over_the_end_of_an_episode():
    data = windows(torch.ones(2, 10, dtype=torch.long))
    first = data.first.clone()
    first[1, C + 3] = True
    garbage = data.observation.clone()
    garbage[1, C + 3 :] = one_hot(torch.tensor(6), N).float()
    data = data._replace(first=first, observation=garbage)
    row = measure(Ring(), data, C, GRID, "x", subsets={"all": torch.ones(2, 10).bool()})
    assert row["wrong cells@5 (all)"] == 0
    assert row["valid (all)"] == 10


def test_the_ground_says_which_error_shows_actions():
    def off(predicted, target):
        return torch.full(predicted.shape[:2], 7.0)

    ground = Ground("grid", {"off": off, "wrong cells": wrong_cells}, GRID.wrong, "wrong cells")
    row = measure(Ring(), windows(alternating(4, 5)), C, ground, "x")
    assert (row["shuffled@5"], row["calibration@5"]) == (1, 0)
    row = measure(Ring(), windows(alternating(4, 5)), C, replace(ground, heeds=None), "x")
    assert row["shuffled@5"] == 7


# ---- a policy here and there


def test_dream_returns_stop_at_the_end_or_the_limit():
    starts = bank(0.0, 1.0, 2.0, 1.0)  # one dream from each, in order
    assert dream_returns(Counter(), starts, always(1), 4, 10).tolist() == [6, 5, 3, 5]
    assert dream_returns(Counter(), bank(0.0), always(1), 1, 2).tolist() == [3]
    with pytest.raises(ValueError, match="no reward"):
        dream_returns(Counter(parts=()), bank(0.0), always(1), 1, 2)


def test_the_gap_of_a_world_that_ends_too_late():
    env = CounterEnv(limit=10)
    exact = dream_real_gap(env, Counter(), always(1), episodes=3, limit=10)
    assert exact == {"real return": 6, "dream return": 6, "dream-real gap": 0}
    late = dream_real_gap(env, Counter(end=4.0), always(1), episodes=3, limit=10)
    assert late == {"real return": 6, "dream return": 10, "dream-real gap": 4}


# ---- the table


def test_rows_are_json_and_the_table_is_grouped_by_ground():
    rows = [
        {"name": "still", "ground": "grid", "error@1": 0.5, "end recall": None, "seconds": 0.5},
        {"name": "ring", "ground": "grid", "error@1": 0.0, "end recall": None, "seconds": 2.0},
        {"name": "ring", "ground": "line", "error@1": 0.25, "seconds": 1.0, "parameters": 12345},
        {"name": "new", "ground": "grid", "error@1": None, "seconds": 1.0, "trained": "120 CPU-s"},
    ]
    assert (
        render(json.loads(json.dumps(rows)))
        == """| grid | still | ring | new |
| --- | ---: | ---: | ---: |
| error@1 | 0.5 | 0 | – |
| seconds | 0.5 | 2 | 1 |
| trained | – | – | 120 CPU-s |

| line | ring |
| --- | ---: |
| error@1 | 0.25 |
| seconds | 1 |
| parameters | 12,345 |"""
    )
    both = [
        rows[1] | {"error@1 (new)": 0.75},
        rows[3] | {"error@1 (new)": None, "seconds (new)": 2},
    ]
    assert render(both).splitlines()[:4] == [
        "| grid (all / new) | ring | new |",
        "| --- | ---: | ---: |",
        "| error@1 | 0 / 0.75 | – |",
        "| seconds | 2 / – | 1 / 2 |",
    ]
    assert [row["cost"] for row in relative_cost(rows, "ring")] == [0.25, 1, 1, 0.5]
    assert [row["cost"] for row in relative_cost(rows, "new")] == [0.5, 2, None, 1]
    with pytest.raises(ValueError, match="no row 'RSSM'"):
        relative_cost(rows, "RSSM")


def test_a_measured_row_survives_json():
    row = measure(Ring(), windows(alternating(4, 15)), C, GRID, "ring")
    assert json.loads(json.dumps(row)) == row


def test_too_short_windows_are_refused():
    for context in (0, 7):
        with pytest.raises(ValueError, match="context"):
            measure(Ring(), windows(alternating(2, 5)), context, GRID, "x")


def test_a_bracket_without_its_quantity_is_a_row_of_its_own():
    row = {"ground": "g", "name": "n", "a": 1.0, "a (new)": 2.0, "value (own play)": 0.5}
    lines = render([row]).splitlines()
    assert lines[2:] == ["| a | 1 / 2 |", "| value (own play) | 0.5 |"]
