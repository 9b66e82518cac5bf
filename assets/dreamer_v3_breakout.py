"""Makes the checkpoint of lesson 2.4: DreamerV3 on the fixed data of MinAtar Breakout.

    python -m assets.dreamer_v3_breakout

World, actor and critic learn by the lesson's own losses from recorded frames alone: the game is
played for the first time when all is learned. The result is measured on test windows and in the
game, and stored beside this file, 2.4_breakout.safetensors and its card. It runs on a GPU where
there is one, saves itself in runs/ and goes on from there. Weights are stored as float16.
"""

import dataclasses
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary

from assets.training import DEVICE, device_name, learn
from utils.agents.actor_critic import ActorCritic
from utils.agents.actor_critic import Config as Behaviour
from utils.course import store
from utils.data import minatar
from utils.evaluate import breakout, ladder
from utils.nn.laprop import LaProp
from utils.world import Step
from utils.worlds.dreamer_v3 import Config, DreamerV3

PATH = Path(__file__).with_name("2.4_breakout.safetensors")
RUNS = Path(__file__).parents[1] / "runs/2.4"
CONFIG = Config(deter=256, hidden=128, stoch=16, classes=16, units=128)
BEHAVIOUR = Behaviour(units=128, layers=2)
UPDATES, BATCH, LENGTH, RATE, WARMUP, SEED = 10_000, 64, 16, 1e-3, 500, 0


def train(world: DreamerV3, behaviour: ActorCritic, data: Step) -> float:
    """The lesson's losses without a game. Returns seconds."""
    generator = torch.Generator(DEVICE).manual_seed(SEED)

    def loss(batch: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        states, posterior = world.filter(batch, generator)
        model, metrics = world.objective(batch, states, posterior)
        play, more = behaviour.loss(world, states, batch, generator)
        return model + play, metrics | more

    parameters = [p for m in (world, behaviour) for p in m.parameters() if p.requires_grad]
    about = dataclasses.asdict(CONFIG) | {"updates": UPDATES, "batch": BATCH, "length": LENGTH}
    return learn(
        loss,
        {"world": world, "behaviour": behaviour},
        LaProp(parameters, RATE, warmup=WARMUP),
        data,
        generator,
        store.Run(RUNS, "breakout", about),
        **{"updates": UPDATES, "batch": BATCH, "length": LENGTH},
    )


def measured(world: DreamerV3, behaviour: ActorCritic, data: minatar.Data) -> dict[str, float]:
    """The row of the ladder, and what the actor earns in the game that it has never played."""
    test = breakout.windows(data)
    how = {"context": breakout.CONTEXT, "ground": breakout.BREAKOUT, "subsets": test.subsets}
    row = ladder.measure(world, test.steps, name="DreamerV3 (2.4)", **how)
    game, policy = minatar.vector("breakout", 32, minatar.LIMIT), behaviour.policy(world)
    row |= ladder.dream_real_gap(game, world, policy, episodes=2, limit=minatar.LIMIT)
    return {k: round(v, 4) for k, v in row.items() if isinstance(v, float) and k != "seconds"}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    data = minatar.load("breakout")
    spaces = MultiBinary(minatar.SHAPE), Discrete(3)
    world = DreamerV3(*spaces, CONFIG).to(DEVICE)
    behaviour = ActorCritic(world.size, spaces[1], BEHAVIOUR).to(DEVICE)
    seconds = train(world, behaviour, Step(*(v.to(DEVICE) for v in data.train)))
    made = {"config": dataclasses.asdict(CONFIG), "behaviour": dataclasses.asdict(BEHAVIOUR)}
    for name, part in (("world weights", world), ("behaviour weights", behaviour)):
        made[name] = {k: v.half() for k, v in part.state_dict().items()}
        part.load_state_dict(made[name])  # what is measured is what was stored
    store.save(PATH, made)
    facts = {"command": "python -m assets.dreamer_v3_breakout", "seconds": round(seconds)}
    facts |= {"device": device_name(), "seed": SEED, "stored as": "float16", "updates": UPDATES}
    facts |= {"data": minatar.digest(data), "claims": measured(world.cpu(), behaviour.cpu(), data)}
    print(store.card(PATH, **facts))


if __name__ == "__main__":
    main()
