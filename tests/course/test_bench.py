"""Calls that take turns, and the benches of V, M and the dream at a size that takes no time."""

import time

import pytest
import torch

from utils.course.bench import race
from utils.worlds import vmc_bench


def test_a_race_takes_turns_and_compares_within_a_round():
    order, waits = [], {"ours": 0.01, "slow": 0.03}

    def call(name):
        def run():
            order.append(name)
            assert torch.get_num_threads() == 1
            time.sleep(waits[name])

        return run

    threads = torch.get_num_threads()
    made = race({name: call(name) for name in waits}, rounds=3)
    assert order == ["ours", "slow"] * 4  # the first round warms up
    assert made["slow / ours"] == pytest.approx(3, rel=0.2)
    assert made["slow seconds"] == pytest.approx(0.03, rel=0.2)
    assert made["rounds"] == 3
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "calls",
    [lambda: vmc_bench.vae(2), lambda: vmc_bench.mdn_rnn(2, 4), lambda: vmc_bench.dream(2, 2)],
)
def test_benches_run(calls):
    for call in calls().values():
        call()
