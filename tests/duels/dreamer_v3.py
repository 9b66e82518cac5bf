"""A duel with PyTorch implementations of DreamerV3: one full train step each, in turns.

    git clone https://github.com/NM512/dreamerv3-torch nm512 && git -C nm512 checkout 6ef8646
    git clone https://github.com/Eclectic-Sheep/sheeprl && git -C sheeprl checkout 33b6366
    git clone https://github.com/NM512/r2dreamer && git -C r2dreamer checkout 546e4fa
    pip install tensorboard tensordict lightning hydra-core omegaconf rich python-dotenv
    pip install torchmetrics
    python -m tests.duels.dreamer_v3 nm512=nm512 sheeprl=sheeprl r2dreamer=r2dreamer

Their code stays where it is and is not changed; what it takes to run it without a GPU stands below.
Vectors: batch 8 x 32. Frames: batch 4 x 16, 64x64 RGB. Both with 16x16 latents and 128 units. Small
is the course's own size: vectors, batch 8 x 16, 8x8 latents, 64 units. Everywhere 15 imagined
steps, 255 bins, float32, eager, on one thread and on two. A ratio above 1 says how many times as
long the peer takes.

- r2dreamer has the recurrence, norms, optimiser and losses of the official head, as ours: on
  vectors the two have the same parameters to the unit. Its frames go through 5x5 convolutions at
  full resolution and pooling, as the official default's: far more arithmetic than ours.
- NM512 and sheeprl have those of 2023: a dense GRU, layer norm, Adam, no critic's loss on replay.
  The duel is held at the same number of parameters (1 % or less apart), with deterministic state,
  latents and convolutions of their sizes: our recurrence has more layers but two blocks, and the
  width of its layers makes up the number.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import types
from pathlib import Path

import numpy as np
import torch

from utils.agents.actor_critic_bench import FRAMES, VECTORS, Agent
from utils.course.bench import race
from utils.course.readme import record
from utils.worlds.dreamer_v3 import Config

A = 2
SHAPES = {"small": (8, 16), "vectors": (8, 32), "frames": (4, 16)}
DETER = {"small": 128, "vectors": 256, "frames": 512}  # theirs
UNITS = {"small": 64, "vectors": 128, "frames": 128}
LATENTS = {"small": 8, "vectors": 16, "frames": 16}  # variables, and classes of each
MODULES = ("models", "networks", "tools", "dreamer", "rssm", "distributions", "optim")


@contextlib.contextmanager
def folder(path: str):
    """Imports from a peer's folder; several have modules of the same names."""
    sys.path.insert(0, str(Path(path).resolve()))
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.path.pop(0)
        for name in [n for n in sys.modules if n.split(".")[0] in MODULES]:
            del sys.modules[name]


def space(work: str, frames: tuple[int, ...] = (64, 64, 3), name: str = "image"):
    shapes = {name: frames} if work == "frames" else {"vec": (4,)}
    return types.SimpleNamespace(
        spaces={k: types.SimpleNamespace(shape=v) for k, v in shapes.items()}
    )


def random_batch(work: str, seed: int = 0) -> dict[str, np.ndarray]:
    (batch, time), rng = SHAPES[work], np.random.default_rng(seed)
    made = {
        "action": np.eye(A, dtype=np.float32)[rng.integers(0, A, (batch, time))],
        "reward": rng.normal(size=(batch, time)).astype(np.float32),
        "first": np.zeros((batch, time), np.float32),
        "image": rng.integers(0, 255, (batch, time, 64, 64, 3)).astype(np.uint8),
        "vec": rng.normal(size=(batch, time, 4)).astype(np.float32),
    }
    made["first"][:, 0] = 1
    return made


def nm512(path: str, work: str):
    """Train step and parameters of NM512/dreamerv3-torch."""
    with folder(path):
        import models
        import networks
    defaults = networks.MLP.__init__.__defaults__  # one of them is the device, "cuda"
    networks.MLP.__init__.__defaults__ = tuple("cpu" if x == "cuda" else x for x in defaults)
    keys = ("$^", "image") if work == "frames" else ("vec", "$^")
    nets = {"mlp_keys": keys[0], "cnn_keys": keys[1], "act": "SiLU", "norm": True}
    nets |= {
        "cnn_depth": 16,
        "kernel_size": 4,
        "minres": 4,
        "mlp_layers": 3,
        "mlp_units": UNITS[work],
    }
    adam = {"lr": 3e-5, "eps": 1e-5, "grad_clip": 100.0}
    config = types.SimpleNamespace(
        **{"device": "cpu", "precision": 32, "num_actions": A, "act": "SiLU"},
        **{"units": UNITS[work], "dyn_hidden": UNITS[work], "dyn_deter": DETER[work]},
        **{"dyn_stoch": LATENTS[work], "dyn_discrete": LATENTS[work]},
        **{"dyn_rec_depth": 1, "dyn_mean_act": "none", "dyn_std_act": "sigmoid2"},
        **{"dyn_min_std": 0.1, "unimix_ratio": 0.01, "initial": "learned", "norm": True},
        **{"grad_heads": ["decoder", "reward", "cont"], "opt": "adam", "model_lr": 1e-4},
        **{"opt_eps": 1e-8, "grad_clip": 1000, "weight_decay": 0.0, "reward_EMA": True},
        **{"dyn_scale": 0.5, "rep_scale": 0.1, "kl_free": 1.0, "discount": 0.997},
        **{"discount_lambda": 0.95, "imag_horizon": 15, "imag_gradient": "reinforce"},
        imag_gradient_mix=0.0,
        encoder=nets | {"symlog_inputs": True},
        decoder=nets
        | {"cnn_sigmoid": False, "image_dist": "mse", "vector_dist": "symlog_mse", "outscale": 1.0},
        actor=adam
        | {"layers": 3, "dist": "onehot", "entropy": 3e-4, "unimix_ratio": 0.01, "std": "none"}
        | {"min_std": 0.1, "max_std": 1.0, "temp": 0.1, "outscale": 1.0},
        critic=adam
        | {"layers": 3, "dist": "symlog_disc", "slow_target": True, "slow_target_update": 1}
        | {"slow_target_fraction": 0.02, "outscale": 0.0},
        reward_head={"layers": 1, "dist": "symlog_disc", "loss_scale": 1.0, "outscale": 0.0},
        cont_head={"layers": 1, "loss_scale": 1.0, "outscale": 1.0},
    )
    with contextlib.redirect_stdout(sys.stderr):
        world = models.WorldModel(space(work), None, 0, config)
        behaviour = models.ImagBehavior(config, world)
    for module in (world, behaviour):
        module.requires_grad_(False)  # as its own main program does
    rows = random_batch(work)
    batch = {"action": rows["action"], "reward": rows["reward"][..., None]}
    batch |= {"is_first": rows["first"], "is_terminal": np.zeros_like(rows["first"])}
    if work == "frames":
        batch["image"] = rows["image"]
    else:  # it always divides an image by 255
        batch |= {"vec": rows["vec"], "image": np.zeros((*SHAPES[work], 1, 1, 1), np.uint8)}

    def reward(features, state, action):
        return world.heads["reward"](world.dynamics.get_feat(state)).mode()

    def step() -> None:
        posterior, _, _ = world._train(batch)
        behaviour._train(posterior, reward)

    parts = (world, behaviour.actor, behaviour.value)
    return step, sum(p.numel() for part in parts for p in part.parameters())


def sheeprl(path: str, work: str):
    """Train step and parameters of Eclectic-Sheep/sheeprl."""
    root = Path(path).resolve() / "sheeprl"
    package = types.ModuleType("sheeprl")  # its __init__ imports every algorithm it has
    package.__path__, package.ROOT_DIR, package.__version__ = [str(root)], str(root), "0"
    sys.modules["sheeprl"] = package
    torch.distributions.Distribution.set_default_validate_args(False)  # its own default
    import hydra
    from lightning.fabric import Fabric
    from omegaconf import OmegaConf
    from sheeprl.algos.dreamer_v3.agent import build_agent
    from sheeprl.algos.dreamer_v3.dreamer_v3 import train
    from sheeprl.algos.dreamer_v3.utils import Moments
    from sheeprl.utils.utils import dotdict

    def read(name: str):
        return OmegaConf.load(root / "configs" / f"{name}.yaml")

    files = ("algo/default", "algo/dreamer_v3_XL", "algo/dreamer_v3")
    algo = OmegaConf.merge(*(read(name) for name in files))
    algo.pop("defaults", None)
    for part in ("world_model", "actor", "critic"):
        algo[part].optimizer = OmegaConf.merge(read("optim/adam"), algo[part].get("optimizer", {}))
    one, hidden = {"mlp_layers": 1}, {"hidden_size": UNITS[work]}
    model = {"discrete_size": LATENTS[work], "stochastic_size": LATENTS[work]}
    model |= {"reward_model": one, "discount_model": one}
    model |= {"encoder": {"cnn_channels_multiplier": 16}, "transition_model": hidden}
    model |= {"representation_model": hidden}
    model |= {"recurrent_model": {"recurrent_state_size": DETER[work]}}
    batch, time = SHAPES[work]
    sizes = {"dense_units": UNITS[work], "mlp_layers": 3, "per_rank_batch_size": batch}
    algo = OmegaConf.merge(algo, sizes | {"per_rank_sequence_length": time, "world_model": model})
    seen = {"mlp": [], "cnn": ["rgb"]} if work == "frames" else {"mlp": ["vec"], "cnn": []}
    for kind, keys in seen.items():
        algo[f"{kind}_keys"] = {"encoder": keys, "decoder": keys}
    env = {"screen_size": 64, "num_envs": 1}
    distribution = {"type": "auto", "validate_args": False}
    config = OmegaConf.create({"algo": algo, "env": env, "distribution": distribution})
    OmegaConf.resolve(config)
    config = dotdict(OmegaConf.to_container(config))
    fabric = Fabric(accelerator="cpu", devices=1)
    frames = space(work, (3, 64, 64), "rgb").spaces
    world, actor, critic, target, _ = build_agent(fabric, [A], False, config, frames)
    optimisers = [
        hydra.utils.instantiate(
            OmegaConf.create(dict(config.algo[name].optimizer)),
            params=part.parameters(),
            _convert_="all",
        )
        for name, part in (("world_model", world), ("actor", actor), ("critic", critic))
    ]
    optimisers = fabric.setup_optimizers(*optimisers)
    limits = config.algo.actor.moments
    moments = Moments(limits.decay, limits.max, limits.percentile.low, limits.percentile.high)
    rows = {k: torch.from_numpy(v).transpose(0, 1) for k, v in random_batch(work).items()}
    data = {"actions": rows["action"], "rewards": rows["reward"][..., None]}
    data |= {"is_first": rows["first"][..., None]}
    data |= {k: torch.zeros(time, batch, 1) for k in ("terminated", "truncated")}
    data |= (
        {"rgb": rows["image"].permute(0, 1, 4, 2, 3).float()}
        if work == "frames"
        else {"vec": rows["vec"]}
    )

    def step() -> None:
        tau = config.algo.critic.tau  # as in its main loop
        pairs = zip(critic.module.parameters(), target.parameters(), strict=True)
        for fast, slow in pairs:
            slow.data.copy_(tau * fast.data + (1 - tau) * slow.data)
        train(
            *(fabric, world, actor, critic, target, *optimisers, data, None, config, False),
            *([A], moments),
        )

    return step, sum(p.numel() for part in (world, actor, critic) for p in part.parameters())


def r2dreamer(path: str, work: str):
    """Train step and parameters of NM512/r2dreamer, with a decoder as in Dreamer."""
    with folder(path):
        import dreamer
        from omegaconf import OmegaConf
        from tensordict import TensorDict
    # As shipped it computes in float16 on a GPU.
    dreamer.autocast = lambda *args, **kwargs: contextlib.nullcontext()
    base = OmegaConf.load(Path(path) / "configs/model/_base_.yaml")
    keys = ("$^", "image") if work == "frames" else ("vec", "$^")
    both = {part: {"mlp_keys": keys[0], "cnn_keys": keys[1]} for part in ("encoder", "decoder")}
    units, latents = UNITS[work], LATENTS[work]
    sizes = {"deter": DETER[work], "hidden": units, "discrete": latents, "depth": 16}
    sizes["units"] = units
    options = {"act": "SiLU", "norm": True, "rep_loss": "dreamer", "compile": False}
    root = OmegaConf.create({"device": "cpu", "env": both})
    root.model = OmegaConf.merge(base, sizes | options)
    root.model.rssm.stoch = latents
    root.model.rssm.img_layers = 2  # the official head's
    OmegaConf.resolve(root)
    with contextlib.redirect_stdout(sys.stderr):
        actions = types.SimpleNamespace(n=A, discrete=True)
        agent = dreamer.Dreamer(root.model, space(work), actions)
    rows = {k: torch.from_numpy(v) for k, v in random_batch(work).items()}
    (batch, time), key = SHAPES[work], "image" if work == "frames" else "vec"
    data = {"action": rows["action"], "reward": rows["reward"][..., None], key: rows[key]}
    data |= {"is_first": rows["first"].bool()}
    data |= {k: torch.zeros(batch, time, 1) for k in ("is_last", "is_terminal")}
    start = (torch.zeros(batch, latents, latents), torch.zeros(batch, DETER[work]))

    class Replay:
        def sample(self):
            return TensorDict(dict(data), batch_size=(batch, time)), None, start

        def update(self, *args):
            pass

    memory = Replay()
    parameters = sum(p.numel() for p in agent._named_params.values())
    return (lambda: agent.update(memory)), parameters


def ours(work: str, **sizes) -> Agent:
    latents, units = LATENTS[work], UNITS[work]
    own = {"hidden": units, "stoch": latents, "classes": latents, "units": units}
    config = Config(**own | sizes)
    return Agent(FRAMES if work == "frames" else VECTORS, config, *SHAPES[work])


PEERS = {"nm512": nm512, "sheeprl": sheeprl, "r2dreamer": r2dreamer}
EQUAL = {  # our sizes with the parameters of the designs of 2023, and of today
    "2023": {
        "small": {"deter": 128, "hidden": 68, "blocks": 2},
        "vectors": {"deter": 256, "hidden": 136, "blocks": 2},
        "frames": {"deter": 512, "hidden": 224, "blocks": 2, "depth": 16, "mults": (1, 2, 4, 8)},
    },
    "head": {
        "small": {"deter": 128},
        "vectors": {"deter": 256},
        "frames": {"deter": 512, "depth": 16},
    },
}


def main(given: list[str], rounds: int = 15) -> None:
    for work in SHAPES:
        for name, path in (pair.split("=", 1) for pair in given):
            agent = ours(work, **EQUAL["head" if name == "r2dreamer" else "2023"][work])
            step, parameters = PEERS[name](path, work)
            sizes = {"our parameters": agent.parameters, "their parameters": parameters}
            for threads in (1, 2):
                result = race({"ours": agent.train, "theirs": step}, rounds, threads)
                print(json.dumps({"duel": name, "work": work} | sizes | result), flush=True)


def keep(lines: list[str], cores: int) -> None:
    """What `main` printed, for the table of speeds in the README."""
    rows = [json.loads(line) for line in lines]
    for peer, work in dict.fromkeys((row["duel"], row["work"]) for row in rows):
        duel = [row for row in rows if (row["duel"], row["work"]) == (peer, work)]
        made = {f"theirs / ours, {row['threads']} threads": row["theirs / ours"] for row in duel}
        made |= {k: v for k, v in duel[0].items() if "parameters" in k or k == "rounds"}
        record("speeds", f"dreamer, against {peer}, {work}", made | {"CPU cores": cores})


if __name__ == "__main__":
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(sys.argv[1:])
    print(printed.getvalue())
    keep(printed.getvalue().splitlines(), os.cpu_count())
