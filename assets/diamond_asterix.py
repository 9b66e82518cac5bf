"""Makes the second checkpoint of lesson 4.3: DIAMOND on the fixed data of MinAtar Asterix.

    python -m assets.diamond_asterix

It trains twice for 4,000 updates by the lesson's own loss (seven minutes on one idle core), with
errors of all cells counted alike and with those counted 21 times where the frame has changed, as in
Breakout. It counts what comes in in the dreams of both, and writes the weights of the first as
4.3_asterix.safetensors and its card beside this file. Weights are stored as float16.
"""

import dataclasses
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from assets.diamond_breakout import BATCH, SEED, train
from assets.training import DEVICE, device_name
from utils.course import store
from utils.data import minatar
from utils.evaluate import asterix
from utils.nn.edm import euler, heun
from utils.world import Step, take
from utils.worlds.diamond import DIAMOND, SMALL, Config

PATH = Path(__file__).with_name("4.3_asterix.safetensors")
UPDATES, ACTIONS = 4_000, 5


@torch.no_grad()
def judge(world: DIAMOND, test: Step, generator: torch.Generator) -> dict[str, float]:
    """One dreamt frame after each row of the test stream, beside the recorded one."""
    stream = Step(*(part[None] for part in test))
    states = world.filter(stream)
    goes_on = ~test.first[1:]
    state = take({name: part[0, :-1] for name, part in states.items()}, goes_on)
    dreamt = world.imagine(state, test.action[1:][goes_on], generator=generator)
    before, after = test.observation[:-1][goes_on], test.observation[1:][goes_on]
    return asterix.scores(
        asterix.arrivals(before, world.decode(dreamt.state)), asterix.arrivals(before, after)
    )


def learned(config: Config, name: str, data: minatar.Data) -> tuple[DIAMOND, float]:
    """A trained world, as it is after its weights have been stored, and seconds."""
    torch.manual_seed(SEED)
    generator = torch.Generator(DEVICE).manual_seed(SEED)
    world = DIAMOND(MultiBinary(minatar.SHAPE), Discrete(ACTIONS), config).to(DEVICE)
    there = Step(*(part.to(DEVICE) for part in data.train))
    seconds = train(world, there, generator, name, UPDATES)
    world.cpu().load_state_dict({k: v.half() for k, v in world.state_dict().items()})
    return world, seconds


def main() -> None:
    torch.set_num_threads(1)
    data, claims, took = minatar.load("asterix"), {}, {}
    for name, moving in {"asterix": SMALL.moving, "asterix, alike": 0.0}.items():
        config = dataclasses.replace(SMALL, moving=moving)
        world, took[f"moving {moving:g}"] = learned(config, name, data)
        for steps, sampler in ((1, euler), (3, euler), (10, euler), (10, heun)):
            world.steps, world.sampler = steps, sampler
            scores = judge(world, data.test, torch.Generator().manual_seed(SEED))
            claims[f"moving {moving:g}, {sampler.__name__}, steps {steps}"] = {
                k: round(v, 4) if v == v else None for k, v in scores.items()
            }
    weights = {name: value.half() for name, value in world.state_dict().items()}
    store.save(PATH, {"config": dataclasses.asdict(config), "weights": weights})
    seconds = {name: round(value) for name, value in took.items()}
    facts = {"command": "python -m assets.diamond_asterix", "seconds": seconds}
    facts |= {"device": device_name(), "seed": SEED, "stored as": "float16"}
    facts |= {"data": minatar.digest(data), "updates": UPDATES, "batch": BATCH, "claims": claims}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
