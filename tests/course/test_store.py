import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from utils.course import store
from utils.course.store import Run, StoreError, card, load, save

ROOT = Path(__file__).parents[2]


def same(a, b) -> bool:
    """Equal in type, structure and bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a.equal(b)
    if isinstance(a, np.ndarray | np.generic):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return a == b


def test_what_goes_in_comes_out(tmp_path):
    generator = np.random.default_rng(3)
    generator.random(5)
    tree = {
        "plain": [1, -2.5, 0.1 + 0.2, float("inf"), "Grüße", True, None, 2**127, (1, (2, [])), {}],
        "numbers": {0: "a", 1: {"b": 2}, "1": "not the number"},
        "tensors": [
            torch.randn(3, 2).t(),
            torch.tensor(7),
            torch.zeros(0, 4),
            torch.tensor([True, False]),
            torch.randn(3).bfloat16(),
            torch.randn(2, dtype=torch.complex64),
            torch.randint(0, 255, (4,), dtype=torch.uint8),
        ],
        "arrays": [np.arange(6).reshape(2, 3)[:, ::2], np.float32(1.5), np.zeros((2, 0), bool)],
        "numpy": generator.bit_generator.state,
        "generator": torch.Generator().manual_seed(5).get_state(),
    }
    save(tmp_path / "a" / "x.safetensors", tree)
    assert same(load(tmp_path / "a" / "x.safetensors"), tree)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.safetensors"]


def test_tied_weights_and_optimiser(tmp_path):
    model = torch.nn.Linear(4, 4)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2, amsgrad=True)
    model(torch.randn(2, 4)).sum().backward()
    optimiser.step()
    weight = model.weight
    state = {"a": weight, "b": weight, "part": weight[1:], "optimiser": optimiser.state_dict()}
    save(tmp_path / "x", state)
    back = load(tmp_path / "x")
    assert back["a"].equal(weight)
    assert back["part"].equal(weight[1:])
    assert same(back["optimiser"], optimiser.state_dict())
    torch.optim.AdamW(model.parameters()).load_state_dict(back["optimiser"])


def test_only_plain_things_are_kept(tmp_path):
    with pytest.raises(TypeError, match=r"the tree\['model'\]\[0\] is a Linear"):
        save(tmp_path / "x", {"model": [torch.nn.Linear(1, 1)]})
    with pytest.raises(TypeError, match=r"has the key \(1, 2\)"):
        save(tmp_path / "x", {(1, 2): 0})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("where", ["save_file", "replace", "fsync"])
def test_a_failed_write_loses_nothing(tmp_path, monkeypatch, where):
    path = tmp_path / "x.safetensors"
    save(path, {"good": torch.ones(3)})

    def full(part, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store if where == "save_file" else os, where, lambda *a: full(*a))
    with pytest.raises(StoreError, match=r"could not be written .*No space left.*last one is kept"):
        save(path, {"bad": 0})
    monkeypatch.undo()
    assert load(path)["good"].sum() == 3
    assert len(list(tmp_path.iterdir())) == 1


def test_damage_is_one_sentence(tmp_path):
    path = tmp_path / "x.safetensors"
    save(path, {"w": torch.arange(100.0), "lr": 0.5})
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[-5] ^= 1
    from safetensors.torch import save as foreign

    broken = {
        "cut": good[:-10],
        "flipped": bytes(flipped),
        "header": good.replace(b'\\"lr\\", 0.5', b'\\"lr\\", 0.7'),
        "empty": b"",
        "text": b"<html>Google Drive - Quota exceeded</html>",
        "foreign": foreign({"w": torch.ones(2)}),
    }
    for name, content in broken.items():
        assert content != good, name
        path.write_bytes(content)
        with pytest.raises(StoreError, match=r"left (as it is|alone)") as caught:
            load(path)
        assert "\n" not in str(caught.value), name
        assert path.read_bytes() == content, name
    with pytest.raises(StoreError, match="There is no checkpoint"):
        load(tmp_path / "none")


def test_card(tmp_path):
    path = tmp_path / "vae.safetensors"
    facts = {"command": "python -m utils run 2.1", "seconds": 3.5, "device": "cpu", "seed": 0}
    with pytest.raises(TypeError, match="needs claims too"):
        card(path, **facts)
    card(path, **facts, claims={"return": 5.0}, note="small")
    read = card(path)
    assert read == json.loads((tmp_path / "vae.json").read_text())
    assert (read["seconds"], read["claims"], read["note"]) == (3.5, {"return": 5.0}, "small")
    assert len(read["commit"].rstrip("+")) == 40 or read["commit"] == "unknown"


def test_run_of_another_config_is_set_aside(tmp_path, capsys):
    first = Run(tmp_path, "toy", {"lr": 0.1, "model": {"layers": (1, 2)}})
    assert first.load() is None
    first.save({"step": 5})
    assert Run(tmp_path, "toy", {"lr": 0.1, "model": {"layers": [1, 2]}}).load() == {"step": 5}
    assert capsys.readouterr().out == ""
    other = Run(tmp_path, "toy", {"lr": 0.2, "model": {"layers": [1, 2]}, "new": 1})
    assert other.load() is None
    said = capsys.readouterr().out
    assert "another config (lr was 0.1, is 0.2, new was unset, is 1)" in said
    assert "kept as toy.old1" in said
    other.save({"step": 1})
    assert load(tmp_path / "toy.old1")["tree"] == {"step": 5}
    (tmp_path / "toy.safetensors").write_bytes(b"damaged")
    assert other.load() is None
    assert "kept as toy.old2" in capsys.readouterr().out
    assert (tmp_path / "toy.old2").read_bytes() == b"damaged"


def test_due(tmp_path):
    run = Run(tmp_path, "toy", {})
    assert not run.due(60)
    assert run.due(0)


TOY = """
import sys
import numpy as np, torch
from utils.course.store import Run

def train(folder, steps=60, log=lambda step: None):
    torch.set_num_threads(1)
    noise, world = torch.Generator().manual_seed(1), np.random.default_rng(2)
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    replay, first = np.zeros((steps, 4), np.float32), 0
    run = Run(folder, "toy", {"steps": steps})
    if (tree := run.load()) is not None:
        model.load_state_dict(tree["model"])
        optimiser.load_state_dict(tree["optimiser"])
        noise.set_state(tree["noise"])
        torch.set_rng_state(tree["torch"])
        world.bit_generator.state = tree["world"]
        replay, first = tree["replay"], tree["step"]
    for step in range(first, steps):
        replay[step] = world.normal(size=4)
        rows = torch.randint(0, step + 1, (16,), generator=noise)
        batch = torch.from_numpy(replay)[rows]
        dropped = torch.nn.functional.dropout(batch, 0.3)      # from torch's own generator
        loss = (model(dropped + 0.1 * torch.randn(16, 4, generator=noise)) - batch).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if run.due(0):
            run.save({"model": model.state_dict(), "optimiser": optimiser.state_dict(),
                      "noise": noise.get_state(), "torch": torch.get_rng_state(),
                      "world": world.bit_generator.state, "replay": replay, "step": step + 1})
        log(step)
    return first, run.load()

if __name__ == "__main__":
    train(sys.argv[1], log=lambda step: print(step, flush=True))
"""


def test_a_killed_training_goes_on_bit_for_bit(tmp_path):
    script = tmp_path / "toy.py"
    script.write_text(TOY)
    toy: dict = {"__name__": "toy"}
    exec(TOY, toy)
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng():
            _, straight = toy["train"](tmp_path / "straight")
        drive = tmp_path / "drive" / "My Drive"  # a synchronised folder is a folder
        command = [sys.executable, script, drive]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as child:
            for line in child.stdout:
                if int(line) == 20:
                    break
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        with torch.random.fork_rng():
            first, resumed = toy["train"](drive)
    finally:
        torch.set_num_threads(threads)
    assert 20 < first < 60, "the kill must fall into the middle"
    assert same(resumed, straight)
