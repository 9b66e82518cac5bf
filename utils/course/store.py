"""Checkpoints that outlive a killed kernel: tensors and plain values, written whole or not at all.

A file is a safetensors file; the shape of the tree and its plain values stand as JSON in the
header. Nothing in it is code, so a checkpoint from anywhere can be opened.
"""

import json
import os
import subprocess
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from utils.course.exercise import CourseError

FORMAT = "world-models-course 1"
FACTS = ("command", "seconds", "device", "seed", "commit", "claims")


class StoreError(CourseError):
    """One sentence for the reader of a notebook: what is wrong and what became of the file."""


def save(path, tree) -> None:
    """Writes a tree of dicts, lists and tuples over tensors, arrays, numbers, strings and None.

    It takes what `state_dict()` of a module or optimiser, `torch.Generator.get_state()` and
    `numpy.random.Generator.bit_generator.state` return. `load` gives the same bits, on the CPU.
    """
    tensors: list[torch.Tensor] = []
    shape = json.dumps(_pack(tree, tensors, "the tree"))
    named = {str(i): tensor for i, tensor in enumerate(tensors)}
    header = {"format": FORMAT, "tree": shape, "sum": str(_checksum(shape, tensors))}
    _replace(Path(path), lambda part: save_file(named, part, header))


def load(path):
    """The tree that `save` wrote; a sentence (StoreError) if this is not such a file."""
    if not Path(path).exists():
        raise StoreError(f"There is no checkpoint {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            # A copy: what is mapped from a file dies when a synchronised folder changes it.
            tensors = [file.get_tensor(str(i)).clone() for i in range(len(file.keys()))]
    except (SafetensorError, OSError) as error:
        raise StoreError(f"{path} cannot be read ({error}); it was left as it is.") from None
    if header.get("format") != FORMAT:
        raise StoreError(
            f"{path} was not written by this version of the course; it was left alone."
        )
    if header["sum"] != str(_checksum(header["tree"], tensors)):
        raise StoreError(f"{path} is damaged (its checksum is wrong); it was left as it is.")
    return _unpack(json.loads(header["tree"]), tensors)


def card(path, **facts) -> dict:
    """Writes the card of a checkpoint beside it, or reads it if no facts are given.

    A card says how to make the file again: command, seconds, device, seed, claims. The commit is
    filled in; further facts are welcome.
    """
    path = Path(path).with_suffix(".json")
    if not facts:
        return json.loads(path.read_text("utf-8"))
    facts = {"commit": commit(), **facts}
    if missing := [name for name in FACTS if name not in facts]:
        raise TypeError(f"a card needs {', '.join(missing)} too")
    write_text(path, json.dumps(facts, indent=1) + "\n")
    return facts


def write_text(path, text: str) -> None:
    """Writes a small file whole or not at all."""
    _replace(Path(path), lambda part: part.write_text(text, "utf-8"))


class Run:
    """A training that goes on where its last checkpoint was.

        run = Run("runs", "dreamer", {"lr": 1e-4, "seed": 0})
        if (tree := run.load()) is not None: ...              # put everything back
        for step in range(first, steps):
            ...
            if run.due(): run.save({"step": step + 1, "model": model.state_dict(), ...})

    A checkpoint of another config is never gone on from: it is kept aside under another name,
    said so in a sentence, and the run starts from the beginning. So is one that cannot be read.
    """

    def __init__(self, folder, name: str, config: dict):
        self.path, self.config = Path(folder) / f"{name}.safetensors", config
        self.saved = time.monotonic()

    def load(self):
        """The tree last saved, or None to begin from the beginning."""
        if not self.path.exists():
            return None
        try:
            stored = load(self.path)
            theirs, ours = _flat(stored["config"]), _flat(self.config)
            keys = [k for k in {**theirs, **ours} if theirs.get(k, "unset") != ours.get(k, "unset")]
            if not keys:
                return stored["tree"]
            differs = ", ".join(
                f"{k} was {theirs.get(k, 'unset')}, is {ours.get(k, 'unset')}" for k in keys
            )
            why = f"{self.path} belongs to another config ({differs})."
        except (StoreError, KeyError, TypeError) as error:
            why = str(error) if isinstance(error, StoreError) else f"{self.path} holds no run."
        numbers = range(1, 1_000_000)
        aside = next(p for i in numbers if not (p := self.path.with_suffix(f".old{i}")).exists())
        self.path.rename(aside)
        print(f"{why} Starting from the beginning; the old file is kept as {aside.name}.")
        return None

    def due(self, seconds: float = 20.0) -> bool:
        """True if the last save is so long ago."""
        return time.monotonic() - self.saved >= seconds

    def save(self, tree) -> None:
        save(self.path, {"config": self.config, "tree": tree})
        self.saved = time.monotonic()


def _pack(node, tensors: list, where: str):
    """JSON that keeps what JSON forgets: keys that are numbers, tuples, which leaf is a tensor."""
    if node is None or type(node) in (bool, int, float, str):
        return node
    if isinstance(node, dict):
        if bad := [key for key in node if type(key) not in (str, int)]:
            raise TypeError(f"{where} has the key {bad[0]!r}; keys are strings or whole numbers")
        return {"dict": [[k, _pack(v, tensors, f"{where}[{k!r}]")] for k, v in node.items()]}
    if isinstance(node, list | tuple):
        items = [_pack(v, tensors, f"{where}[{i}]") for i, v in enumerate(node)]
        return {"list" if isinstance(node, list) else "tuple": items}
    if isinstance(node, np.ndarray | np.generic):
        kind = "array" if isinstance(node, np.ndarray) else "number"
        node = torch.from_numpy(np.array(node, order="C"))
    elif isinstance(node, torch.Tensor):
        # A copy for each: safetensors refuses tensors that share memory, as tied weights do.
        kind, node = "tensor", node.detach().to("cpu", copy=True).contiguous()
    else:
        raise TypeError(f"{where} is a {type(node).__name__}; only tensors and plain values keep")
    tensors.append(node)
    return {kind: len(tensors) - 1}


def _unpack(node, tensors: list):
    if not isinstance(node, dict):
        return node
    ((kind, value),) = node.items()
    if kind == "dict":
        return {key: _unpack(item, tensors) for key, item in value}
    if kind in ("list", "tuple"):
        items = [_unpack(item, tensors) for item in value]
        return items if kind == "list" else tuple(items)
    leaf = tensors[value]
    return leaf if kind == "tensor" else leaf.numpy() if kind == "array" else leaf.numpy()[()]


def _checksum(shape: str, tensors: list) -> int:
    total = zlib.crc32(shape.encode())
    for tensor in tensors:
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), total)
    return total


def _replace(path: Path, write) -> None:
    """Writes beside `path`, makes sure that it is on the disk, and only then takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        with open(part, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise StoreError(f"{path} could not be written ({error}); the last one is kept.") from None


def _flat(config, name: str = "") -> dict:
    """Nested config as one dict of dotted names, to say what differs."""
    if not isinstance(config, dict):
        return {name: list(config) if isinstance(config, tuple) else config}
    items = (_flat(v, f"{name}.{k}" if name else str(k)) for k, v in config.items())
    return {key: value for part in items for key, value in part.items()}


def commit() -> str:
    """The commit that this code is at, `+` if files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--abbrev=40"]
    git += ["--dirty=+", "--exclude=*"]  # the hash, never a tag, which may move
    try:
        asked = subprocess.run(git, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return asked.stdout.strip() or "unknown"
