"""Makes the checkpoint of lesson 3.1: MuZero plays MinAtar Breakout, three seeds.

    python -m assets.muzero_breakout

It is the lesson's own loop, for longer: games played by search, a replay, the unrolled loss and no
more. What is reached is measured in new games, with the search and without it. The first seed is
stored beside this file, 3.1_breakout.safetensors and its card, with the returns of all three. Every
seed saves itself in runs/ and goes on from there (the games start anew). Weights are stored as
float16.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import one_hot

from utils.agents.mcts import (
    Decision,
    add_root_noise,
    muzero,
    normalise_by_tree,
    puct,
    simulate,
)
from utils.agents.mcts_compiled import compiled
from utils.agents.mcts_models import WorldModel
from utils.course import store
from utils.data import minatar
from utils.data.replay import Replay
from utils.nn.random import dirichlet
from utils.world import State, interact, stream
from utils.worlds.muzero import Config, MuZero, Played, n_step_targets, random_actions

PATH = Path(__file__).with_name("3.1_breakout.safetensors")
RUNS = Path(__file__).parents[1] / "runs/3.1"
SEEDS = (0, 1, 2)
CONFIG = Config(support=0, value_weight=2.0)
SETTINGS = {
    "games": 32,  # side by side
    "steps": 8000,  # of each
    "simulations": 16,
    "discount": 0.97,
    "unroll": 5,  # K
    "ahead": 10,  # n of the targets
    "batch": 128,
    "rate": 2e-3,  # falls to a tenth
    "memory": 1000,  # rows of each game
    "warm-up": 40,  # rows before the first update; then one update a step
}
score = partial(puct, normalise=normalise_by_tree)


class Agent:
    """A world and the search that plays with it."""

    def __init__(self) -> None:
        game = minatar.MinAtar("breakout")
        self.world = MuZero(game.observation_space, game.action_space, CONFIG)
        self.model = WorldModel(self.world, self.world.predict, SETTINGS["discount"])
        self.simulate, self.found = simulate, None

    def search(self, state: State, **how) -> Decision:
        root, noise = self.model.root(state), how.pop("noise", None)
        if noise is not None:
            root = root._replace(logits=add_root_noise(root.logits, noise))
        n, step = SETTINGS["simulations"], self.simulate
        return muzero(root, self.model, n, score=score, simulate=step, **how)

    @torch.no_grad()
    def explore(self, state: State, generator: torch.Generator) -> Float[Tensor, "B 3"]:
        """Moves of self-play; what the search found is kept for the replay."""
        noise = dirichlet(torch.full((len(state["latent"]), 3), 0.5), generator)
        self.found = self.search(state, noise=noise, temperature=1.0, generator=generator)
        return one_hot(self.found.action, 3).float()

    @torch.no_grad()
    def greedy(self, state: State, generator: torch.Generator) -> Float[Tensor, "B 3"]:
        """The most visited action, without noise."""
        return one_hot(self.search(state).action, 3).float()

    @torch.no_grad()
    def by_policy(self, state: State, generator: torch.Generator) -> Float[Tensor, "B 3"]:
        """What the policy network likes best, without a search."""
        return one_hot(self.world.heads(state["latent"])[0].argmax(-1), 3).float()


def at_random(state: State, generator: torch.Generator) -> Float[Tensor, "B 3"]:
    return random_actions(torch.zeros(len(state["latent"]), 3), generator)


def learn(agent: Agent, optimiser: torch.optim.Optimizer, memory: Replay, generator) -> dict:
    """One update from windows of the replay."""
    unroll, ahead = SETTINGS["unroll"], SETTINGS["ahead"]
    rows = memory.sample(SETTINGS["batch"], unroll + 1 + ahead, generator)
    target = n_step_targets(rows, ahead, SETTINGS["discount"])
    window = Played(*(v[:, : unroll + 1] for v in rows))._replace(value=target)
    loss, parts, _ = agent.world.loss(window, generator)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(agent.world.parameters(), 5.0)
    optimiser.step()
    return parts


def train(seed: int) -> tuple[Agent, float]:
    """Plays and learns. Returns the agent and CPU seconds, over all tries."""
    torch.manual_seed(seed)
    agent, memory = Agent(), Replay(SETTINGS["memory"], Played)
    generator = torch.Generator().manual_seed(seed)
    world, rate, steps = agent.world, SETTINGS["rate"], SETTINGS["steps"]
    optimiser = torch.optim.AdamW(world.parameters(), rate, weight_decay=1e-4, fused=True)
    about = dataclasses.asdict(CONFIG) | SETTINGS | {"seed": seed}
    run, first, before = store.Run(RUNS, f"breakout_{seed}", about), 0, 0.0
    saved = {"world": world, "optimiser": optimiser, "memory": memory}
    if (tree := run.load()) is not None:
        first, before = tree["step"], tree["seconds"]
        for name, part in saved.items():
            part.load_state_dict(tree[name])
        generator.set_state(tree["generator"])
    begun, row = time.process_time() - before, None
    games = minatar.vector("breakout", SETTINGS["games"], minatar.LIMIT)
    rows = stream(games, world, agent.explore, seed=1000 * seed + first, generator=generator)
    agent.simulate, total, scores = compiled(), 0.0, []
    for step, (new, ended) in zip(range(first, steps), rows, strict=False):
        if row is not None:
            memory.add(Played(*row, agent.found.policy, agent.found.tree.value[:, 0]))
        row, total = new, total + new.reward
        scores = (scores + total[ended].tolist())[-100:]
        total = total * ~ended
        if step >= SETTINGS["warm-up"]:
            optimiser.param_groups[0]["lr"] = rate * max(0.1, 1 - step / steps)
            learn(agent, optimiser, memory, generator)
        if step % 500 == 0 and scores:
            mean = sum(scores) / len(scores)
            seconds = time.process_time() - begun
            print(f"seed {seed}, step {step}: {seconds:.0f} s, return {mean:.2f}", flush=True)
        if run.due(60) or step + 1 == steps:
            tree = {name: part.state_dict() for name, part in saved.items()}
            tree |= {"step": step + 1, "seconds": time.process_time() - begun}
            run.save(tree | {"generator": generator.get_state()})
    agent.simulate = simulate
    return agent, tree["seconds"]


def returns(agent: Agent, policy: Callable[..., Tensor], seed: int, games: int = 64) -> float:
    """Mean return of new games, cut as those of training."""
    env = minatar.vector("breakout", games, minatar.LIMIT)
    generator = torch.Generator().manual_seed(seed)
    played = interact(env, agent.world, policy, episodes=1, seed=10_000 + seed, generator=generator)
    return played.returns.mean().item()


def main() -> None:
    torch.set_num_threads(1)
    claims, spent = {}, {}
    for seed in SEEDS:
        agent, seconds = train(seed)
        weights = {name: value.half() for name, value in agent.world.state_dict().items()}
        agent.world.load_state_dict(weights)  # what is measured is what was stored
        if seed == SEEDS[0]:
            store.save(PATH, {"config": dataclasses.asdict(CONFIG), "weights": weights})
        policies = {
            "random": at_random,
            "search": agent.greedy,
            "search, as in training": agent.explore,
            "policy alone": agent.by_policy,
        }
        claims[f"seed {seed}"] = {k: round(returns(agent, p, seed), 2) for k, p in policies.items()}
        spent[f"seed {seed}"] = round(seconds)
        print(seed, claims[f"seed {seed}"], f"{seconds:.0f} s", flush=True)
    facts = {"command": "python -m assets.muzero_breakout", "seconds": spent}
    facts |= {"device": "1 CPU core (x86_64)", "seed": list(SEEDS), "stored as": "float16"}
    facts |= {"settings": SETTINGS, "config": dataclasses.asdict(CONFIG)}
    store.card(PATH, **facts, claims=claims)


if __name__ == "__main__":
    main()
