"""DreamerV3 learns CartPole-v1: the loop as it stands in a lesson, with checkpoints.

    python -m tests.agents.dreamer_cartpole FOLDER SEED [SEGMENTS] [SIZE]

Prints a line for every segment, and at the end the returns of 20 episodes. SIZE is small or tiny.
"""

import sys
import time
from itertools import islice
from pathlib import Path

import gymnasium as gym
import torch
from gymnasium.vector import SyncVectorEnv

from utils.agents.actor_critic import ActorCritic
from utils.agents.actor_critic import Config as Behaviour
from utils.course.store import Run
from utils.data.replay import Replay
from utils.nn.laprop import LaProp
from utils.world import interact, stream
from utils.worlds.dreamer_v3 import Config, DreamerV3

TINY = Config(deter=16, hidden=8, stoch=2, classes=4, blocks=4, units=8, bins=21)
SIZES = {  # model, environments, rows a segment, rows an update, batch, length, learning rate
    "small": (Config(deter=128, hidden=64, stoch=8, classes=8, units=64), 4, 1000, 1, 8, 16, 1e-3),
    "tiny": (TINY, 2, 40, 8, 2, 8, 1e-3),
}


def train(folder: Path, seed: int, segments: int, size: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    sizes, environments, rows, every, batch, length, rate = SIZES[size]
    envs = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * environments)
    spaces = envs.single_observation_space, envs.single_action_space
    world = DreamerV3(*spaces, sizes)
    behaviour = ActorCritic(world.size, spaces[1], Behaviour(units=sizes.units, bins=sizes.bins))
    policy, replay = behaviour.policy(world), Replay(100_000)
    parameters = [p for m in (world, behaviour) for p in m.parameters() if p.requires_grad]
    optimiser = LaProp(parameters, lr=rate, warmup=100)
    generator = torch.Generator().manual_seed(seed)
    parts = {"world": world, "behaviour": behaviour, "optimiser": optimiser, "replay": replay}

    run, begun, first = Run(folder, f"{size}{seed}", {"seed": seed, "size": size}), 0.0, 0
    if (tree := run.load()) is not None:
        first, begun = tree["segment"], tree["seconds"]
        generator.set_state(tree["generator"])
        for name, part in parts.items():
            part.load_state_dict(tree[name])
    begun = time.process_time() - begun
    for segment in range(first, segments):
        # A fresh start of the environments, which cannot be stored, at every segment.
        going = stream(envs, world, policy, seed=1000 * seed + segment, generator=generator)
        done, total, returns = 0, torch.zeros(environments), []
        for row, ended in islice(going, rows):
            replay.add(row)
            total += row.reward
            returns += total[ended].tolist()
            total[ended] = 0
            done += 1
            if replay.rows < 4 * length or done % every:
                continue
            data = replay.sample(batch, length, generator)
            states, posterior = world.filter(data, generator)
            model, metrics = world.objective(data, states, posterior)
            actor_critic, more = behaviour.loss(world, states, data, generator)
            optimiser.zero_grad()
            (model + actor_critic).backward()
            optimiser.step()
        state = {name: part.state_dict() for name, part in parts.items()}
        seconds = time.process_time() - begun
        state |= {"segment": segment + 1, "seconds": seconds, "generator": generator.get_state()}
        run.save(state)
        mean = sum(returns) / max(1, len(returns))
        shown = {k: round(v.item(), 3) for k, v in (metrics | more).items()}
        frames = (segment + 1) * rows * environments
        print(f"{seconds:5.0f} s, {frames} frames, return {mean:.0f}, {shown}", flush=True)
        if size != "tiny" and returns and mean > 150:
            judge = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 20)
            fresh = torch.Generator().manual_seed(10_000 + seed)
            seen = interact(judge, world, policy, episodes=1, seed=10_000 + seed, generator=fresh)
            values = seen.returns
            print(
                f"    20 episodes: mean {values.mean():.1f}, least {values.min():.0f}", flush=True
            )


if __name__ == "__main__":
    folder, seed, *rest = sys.argv[1:]
    segments, size = (int(rest[0]) if rest else 4), (rest[1] if len(rest) > 1 else "small")
    train(Path(folder), int(seed), segments, size)
