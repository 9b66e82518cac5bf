"""How the checkpoints of this folder learn from a fixed data set, and how they are kept."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from utils.course import store
from utils.course.captured import Captured
from utils.course.store import Run
from utils.data import minatar
from utils.data.sequences import sample_windows
from utils.evaluate import breakout, ladder
from utils.world import Step

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def device_name() -> str:
    return torch.cuda.get_device_name() if DEVICE == "cuda" else "1 CPU core (x86_64)"


def learn(
    loss: Callable[[Step], tuple[torch.Tensor, dict[str, torch.Tensor]]],
    parts: dict[str, nn.Module],
    optimiser: torch.optim.Optimizer,
    data: Step,
    generator: torch.Generator,
    run: Run,
    *,
    updates: int,
    batch: int,
    length: int,
    clip: float | None = None,
    until: int | None = None,
) -> float:
    """Trains `parts` by `loss(batch) -> (loss, metrics)` with a rate that falls to a fiftieth.

    A GPU replays each step as one graph. The run saves itself every minute and goes on from there.
    Gradients are clipped to a norm of `clip`, if given. A run that stops early, at update `until`,
    has the rates of the whole run up to there.

    Returns:
        seconds, over all tries: of the CPU if there is no GPU, else of the clock.
    """
    parameters = [p for part in parts.values() for p in part.parameters() if p.requires_grad]
    falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, updates)
    saved = parts | {"optimiser": optimiser, "falling": falling}
    first, before = 0, 0.0
    if (tree := run.load()) is not None:
        first, before = tree["update"], tree["seconds"]
        for name, part in saved.items():
            part.load_state_dict(tree[name])
        generator.set_state(tree["generator"])
    captured = Captured(loss, parameters, generator)
    clock = time.perf_counter if DEVICE == "cuda" else time.process_time
    begun = clock() - before
    last = updates if until is None else until
    for update in range(first, last):
        _, metrics = captured(sample_windows(data, batch, length, generator))
        if clip is not None:
            nn.utils.clip_grad_norm_(parameters, clip)
        optimiser.step()
        falling.step()
        if update % 500 == 0:
            shown = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
            print(f"{update}: {clock() - begun:.0f} s, {shown}", flush=True)
        if run.due(60) or update + 1 == last:
            tree = {name: part.state_dict() for name, part in saved.items()}
            tree |= {"update": update + 1, "seconds": clock() - begun}
            run.save(tree | {"generator": generator.get_state()})
    return tree["seconds"]


def halve(world: nn.Module, config: object, path: Path) -> None:
    """Stores the weights as float16; `world` then has those, on the CPU."""
    weights = {key: value.half().cpu() for key, value in world.state_dict().items()}
    store.save(path, {"config": dataclasses.asdict(config), "weights": weights})
    world.cpu().load_state_dict(weights)


def keep(
    world: nn.Module, config: object, path: Path, name: str, data: minatar.Data, /, **facts: object
) -> None:
    """Stores the weights as float16, measures what was stored on the test windows of Breakout, and
    writes the card: that row of the ladder, and `facts`."""
    halve(world, config, path)
    test, ground = breakout.windows(data), breakout.BREAKOUT
    row = ladder.measure(world, test.steps, breakout.CONTEXT, ground, name, subsets=test.subsets)
    claims = {k: round(v, 4) for k, v in row.items() if isinstance(v, float) and k != "seconds"}
    about = {"device": device_name(), "stored as": "float16", "data": minatar.digest(data)}
    print(store.card(path, **facts, **about, claims=claims))
