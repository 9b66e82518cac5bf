"""A duel of tree searches: 50 simulations, 4 actions, a network of two layers of 64, in turns.

    pip install "mctx==0.0.71" easydict && pip install --no-deps "LightZero==0.2.0"
    git clone https://github.com/werner-duvaud/muzero-general && \\
        git -C muzero-general checkout 0825bd5
    python -m tests.duels.mcts mctx lightzero muzero_general=muzero-general [--batches 1,16,64,256]

LightZero needs no more of its own dependencies than these, since only its search is imported (its
wheel holds the compiled tree). mctx and LightZero search with copies of our weights; the network of
muzero-general has heads of 21 bins and no batches, so that it is called once for each row.

All share one core, which the process is tied to, because JAX has no switch for its threads. Ratios
are to our compiled search: above 1 says how many times as long the peer takes. mctx and LightZero
are compared by what they do as well: mctx's trees must be ours (but for its random tie-breaks);
LightZero normalises Q over the whole tree and counts a root's visits one less, so its need not.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from utils.agents import mcts_bench
from utils.agents.mcts_bench import ACTIONS, GAMMA, HIDDEN
from utils.course.bench import race
from utils.course.readme import record

SIMULATIONS = 50


def ours(batch: int, peers: dict[str, Callable]) -> dict:
    torch.compiler.reset()
    work = mcts_bench.searches(mcts_bench.network(), batch, SIMULATIONS)
    trees = [call() for call in work.calls.values()]
    same = (trees[0].child == trees[1].child).flatten(1).all(1)
    print(f"batch {batch}: {int(same.sum())} compiled trees equal eager ones", file=sys.stderr)
    if "mctx" in peers:
        visits = np.asarray(peers["mctx"]()) * SIMULATIONS
        equal = (np.rint(visits) == trees[0].visits[:, 0].numpy()).all(1)
        print(f"batch {batch}: {equal.sum()} of mctx's root visits are ours", file=sys.stderr)
    return work.calls


def mctx(batch: int, path: str = "") -> Callable:
    """`muzero_policy` under jit, without root noise; returns its action weights."""
    import jax
    import mctx
    from jax import numpy as jnp

    network = mcts_bench.network()
    weights = {k: jnp.asarray(v.numpy()) for k, v in network.state_dict().items()}

    def heads(w, latent):
        out = latent @ w["heads.weight"].T + w["heads.bias"]
        return out[:, :ACTIONS], out[:, ACTIONS], out[:, ACTIONS + 1]

    def step(w, key, action, latent):
        given = jnp.concatenate([latent, jax.nn.one_hot(action, ACTIONS)], -1)
        hidden = jax.nn.relu(given @ w["first.weight"].T + w["first.bias"])
        latent = jax.nn.relu(hidden @ w["second.weight"].T + w["second.bias"])
        logits, value, reward = heads(w, latent)
        discount = jnp.full_like(value, GAMMA)
        output = mctx.RecurrentFnOutput(
            reward=reward, discount=discount, prior_logits=logits, value=value
        )
        return output, latent

    @jax.jit
    def search(w, key, latent):
        logits, value, _ = heads(w, latent)
        root = mctx.RootFnOutput(prior_logits=logits, value=value, embedding=latent)
        options = {"num_simulations": SIMULATIONS, "dirichlet_fraction": 0.0}
        return mctx.muzero_policy(w, key, root, step, **options).action_weights

    latent = jnp.asarray(network.root(batch).state["latent"].numpy())
    key = jax.random.PRNGKey(0)
    return lambda: jax.block_until_ready(search(weights, key, latent))


@functools.cache
def lightzeros_search() -> type:
    """`MuZeroMCTSCtree`, with only the modules that it needs."""
    home = Path(importlib.util.find_spec("lzero").origin).parent

    def bare(name: str, *folders: str) -> types.ModuleType:
        module = types.ModuleType(name)
        module.__path__ = [str(home.joinpath(*folders))]
        sys.modules[name] = module
        return module

    bare("lzero")
    bare("lzero.mcts", "mcts")
    bare("lzero.mcts.tree_search", "mcts", "tree_search")
    bare("lzero.mcts.ctree", "mcts", "ctree")
    policy = bare("lzero.policy", "policy")
    from lzero.policy.scaling_transform import InverseScalarTransform

    policy.InverseScalarTransform = InverseScalarTransform
    policy.to_detach_cpu_numpy = lambda x: x.detach().cpu().numpy()
    from lzero.mcts.tree_search.mcts_ctree import MuZeroMCTSCtree

    return MuZeroMCTSCtree


def lightzero(batch: int, path: str = "") -> Callable:
    """`MuZeroMCTSCtree.search`, the compiled tree."""
    from easydict import EasyDict

    tree = lightzeros_search()
    network = mcts_bench.network()

    def inference(latent, action):
        latent, logits, value, reward = network.step(latent, action)
        names = {"latent_state": latent, "policy_logits": logits, "value": value, "reward": reward}
        return types.SimpleNamespace(**names)

    model = types.SimpleNamespace(recurrent_inference=inference, eval=lambda: None)
    shape = {"support_scale": 300, "categorical_distribution": False}
    config = {"num_simulations": SIMULATIONS, "discount_factor": GAMMA, "device": "cpu"}
    search = tree(EasyDict(config | {"model": shape}))
    root = network.root(batch)
    latent, logits = root.state["latent"].numpy(), root.logits.tolist()
    legal, players = [list(range(ACTIONS))] * batch, [-1] * batch

    def run():
        roots = tree.roots(batch, legal)
        roots.prepare_no_noise([0.0] * batch, logits, players)
        search.search(roots, model, latent, players)
        return roots.get_distributions()

    return run


def muzero_general(batch: int, path: str) -> Callable:
    """`MCTS.run`, row by row."""
    sys.path.insert(0, str(Path(path).resolve()))
    ray = types.ModuleType("ray")  # it only decorates classes that are not used here
    ray.remote = lambda decorated: decorated
    sys.modules.setdefault("ray", ray)
    import models
    import self_play

    config = types.SimpleNamespace(
        **{"num_simulations": SIMULATIONS, "action_space": list(range(ACTIONS)), "players": [0]},
        **{"discount": GAMMA, "pb_c_base": 19652, "pb_c_init": 1.25, "support_size": 10},
        **{"root_dirichlet_alpha": 0.25, "root_exploration_fraction": 0.25},
    )
    sizes = (0, ACTIONS, HIDDEN, [], [], [], [HIDDEN], [HIDDEN], config.support_size)
    network = models.MuZeroFullyConnectedNetwork((1, 1, HIDDEN), *sizes).eval()
    observation = np.random.default_rng(0).normal(size=(1, 1, HIDDEN)).astype("float32")
    search = self_play.MCTS(config)

    @torch.no_grad()
    def run():
        for _ in range(batch):
            search.run(network, observation, config.action_space, 0, False)

    return run


PEERS = {"mctx": mctx, "lightzero": lightzero, "muzero_general": muzero_general}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peers", nargs="*", help="name or name=folder")
    parser.add_argument("--batches", default="1,16,64,256")
    parser.add_argument("--rounds", type=int, default=15)
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    torch.set_num_threads(1)
    for batch in map(int, given.batches.split(",")):
        peers = {}
        for pair in given.peers:
            name, _, path = pair.partition("=")
            if name != "muzero_general" or batch <= 16:  # beyond, minutes a round
                peers[name] = PEERS[name](batch, path)
        result = race(ours(batch, peers) | peers, given.rounds)
        speeds = {
            f"{name.removesuffix(' seconds')} simulations/s": round(batch * SIMULATIONS / seconds)
            for name, seconds in result.items()
            if name.endswith(" seconds")
        }
        print(json.dumps({"duel": "mcts", "batch": batch} | speeds | result), flush=True)
        made = {k: v for k, v in result.items() if "/" in k or k in ("rounds", "threads")}
        record("speeds", f"mcts, against peers, batch {batch}", speeds | made)


if __name__ == "__main__":
    main()
