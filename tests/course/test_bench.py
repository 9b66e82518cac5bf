"""Calls that take turns, and the benches of V, M and the dream at a size that takes no time."""

import argparse
import json

import pytest
import torch

from utils.course import bench, commands, readme
from utils.course.bench import race
from utils.worlds import iris_bench, transdreamer_bench, vmc_bench


def test_a_race_takes_turns_and_compares_within_a_round(monkeypatch):
    order, now = [], [0.0]
    costs = {"ours": [9, 1, 2, 4], "theirs": [9, 3, 6, 20]}  # the machine slows down

    def call(name):
        def run():
            order.append(name)
            now[0] += costs[name].pop(0)
            assert torch.get_num_threads() == 1

        return run

    monkeypatch.setattr("utils.course.bench.time.perf_counter", lambda: now[0])
    threads = torch.get_num_threads()
    made = race({name: call(name) for name in costs}, rounds=3)
    assert order == ["ours", "theirs"] * 4  # the first round warms up
    assert made["theirs / ours"] == 3
    assert (made["ours seconds"], made["theirs seconds"], made["rounds"]) == (2, 6, 3)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "calls",
    [
        lambda: vmc_bench.vae(2),
        lambda: vmc_bench.mdn_rnn(2, 4),
        lambda: vmc_bench.dream(2, 2),
        lambda: transdreamer_bench.tssm(2, 4),
        lambda: transdreamer_bench.twm(2, 2),
        lambda: iris_bench.train(compiled=False),
        lambda: iris_bench.imagine(frames=2, compiled=False),
    ],
)
def test_benches_run(calls):
    for call in calls().values():
        call()


def test_the_benches_of_dreamer_measure_every_device(monkeypatch):
    from utils.agents import actor_critic_bench as dreamer
    from utils.worlds.dreamer_v3 import Config

    tiny = Config(deter=16, hidden=8, stoch=2, classes=4, blocks=4, units=8, bins=21)

    def agents(device):
        return {"tiny": dreamer.Agent(dreamer.VECTORS, tiny, 2, 3, device)}

    monkeypatch.setattr(dreamer, "agents", agents)
    monkeypatch.setattr(dreamer, "ROUNDS", 1)
    monkeypatch.setattr(torch, "compile", lambda function, **how: function)
    for name in ("rssm", "imagine", "dreamer"):
        made = bench.BENCHES[name]()
        seconds = made["cpu, tiny"].pop("compilation seconds", 0)
        assert seconds >= 0
        assert all(value > 0 for value in made["cpu, tiny"].values())
        assert ("cuda, tiny" in made) == torch.cuda.is_available()


def test_the_command_keeps_what_it_measured_for_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(readme, "PROOF", tmp_path / "proof.json")
    made = {"plain / ours": 2.0, "batch 1": {"eager": 3, "compiled": 9000}}
    monkeypatch.setattr(bench, "BENCHES", {"some": lambda: made})
    assert commands.bench(argparse.Namespace(name=["some"])) == 0
    assert json.loads(capsys.readouterr().out) == {"bench": "some"} | made
    rows = ["| some |  | plain / ours 2.0 |", "| some | batch 1 | compiled 9,000, eager 3 |"]
    assert readme.speeds().splitlines()[-2:] == rows
