"""A training run that was killed goes on where its last checkpoint was, bit for bit."""

import signal
import subprocess
import sys
import time

import torch

from utils.course.exercise import ROOT
from utils.course.store import load

SEGMENTS = 4


def started(folder):
    command = [sys.executable, "-m", "tests.agents.dreamer_cartpole", str(folder), "3"]
    return subprocess.Popen([*command, str(SEGMENTS), "tiny"], cwd=ROOT, stdout=subprocess.DEVNULL)


def leaves(tree, name=""):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from leaves(value, f"{name}.{key}")
    elif isinstance(tree, list | tuple):
        for key, value in enumerate(tree):
            yield from leaves(value, f"{name}.{key}")
    else:
        yield name, tree


def test_a_killed_run_goes_on_bit_for_bit(tmp_path):
    whole, broken = started(tmp_path / "whole"), started(tmp_path / "broken")
    checkpoint = tmp_path / "broken/tiny3.safetensors"
    while not checkpoint.exists():  # then it is in the middle of its second segment, or a later one
        assert broken.poll() is None
        time.sleep(0.02)
    broken.send_signal(signal.SIGKILL)
    assert broken.wait() == -signal.SIGKILL
    assert load(checkpoint)["tree"]["segment"] < SEGMENTS
    again = started(tmp_path / "broken")
    assert whole.wait() == again.wait() == 0
    one, two = (
        load(tmp_path / f"{name}/tiny3.safetensors")["tree"] for name in ("whole", "broken")
    )
    assert one["segment"] == SEGMENTS
    one.pop("seconds"), two.pop("seconds")
    one, two = dict(leaves(one)), dict(leaves(two))
    assert one.keys() == two.keys()
    for name, value in one.items():
        same = torch.equal(value, two[name]) if torch.is_tensor(value) else value == two[name]
        assert same, name
    assert one[".replay.rows"] == SEGMENTS * 40
    assert one[".optimiser.state.0.step"] > 10
