# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 4.1 IRIS: can a language model of pixels be a world?
#
# A language model predicts the next word from all words before it. Make a few words of every frame,
# write the actions between them, and the same model predicts what happens next, with as many
# outcomes as there are sentences. That is IRIS. In this lesson you build its tokenizer and its
# text, see on the smallest possible world why the words of a frame must be said one after the
# other, and what that costs. Then it dreams Breakout, and an agent learns to play inside.
#
# | | |
# |---|---|
# | You need | PyTorch, what attention is, lesson 2.4 for the RSSM and the PPO it is compared with |
# | You build | a vector quantizer, the text of frames and actions, a sampler with a memory |
# | Time | about 3 hours for the core, 2 more for *more* |
# | Runs on | any laptop: Run All takes about two minutes and 1 GB of memory; a GPU is not needed |
#
# Every exercise is followed by its check. It says PASS, or what differs and often which mistake it
# is. Until you solve an exercise, later cells use the reference, so Run All always works. Stuck?
# `hint("4.1.1")` gives a first hint, and a better one each time you call it.

# %%
# SETUP

# %% tags=["parameters"]
PROFILE = None  # smoke, quick or full; None: the environment variable WM_PROFILE, else quick

# %%
import math
import time
from dataclasses import replace
from itertools import islice

import matplotlib.pyplot as plt
import torch
from gymnasium.spaces import Discrete, MultiBinary
from IPython.display import Markdown, display
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.functional import one_hot, scaled_dot_product_attention

from utils.agents import ppo
from utils.course import store
from utils.course.check import check, hint, mine
from utils.course.exercise import ROOT
from utils.course.lesson import begin, claim
from utils.course.play import play
from utils.course.show import LivePlot, diagram, film_strip, progress
from utils.data import minatar, teleport
from utils.data.sequences import sample_windows
from utils.evaluate import breakout, ladder
from utils.evaluate.breakout import draw_breakout
from utils.evaluate.playing import DreamGame
from utils.nn import transformer
from utils.nn.one_hot import draw
from utils.nn.random import bernoulli
from utils.nn.transformer import Memory
from utils.world import State, Step, interact, stream, take, where
from utils.worlds import dreamer_v3, iris, iris_tokenizer
from utils.worlds.iris import Config
from utils.worlds.iris_tokenizer import Patches, Tokenizer, nearest, perplexity

lesson = begin("4.1", PROFILE, seeds=3)
seed = lesson.seeds[0]
torch.manual_seed(seed)
torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it does
generator = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## The idea
#
# Vincent Micheli, Eloi Alonso and François Fleuret, 2023: three parts, trained one after the other,
# again and again, while an agent collects more frames.
#
# - The **tokenizer** makes K whole numbers of a frame, and paints the frame again from them.
# - The **transformer** reads frames and actions as one text and predicts the next token. After an
#   action it also says the reward and whether the episode ends.
# - The **agent** sees painted frames only, never real ones while it learns.

# %%
diagram(
    {
        "x0": (0, 0, "frame $x_0$", "#8A8A8A"),
        "z0": (0, 1, "$z_0^1 \\ldots z_0^K$", "#0072B2"),
        "a0": (1, 1, "action $a_0$", "#D55E00"),
        "z1": (2.2, 1, "$z_1^1 \\ldots z_1^K$", "#0072B2"),
        "a1": (3.2, 1, "action $a_1$", "#D55E00"),
        "gpt": (1.6, 2, "causal transformer: each place sees all places before it", "#009E73"),
        "r": (1, 3, "reward, end, $z_1^1$", "#CC79A7"),
        "next": (2.2, 3, "$z_1^2 \\ldots z_1^K$", "#CC79A7"),
        "x1": (2.2, 0, "painted $\\hat x_1$", "#8A8A8A"),
    },
    [
        ("x0", "z0", "encode"),
        ("z0", "gpt"),
        ("a0", "gpt"),
        ("z1", "gpt"),
        ("a1", "gpt"),
        ("gpt", "r", "after $a_0$"),
        ("gpt", "next", "after each $z_1^k$"),
        ("z1", "x1", "decode"),
    ],
    spacing=(1.75, 0.95),
)

# %% [markdown]
# ### Often said, and not so
#
# - *"A transformer world has a long memory."* It sees its window: 20 frames in the official code.
#   When the window is full, the code begins a new one with the last frame alone. You will see that.
# - *"IRIS uses a VQ-VAE with commitment 0.25."* Its commitment weight is 1.
# - *"The transformer carries the past into the dream."* The official imagination starts from one
#   frame. The twenty before it are shown to the agent's LSTM only.
# - *"Attention may look both ways inside a frame."* The official code offers that (`block_causal`),
#   but then a frame cannot be fed token by token: the result is another. You will see that too.
# - *"It learns rewards."* It learns their sign, as one of three classes.
#
# ### Paper, code, here
#
# | | paper | eloialonso/iris | here |
# |---|---|---|---|
# | frame | 64 x 64 pixels | the same | 10 x 10 cells of four kinds |
# | tokens | 16 of 512, codes of 512 numbers | the same | 25 of 257 exact pieces; or 25 of 128 learned codes of 16 numbers |
# | tokenizer's loss | L1, perceptual, commitment | the same; commitment weight 1 | cross entropy of cells, commitment weight 1 |
# | dead codes | - | stay dead | may be moved |
# | transformer | 10 layers, 4 heads, width 256 | the same | 2 layers, 4 heads, width 64 |
# | dropout | 0.1 | in three places | none: 45,000 frames of a game without chance |
# | window | 20 frames | 20 frames, then 1 | 3 frames, then 2 |
# | loss of tokens | all | all but a window's first, a mean over tokens | all frames but a window's first, a sum over tokens; in Breakout, tokens that change count 5 times |
# | reward, end in a dream | sampled | sampled | the reward is expected, the end is sampled |
# | passes for a frame | K + 1 | K + 1: the last token goes in by itself | K: it goes in together with the next action |
# | the agent | CNN and LSTM, REINFORCE with a baseline | the same; no target network | PPO on single frames |
# | a dream | 20 steps, from one frame | the same, from any collected frame | 25 steps, from the first three frames of a recorded game |
# | optimiser | Adam 1e-4, weight decay 0.01 on the transformer | Adam; AdamW for the transformer; gradients cut at norm 10 | AdamW, 2e-3, falling; Adam for the tokenizer; cut at 1 |

# %% [markdown]
# ## Words
#
# ### The nearest code
#
# A codebook is a table of V vectors. An encoder makes a vector of each piece of the frame, and the
# piece's token is the number of the nearest code:
#
# $$z^k = \arg\min_v |e_v - h^k|^2.$$
#
# The decoder gets the code. But rounding has no gradient, and the encoder sits behind it. The
# **straight-through** estimate acts as if nothing had been rounded: what the decoder wants of the
# code is handed to the encoder as it is. Example: codes 0 and 1, h = 0.7. Forward it is 1; backward,
# a gradient of 0.3 at the code is a gradient of 0.3 at h.


# %%
class VectorQuantizer(iris_tokenizer.VectorQuantizer):
    """The lesson's own, with your methods in it."""


# %%
# EXERCISE 4.1.1 utils.worlds.iris_tokenizer:VectorQuantizer.quantise

# %%
VectorQuantizer.quantise = check("4.1.1")

# %% [markdown]
# ### Find the bug
#
# So the codes get no gradient from the decoder. Two terms bring codes and vectors together: the
# first pulls codes to vectors, the second, with weight β, vectors to their codes. The two have the
# same value and differ in what they may move. The function below computes the right number.

# %%
# EXERCISE 4.1.2 utils.worlds.iris_tokenizer:VectorQuantizer.loss bug stop

# %%
VectorQuantizer.loss = check("4.1.2")

# %% [markdown]
# ### Run it with yours
#
# A wrong stop does not show in the loss. How hard is one vector pulled to its code, as a multiple of
# β? With the reference and with what *you* wrote:

# %%
one_code = VectorQuantizer(1, 1, commitment=0.25)
for name, loss_of in (("reference", VectorQuantizer.loss), ("yours", mine("4.1.2"))):
    vector = torch.ones(1, 1, requires_grad=True)
    distance = (vector - one_code.codes).abs().item()
    loss_of(one_code, vector, torch.zeros(1, dtype=torch.long)).backward()
    print(f"{name:10} pulled {vector.grad.item() / (2 * distance * 0.25):.0f} x β")

# %% [markdown]
# With β = 0.25 and the bug the pull is five times what it should be, with IRIS's β = 1 twice: the
# encoder is held to the codes as they happen to lie.
#
# ### Dead codes
#
# Only the nearest code gets a gradient. At the start all codes lie close together and the vectors
# elsewhere, so one code wins everything. A few others win some vectors later, when these have
# spread; most never do. The official code leaves it at that. A remedy: now and then, move each code
# that nobody uses onto one of the vectors.

# %%
# EXERCISE 4.1.3 utils.worlds.iris_tokenizer:VectorQuantizer.revive

# %%
VectorQuantizer.revive = check("4.1.3")

# %% [markdown]
# Two tokenizers learn the frames of MinAtar Breakout: 10 x 10 cells with paddle, ball, trail and
# bricks. The two are the same but for the remedy, and for chance. **Perplexity** counts the codes
# in use as if all were used alike: $\exp(-\sum_v p_v \ln p_v)$. **Predict:** which perplexity will
# each reach, with 128 codes?

# %%
recorded = minatar.load("breakout")
frames, unseen_frames = recorded.train.observation, recorded.test.observation[:2000]
CODES = 128
sizes = lesson.pick(smoke=(4, 16), quick=(300, 32), evidence=(1000, 32), full=(10_000, 128))


def learn_tokens(revived):
    """A learned tokenizer, and its perplexity on the way."""
    torch.manual_seed(seed)
    tokenizer = Tokenizer(minatar.SHAPE, CODES, quantizer=VectorQuantizer)
    adam, (updates, batch) = torch.optim.Adam(tokenizer.parameters(), 1e-2, fused=True), sizes
    in_use = []
    for update in progress(range(updates), "tokenizer"):
        adam.param_groups[0]["lr"] = 1e-2 * min(1, 2.02 - 2 * update / updates)
        some = frames[torch.randint(len(frames), (batch,), generator=generator)]
        loss, parts = tokenizer.loss(some)
        adam.zero_grad()
        loss.backward()
        adam.step()
        if revived and update % 20 == 0 and update < 0.7 * updates:
            vectors = tokenizer.embed(some).flatten(0, 1)
            index = torch.randint(len(vectors), (CODES,), generator=generator)
            tokenizer.quantizer.revive(vectors, index)
        if update % 10 == 0:
            in_use.append(parts["perplexity"])
    return tokenizer, torch.stack(in_use)


tokenizers, in_use = {}, {}
for name, revived in (("codes die", False), ("dead codes are moved", True)):
    tokenizers[name], in_use[name] = learn_tokens(revived)
_, ax = plt.subplots(figsize=(5, 2.6))
for name, values in in_use.items():
    ax.plot(10 * torch.arange(len(values)), values, label=name)
ax.set(xlabel="update", ylabel="codes in use (perplexity)", ylim=0)
ax.legend()
plt.show()

# %% [markdown]
# A game of binary cells needs no learning at all: 2 x 2 cells of four kinds could have 65,536
# patterns, and only 257 of them occur in the training frames. `Patches` makes each of these a code.
# The table compares what comes back of 2,000 test frames. (*in use* is the perplexity: most pieces
# of a frame are the same few, empty or full wall, so that it is far below the number of codes that
# come at all.)


# %%
tokenizers["exact pieces"] = Patches(frames, 2)


@torch.no_grad()
def come_back(tokenizer):
    """Perplexity, frames that come back without an error, balls that come back."""
    tokens = tokenizer.encode(unseen_frames)
    painted, true = tokenizer.decode(tokens) > 0.5, unseen_frames > 0
    whole = (painted == true).flatten(1).all(1).float().mean().item()
    balls = true[..., breakout.BALL]
    found = (painted[..., breakout.BALL] & balls).sum().item() / balls.sum().item()
    return perplexity(tokens, tokenizer.vocabulary).item(), whole, found


quality = {name: come_back(tokenizer) for name, tokenizer in tokenizers.items()}
lines = ["| tokenizer | codes | in use | frames without an error | balls |"]
lines += ["|---|---:|---:|---:|---:|"]
for name, (used, whole, balls) in quality.items():
    codes = tokenizers[name].vocabulary
    lines.append(f"| {name} | {codes} | {used:.0f} | {whole:.0%} | {balls:.0%} |")
display(Markdown("\n".join(lines)))
pictures = unseen_frames[5:240:24]
with torch.no_grad():
    painted = {n: t.decode(t.encode(pictures)) for n, t in tokenizers.items()}
film_strip({"truth": draw_breakout(pictures)} | {n: draw_breakout(p) for n, p in painted.items()})
plt.show()

# %%
claim(
    "tokenizer: perplexity with dead codes moved, as a multiple of without",
    [quality["dead codes are moved"][0]],
    ">=",
    1.5,
    relative_to=[quality["codes die"][0]],
)

# %% [markdown]
# More codes in use is not yet a better picture. What counts for a player is whether the ball comes
# back: an agent that sees painted frames cannot play for a ball that the tokenizer has lost. Lesson
# 4.3 does without tokens for that reason. Here the exact pieces are the safe choice; what the
# learned codes cost a world that was trained on them, the ladder below tells.
#
# ## One word after the other
#
# A **teleport grid**: one object in 16 cells. *Move* takes it to the next cell. *Teleport* takes it
# to one of the four corners, each with probability 1/4. A token for each cell: empty or not.
#
# After a teleport each corner is occupied with probability 1/4. A world that predicts each cell by
# itself, and perfectly, says exactly that, and draws four coins. What does it lose?
#
# - **Nats.** The true entropy of the frame is $\ln 4$. The four cells by themselves have
#   $4 \cdot H(1/4)$, where $H(p) = -p \ln p - (1 - p) \ln (1 - p)$.
# - **Sense.** Draw four coins of 1/4: how often is exactly one of them heads?
#
# **Predict** both numbers, then write the function for any distribution over frames.

# %%
# EXERCISE 4.1.4 utils.data.teleport:torn

# %%
torn = check("4.1.4")

# %%
corners = one_hot(torch.tensor(teleport.CORNERS), teleport.CELLS)
nats_apart, sense = (x.item() for x in torn(torch.full((4,), 0.25).double(), corners))
print(f"after a teleport: {nats_apart:.3f} nats cell by cell, {math.log(4):.3f} as a whole;")
print(f"cell by cell, {sense:.1%} of the frames hold exactly one object")
theory = {"together": teleport.NATS, "apart": nats_apart / 2}  # half of the actions teleport

# %% [markdown]
# No training cures this: it is the *best* that independent predictions can do. The cure is the chain
# rule, which is exact for every distribution:
#
# $$p(z_{t+1} \mid z_{\le t}, a_{\le t}) = \prod_{k=1}^{K} p(z_{t+1}^k \mid z_{t+1}^{<k}, z_{\le t}, a_{\le t}).$$
#
# Once a corner has been drawn, the next cells know it.
#
# ### The text
#
# K tokens of a frame, the action after it, K tokens of the next frame. Each gets the vector of what
# it is and the vector of where it stands.


# %%
class Attention(transformer.Attention):
    """The lesson's own, with your method in it."""


class IRIS(iris.IRIS):
    """The lesson's own, with your methods in it."""


class Factorised(iris.Factorised):
    """The same transformer, predicting all tokens of a frame at once, with your text."""


# %%
# EXERCISE 4.1.5 utils.worlds.iris:IRIS.interleave

# %%
IRIS.interleave = check("4.1.5")

# %% [markdown]
# ### Which output predicts what
#
# The output at a place has seen the text up to there, and predicts the token *behind* it. So the
# first token of a frame is read at the action before it, and that is also where reward and end are
# read: in the moment when the action is known and the frame is not. Example with K = 3:
#
# | place | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7 |
# |---|---|---|---|---|---|---|---|---|
# | token | $z_0^1$ | $z_0^2$ | $z_0^3$ | $a_0$ | $z_1^1$ | $z_1^2$ | $z_1^3$ | $a_1$ |
# | predicts | - | - | - | $z_1^1$, reward, end | $z_1^2$ | $z_1^3$ | - | ... |

# %%
# EXERCISE 4.1.6 utils.worlds.iris:IRIS.predictors

# %%
IRIS.predictors = check("4.1.6")

# %% [markdown]
# ### A frame, token by token
#
# In training all tokens are known, and one pass predicts all of them. In a dream they come one by
# one: each is drawn, goes in, and what the transformer makes of it stays in the memory for those
# after it.

# %%
# EXERCISE 4.1.7 utils.worlds.iris:IRIS.sample_frame

# %%
IRIS.sample_frame = check("4.1.7")

# %% [markdown]
# ### Autoregressive tokens against an RSSM
#
# Four worlds of about equal size learn the teleport grid:
#
# 1. IRIS, token by token;
# 2. the same transformer with all tokens at once, each by itself;
# 3. an RSSM (lesson 2.4's) with 8 variables of 8 classes;
# 4. an RSSM with one variable of 64 classes.
#
# **Write your conclusion first.** Fill in the table below from theory and what you know of the four,
# before you run the measurement: the share of valid frames 20 steps ahead (one object, in a cell
# where it could be), the nats of a frame, and which is slowest. Your numbers come back beside the
# measured ones.

# %%
guess = {  # valid 20 steps ahead, nats per frame; None: no guess
    "IRIS": (None, None),
    "factorised": (None, None),
    "RSSM 8 x 8": (None, None),
    "RSSM 1 x 64": (None, None),
}
guess_slowest = None  # a name of the four

# %%
scale = lesson.pick(smoke=0.01, quick=1.0)
small = Config(width=64, layers=2, heads=4, frames=3, keep=1)
recurrent = dreamer_v3.Config(
    *(128, 48, 8, 8, 4), units=56, bins=21, unimix=0.0, free_nats=0.0
)  # no free bits: a whole frame holds less than one nat
spaces = teleport.OBSERVATION, teleport.ACTION
cells = Patches(teleport.teleport(64, 2, generator).observation.flatten(0, 1), 1)
Factorised.interleave = IRIS.interleave  # the same text
torch.manual_seed(seed)
worlds = {
    "IRIS": IRIS(*spaces, cells, small, attention=Attention),
    "factorised": Factorised(*spaces, cells, small, attention=Attention),
    "RSSM 8 x 8": dreamer_v3.DreamerV3(*spaces, recurrent),
    "RSSM 1 x 64": dreamer_v3.DreamerV3(*spaces, replace(recurrent, stoch=1, classes=64)),
}
recipe = {  # updates, sequences, rows, rate
    "IRIS": (1000, 32, 3, 4e-3),
    "factorised": (1000, 32, 3, 4e-3),
    "RSSM 8 x 8": (1000, 32, 6, 3e-3),
    "RSSM 1 x 64": (1000, 32, 6, 3e-3),
}


def train(world, batches, updates, rate, plot=None, run=None):
    """The loop of all worlds in this lesson; with a run it saves itself and goes on."""
    adam = torch.optim.AdamW(world.parameters(), rate, betas=(0.9, 0.95), fused=True)
    first, parts = 0, {"world": world, "adam": adam}
    if run is not None and (tree := run.load()) is not None:
        first = tree["update"]
        generator.set_state(tree["generator"])
        for name, part in parts.items():
            part.load_state_dict(tree[name])
    for update in progress(range(first, updates), "train"):
        warm, fall = min(1, (update + 1) / 50), min(1, 2.02 - 2 * update / updates)
        adam.param_groups[0]["lr"] = rate * warm * fall
        loss, metrics, _ = world.loss(batches(), generator)
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(world.parameters(), 1.0)
        adam.step()
        if plot is not None and update % 10 == 0:
            plot(update, metrics)
        if run is not None and (run.due() or update + 1 == updates):
            tree = {name: part.state_dict() for name, part in parts.items()}
            run.save(tree | {"update": update + 1, "generator": generator.get_state()})


with LivePlot("update", log=("nats per frame",), **{"nats per frame": list(worlds)}) as plot:
    for name, world in worlds.items():
        updates, batch, rows, rate = recipe[name]
        generator.manual_seed(seed)  # the same run in every profile, whatever was drawn before

        def show(update, metrics, name=name):
            if "frame" in metrics:
                nats = metrics["frame"]
            else:  # what an RSSM pays at most
                nats = metrics["reconstruction"] + metrics["dynamics"]
            plot.add(update, **{name: nats})

        train(
            world,
            lambda batch=batch, rows=rows: teleport.teleport(batch, rows, generator),
            max(2, round(scale * updates)),
            rate,
            show,
        )

# %% [markdown]
# The curves are not comparable yet: an RSSM's is a bound, and counts the first row of a sequence,
# where nobody knows the cell. So the test measures the next frame alone. IRIS says its probability;
# of an RSSM it is the mean over 64 draws of its latent.


# %%
@torch.no_grad()
def nats_of_next(world, rows):
    """Negative log-likelihood of the last of the rows, given those before it. (In this world the one
    before it is enough, and a window of two is what IRIS takes.)"""
    if isinstance(world, iris.IRIS):
        return world.loss(Step(*(part[:, -2:] for part in rows)))[1]["frame"].item()
    before, action = ladder.filtered(world, rows, rows.reward.shape[1] - 1), rows.action[:, -1]
    costs = []
    for _ in range(64):
        state = world.imagine(before, action, generator=generator).state
        prediction = world.codec.decode(world.features(state))
        costs.append(world.codec.loss(prediction, rows.observation[:, -1]))
    costs = -torch.stack(costs)
    return (math.log(64) - costs.logsumexp(0)).mean().item()


@torch.no_grad()
def fastest(call, *arguments, rounds=5):
    """Milliseconds of a call, the best of a few rounds."""
    best = math.inf
    for _ in range(rounds):
        begun = time.perf_counter()
        call(*arguments)
        best = min(best, 1e3 * (time.perf_counter() - begun))
    return best


@torch.no_grad()
def without_memory(world, state, action):
    """One imagined frame, by mode, for which the whole window is read again for every token."""
    state = world.make_room(state, world.config.keep)
    count = int(state["frames"][0])
    tokens, actions = state["tokens"][:, : count + 1].clone(), state["action"][:, : count + 1]
    actions = actions.clone()
    actions[:, count - 1] = action.argmax(-1)
    for k in range(world.block - 1):
        outputs, _ = world.transformer(world.interleave(tokens, actions)[:, :-2])
        tokens[:, count, k] = world.logits(outputs)[:, -1, k].argmax(-1)
    return tokens[:, count]


HORIZONS = (1, 5, 20, 50)
tests = teleport.teleport(lesson.pick(smoke=8, quick=256), 54, torch.Generator().manual_seed(9))
many = Step(*(part.repeat(4, *[1] * (part.ndim - 1)) for part in tests))
start, ahead = tests.observation[:, 2].float(), tests.action[:, 3:53]
jumped = ahead[..., teleport.TELEPORT] == 1
results = {}
for name, world in worlds.items():
    with torch.no_grad():
        state = ladder.filtered(world, tests, 3, generator)
        dreamt = ladder.ahead(world, state, ahead, generator).state
    fine = teleport.valid(dreamt, start, ahead)
    alone = (dreamt.flatten(2) > 0.5).sum(-1) == 1
    some, move = take(state, slice(0, 64)), ahead[:64, 0]
    results[name] = {
        "valid": {k: fine[:, k - 1].float().mean().item() for k in HORIZONS},
        "one object after a teleport": alone[jumped].float().mean().item(),
        "nats": nats_of_next(world, Step(*(part[:, :6] for part in many))),
        "ms": fastest(world.imagine, some, move),
        "parameters": sum(p.numel() for p in world.parameters()),
    }
    if isinstance(world, iris.IRIS):
        slow = fastest(without_memory, world, some, move, rounds=2)
        results[name]["ms without memory"] = slow

# %%
lines = ["| | " + " | ".join(results) + " | theory |", "|---|" + "---:|" * (len(results) + 1)]
for k in HORIZONS:
    row = [f"{found['valid'][k]:.3f}" for found in results.values()]
    lines.append(f"| valid, {k} ahead | {' | '.join(row)} | 1 |")
row = [f"{found['one object after a teleport']:.3f}" for found in results.values()]
lines.append(f"| one object after a teleport | {' | '.join(row)} | 1; apart {sense:.3f} |")
row = [f"{found['nats']:.3f}" for found in results.values()]
bounds = f"{theory['together']:.3f}; apart {theory['apart']:.3f}"
lines.append(f"| nats a frame | {' | '.join(row)} | {bounds} |")
for key in ("ms", "ms without memory"):
    row = [f"{found[key]:.1f}" if key in found else "–" for found in results.values()]
    lines.append(f"| {key}, 64 dreams, one step | {' | '.join(row)} | |")
row = [f"{found['parameters']:,}" for found in results.values()]
lines.append(f"| parameters | {' | '.join(row)} | |")
row = ["–" if None in pair else "{:.2f}, {:.2f}".format(*pair) for pair in guess.values()]
lines.append(f"| you said (valid, nats) | {' | '.join(row)} | slowest: {guess_slowest or '–'} |")
display(Markdown("\n".join(lines)))

_, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8))
for name, found in results.items():
    left.plot(range(len(HORIZONS)), list(found["valid"].values()), "o-", label=name)
    right.plot(found["ms"], found["nats"], "o")
    if "ms without memory" in found:
        right.plot(
            found["ms without memory"], found["nats"], "x", color=right.lines[-1].get_color()
        )
left.set_xticks(range(len(HORIZONS)), map(str, HORIZONS))
left.set(xlabel="steps ahead", ylabel="valid frames", ylim=(0, 1.05))
left.legend(fontsize=8)
for nats in theory.values():
    right.axhline(nats, linestyle="--", linewidth=1, color="#8A8A8A")
right.set(xscale="log", xlabel="ms per imagined step (x: without memory)", ylabel="nats a frame")
plt.show()

# %%
token_by_token, apart, several, single = results.values()
claim(
    "teleport: one object after it, token by token",
    [token_by_token["one object after a teleport"]],
    ">=",
    0.98,
)
claim(
    "teleport: one object after it, factorised, distance from 27/64",
    [abs(apart["one object after a teleport"] - 27 / 64)],
    "<=",
    0.08,
)
claim(
    "teleport: nats a frame token by token, distance from ln(4)/2",
    [abs(token_by_token["nats"] - theory["together"])],
    "<=",
    0.08,
)
claim(
    "teleport: nats a frame factorised, distance from 2 H(1/4)",
    [abs(apart["nats"] - theory["apart"])],
    "<=",
    0.08,
)
claim("valid 20 steps ahead, token by token", [token_by_token["valid"][20]], ">=", 0.95)
claim("valid 20 steps ahead, RSSM with one variable", [single["valid"][20]], ">=", 0.95)
claim(
    "invalid 20 steps ahead: RSSM with eight variables less RSSM with one",
    [single["valid"][20] - several["valid"][20]],
    ">=",
    0.02,
)
claim(
    "time: a step token by token without memory, as a multiple of the RSSM's",
    [token_by_token["ms without memory"]],
    ">=",
    4,
    relative_to=[several["ms"]],
)

# %% [markdown]
# ### What it says
#
# Token by token costs most and is right. The factorised transformer is as large, as well trained,
# and nonsense after more than half of the teleports, as `torn` said it must be. IRIS's nats may lie
# a little below the entropy ln(4)/2: not exactly half of the test actions teleport. An RSSM's
# number is a little too high, as the log of a mean over 64 draws. Times depend on the machine and
# on what else it does; only their order counts. An RSSM can be right too, at a fraction of the
# time: chance sits in its latent, and one draw decides the whole frame. But look at the RSSM with
# eight variables. They, too, are drawn *independently* of each other, given the past. It has to
# learn a code in which one variable decides and the others agree, and where it has not, it tears
# frames apart like the factorised one, only one level deeper: on the three seeds of the evidence 6
# to 9 frames of 100 are not valid 20 steps ahead. With a single variable there is nothing to tear,
# and there it is less than one of 100. One step ahead, in Run All, both err in 2 to 3 of 100.
#
# A single variable is not a safe choice, though. An earlier run, with another stream of random
# numbers, did not find a code for every cell within the 1,000 updates (1.02 nats a frame, 86 % valid
# after 20 steps), and was worse than the eight. The runs of the evidence did, and Run All is the first
# of them.
#
# A word on the budget: the first runs had 450 updates of IRIS. On one seed of two it was not done by
# then (0.88 nats, 79 % valid after 20 steps), while the RSSMs were. So all runs have 1,000 updates
# now; the bounds of the claims are those of before.
#
# So autoregression is one cure of three. The others are one choice for the whole frame, of which a
# large frame has too many, and many small steps that refine a whole frame together. That is
# diffusion, lesson 4.3.
#
# ## Memory
#
# Keys and values of a token depend only on itself and the tokens before it. Once computed they
# stay: a new token costs one pass over itself, not over the text.
#
# ### Find the bug
#
# Below, the newest frame's last token and the action go in. Nothing is raised, and the dreams look
# like dreams: but they are not what one pass over the whole text would say.

# %%
# EXERCISE 4.1.8 utils.worlds.iris:IRIS.enter bug offset

# %%
IRIS.enter = check("4.1.8")

# %%
# EXERCISE 4.1.9 utils.nn.transformer:Attention.attend

# %%
Attention.attend = check("4.1.9")

# %% [markdown]
# Is it the same? A random text of four frames of 16 tokens, once in one pass, and once in pieces:
# token by token; the outputs must agree (a difference below 1e-8 is drawn there). Then the same for
# attention that looks both ways inside a frame. **Predict:** at which places of the fed frame will
# it differ?

# %%
BLOCK, PLACES = 17, 4 * 17
pieces = {
    "whole frames": [(17 * i, 17 * i + 17) for i in range(4)],
    "token by token": [(i, i + 1) for i in range(PLACES)],
}
differences = {}
for look, block in (("causal", 1), ("both ways in a frame", BLOCK)):
    torch.manual_seed(seed)
    net = transformer.Transformer(64, 2, 4, block, attention=Attention)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.2)
    text = torch.randn(8, PLACES, 64)
    with torch.no_grad():
        full, _ = net(text)
        for how, cuts in pieces.items():
            memory, outputs = net.empty(8, PLACES), []
            for begin_at, end in cuts:
                place = torch.full((8,), begin_at)
                outputs.append(net.extend(text[:, begin_at:end], memory, place))
            apart_by = (torch.cat(outputs, 1) - full).abs().amax((0, 2))
            differences[look, how] = apart_by
_, axes = plt.subplots(1, 2, figsize=(8, 2.4), sharey=True)
for ax, look in zip(axes, ("causal", "both ways in a frame"), strict=True):
    for how in pieces:
        ax.plot(differences[look, how].clamp(min=1e-8), ".", markersize=4, label=how)
    ax.set(yscale="log", xlabel="place in the text", title=look)
    for edge in range(0, PLACES + 1, BLOCK):
        ax.axvline(edge - 0.5, color="#CCCCCC", linewidth=0.8)
axes[0].set_ylabel("difference from one pass")
axes[1].legend(fontsize=8)
plt.show()

# %%
claim(
    "memory: largest difference from one pass over the text",
    [max(differences["causal", how].max().item() for how in pieces)],
    "<=",
    1e-4,
)
claim(
    "both ways in a frame, token by token: largest difference",
    [differences["both ways in a frame", "token by token"].max().item()],
    ">=",
    0.1,
)

# %% [markdown]
# A token in the middle of a frame was promised to see the whole frame. Fed before the rest of it, it
# cannot, and its keys stay wrong for all that come later: not even the last place of a frame is
# right, which sees all of it. With whole frames all is well, but a sampler has no whole frame to feed.
#
# What does it save? An untrained IRIS with a window of 20 frames, 16 tokens each, as the official
# one, in eight dreams:

# %%
long = IRIS(
    *spaces, cells, Config(width=64, layers=2, heads=4, frames=20, keep=1), attention=Attention
)
counts, with_memory, again = lesson.pick(smoke=(1, 2), quick=(1, 10, 19)), [], []
for count in counts:
    written = torch.randint(2, (8, 20, 16)), torch.randint(2, (8, 20))
    with torch.no_grad():
        state = long.read(*written, torch.full((8,), count))
    move = one_hot(torch.randint(2, (8,)), 2).float()
    with_memory.append(fastest(long.imagine, state, move))
    again.append(fastest(without_memory, long, state, move, rounds=1))
    with torch.no_grad():
        dreamt = long.imagine(state, move, mode=True).state["tokens"][:, count]
    same = torch.equal(dreamt, without_memory(long, state, move))
    print(f"{count} frames in the window: {'the same' if same else 'not the same'} tokens")
_, ax = plt.subplots(figsize=(5, 2.6))
ax.plot(counts, again, "o-", label="the text is read again for each token")
ax.plot(counts, with_memory, "o-", label="with memory")
ax.set(xlabel="frames in the window", ylabel="ms per imagined frame", ylim=0)
ax.legend()
plt.show()

# %%
claim(
    "time: a frame behind 19 others, read again for each token, as a multiple of memory's",
    [again[-1]],
    ">=",
    4,
    relative_to=[with_memory[-1]],
)

# %% [markdown]
# ### When the window is full
#
# There are vectors for so many places and no more. What then? The official code forgets everything
# but the last frame. (Its training dreams of 20 steps just fit into one window; it happens when
# somebody plays inside for longer.) `keep` says how many frames stay; they move to the front and
# are read again, because what was computed of them had seen frames that are gone, and stood in
# other places.

# %%
# EXERCISE 4.1.10 utils.worlds.iris:IRIS.make_room

# %%
IRIS.make_room = check("4.1.10")

# %% [markdown]
# A **metronome**: a lamp that is on in every third frame. One dark frame does not tell whether the
# next one is dark as well; two frames do. The window holds six. **Predict:** three frames are
# given; in which imagined step will the first dreams lose the beat, and how many of them? In the
# picture a row is a dream. It begins at the white line, and a new window at each red one.

# %%
LAMP, BEAT, WINDOW = MultiBinary((1, 2, 1)), 3, 6


def metronome(batch, length):
    """Lamps of two cells with a random phase, as steps [B, T, ...]."""
    phase = torch.randint(BEAT, (batch, 1), generator=generator)
    on = ((torch.arange(length) + phase) % BEAT == 0).float()
    never = torch.zeros_like(on, dtype=torch.bool)
    first = never.clone()
    first[:, 0] = True
    frames = on[..., None, None, None].expand(-1, -1, 1, 2, 1)
    return Step(frames, (~first).float()[..., None], torch.zeros_like(on), first, never)


torch.manual_seed(seed)
lamp_cells = Patches(metronome(8, WINDOW).observation.flatten(0, 1), 1)
sizes = Config(width=32, layers=2, heads=4, frames=WINDOW, keep=1)
lamp = IRIS(LAMP, Discrete(1), lamp_cells, sizes, attention=Attention)
train(lamp, lambda: metronome(32, WINDOW), lesson.pick(smoke=2, quick=250), 4e-3)
beats, given = metronome(lesson.pick(smoke=6, quick=300), 30), 3
dreams = {}
for name, keep in (("keeps 1", 1), ("keeps 5", 5)):
    lamp.config = replace(lamp.config, keep=keep)
    with torch.no_grad():
        state = ladder.filtered(lamp, beats, given, generator)
        dreams[name] = ladder.ahead(lamp, state, beats.action[:, given:], generator).state
_, axes = plt.subplots(1, 2, figsize=(8, 2.4), sharey=True)
for ax, (name, dreamt) in zip(axes, dreams.items(), strict=True):
    shown = torch.cat([beats.observation[:12, :given].float(), dreamt[:12]], 1)[:, :, 0, 0, 0]
    ax.imshow(shown, cmap="cividis", aspect="auto", vmin=0, vmax=1)
    full = range(WINDOW, 30, WINDOW - 1) if name == "keeps 1" else ()
    for frame in full:
        ax.axvline(frame - 0.5, color="#D55E00")
    ax.axvline(given - 0.5, color="white", linewidth=2)
    ax.set(title=name, xlabel="frame")
    ax.grid(False)
axes[0].set_ylabel("dream")
plt.show()


# %%
true = beats.observation[:, given:, 0, 0, 0]
lost = {name: (dreamt[..., 0, 0, 0] > 0.5) != (true > 0.5) for name, dreamt in dreams.items()}
overflow = WINDOW - given  # imagined steps until the window is full
wrong_before = lost["keeps 1"][:, :overflow].any(1).float().mean().item()
wrong_after = lost["keeps 1"][:, overflow].float().mean().item()
never = lost["keeps 5"].any(1).float().mean().item()
print(f"keeps 1: out of step before the window is full {wrong_before:.1%}, in the frame after it")
print(f"{wrong_after:.1%}; keeps 5: ever out of step in 27 frames {never:.1%}")
claim(
    "full window, one frame kept: out of step in the next frame, distance from 1/3",
    [abs(wrong_after - 1 / 3)],
    "<=",
    0.06,
)
claim("full window, five frames kept: ever out of step in 27 frames", [never], "<=", 0.05)

# %% [markdown]
# Two of three phases end the window with a dark lamp, and then the next frame is a coin: one third of
# the dreams lose the beat, in one step, and never know. A world that needs more than one frame must
# keep more than one. The price is that the window is full in every step, and is read again each
# time.
#
# ## Breakout
#
# Window of three frames, two of them kept, 25 tokens each. Most pieces of a frame do not change,
# and a model that copies them has nearly all tokens right. So tokens that change count five times
# in the loss. This run trains for a moment; then it loads what the same model and loss made in
# 32,000 updates, with a rate that falls from the start (`python -m assets.iris_breakout`, card
# beside the file).

# %%
checkpoint = ROOT / "assets/4.1_breakout.safetensors"
stored, card = store.load(checkpoint), store.card(checkpoint)
config = Config(**stored["config"])
torch.manual_seed(seed)
world = IRIS(
    MultiBinary(minatar.SHAPE), Discrete(3), tokenizers["exact pieces"], config, attention=Attention
)
updates = lesson.pick(smoke=2, quick=60, full=32_000)
run = lesson.resume("breakout", {"updates": updates, "seed": seed})
with LivePlot("update", log=("nats",), nats=["frame", "reward", "end"]) as plot:
    train(
        world,
        lambda: sample_windows(recorded.train, 16, config.frames, generator),
        updates,
        2e-3,
        lambda update, metrics: plot.add(update, **metrics),
        run,
    )
if lesson.profile != "full":
    world.load_state_dict({name: value.float() for name, value in stored["weights"].items()})

# %% [markdown]
# ### On the ladder
#
# The whole row takes minutes to measure, so it comes from the card, where it was measured on 512
# windows. One part of it is measured here again, on fewer: how often is the ball where it should
# be? Beside it, the same model on the learned codes of above (128 of them, trained longer), after
# 16,000 updates. One seed each.

# %%
learned_card = store.card(ROOT / "assets/4.1_learned_breakout.safetensors")
test = breakout.windows(recorded, lesson.pick(smoke=8, quick=48))
steps, context = test.steps, breakout.CONTEXT


@torch.no_grad()
def ball_ahead(world, horizon=15):
    """Share of wrong balls after each of some steps, by mode."""
    state = ladder.filtered(world, steps, context)
    action = steps.action[:, context : context + horizon]
    dreamt = ladder.ahead(world, state, action).state
    target = steps.observation[:, context : context + horizon].float()
    inside, wrong = ladder.counted(steps, context), breakout.wrong_ball(dreamt, target)
    return {k: wrong[inside[:, k - 1], k - 1].mean().item() for k in (1, 5, 15)}


here = ball_ahead(world)
there = {k: card["claims"][f"wrong ball@{k}"] for k in here}
print("wrong ball, here and on the card:")
print(", ".join(f"{k} ahead {here[k]:.2f}, {there[k]:.2f}" for k in here))
table = []
for made in (card, learned_card):
    row = {"name": made["world"], "ground": breakout.BREAKOUT.name} | made["claims"]
    table.append(row | {"trained": f"45,000 frames, {made['seconds']} s on {made['device']}"})
every = breakout.windows(recorded, lesson.pick(smoke=8, quick=512))  # those of the cards
still, how = ladder.Persistence(world.spec), {"name": "persistence", "subsets": every.subsets}
table.append(ladder.measure(still, every.steps, context, breakout.BREAKOUT, **how))
del table[-1]["seconds"], table[-1]["parameters"]
display(Markdown(ladder.render(table)))

# %% [markdown]
# The paddle follows from the moves and is right. The ball is right in 98.6 of 100 frames one step
# ahead, in 93 after five, in 84 after fifteen; on frames that training never showed it is wrong 1.7
# times as often. Half of the dreams are right about both for all of the 50 steps that are tested.
# That took time: after 16,000 updates the ball was right in 92, 77 and 52 %, and half of the dreams
# for eleven steps. The other worlds of the course stand beside it in a table of lesson 4.3.
#
# The learned codes of 300 updates above lost the ball. Those of the ladder had 6,000, and bring back
# 99.9 % of the balls of test frames, but only 94 % of the frames without an error. Their world had
# 16,000 updates, and its ball is no worse than that of exact pieces after as many: wrong in 6.8, 20
# and 47 % after 1, 5 and 15 steps, against 7.6, 23 and 48. The wall suffers: 0.07 wrong bricks a frame
# come from the tokenizer alone, before anything is predicted. One step ahead there are 0.24, against
# 0.04 with exact pieces then. Why the rest is lost we have not measured. One seed each.
#
# ### The dream beside the truth
#
# Five frames are given, up to the line; then the recorded moves in the game and in the dream.

# %%
shown = 3
clip = Step(*(part[shown : shown + 1, :25] for part in steps))
with torch.no_grad():
    state = ladder.filtered(world, clip, context)
    dreamt = ladder.ahead(world, state, clip.action[:, context:]).state[0]
film = torch.cat([clip.observation[0, :context].float(), dreamt])
film_strip(
    {"truth": draw_breakout(clip.observation[0]), "dream": draw_breakout(film)},
    times=[0, 2, 4, 5, 7, 9, 12, 15, 19, 24],
    start=context,
)
plt.show()

# %% [markdown]
# ### Play it

# %%
bank = ladder.filtered(world, Step(*(part[:64] for part in steps)), context)
game = DreamGame(world, bank, draw_breakout, limit=100)
play(game.step, {"ArrowLeft": 1, "ArrowRight": 2}, idle=0, fps=6, text="Breakout as IRIS dreams it")

# %% [markdown]
# ## An agent that has only dreamt
#
# PPO, the model-free control of lesson 2.4, plays inside the world. What it sees are painted
# frames; 64 dreams go on side by side, each from the first three frames of a recorded game, and are
# cut after 25 steps. That dreams start at openings was chosen after pilots on seed 0, which is also
# one of the seeds of the evidence. Its only real frames are those in which a dream begins, which
# exact pieces paint without an error. Then it plays the real game, beside random moves, and beside
# the same PPO that had as many steps of the real game, in whole games.

# %%
sizes = lesson.pick(
    smoke={"rows": 2, "stretches": 1, "games": 4},
    quick={"rows": 16, "stretches": 2, "games": 64},
    evidence={"rows": 16, "stretches": 40, "games": 64},
    full={"rows": 16, "stretches": 200, "games": 64},
)
DREAMS, LIMIT, WHOLE = 64, 25, 300  # side by side; steps of a dream, of a game at most
learning = ppo.Config(units=128, gamma=0.97, lam=0.9, rate=2e-3)
openings = recorded.train.first.nonzero()[:, 0]
openings = openings[openings < len(recorded.train.first) - config.frames]
contexts = Step(*(part[openings[:, None] + torch.arange(config.frames)] for part in recorded.train))
goes_on = ~contexts.first[:, 1:].any(1) & ~contexts.terminated[:, -1]
contexts = Step(
    *(
        part[goes_on][: lesson.pick(smoke=20, quick=300, evidence=1000, full=1000)]
        for part in contexts
    )
)
with torch.no_grad():
    starts = ladder.filtered(world, contexts, config.frames)


@torch.no_grad()
def dream_stream(policy):
    """Rows of experience from dreams, as `utils.world.stream` gives them from an environment: where
    a row ended, the next one begins anew."""

    def drawn():
        return take(starts, torch.randint(len(starts["frames"]), (DREAMS,), generator=generator))

    state, action, reward = drawn(), torch.zeros(DREAMS, 3), torch.zeros(DREAMS)
    age = torch.randint(LIMIT, (DREAMS,), generator=generator)
    terminated = torch.zeros(DREAMS, dtype=torch.bool)
    first = ~terminated
    while True:
        seen = world.decode(state)
        yield Step(seen, action, reward, first, terminated)
        first = terminated | (age >= LIMIT)
        action = policy({"observation": seen}, generator)
        dreamt = world.imagine(state, action, generator=generator)
        state, age = where(first, drawn(), dreamt.state), (age + 1).masked_fill(first, 0)
        action, reward = action * ~first[:, None], dreamt.reward * ~first
        terminated = ~bernoulli(dreamt.cont, generator) & ~first


def learned(rows):
    """A policy from stretches of `rows(policy)`."""
    torch.manual_seed(seed)
    agent = ppo.PPO(world.spec.observation_space, world.spec.action_space, learning)
    source = rows(agent.policy())
    stretch = [next(source)]
    for _ in progress(range(sizes["stretches"]), "PPO"):
        stretch = stretch[-1:] + list(islice(source, sizes["rows"]))
        columns = zip(*stretch, strict=True)
        agent.learn(Step(*(torch.stack(column, 1) for column in columns)), generator)
    return agent.policy()


def real_stream(policy):
    """The same from the real game, which is played to its end."""
    games = minatar.vector("breakout", DREAMS, WHOLE)
    for row, _ in stream(games, plain, policy, seed=seed, generator=generator):
        yield row


def at_random(state, generator):
    index = torch.randint(3, (len(state["observation"]),), generator=generator)
    return one_hot(index, 3).float()


plain = ladder.Persistence(world.spec)
players = {"random": at_random, "in the dream": learned(dream_stream)}
players["in the real game"] = learned(real_stream)
returns = {}
for name, policy in players.items():
    games = minatar.vector("breakout", sizes["games"], WHOLE)
    how = {"episodes": 1, "seed": 1000 + seed, "generator": generator}
    returns[name] = interact(games, plain, policy, **how).returns.mean().item()
spent = DREAMS * sizes["rows"] * sizes["stretches"]
print(f"return in 64 real games, after {spent:,} steps:")
print(", ".join(f"{name} {value:.2f}" for name, value in returns.items()))

# %%
if lesson.profile != "quick":  # two stretches are too few for either of the two
    claim(
        "Breakout: return of an agent from dreams, as a multiple of random",
        [returns["in the dream"]],
        ">=",
        2,
        relative_to=[returns["random"]],
    )
    claim(
        "Breakout: the same, as a share of PPO's after as many real steps",
        [returns["in the dream"]],
        ">=",
        0.5,
        relative_to=[returns["in the real game"]],
    )

# %% [markdown]
# Two stretches are too few. The evidence has 40, that is 41,000 imagined steps: on three seeds the
# agent from dreams scores 2.5, 3.0 and 3.0 in the real game, random moves 0.5 to 0.7. So it learns to
# catch the ball, without one real frame beyond the 45,000 that its world was trained on. But PPO after
# as many *real* steps scores 6.0, 5.1 and 7.7.
#
# What holds it back is not the world: one with half of the training, wrong about the ball in one step
# of 13, had taught as much (2.9, 2.9 and 2.4). It is the length of its games. On real games that were
# cut after 25 steps, as the dreams are, PPO had scored 2.6 to 3.0. Longer dreams were not tried since.
# Nor does the dream save time: PPO needs seconds for its steps in this fast game, and the world twenty
# minutes of training before the first dream.
#
# ### What did not hold
#
# - *Breakout: the same, as a share of PPO's after as many real steps*: 0.42, 0.58 and 0.39 on the three
#   seeds, 0.45 of the means. The bound was set when the games of the control were cut as well, and the
#   two were level: that had made the control weak.
#
# ## What is missing
#
# - **Size.** IRIS learned 26 games of Atari from 100,000 steps each (400,000 frames of the game),
#   with 8 million parameters in the transformer and days of a GPU for each game. Here one game of
#   100 cells, and 150,000 parameters.
# - **The loop.** IRIS collects with its agent, and trains its three parts in turns, so that the world
#   learns what the agent comes to see. Here the frames are those of two fixed players.
# - **A tokenizer for pictures.** Cells have a likelihood. Pixels do not say what matters in them, and
#   IRIS adds a perceptual loss.
# - **The agent's memory.** The official agent has an LSTM and is shown the twenty recorded frames
#   before a dream, painted by the tokenizer. PPO here sees one frame.
# - **A longer window.** With three frames the state of a hit is sometimes unknown.
#   `WM_PROFILE=full` trains for as many updates as the checkpoint, with this notebook's rates; more
#   frames are one number in `Config`.
#
# ### Questions
#
# 1. The chain rule holds in any order of the cells. Would the teleport grid be harder to learn
#    backwards? Which order would you give the pieces of a Breakout frame?
# 2. The reward is read at the action, before a token of the next frame is drawn. If the next frame is
#    a matter of chance, can reward and frame contradict each other? What would you change?
# 3. An RSSM's decoder gives cell-wise probabilities, independent of each other. Why are its frames
#    not torn as the factorised transformer's are?
# 4. Tokens that change count five times. What does that do to the *sampled* dream of a world that is
#    unsure whether something changes?
#
# ### Where to read on
#
# - V. Micheli, E. Alonso, F. Fleuret, *Transformers are Sample-Efficient World Models*, ICLR 2023; A.
#   van den Oord, O. Vinyals, K. Kavukcuoglu, *Neural Discrete Representation Learning*, NeurIPS 2017.
# - Code: `eloialonso/iris`; its memory is `src/models/kv_caching.py`, its dreams
#   `src/envs/world_model_env.py`.
# - Here: `utils/worlds/iris.py`, `utils/worlds/iris_tokenizer.py`, `utils/nn/transformer.py`, and
#   `utils/worlds/iris_compiled.py`: the same dreams, each pass compiled into one function.
