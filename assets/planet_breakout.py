"""Makes the checkpoint of lesson 2.2: PlaNet on the fixed data of MinAtar Breakout.

    python -m assets.planet_breakout

It trains for 20,000 updates by the lesson's own loss, on a GPU if there is one (minutes; hours on
a CPU), measures the result on test windows, and writes 2.2_breakout.safetensors and its card beside
this file. Training saves itself in runs/ and goes on from there. Weights are stored as float16.
"""

import dataclasses
import time
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from utils.course import store
from utils.data import minatar
from utils.data.sequences import sample_windows
from utils.evaluate import breakout, ladder
from utils.world import Step
from utils.worlds.planet import Config, PlaNet

PATH = Path(__file__).with_name("2.2_breakout.safetensors")
RUNS = Path(__file__).parents[1] / "runs/2.2"
CONFIG = Config(deter=256, stoch=32, hidden=256, units=384, layers=2, free_nats=0.3, noise=0.05)
UPDATES, BATCH, LENGTH, RATE, SEED = 20_000, 192, 10, 2e-3, 0


def train(world: PlaNet, data: Step, generator: torch.Generator) -> float:
    """The lesson's loop, with a learning rate that falls to a fiftieth. Returns seconds."""
    adam = torch.optim.Adam(world.parameters(), RATE, eps=1e-5, fused=True)
    falling = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.02, UPDATES)
    about = dataclasses.asdict(CONFIG) | {"updates": UPDATES, "batch": BATCH, "length": LENGTH}
    run, parts = (
        store.Run(RUNS, "breakout", about),
        {"world": world, "adam": adam, "falling": falling},
    )
    first, before = 0, 0.0
    if (tree := run.load()) is not None:
        first, before = tree["update"], tree["seconds"]
        for name, part in parts.items():
            part.load_state_dict(tree[name])
        generator.set_state(tree["generator"])
    begun = time.perf_counter()
    for update in range(first, UPDATES):
        loss, metrics, _ = world.loss(sample_windows(data, BATCH, LENGTH, generator), generator)
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(world.parameters(), 100.0)
        adam.step()
        falling.step()
        if update % 500 == 0:
            shown = (f"{k} {v:.3g}" for k, v in metrics.items())
            print(update, f"{time.perf_counter() - begun:.0f} s", *shown, flush=True)
        if run.due(60) or update + 1 == UPDATES:
            seconds = before + time.perf_counter() - begun
            tree = {name: part.state_dict() for name, part in parts.items()}
            tree |= {"update": update + 1, "seconds": seconds, "generator": generator.get_state()}
            run.save(tree)
    return tree["seconds"]


def main() -> None:
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(SEED)
    generator, data = torch.Generator(device).manual_seed(SEED), minatar.load("breakout")
    world = PlaNet(MultiBinary(minatar.SHAPE), Discrete(3), CONFIG).to(device)
    seconds = train(world, Step(*(part.to(device) for part in data.train)), generator)
    weights = {name: value.half().cpu() for name, value in world.state_dict().items()}
    store.save(PATH, {"config": dataclasses.asdict(CONFIG), "weights": weights})
    world.cpu().load_state_dict(weights)  # what is measured is what was stored
    test = breakout.windows(data)
    row = ladder.measure(
        world,
        test.steps,
        breakout.CONTEXT,
        breakout.BREAKOUT,
        "PlaNet (2.2)",
        subsets=test.subsets,
    )
    claims = {k: round(v, 4) for k, v in row.items() if isinstance(v, float) and k != "seconds"}
    where = "1 CPU core (x86_64)" if device.type == "cpu" else torch.cuda.get_device_name()
    facts = {"command": "python -m assets.planet_breakout", "seconds": round(seconds)}
    facts |= {"device": where, "seed": SEED, "stored as": "float16"}
    facts |= {"data": minatar.digest(data), "updates": UPDATES, "claims": claims}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
