"""A duel with eloialonso/iris, the official code of IRIS.

    git clone https://github.com/eloialonso/iris && git -C iris checkout 24326aa
    pip install einops
    python -m tests.duels.iris iris

Its code stays where it is: `src/models/world_model.py` and what it imports are loaded from that
folder, and run as its trainer and its `WorldModelEnv` do, on tokens that are ready. Systems take
turns call by call, on one thread; a ratio above 1 says how many times as long the peer takes. Both
have 1,019,141 parameters. First its weights are copied into ours, and both read the same text: the
logits must agree.

The official configuration has dropout in three places, ours has none. So the train step is timed
twice: with the peer's dropout set to 0, which is the same work, and as it comes.

Measured on one core (x86_64, torch 2.13, nothing beside it), times as long as ours: imagination
1.5 eager and 5.6 compiled (66, 99 and 373 frames a second); train step, the official configuration
as it comes, 2.1 eager and 2.2 compiled; without its dropout, which is the same work, 1.5 and 1.6,
and 1.7 in bfloat16. On another day the same core gave 1.6, 1.7 and 2.05 for the last three. The
aims were five times the imagination, and twice the train step, which was set with the dropout and
is met with it only.

Imagination: a compiled pass takes 0.46 ms, and 17 of them make a frame. Most of that is reading:
3.2 MB of weights and 2.8 MB of keys and values on average, at 20 to 25 GB/s from a cache that is
not the core's own. Two milliseconds a frame are around the passes.

Train step, in float32: both sides need the same 7 GFLOP of matrix products, which run at this
core's peak (160 GFLOP/s) and take 44 of our 119 ms. Attention takes 40, 10 a layer, forward and
backward, in the one fused kernel that PyTorch has for a CPU; from separate operations, as the
peer's, it takes 19 a layer. Blocks of queries by hand were no faster than the fused kernel.
bfloat16 is another arithmetic, so what it does to the logits of a trained world is said as well:
one likeliest token in 2,600 is another.
"""

import json
import sys
import types
from pathlib import Path

import torch
from gymnasium.spaces import Discrete, MultiBinary
from torch import nn

from utils.course import store
from utils.course.bench import race
from utils.course.exercise import ROOT
from utils.course.readme import record
from utils.data import minatar
from utils.data.sequences import sample_windows
from utils.worlds import iris_bench, iris_compiled
from utils.worlds.iris import IRIS, Config
from utils.worlds.iris_bench import ACTIONS, BATCH, FRAMES, TOKENS, VOCABULARY
from utils.worlds.iris_tokenizer import Patches


def peer(folder: str):
    """Its world model, config, dreams and optimiser, without what they import and do not need here.
    Its `utils.py` has the name of our package, and takes its place while it is imported."""
    source, ours = Path(folder) / "src", sys.modules.pop("utils")

    def bare(name: str, **content) -> None:
        module = types.ModuleType(name)
        module.__path__ = [str(source / name)]
        module.__dict__.update(content)
        sys.modules[name] = module

    for name in ("models", "envs", "dataset", "models.tokenizer", "episode", "gym", "cv2"):
        bare(name, Batch=dict, Tokenizer=object, Episode=object, Env=object)
    bare("torchvision")
    sys.path.insert(0, str(source))
    try:
        from envs.world_model_env import WorldModelEnv
        from models.transformer import TransformerConfig
        from models.world_model import WorldModel

        import utils as theirs
    finally:
        sys.path.remove(str(source))
        sys.modules["utils"] = ours
    return WorldModel, TransformerConfig, WorldModelEnv, theirs.configure_optimizer


def renamed(theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Their weights under our names; three products there are one here."""
    ours = {"position.weight": theirs["pos_emb.weight"]}
    for here, there in (("action", 0), ("token", 1)):
        ours[f"{here}.weight"] = theirs[f"embedder.embedding_tables.{there}.weight"]
    heads = (("to_token", "observations"), ("to_reward", "rewards"), ("to_end", "ends"))
    for part in ("weight", "bias"):
        ours[f"transformer.norm.{part}"] = theirs[f"transformer.ln_f.{part}"]
        for here, there in heads:
            for layer in (0, 2):
                name = f"head_{there}.head_module.{layer}.{part}"
                ours[f"{here}.{layer}.{part}"] = theirs[name]
        for i in range(4):
            block = f"transformer.blocks.{i}"
            qkv = [theirs[f"{block}.attn.{name}.{part}"] for name in ("query", "key", "value")]
            ours[f"{block}.attention.qkv.{part}"] = torch.cat(qkv)
            ours[f"{block}.attention.out.{part}"] = theirs[f"{block}.attn.proj.{part}"]
            for here, there in (("norm1", "ln1"), ("norm2", "ln2")):
                ours[f"{block}.{here}.{part}"] = theirs[f"{block}.{there}.{part}"]
            for layer in (0, 2):
                ours[f"{block}.mlp.{layer}.{part}"] = theirs[f"{block}.mlp.{layer}.{part}"]
    return ours


class Tokens:
    """What stands in the place of the official tokenizer: tokens that are ready."""

    def __init__(self, tokens: torch.Tensor) -> None:
        self.tokens = tokens

    def encode(self, observations, should_preprocess=True):
        return types.SimpleNamespace(tokens=self.tokens if observations is None else observations)

    def to(self, device):
        return self

    def eval(self):
        return self

    def embedding(self, tokens):
        return tokens[..., None].float()

    def decode(self, z, should_postprocess=True):
        return z


class Duel:
    """Both systems at the same size."""

    def __init__(self, folder: str) -> None:
        self.kind, self.config, self.env, self.optimiser = peer(folder)

    def theirs(self, dropout: float):
        sizes = {"num_layers": 4, "num_heads": 4, "embed_dim": 128}
        drop = dict.fromkeys(("embed_pdrop", "resid_pdrop", "attn_pdrop"), dropout)
        window = {"tokens_per_block": TOKENS + 1, "max_blocks": FRAMES, "attention": "causal"}
        return self.kind(VOCABULARY, ACTIONS, self.config(**window, **sizes, **drop))

    def agreement(self) -> dict:
        """Parameters of both, and how far apart their logits are with the same weights."""
        theirs, ours = self.theirs(0.0).eval(), iris_bench.world()
        ours.load_state_dict(renamed(theirs.state_dict()))
        tokens = torch.randint(VOCABULARY, (BATCH, FRAMES, TOKENS))
        action = torch.randint(ACTIONS, (BATCH, FRAMES))
        with torch.no_grad():
            said = theirs(torch.cat([tokens, action[..., None]], 2).flatten(1))
            outputs, _ = ours.transformer(ours.interleave(tokens, action)[:, :-2])
            frames = said.logits_observations.unflatten(
                1, (FRAMES, TOKENS)
            )  # token k + 1 at k, action last
            first = frames[:, :-1, -1:]
            wanted = torch.cat([first, frames[:, 1:, : TOKENS - 1]], 2)
            apart = (ours.logits(outputs) - wanted).abs().max().item()
            at_action = outputs[:, TOKENS :: TOKENS + 1]
            for head, logits in (("to_reward", said.logits_rewards), ("to_end", said.logits_ends)):
                other = (getattr(ours, head)(at_action) - logits[:, :-1]).abs().max().item()
                apart = max(apart, other)
        sizes = [sum(p.numel() for p in system.parameters()) for system in (ours, theirs)]
        return {"parameters": sizes, "logits apart by": apart}

    def dreams(self) -> dict:
        """Compiled dreams beside those of the clear form, over a whole window: how many frames have
        another token, and how far keys and values of the others are apart."""
        ours = iris_bench.world()
        fast, state = iris_compiled.Fast(ours), iris_bench.first_frame(ours)
        differ, apart = 0, 0.0
        for t in range(FRAMES - 1):
            action = torch.eye(ACTIONS)[torch.randint(ACTIONS, (BATCH,))]
            made = [
                system.imagine(state, action, generator=torch.Generator().manual_seed(t)).state
                for system in (ours, fast)
            ]
            wrong = (made[0]["tokens"] != made[1]["tokens"]).any(-1).any(-1)
            differ += int(wrong.sum())
            for name in ("keys", "values"):
                gap = (made[0][name] - made[1][name])[~wrong].abs()
                apart = max(apart, gap.max().item())
            state = made[0]
        return {"frames": BATCH * (FRAMES - 1), "that differ": differ, "memory apart by": apart}

    def train(self, dropout: float, rounds: int) -> dict:
        theirs = self.theirs(dropout).train()
        optimiser = self.optimiser(theirs, 1e-4, 0.01)
        tokens = Tokens(torch.randint(VOCABULARY, (BATCH, FRAMES, TOKENS)))
        batch = {
            "observations": None,
            "actions": torch.randint(ACTIONS, (BATCH, FRAMES)),
            "rewards": torch.randn(BATCH, FRAMES),
            "ends": torch.zeros(BATCH, FRAMES, dtype=torch.long),
            "mask_padding": torch.ones(BATCH, FRAMES, dtype=torch.bool),
        }

        def step() -> None:
            optimiser.zero_grad()
            theirs.compute_loss(batch, tokens).loss_total.backward()
            nn.utils.clip_grad_norm_(theirs.parameters(), 10.0)
            optimiser.step()

        return compared(race(iris_bench.train() | {"theirs": step}, rounds))

    def imagine(self, rounds: int) -> dict:
        tokens = torch.randint(VOCABULARY, (BATCH, TOKENS))
        env = self.env(Tokens(tokens), self.theirs(0.1), "cpu")
        action = torch.randint(ACTIONS, (BATCH,))

        def run() -> None:
            env.reset_from_initial_observations(tokens)
            for _ in range(FRAMES - 1):
                env.step(action)

        made = compared(race(iris_bench.imagine() | {"theirs": run}, rounds))
        frames = BATCH * (FRAMES - 1)
        names = [name.removesuffix(" seconds") for name in made if name.endswith("seconds")]
        speed = {f"{n}, frames a second": round(frames / made[f"{n} seconds"]) for n in names}
        return made | speed


def compared(made: dict) -> dict:
    """With the peer's median time as a multiple of that of each of ours."""
    times = {key.removesuffix(" seconds"): made[key] for key in made if key.endswith(" seconds")}
    theirs = times.pop("theirs")
    return {f"theirs / {name}": round(theirs / own, 2) for name, own in times.items()} | made


def moved() -> dict[str, float]:
    """What bfloat16 does to the logits of the trained world of lesson 4.1, on test windows."""
    stored, data = store.load(ROOT / "assets/4.1_breakout.safetensors"), minatar.load("breakout")
    config = Config(**stored["config"])
    tokens = Patches(data.train.observation, 2)
    world = IRIS(MultiBinary(minatar.SHAPE), Discrete(3), tokens, config)
    world.load_state_dict({name: value.float() for name, value in stored["weights"].items()})
    batch = sample_windows(data.test, 256, config.frames, torch.Generator().manual_seed(0))
    text = world.interleave(world.encode(batch.observation), batch.action.argmax(-1).roll(-1, 1))
    said = []
    for half in (False, True):
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=half):
            said.append(world.logits(world.transformer(text[:, :-2])[0]).float().log_softmax(-1))
    exact, low = said
    return {
        "mean change of the likeliest token's log-probability": round(
            (exact.amax(-1) - low.gather(-1, exact.argmax(-1, True))[..., 0]).abs().mean().item(), 5
        ),
        "tokens whose likeliest value is another": round(
            (exact.argmax(-1) != low.argmax(-1)).float().mean().item(), 5
        ),
    }


def main(folder: str) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    duel = Duel(folder)
    said = {
        "same weights": duel.agreement,
        "compiled and clear": duel.dreams,
        "bfloat16": moved,
        "train step, no dropout": lambda: duel.train(0.0, 15),
        "train step, its dropout of 0.1": lambda: duel.train(0.1, 15),
        "imagine 19 frames, 4 streams": lambda: duel.imagine(8),
    }
    for name, made in said.items():
        found = made()
        print(json.dumps({"duel": name} | found), flush=True)
        if "rounds" in found:
            record("speeds", f"iris, against eloialonso, {name}", found)


if __name__ == "__main__":
    main(sys.argv[1])
