"""The full-size run of lesson 2.4: DreamerV3 learns DeepMind Control's walker-walk.

    python -m assets.dreamer_v3_walker

From proprioception, with the official model of one million parameters, for 100,000 frames at train
ratio 128. It wants a GPU and dm-control (see `utils/data/control.py`), saves itself in runs/ and
goes on from there. What it writes beside this file, 2.4_walker.json, is the learning curve: the
return of every episode as it was played, by the policy that learns and samples.
"""

import time
from pathlib import Path

import torch

from assets.training import DEVICE, device_name
from utils.agents.actor_critic import ActorCritic
from utils.agents.actor_critic import Config as Behaviour
from utils.course import store
from utils.course.captured import Captured
from utils.data.control import walker_walk
from utils.data.replay import Replay
from utils.nn.laprop import LaProp
from utils.world import Step, stream
from utils.worlds.dreamer_v3 import SIZE_1M, DreamerV3

PATH = Path(__file__).with_name("2.4_walker.json")
RUNS = Path(__file__).parents[1] / "runs/2.4"
FRAMES, REPEAT, WALKERS, BATCH, LENGTH, RATIO = 100_000, 2, 8, 16, 64, 128
ROWS = FRAMES // (REPEAT * WALKERS)  # one update a row: 8 new decisions, 1,024 replayed ones
RATE = 3e-4  # 7.5 times the official one, for an eighth of its updates a frame
SEED = 0
assert WALKERS * RATIO == BATCH * LENGTH


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    envs = walker_walk(WALKERS)
    spaces = envs.single_observation_space, envs.single_action_space
    world = DreamerV3(*spaces, SIZE_1M).to(DEVICE)
    behaviour = ActorCritic(world.size, spaces[1], Behaviour(units=SIZE_1M.units)).to(DEVICE)
    parameters = [p for m in (world, behaviour) for p in m.parameters() if p.requires_grad]
    optimiser, replay = LaProp(parameters, RATE, warmup=300), Replay(ROWS + 1)
    generator = torch.Generator(DEVICE).manual_seed(SEED)
    drawn = torch.Generator().manual_seed(SEED)

    def loss(batch: Step) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        states, posterior = world.filter(batch, generator)
        model, metrics = world.objective(batch, states, posterior)
        play, more = behaviour.loss(world, states, batch, generator)
        return model + play, metrics | more

    captured = Captured(loss, parameters, generator)
    parts = {"world": world, "behaviour": behaviour, "optimiser": optimiser, "replay": replay}
    run, first, curve, before = store.Run(RUNS, "walker", {"rows": ROWS, "seed": SEED}), 0, [], 0.0
    if (tree := run.load()) is not None:
        first, curve, before = tree["row"], tree["curve"], tree["seconds"]
        generator.set_state(tree["generator"])
        drawn.set_state(tree["drawn"])
        for name, part in parts.items():
            part.load_state_dict(tree[name])

    # A run that goes on begins with fresh episodes: the simulator's state cannot be stored.
    going = stream(envs, world, behaviour.policy(world), seed=SEED + first, generator=generator)
    total, begun = torch.zeros(WALKERS), time.perf_counter() - before
    for row, (step, ended) in zip(range(first, ROWS), going, strict=False):
        step = Step(*(v.cpu() for v in step))
        replay.add(step)
        total += step.reward
        frames, seconds = (row + 1) * WALKERS * REPEAT, time.perf_counter() - begun
        if ended.any():
            curve += [[frames, round(value, 1)] for value in total[ended].tolist()]
            print(f"{frames} frames, {seconds:.0f} s: {total[ended].mean():.0f}", flush=True)
            total[ended] = 0
        if replay.rows > 2 * LENGTH:
            batch = replay.sample(BATCH, LENGTH, drawn)
            captured(Step(*(v.to(DEVICE) for v in batch)))
            optimiser.step()
        if run.due(60) or row + 1 == ROWS:
            tree = {name: part.state_dict() for name, part in parts.items()}
            tree |= {"row": row + 1, "curve": curve, "seconds": seconds}
            run.save(tree | {"generator": generator.get_state(), "drawn": drawn.get_state()})
            facts = {"command": "python -m assets.dreamer_v3_walker", "seconds": round(seconds)}
            facts |= {"device": device_name(), "seed": SEED, "frames": frames, "claims": {}}
            facts |= {"parameters": sum(p.numel() for p in parameters)}
            store.card(PATH, **facts, curve=curve)


if __name__ == "__main__":
    main()
