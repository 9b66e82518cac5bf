"""Makes the second checkpoint of lesson 4.3: DIAMOND on the fixed data of MinAtar Asterix.

    python -m assets.diamond_asterix

It trains for 4,000 updates by the lesson's own loss (four minutes on one idle core), counts what
comes in in its dreams, and writes 4.3_asterix.safetensors and its card beside this file. Weights
are stored as float16.
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
from utils.world import Step, take
from utils.worlds.diamond import DIAMOND, SMALL

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


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    generator, data = torch.Generator(DEVICE).manual_seed(SEED), minatar.load("asterix")
    world = DIAMOND(MultiBinary(minatar.SHAPE), Discrete(ACTIONS), SMALL).to(DEVICE)
    there = Step(*(part.to(DEVICE) for part in data.train))
    seconds = train(world, there, generator, "asterix", UPDATES)
    weights = {name: value.half().cpu() for name, value in world.state_dict().items()}
    store.save(PATH, {"config": dataclasses.asdict(SMALL), "weights": weights})
    world.cpu().load_state_dict(weights)  # what is measured is what was stored
    claims = {}
    for steps in (1, 3):
        world.steps = steps
        scores = judge(world, data.test, torch.Generator().manual_seed(SEED))
        claims |= {f"{name}, {steps} steps": round(value, 4) for name, value in scores.items()}
    facts = {"command": "python -m assets.diamond_asterix", "seconds": round(seconds)}
    facts |= {"device": device_name(), "seed": SEED, "stored as": "float16"}
    facts |= {"data": minatar.digest(data), "updates": UPDATES, "batch": BATCH, "claims": claims}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
