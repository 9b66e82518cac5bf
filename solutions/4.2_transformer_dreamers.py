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
# # 4.2 TransDreamer and TWM: what does attention buy over recurrence, and what does it cost when acting?
#
# An RSSM carries what it knows from step to step, in one vector. A transformer looks back at all
# steps at once. TransDreamer (2022) puts one in the place of DreamerV2's recurrence; TWM (2023)
# builds a world model of sentences, *what was seen, what was done, what it paid*, and then acts
# without it. In this lesson you build both, and measure what is gained and what is lost.
#
# | | |
# |---|---|
# | You need | lesson 2.3 (DreamerV2: categorical latents, KL balancing); what attention is |
# | You build | a mask that stops at the end of an episode, posteriors without a past, attention by distance, the sentence of TWM, its balanced cross-entropy |
# | Time | about 2 hours for the core, 2 more for *more* (this whole lesson is *more*) |
# | Runs on | any laptop: Run All takes about two minutes and 1 GB of memory |
#
# Every exercise is followed by its check. It says PASS, or what differs and often which mistake
# it is. Until you solve an exercise, later cells use the reference, so Run All always works.
# Stuck? `hint("4.2.1")` gives a first hint, and a better one each time you call it.

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

from utils.agents import ppo
from utils.course import store
from utils.course.check import check, hint, mine
from utils.course.exercise import ROOT
from utils.course.lesson import begin, claim
from utils.course.play import play
from utils.course.show import LivePlot, diagram, film_strip, progress
from utils.data import floors, minatar, questions, visits
from utils.data.sequences import sample_windows
from utils.evaluate import breakout, ladder
from utils.evaluate.breakout import draw_breakout
from utils.evaluate.playing import DreamGame
from utils.nn.context import age
from utils.nn.mlp import mlp
from utils.nn.random import bernoulli
from utils.nn.sinusoids import sinusoids
from utils.world import State, Step, interact, rollout, stream, take, where
from utils.worlds import transdreamer, transformer_xl, twm
from utils.worlds.dreamer_v2 import Categoricals, DreamerV2
from utils.worlds.dreamer_v2 import Config as RecurrentConfig
from utils.worlds.transdreamer import TransDreamer
from utils.worlds.twm import Prediction

lesson = begin("4.2", PROFILE, seeds=3)
seed = lesson.seeds[0]
torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it does


def climb(optimiser, loss, world):
    """One step of an optimiser, with the gradient's norm clipped at 100 as in both papers' code."""
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(world.parameters(), 100.0)
    optimiser.step()


# %% [markdown]
# ## The idea
#
# Left, an RSSM: what happened in row 0 reaches row 3 through every state between, and row 3 can be
# computed only when row 2 is done. Right, TransDreamer's state-space model (TSSM): the codes $z$ are
# computed from their observations alone, all at once, and $h_3$ looks at each of them directly.

# %%
diagram(
    {
        "h0": (0, 0, "$h_0, z_0$", "#0072B2"),
        "h1": (1, 0, "$h_1, z_1$", "#0072B2"),
        "h2": (2, 0, "$h_2, z_2$", "#0072B2"),
        "h3": (3, 0, "$h_3, z_3$", "#0072B2"),
        "x0": (0, 1, "$x_0$"),
        "x1": (1, 1, "$x_1$"),
        "x2": (2, 1, "$x_2$"),
        "x3": (3, 1, "$x_3$"),
        "Z0": (4.6, 1, "$z_0$", "#D55E00"),
        "Z1": (5.6, 1, "$z_1$", "#D55E00"),
        "Z2": (6.6, 1, "$z_2$", "#D55E00"),
        "Z3": (7.6, 1, "$z_3$", "#D55E00"),
        "X0": (4.6, 2, "$x_0$"),
        "X1": (5.6, 2, "$x_1$"),
        "X2": (6.6, 2, "$x_2$"),
        "X3": (7.6, 2, "$x_3$"),
        "H3": (7.6, 0, "$h_3$", "#0072B2"),
    },
    [
        *[(f"h{i}", f"h{i + 1}") for i in range(3)],
        *[(f"x{i}", f"h{i}") for i in range(4)],
        *[(f"X{i}", f"Z{i}") for i in range(4)],
        *[(f"Z{i}", "H3") for i in range(3)],
    ],
    spacing=(1.05, 0.85),
)

# %% [markdown]
# ### Often said, and not so
#
# - *"A transformer remembers better than a recurrence."* It *reaches* further back. Whether a GRU
#   learns the same depends on how often it is asked; below you will see how far each gets in the same
#   number of updates.
# - *"TransDreamer is Dreamer with a transformer."* Its posterior changes too: it no longer sees the
#   past, and that costs something.
# - *"TWM acts with a transformer."* It trains a policy in the transformer's dreams. The policy sees
#   the code of the present frame only, and acting calls the encoder and the actor only.
# - *"Transformer-XL has an unlimited memory."* It sees a fixed number of steps back in each layer. What
#   it saves is computing: nothing is computed twice.
#
# ### Paper, code, here: TransDreamer
#
# The paper: Chen, Wu, Yoon, Ahn, arXiv 2202.09481. The code: changchencc/TransDreamer at `393007a`,
# settings for Atari.
#
# | | paper, code | here |
# |---|---|---|
# | transformer | 6 layers, width 600, 8 heads of 64, 1,024 units between, ReLU, norm before | 2 layers, width 32 (Breakout: 128), 4 heads, 4 times the width between, GELU, norm before |
# | dropout | 0.1 | none |
# | positions | sines and cosines, added once | the same, counted from the beginning of the episode, or of the window |
# | features | z and the outputs of all layers | the same |
# | a window's first row | has no h, and no loss | h of a token without z; of zeros where an episode begins |
# | rewards | tanh | as they are |
# | heads | 4 layers of 400 | 1 layer of 32 (Breakout: 256) |
# | latents | 32 variables of 32 classes | 4 of 4 (Breakout: 16 of 16) |
# | KL | scale 0.1, balance 0.8, no free nats | scale 0.3 (Breakout: 0.5), the rest the same |
# | sums over time | all rows added up, divided by 15, the dream's horizon, not by the 49 rows there are | means |
# | windows | inside one episode; episodes shorter than 50 are skipped | anywhere; attention stops at borders |
# | continuation | learned without the discount, though DreamerV2 has it in | as DreamerV2 |
# | acting | the last 50 steps are read again at every step | the same |
# | dreams | from one random row on, the same for the batch, to the end of the window | from any row |
# | learning rate | 2e-4, AdamW | 3e-3, Adam (Breakout: 2e-3) |
#
# ## Who may look at whom
#
# Windows are cut anywhere in the experience, so a window may hold the end of one episode and the
# beginning of the next. A GRU forgets where `first` says so. A transformer must not *look*: row $t$ may
# attend to row $s$ only if $s \le t$ and no episode begins between them.
#
# Example: `first = [0, 0, 1, 0]`. Row 3 sees rows 2 and 3; row 1 sees rows 0 and 1.

# %%
# EXERCISE 4.2.1 utils.nn.context:attendable

# %%
attendable = check("4.2.1")

# %%
window = torch.zeros(1, 12, dtype=torch.bool)
window[0, [5, 9]] = True
_, ax = plt.subplots(figsize=(3, 3))
ax.imshow(~attendable(window)[0], cmap="gray", vmin=-0.6, vmax=1.3)
ax.set(xlabel="row that is looked at", ylabel="row that looks", title="dark: may be seen")
ax.set_xticks(range(0, 12, 3))
ax.set_yticks(range(0, 12, 3))
ax.grid(False)
plt.show()

# %% [markdown]
# Three episodes, three triangles.
#
# ## A posterior without a past
#
# In an RSSM the posterior of $z_t$ looks at $h_t$, and $h_t$ needs $z_{t-1}$: no row can be computed
# before the one before it. TransDreamer cuts this knot in the simplest way, $q(z_t | x_t)$: a *myopic*
# posterior. Then all codes are drawn at once, and
#
# $$h_t = \text{Transformer}\big((z_0, a_1), (z_1, a_2), \dots, (z_{t-1}, a_t)\big)$$
#
# is one pass for all $t$. Row $t$'s token is $(z_{t-1}, a_t)$: it must not hold $z_t$, which the prior
# $p(z_t | h_t)$ is to foretell. Where `first`, the token is all zeros: a new episode begins.


# %%
class TSSM(transdreamer.TSSM):
    """The lesson's own state-space model, with your methods in it."""


# %%
# EXERCISE 4.2.2 utils.worlds.transdreamer:TSSM.filter

# %%
TSSM.filter = check("4.2.2")

# %% [markdown]
# The features that prior, heads and policy see of the past are not only the last layer's: the outputs
# of *all* layers stand side by side. Early layers know what is near and plain, late ones what took
# several looks to find.

# %%
# EXERCISE 4.2.3 utils.worlds.transdreamer:TSSM.remember

# %%
TSSM.remember = check("4.2.3")

# %% [markdown]
# ## What attention buys: questions
#
# A sequence of 65 rows. Row 0 shows a *cue*, -1 or 1, and never again. Every row shows a coin as well,
# thrown anew, which means nothing. At any row there may be a question (the action says so), and the
# reward of a question is the cue, times three. Neither world reads rewards, so to foretell what a
# question pays it must remember row 0, over up to 64 coins.
#
# Two worlds with the same loss and the same number of parameters to the percent: DreamerV2's RSSM, and
# TransDreamer. Both get the same sequences, 500 times 16 of them. The RSSM is asked twice: after all 500
# updates, and after 200, when it has trained for about as long as the TSSM trains in all (you will time
# it below).
#
# **Predict before you run**: which gaps between cue and question will each of them manage, of 8, 32
# and 64 rows?

# %%
spaces = questions.OBSERVATION, questions.ACTION
common = {"stoch": 4, "classes": 4, "hidden": 32, "units": 32, "layers": 1, "noise": 0.1}
common |= {"kl_scale": 0.3, "discount": 0.99}
small = transdreamer.Config(**common, width=32, blocks=2, heads=4, context=questions.LENGTH)
torch.manual_seed(seed)
contestants = {
    "RSSM": DreamerV2(*spaces, RecurrentConfig(**common, deter=70)),
    "TSSM": TransDreamer(*spaces, small, tssm=TSSM),
}
for name, world in contestants.items():
    print(f"{name}: {sum(p.numel() for p in world.parameters()):,} parameters")


def answered(name):
    """The share of questions that a contestant answers at each gap."""
    ask = torch.Generator().manual_seed(0)
    return [questions.recall(contestants[name], gap, ask, asked_of) for gap in GAPS]


GAPS = lesson.pick(smoke=(1, 2, 3), quick=(8, 32, 64))
updates, early, asked_of = lesson.pick(smoke=(1, 1, 4), quick=(500, 200, 256))
recalled, luck = {}, torch.Generator().manual_seed(seed)
optimisers = {
    name: torch.optim.Adam(world.parameters(), 3e-3, eps=1e-5, fused=True)
    for name, world in contestants.items()
}
with LivePlot("update", **{"loss of the reward": list(contestants)}) as plot:
    for update in progress(range(updates), "questions"):
        batch, unpaid = questions.questions(16, luck), {}
        for name, world in contestants.items():
            loss, metrics, _ = world.loss(batch, luck)
            climb(optimisers[name], loss, world)
            unpaid[name] = metrics["reward"]
        if update % 5 == 0:
            plot.add(update, **unpaid)
        if update + 1 == early:
            recalled["RSSM, equal time"] = answered("RSSM")
recalled["RSSM, equal updates"], recalled["TSSM"] = answered("RSSM"), answered("TSSM")
for name, shares in recalled.items():
    print(f"{name}: {', '.join(f'{share:.0%}' for share in shares)} at gaps of {GAPS}")

# %% [markdown]
# The curves say how far what each foretells is from what is paid. A world that says 0 to every
# question has a loss of about 2.2.

# %%
_, ax = plt.subplots(figsize=(6.4, 2.4))
for number, (name, shares) in enumerate(recalled.items()):
    place = [g + 0.28 * number - 0.28 for g in range(3)]
    ax.bar_label(ax.bar(place, [100 * s for s in shares], width=0.26, label=name), fmt="%.0f")
ax.set_xticks(range(3), [f"gap {gap}" for gap in GAPS])
ax.set(ylabel="questions answered, %", ylim=(0, 115))
ax.legend(bbox_to_anchor=(1, 1))
plt.show()

# %%
for place, gap in enumerate(GAPS):
    claim(
        f"questions: share that the TSSM answers, gap {gap}", [recalled["TSSM"][place]], ">=", 0.9
    )
for how in ("equal time", "equal updates"):
    share = recalled[f"RSSM, {how}"][2]
    claim(f"questions: share that the RSSM answers, gap 64, {how}", [share], "<=", 0.7)

# %% [markdown]
# The GRU has to learn a memory that holds still under every coin; the transformer has to learn where to
# look. That is a matter of time, not of what is possible: in a run of its own (seed 7) the same RSSM
# answered nothing after 250 updates, 95 % at gap 64 after 500, and everything after 750. Nor is
# attention a cure for everything. Asked only once, at a fixed gap, and with the cue itself as the answer,
# the TSSM learned a gap of 32 in 550 updates and the RSSM did not in 500, but at 64 neither did in 600
# (one seed each).
#
# What was set when: the number of updates was chosen after seeds 0 and 7 had been seen with 350, too few
# for the TSSM of seed 0 (87 % at gap 64). The bounds of the TSSM's claims and of *equal updates* were set
# before anything was run. The claim at *equal time* was added after two seeds had been seen: by then it
# was known that the RSSM learns late. It describes what was found, and forecast nothing.
#
# An update of the RSSM takes longer, because its 65 rows are computed one after the other, and so are
# their gradients. The two take turns, step by step, so that the load of the machine cancels:

# %%
turns, spent = lesson.pick(smoke=1, quick=7), {name: [] for name in contestants}
for _ in range(turns):
    batch = questions.questions(16, luck)
    for name, world in contestants.items():
        started = time.perf_counter()
        climb(optimisers[name], world.loss(batch, luck)[0], world)
        spent[name].append(time.perf_counter() - started)
median = {name: sorted(took)[turns // 2] for name, took in spent.items()}
print(", ".join(f"{name} {1000 * took:.0f} ms" for name, took in median.items()), "an update")

# %%
claim(
    "time of a training step over 65 rows: TSSM, as a share of the RSSM's",
    [median["TSSM"]],
    "<=",
    0.5,
    relative_to=[median["RSSM"]],
)

# %% [markdown]
# ## What myopia costs
#
# Four rooms in a ring, on each of two floors that look alike. A lamp in room 0 shows the floor, once you
# come by. A row shows the room; where one *is*, room and floor, has to be remembered.
#
# After training, a *probe* asks what is in a state: a linear map from features to the eight places,
# fitted to one half of the walks and judged on the other. Of the last twelve rows, the present row
# tells the floor in every fourth; elsewhere one must guess between two.
#
# **Predict before you run**: what will the probe find in $z$ alone, and what in $[z, h]$?

# %%
torch.manual_seed(seed)
config = replace(small, context=floors.LENGTH)
house = TransDreamer(floors.OBSERVATION, floors.ACTION, config, tssm=TSSM)
adam, luck = (
    torch.optim.Adam(house.parameters(), 3e-3, eps=1e-5, fused=True),
    torch.Generator().manual_seed(seed),
)
for _ in progress(range(lesson.pick(smoke=2, quick=200)), "floors"):
    loss, _, _ = house.loss(floors.walks(16, True, luck)[0], luck)
    climb(adam, loss, house)

late = slice(-12, None)
held, place = floors.walks(lesson.pick(smoke=20, quick=200), True, torch.Generator().manual_seed(1))
with torch.no_grad():
    states, _ = house.filter(held, mode=True)
seen_now = floors.probe(states["stoch"].flatten(2)[:, late], place[:, late])
seen_all = floors.probe(house.features(states)[:, late], place[:, late])
print(f"from z alone {seen_now:.1%}, from z and h {seen_all:.1%}; ", end="")
print(f"the row alone gives {5 / 8:.1%} on average")

# %%
claim("floors: places found from the TSSM's z alone", [seen_now], "<=", 0.75)
claim("floors: places found from the TSSM's z and h", [seen_all], ">=", 0.95)

# %% [markdown]
# Exactly what the row shows is in $z$: 1/4 of the rows are in room 0 and lit, the others are a toss,
# 1/4 + 3/4 · 1/2 = 5/8. An RSSM's $z$ may hold more. So whatever acts on a TSSM must see $h$, and at every
# step of acting the transformer has to run. Remember this when you come to TWM.
#
# ## TWM: words in a sentence
#
# TWM (Robine, Höftmann, Uelwer, Harmeling, ICLR 2023) keeps the myopic code and changes the rest. Two
# models share no gradient: an autoencoder makes a code of each frame, and a transformer reads
#
# $$z_0\; a_1\; r_1\;\; z_1\; a_2\; r_2\;\; \dots\;\; z_t\; a_{t+1}$$
#
# and says at every action what comes of it: the next code, the reward, whether the episode goes on. Two
# things are new: rewards are words, and words are told apart by *distance*.

# %%
diagram(
    {
        "z0": (0, 1, "$z_0$", "#D55E00"),
        "a1": (1, 1, "$a_1$"),
        "r1": (2, 1, "$r_1$", "#009E73"),
        "z1": (3, 1, "$z_1$", "#D55E00"),
        "a2": (4, 1, "$a_2$"),
        "x0": (0, 2, "$x_0$"),
        "x1": (3, 2, "$x_1$"),
        "pi": (3, 3, "policy", "#CC79A7"),
        "p1": (1, 0, r"$\hat z_1\;\hat r_1\;\hat c_1$", "#0072B2"),
        "p2": (4, 0, r"$\hat z_2\;\hat r_2\;\hat c_2$", "#0072B2"),
    },
    [
        ("x0", "z0"),
        ("x1", "z1"),
        ("z0", "p1"),
        ("a1", "p1"),
        ("z0", "p2"),
        ("a1", "p2"),
        ("r1", "p2"),
        ("z1", "p2"),
        ("a2", "p2"),
        ("z1", "pi", "all that it sees", 0.9),
    ],
    spacing=(1.3, 0.85),
)

# %% [markdown]
# ### Paper, code, here: TWM
#
# The code: jrobine/twm at `e6a8e59`.
#
# | | paper, code | here |
# |---|---|---|
# | observation | 4 grey frames of 64 x 64, convolutions | one frame of MinAtar (it shows a trail), a layer of 256; rooms, a layer of 64 |
# | codes | 32 variables of 32 classes | 16 of 16 (floors: 8 of 8) |
# | transformer | 10 layers, width 256, 4 heads of 64, 1,024 between, SiLU, norm after | 2 layers, width 128, 4 of 32, 512 (floors: 32, 4 of 8, 64), norm after |
# | scores of attention | divided by the root of the *width*, 16 | by that of a head's size, as Transformer-XL |
# | memory | 16 steps, counted in words: a $z$ and an action reach one step further | 4 steps, counted in steps (floors: 24) |
# | dropout | 0.1 in the dynamics | none |
# | consistency, entropy | 0.01; 5, threshold 0.1; consistency also across the border of an episode | the same numbers; not across a border |
# | heads | 4 layers, of 512 for the code, 256 for reward and continuation; no norm | 1 layer of 256 (floors: 64), RMS norm |
# | first and last frame of a window | not decoded, no entropy | like the others |
# | reward, continuation | 10, 50 | the same |
# | rewards | tanh | as they are |
# | an episode's last frame | never stored; its reward and the end are learned | a row like others |
# | continuation learns | 0.99 or 0 | 1 or 0 |
# | dreams start | from two frames, anywhere | from all that the state keeps; the agent's from openings |
# | dreams end | once the product of predicted discounts is below 0.1; that row starts over from another frame | by the toss of a coin with the predicted chance |
# | actor, critic | REINFORCE, λ-returns, thresholded entropy, dreams of 15 steps | PPO, 25 steps |
# | policy's temperature | divides twice | not used |
# | learning rate | 1e-4 (critic 1e-5), weight decay 1e-6, each model its own Adam | 2e-3 (floors: 3e-3), one Adam: they share no gradient |
# | advantages without dreamt ends | reads a variable that is not defined | not used |
# | before the loop | 5,000 random steps, and 50 million rows of pre-training: 0.6 of them for the codes, 0.3 for the dynamics; for actor and critic the code takes 1 - 0.6 + 0.3 = 0.7 where the rest is 0.1 | none |
#
# ## By distance
#
# If a word is known by its place, what was computed of it is stale once the window moves on, and
# everything has to be read again. Transformer-XL (2019) scores by distance instead:
#
# $$\text{score}(i, j) = (q_i + u) \cdot k_j + (q_i + v) \cdot r_{i - j},$$
#
# where $r_d$ belongs to the distance $d$. Computing $(q_i + v) \cdot r_d$ for all $i$ and $d$ is one
# product of matrices, with distances in its columns, the farthest first. But attention wants tokens in
# its columns. In row $i$ of 3, with tokens 0 1 2, distances are:
#
# | product | column 0 | 1 | 2 | | wanted | token 0 | 1 | 2 |
# |---|---|---|---|---|---|---|---|---|
# | row 0 | 2 | 1 | 0 | | row 0 | **0** | – | – |
# | row 1 | 2 | 1 | 0 | | row 1 | **1** | **0** | – |
# | row 2 | 2 | 1 | 0 | | row 2 | **2** | **1** | **0** |
#
# The first row has to move two columns to the left, the second one, the last none.

# %%
# EXERCISE 4.2.4 utils.worlds.transformer_xl:relative_shift

# %%
relative_shift = check("4.2.4")

# %%
distances = torch.arange(9.0).flip(0).expand(6, 9)  # the score of a distance is the distance
moved = relative_shift(distances).masked_fill(torch.ones(6, 9).triu(4).bool(), torch.nan)
_, axes = plt.subplots(1, 2, figsize=(7, 2.6))
for ax, table, name in zip(axes, (distances, moved), ("by distance", "by token"), strict=True):
    shown = ax.imshow(table, cmap="viridis")
    ax.set(title=name, xlabel="column", ylabel="the 6 newest of 9")
    ax.grid(False)
plt.colorbar(shown, ax=axes, label="how far back")
plt.show()


# %% [markdown]
# Now the whole of it. The *memory* are the inputs of this layer for older words, kept from before. They
# are looked at like others, but do not ask: their own answers are known already.


# %%
class RelativeAttention(transformer_xl.RelativeAttention):
    """The lesson's own attention, with your method in it."""


# %%
# EXERCISE 4.2.5 utils.worlds.transformer_xl:RelativeAttention.forward

# %%
RelativeAttention.forward = check("4.2.5")


# %% [markdown]
# ## The sentence
#
# Row $t$ of our data holds what arrived together: $x_t$, the action $a_t$ that led to it, the reward
# $r_t$ that came with it. So what stands *behind* $z_t$ in the sentence are the action and the reward
# of the *next* row. Take care: what comes of an action is read at the action's word. If the reward
# stood before it, the model would foretell what it has just read.


# %%
class TWM(twm.TWM):
    """The lesson's own world, with your methods in it."""


# %%
# EXERCISE 4.2.6 utils.worlds.twm:TWM.words

# %%
TWM.words = check("4.2.6")

# %% [markdown]
# ### Each word once
#
# A dream goes on from word to word. Reading all of the sentence again for each of them costs as much as
# the sentence is long. With distances and a memory, each word is read once. Both must give the same
# dream, as long as the state keeps all that the newest word depends on: in each of L layers it sees
# `memory` steps back, so L times `memory` rows.

# %%
torch.manual_seed(seed)
reach = replace(twm.SMALL, memory=8, context=16)  # two layers of eight steps
storyteller = TWM(floors.OBSERVATION, floors.ACTION, reach, attention=RelativeAttention)
history, _ = floors.walks(64, True, torch.Generator().manual_seed(seed))
state = ladder.filtered(storyteller, history, 20)
horizon = lesson.pick(smoke=3, quick=30)


def wander(state: State, generator: torch.Generator) -> Float[Tensor, "B A"]:
    """Any action."""
    choice = torch.randint(3, (len(state["stoch"]),), generator=generator)
    return F.one_hot(choice, 3).float()


@torch.no_grad()
def timed(dream, state):
    """A dream and its seconds, the faster of two."""
    seconds = []
    for _ in range(2):
        started, again = time.perf_counter(), torch.Generator().manual_seed(seed)
        found = dream(state, wander, horizon, generator=again)
        seconds.append(time.perf_counter() - started)
    return found, min(seconds)


once, seconds_once = timed(storyteller.dream, state)
again, seconds_again = timed(lambda *given, **how: rollout(storyteller, *given, **how), state)
apart = max((once.reward - again.reward).abs().max(), (once.cont - again.cont).abs().max()).item()
print(f"all words again: {1000 * seconds_again:.0f} ms, each once: {1000 * seconds_once:.0f} ms")
print(f"largest difference of what is foretold: {apart:.1e}")

# %%
claim("30 dreamt steps: with memory and without, they differ by", [apart], "<=", 1e-4)
claim(
    "30 dreamt steps: time with memory, as a share of reading again",
    [seconds_once],
    "<=",
    0.5,
    relative_to=[seconds_again],
)

# %% [markdown]
# ## Losses that do not fight
#
# The code $q$ of a frame and its prediction $p$ pull at each other, as posterior and prior do in a
# Dreamer. KL balancing was one way; TWM takes the divergence apart, into cross-entropies with weights of
# their own and an entropy. The entropy is *thresholded*: as long as the codes have, on average, a tenth
# of the entropy they could have, nothing pulls. The same function holds up the entropy of the policy.
#
# Example: two distributions over two classes, one certain, one even. Their mean entropy is half of
# the largest. With a threshold of 0.6, 0.1 is missing; with 0.4, nothing, and no gradient.

# %%
# EXERCISE 4.2.7 utils.nn.entropy:missing_entropy

# %%
missing_entropy = check("4.2.7")

# %%
sureness = torch.linspace(0, 8, 60, requires_grad=True)
logits = torch.stack([sureness, torch.zeros(60), torch.zeros(60)], -1)
plain = torch.stack([missing_entropy(row[None], 1.0) for row in logits])
floor = torch.stack([missing_entropy(row[None], 0.1) for row in logits])
_, axes = plt.subplots(1, 2, figsize=(7.5, 2.4))
for values, name in ((plain, "threshold 1: always"), (floor, "threshold 0.1")):
    axes[0].plot(sureness.detach(), values.detach(), label=name)
    slope = torch.autograd.grad(values.sum(), sureness, retain_graph=True)[0]
    axes[1].plot(sureness.detach(), slope, label=name)
axes[0].set(xlabel="logit of the first of three classes", ylabel="missing entropy")
axes[1].set(xlabel="logit of the first of three classes", ylabel="its slope: the pull")
axes[0].legend()
plt.show()

# %%
pull = torch.autograd.grad(floor[:20].sum(), sureness, retain_graph=True)[0]
claim("thresholded entropy: largest pull above the threshold", [pull.abs().max().item()], "<=", 0.0)

# %% [markdown]
# Now the three pulls. For each frame that was foretold:
#
# - *latent*: $H(\text{sg}\,q, p)$, the prediction follows the code;
# - *consistency*: $0.01\, H(\text{sg}\,p, q)$, the code gives way a little to what was foretold;
# - *entropy*: 5 times what is missing to a tenth of the largest.
#
# $H(a, b) = -\sum a \ln b$ is not symmetric, and the order of its arguments is not a detail.

# %%
# EXERCISE 4.2.8 utils.worlds.twm:TWM.balanced

# %%
TWM.balanced = check("4.2.8")

# %% [markdown]
# ### Run it with another order
#
# $-\sum p \ln q$ asks the code to cover all that was foretold. $-\sum q \ln p$ is linear in $q$: it is
# least if the code puts everything on the one class that was foretold as likeliest, whatever was seen.
# Here is what happens on the floors if the consistency has the weight 1 instead of 0.01, in either
# order, the second without a floor under the entropy.


# %%
class Swapped(TWM):
    """H(q, p) in the place of H(p, q)."""

    def balanced(self, posterior, prior, first):
        parts = TWM.balanced(self, posterior, prior, first)
        q = posterior.unflatten(-1, self.latent.shape).softmax(-1)[:, 1:]
        p = prior.detach().unflatten(-1, self.latent.shape).log_softmax(-1)
        cross = -(q * p).sum((-1, -2))[~first[:, 1:]].mean()
        return parts | {"consistency": self.config.consistency_scale * cross}


whole = replace(twm.SMALL, memory=floors.LENGTH, context=floors.LENGTH)


def furnished(kind, lamp, updates, **changes):
    """A world that has learned the floors, and its last losses."""
    torch.manual_seed(seed)
    luck = torch.Generator().manual_seed(seed)
    config = replace(whole, **changes)
    world = kind(floors.OBSERVATION, floors.ACTION, config, attention=RelativeAttention)
    adam = torch.optim.Adam(world.parameters(), 3e-3, eps=1e-5, fused=True)
    for _ in progress(range(updates), "TWM on the floors"):
        loss, metrics, _ = world.loss(floors.walks(16, lamp, luck)[0], luck)
        climb(adam, loss, world)
    return world, metrics


@torch.no_grad()
def openness(world):
    """Entropy of codes, as a share of the largest."""
    _, logits = world.encode(held.observation, None)
    return 1 - missing_entropy(logits.unflatten(-1, world.latent.shape), 1.0).item()


arms, moments = {}, lesson.pick(smoke=2, quick=80)
for name, (kind, scale, lift) in {
    "as TWM": (TWM, 0.01, 5.0),
    "H(p, q), weight 1": (TWM, 1.0, 5.0),
    "H(q, p), weight 1, no floor": (Swapped, 1.0, 0.0),
}.items():
    world, metrics = furnished(kind, True, moments, consistency_scale=scale, entropy_scale=lift)
    arms[name] = openness(world), metrics["reconstruction"].item()
    print(f"{name:28}: entropy {arms[name][0]:.3f}, reconstruction {arms[name][1]:.2f} nats")

# %%
claim(
    "codes pulled by H(q, p), no floor: entropy",
    [arms["H(q, p), weight 1, no floor"][0]],
    "<=",
    0.05,
)
claim("codes pulled by H(p, q): entropy", [arms["H(p, q), weight 1"][0]], ">=", 0.3)

# %% [markdown]
# Both orders spoil the codes when they are that strong, in opposite ways: one blurs them, the other
# freezes them. (With the floor in place, H(q, p) of weight 1 left 0.04 and 0.03 of the entropy in two
# runs: a floor of weight 5 is no match for it.) The bounds are older than the number of updates, which was
# cut from 120 to 80 to save time, after a look at seed 100: entropies of 0.45, 0.90 and 0.01.
#
# (A code can also stay mute for a much plainer reason. On Breakout, an encoder and a decoder of three
# and more layers left the codes saying nothing after 300 updates, 19 nats a frame; with one layer each
# it was 9, whatever the weights of the pulls were. Look there first.)
#
# ## Rewards as words
#
# The floors again, now without a lamp: nothing that is *seen* ever tells the floor. But room 0 pays 1
# on the upper floor and -1 on the lower. A world that reads what it was paid can know where it is; a
# world that only foretells rewards cannot, however long its memory is.

# %%
paid, place = floors.walks(
    lesson.pick(smoke=20, quick=200), False, torch.Generator().manual_seed(1)
)
found = {}
for reads in (True, False):
    world, _ = furnished(TWM, False, lesson.pick(smoke=2, quick=320), rewards=reads)
    with torch.no_grad():
        code, _ = world.encode(paid.observation, None)
        rows = torch.cat([code.flatten(2), paid.action, paid.reward[..., None]], -1)
        words = world.words(rows)
        read, _ = world.transformer(
            words, world.transformer.empty(len(rows)), world.mask(paid.first)
        )
    found[reads] = floors.probe(read[:, 1::3][:, late], place[:, late])  # at the actions
    if reads:
        found["code"] = floors.probe(code.flatten(2)[:, late], place[:, late])
print(f"places found at the actions: with rewards {found[True]:.0%}, without {found[False]:.0%}")
print(f"places found in the code alone, which is what a policy of TWM sees: {found['code']:.0%}")

# %%
claim(
    "floors: places found by reading rewards, more than without",
    [found[True] - found[False]],
    ">=",
    0.2,
)
claim("floors: places found in the code that TWM's policy sees", [found["code"]], "<=", 0.65)

# %% [markdown]
# The last line is the other side of TWM's bargain: its transformer knows the floor, and its policy
# cannot ask. In the paper four stacked frames are the policy's whole memory.
#
# (Such knowledge comes late and suddenly. With 200 updates instead of 320, the reading world of
# seed 0 still found 34 %, less than the row itself tells; the number was raised after that.)
#
# ## Which rows to learn from
#
# While an agent acts, its memory grows. Drawn uniformly, its oldest rows have been candidates all the
# time, and are seen far more often than what came last. TWM counts visits and draws rows with few of
# them.

# %%
# EXERCISE 4.2.9 utils.data.visits:Visits blank Visits.probability, Visits.draw

# %%
Visits = check("4.2.9")

# %% [markdown]
# A memory that grows from 500 rows to 2,500 while 125 rows are drawn 2,500 times: 125 visits a row, about
# as many as in the paper's runs.

# %%
luck, capacity = torch.Generator().manual_seed(seed), 2500
draws = lesson.pick(smoke=50, quick=2500)
spread = {}
for name, temperature in (("uniform", math.inf), ("balanced", 20.0)):
    memory = Visits(capacity, temperature)
    for draw in range(draws):
        memory.draw(500 + 2000 * (draw + 1) // draws, 125, luck)
    spread[name] = memory.counts.view(25, 100).float().mean(1)  # a hundred rows together
_, ax = plt.subplots(figsize=(6, 2.5))
for name, counts in spread.items():
    ax.plot(range(50, capacity, 100), counts, label=name)
ax.set(xlabel="row, the oldest left", ylabel="visits on average", ylim=(0, None))
ax.legend()
plt.show()

# %%
old = {name: counts[:22] for name, counts in spread.items()}  # without the newest tenth
ratio = {name: (counts.max() / counts.min()).item() for name, counts in old.items()}
newest = {name: (counts.max() / counts.min()).item() for name, counts in spread.items()}
print(", ".join(f"{name}: most over fewest {newest[name]:.1f}" for name in spread))
claim("visits but of the newest tenth, uniform: most over fewest", [ratio["uniform"]], ">=", 10)
claim("visits but of the newest tenth, balanced: most over fewest", [ratio["balanced"]], "<=", 2)

# %% [markdown]
# The newest rows have had no time yet; among all others, the most visited have 1.3 times the visits
# of the least, where uniform drawing has 10.6. (Temperature 20 means that a row has to be 20 visits
# ahead to be e times less likely, so with few visits per row nothing would change.)
#
# ## Find the bug
#
# A trap with many doors. TransDreamer's loader cuts windows inside an episode and skips episodes
# that are too short. Such a world hardly sees how things end. Here is how often each row of a
# window of nine is an end in Breakout's data, if windows are cut anywhere, and if they must lie
# inside an episode.

# %%
recorded = minatar.load("breakout")
luck, length = torch.Generator().manual_seed(seed), 9
drawn = sample_windows(recorded.train, lesson.pick(smoke=200, quick=20_000), length, luck)
inside = ~drawn.first[:, 1:].any(1)
_, ax = plt.subplots(figsize=(5.5, 2.3))
ax.bar(
    [r - 0.2 for r in range(length)], drawn.terminated.float().mean(0), width=0.38, label="anywhere"
)
ax.bar(
    [r + 0.2 for r in range(length)],
    drawn.terminated[inside].float().mean(0),
    width=0.38,
    label="inside an episode",
)
ax.set(xlabel="row of the window", ylabel="share that are ends")
ax.legend(bbox_to_anchor=(1, 1), title="windows cut")
plt.show()
seen = drawn.terminated[:, 1:].any(1).float()
print(
    f"an end is seen in {seen.mean():.0%} of all windows, in {seen[inside].mean():.1%} of those "
    "inside an episode"
)

# %% [markdown]
# The loss below has the same trap, through another door. It runs, and the reward is learned. What the
# model says of the end is another matter.

# %%
# EXERCISE 4.2.10 utils.worlds.twm:TWM.outcome bug ends

# %%
TWM.outcome = check("4.2.10")

# %% [markdown]
# ### What the first door costs
#
# Two small heads, with your loss. Each is shown a frame and the move that follows, and says whether the
# game goes on. One learns from windows cut anywhere, the other from windows inside an episode: the same
# recordings, 600 times 64 windows each. Then both are asked about every step of the test recordings.
# *Precision* is the share of announced ends that come; *recall* the share of ends that were announced.
#
# **Predict before you run**: which of the two numbers will suffer, and how much?


# %%
def before(rows: Step) -> Float[Tensor, "B T-1 403"]:
    """What an end is foretold from: each frame, and the next move."""
    return torch.cat([rows.observation[:, :-1].flatten(2).float(), rows.action[:, 1:]], -1)


exam = Step(*(part[None] for part in recorded.test))
counts = ~exam.first[:, 1:]
ends = exam.terminated[:, 1:][counts]
recall = {}
for name in ("anywhere", "inside an episode"):
    torch.manual_seed(seed)
    head, luck = mlp(403, 64, 1, 1), torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(head.parameters(), 1e-3, fused=True)
    for _ in progress(range(lesson.pick(smoke=2, quick=600)), f"windows cut {name}"):
        drawn = sample_windows(recorded.train, 128, length, luck)
        fits = ~drawn.first[:, 1:].any(1) | (name == "anywhere")
        batch = Step(*(part[fits][:64] for part in drawn))
        goes_on = head(before(batch)).squeeze(-1)
        said = Prediction(None, batch.reward[:, 1:], goes_on)  # no codes, and rewards as they are
        climb(adam, storyteller.outcome(said, batch)["continuation"], head)
    with torch.no_grad():
        announced = head(before(exam)).squeeze(-1)[counts] < 0
    right = (announced & ends).sum().item()
    recall[name] = right / ends.sum().item()
    precision = f"{right / announced.sum().item():.2f}" if announced.any() else "of nothing"
    print(
        f"windows {name}: {announced.sum()} ends announced, {right} right, of {ends.sum()} in all"
    )
    print(f"    precision {precision}, recall {recall[name]:.2f}")

# %%
claim(
    "ends found after windows inside episodes, as a share of those found after windows anywhere",
    [recall["inside an episode"]],
    "<=",
    0.5,
    relative_to=[recall["anywhere"]],
)

# %% [markdown]
# Recall. In windows inside an episode an end is ten times rarer, so the head hardly ever dares to
# announce one. In the dreams of such a world balls pass the paddle and the game goes on; an agent would
# learn there that missing is free. Training longer mends it slowly: after 1,800 updates instead of 600
# the second head found 62 % of the ends, the first 95 %, each with a precision of 0.99. (That run had
# seed 100, which is none of the evidence's. The bound, 0.5, was set after it: at 600 updates its recalls
# were 0.88 and 0.01.)
#
# ## Acting
#
# To act, TWM encodes the frame and asks the policy. What was seen is written down for later dreams,
# and that is all: the transformer is not called. The method below does so, but something from the last
# episode stays where it should not, and every dream that starts in the first steps of an episode is
# haunted by it.

# %%
# EXERCISE 4.2.11 utils.worlds.twm:TWM.observe bug stale

# %%
TWM.observe = check("4.2.11")

# %% [markdown]
# What does one decision cost? Each world observes one row after another, as it would while acting,
# and its features are read. Calls of the transformer's layers are counted by a hook. The RSSM and
# the TSSM are those trained on the questions above; the time is the median of 65 decisions.

# %%
reader = TWM(*spaces, replace(twm.SMALL, context=64), attention=RelativeAttention)
actors = {"RSSM": contestants["RSSM"], "TSSM": contestants["TSSM"], "TWM": reader}
parts = {"RSSM": [contestants["RSSM"].rssm.cell], "TSSM": list(contestants["TSSM"].rssm.blocks)}
parts["TWM"] = list(reader.transformer.layers)
episode = questions.questions(1, torch.Generator().manual_seed(seed))
cost, calls = {name: [] for name in actors}, dict.fromkeys(actors, 0)
hooks = []
for name, modules in parts.items():

    def count(*_, name=name):
        calls[name] += 1

    hooks += [module.register_forward_hook(count) for module in modules]
with torch.no_grad():
    lives = {name: world.initial(1) for name, world in actors.items()}
    for t in range(questions.LENGTH):
        now = Step(*(part[:, t] for part in episode))
        for name, world in actors.items():
            started = time.perf_counter()
            lives[name] = world.observe(lives[name], now, mode=True)
            world.features(lives[name])
            cost[name].append(time.perf_counter() - started)
for hook in hooks:
    hook.remove()
middle = {name: sorted(took)[len(took) // 2] for name, took in cost.items()}
for name in actors:
    print(
        f"{name}: {1000 * middle[name]:.2f} ms a decision, {calls[name]} calls of its memory's layers"
    )

# %%
claim("acting: calls of TWM's transformer in 65 decisions", [calls["TWM"]], "<=", 0)
claim(
    "acting: time of a decision of the TSSM, as a multiple of TWM's",
    [middle["TSSM"]],
    ">=",
    2,
    relative_to=[middle["TWM"]],
)

# %% [markdown]
# So this is the answer to the question of this lesson. Attention trains in parallel and reaches far back.
# (How much is saved depends on the size: with 811,000 parameters instead of 38,000, a training step of the
# RSSM took 1.4 times that of the TSSM, on one core; `python -m utils bench tssm`.) When acting,
# TransDreamer pays for it at every step, because it reads its whole context again. Keeping keys and
# values, as in lesson 4.1, would save much of it as long as the window does not move. TWM pays nothing,
# and acts on what it sees.
#
# ## On the ladder
#
# Breakout takes longer than two minutes. This run trains TWM for a moment, to show that the code is the
# same; then both worlds are loaded as the same code made them (`python -m assets.twm_breakout twm` and
# `tssm`). The table is from their cards, on 512 windows; the ball is measured here again, on fewer. *New*
# are test frames that training never showed.

# %%
luck, cells = torch.Generator().manual_seed(seed), MultiBinary(minatar.SHAPE)
worlds, cards = {}, {}
for name in ("twm", "tssm"):
    checkpoint = ROOT / f"assets/4.2_{name}_breakout.safetensors"
    stored, card = store.load(checkpoint), store.card(checkpoint)
    torch.manual_seed(seed)
    if name == "twm":
        config = twm.Config(**stored["config"])
        world = TWM(cells, Discrete(3), config, attention=RelativeAttention)
        adam = torch.optim.Adam(world.parameters(), 2e-3, eps=1e-5, fused=True)
        with LivePlot("update", nats=["reconstruction", "latent"], log=("nats",)) as plot:
            for update in range(lesson.pick(smoke=2, quick=20)):
                batch = sample_windows(recorded.train, 48, 9, luck)
                loss, metrics, _ = world.loss(batch, luck)
                climb(adam, loss, world)
                plot.add(update, **{k: metrics[k] for k in ("reconstruction", "latent")})
    else:
        world = TransDreamer(cells, Discrete(3), transdreamer.Config(**stored["config"]), tssm=TSSM)
    world.load_state_dict({key: value.float() for key, value in stored["weights"].items()})
    worlds[card["world"]], cards[card["world"]] = world, card

# %%
test = breakout.windows(recorded, lesson.pick(smoke=4, quick=64))
every = breakout.windows(recorded, lesson.pick(smoke=4, quick=512))  # those of the cards
steps, context = test.steps, breakout.CONTEXT
inside = ladder.counted(steps, context)


@torch.no_grad()
def ball_ahead(world, horizon=15):
    """Share of wrong balls after each of some steps, by mode."""
    state = ladder.filtered(world, steps, context)
    going = ladder.ahead(world, state, steps.action[:, context : context + horizon]).state
    wrong = breakout.wrong_ball(going, steps.observation[:, context : context + horizon].float())
    return {k: wrong[inside[:, k - 1], k - 1].mean().item() for k in (1, 5, 15)}


player, table = worlds["TWM (4.2)"], []
for name, world in worlds.items():
    told = cards[name]["claims"]
    found = [
        f"{k} ahead {v:.2f}, {told[f'wrong ball@{k}']:.2f}" for k, v in ball_ahead(world).items()
    ]
    print(f"{name}, wrong ball here and on the card: {'; '.join(found)}")
    table.append({"name": name, "ground": breakout.BREAKOUT.name} | told)
still = ladder.Persistence(player.spec)
how = {"name": "persistence", "subsets": every.subsets}
table.append(ladder.measure(still, every.steps, context, breakout.BREAKOUT, **how))
del table[-1]["seconds"], table[-1]["parameters"]
display(Markdown(ladder.render(table)))

# %% [markdown]
# On all 512 windows (the cards) the ball is right after 1, 5 and 15 steps in 94, 77 and 58 % with
# TWM, in 91, 73 and 47 % with TransDreamer; DreamerV2 (2.3) has 87, 58 and 27. The paddle after 15
# steps: 99, 92 and 96 %. Half of TWM's dreams are right about both for 13 steps, TransDreamer's for
# 8, DreamerV2's for 4.
#
# The wall is another matter. At none of these steps does either world have fewer bricks wrong than
# persistence, which leaves the wall as it is: after 50 steps TWM has 4.3 wrong, persistence 4.0.
#
# Do not read this as a victory of attention. TWM and TransDreamer have learned for 8,000 updates,
# DreamerV2 for 9,000, each at a third of the cost of one of TWM's; after 4,000 TWM had 76, 53 and
# 34 %, TransDreamer 84, 57 and 27. Nothing in Breakout has to be remembered for long. And it is one
# seed each.
#
# TransDreamer fell into a trap first. It was trained on windows of 10 rows and had room for a context of
# 16. With that, the same weights had the paddle right after 15 steps in only 20 %: positions 10 to 15 had
# never been seen in training, and a sine of a new position is a new input. A context must be no longer than
# the windows. Distances up to TWM's four steps are all trained.
#
# Below, five frames are given, up to the line; then the recorded moves in the game and in both dreams. What
# a world is not sure of is pale.

# %%
chosen = 3
clip = Step(*(part[chosen : chosen + 1, :25] for part in steps))
films = {"truth": draw_breakout(clip.observation[0])}
for name in ("TWM (4.2)", "TransDreamer (4.2)"):
    with torch.no_grad():
        state = ladder.filtered(worlds[name], clip, context)
        going = ladder.ahead(worlds[name], state, clip.action[:, context:]).state[0]
    dream = torch.cat([clip.observation[0, :context].float(), going])
    films[name.split(" ")[0]] = draw_breakout(dream)
film_strip(films, times=[0, 2, 4, 5, 7, 9, 12, 15, 19, 24], start=context)
plt.show()

# %% [markdown]
# ### Play it
#
# Breakout as TWM dreams it. Arrows move the paddle; the dream says itself when the ball is lost.

# %%
starts = ladder.filtered(player, steps, context)
game = DreamGame(player, starts, draw_breakout, limit=100)
play(game.step, {"ArrowLeft": 1, "ArrowRight": 2}, idle=0, fps=6, text="Breakout, dreamt by TWM")

# %% [markdown]
# ## An agent that has only dreamt
#
# What TWM is for. An actor and a critic that see the code $z$ and nothing else learn in its dreams: 64
# side by side, each from the first three frames of a recorded game, 25 steps long, and each word read
# once (`dream`). The learner is PPO, the control of lesson 2.4, as in lesson 4.1. A dream goes on behind
# the end of its game, as the transformer does not know better; what stands there is no one's doing and is
# marked `first`.
#
# Then it acts in the real game: `observe` makes a code of the frame, the actor chooses, and a hook
# counts whether the transformer was called.
#
# **Predict before you run**: the ball is right in three dreams of four after five steps. Is that enough to
# learn to catch it?

# %%
sizes = lesson.pick(
    smoke={"rounds": 1, "games": 2},
    quick={"rounds": 20, "games": 64},
    evidence={"rounds": 60, "games": 64},
    full={"rounds": 100, "games": 64},
)
DREAMS, HORIZON = 64, 25
learning = ppo.Config(units=128, gamma=0.97, lam=0.9, rate=2e-3)
luck = torch.Generator().manual_seed(seed)

openings = recorded.train.first.nonzero()[:, 0]
openings = openings[openings < len(recorded.train.first) - 3]
opened = Step(*(part[openings[:, None] + torch.arange(3)] for part in recorded.train))
whole_ones = ~opened.first[:, 1:].any(1) & ~opened.terminated[:, -1]
opened = Step(*(part[whole_ones][: lesson.pick(smoke=20, quick=2000)] for part in opened))
with torch.no_grad():
    bank = ladder.filtered(player, opened, 3)


def sighted(policy):
    """The policy of an agent that sees the code as its observation."""
    return lambda state, generator: policy({"observation": player.features(state)}, generator)


@torch.no_grad()
def dreamt(policy):
    """A stretch of dreams `[64, 26, ...]`, in rows as a real game would give them."""
    start = take(bank, torch.randint(len(bank["stoch"]), (DREAMS,), generator=luck))
    going = player.dream(start, sighted(policy), HORIZON, luck)
    seen = torch.cat([player.features(start)[:, None], player.features(going.state)], 1)
    ended = F.pad(~bernoulli(going.cont, luck), (1, 0))
    first = ended.cumsum(1).roll(1, 1) > 0  # what stands behind an end
    first[:, 0] = True
    action, reward = F.pad(going.action, (0, 0, 1, 0)), F.pad(going.reward, (1, 0))
    return Step(seen, action * ~first[..., None], reward * ~first, first, ended & ~first)


torch.manual_seed(seed)
sleeper = ppo.PPO(MultiBinary(player.size), Discrete(3), learning)
with LivePlot("round", paid=["dreamt reward a game"]) as plot:
    for turn in progress(range(sizes["rounds"]), "PPO in dreams"):
        stretch = dreamt(sleeper.policy())
        sleeper.learn(stretch, luck)
        plot.add(turn, **{"dreamt reward a game": stretch.reward.sum(1).mean()})

# %% [markdown]
# Three to compare with, in the real game: random moves; the same PPO on real frames, with games cut after
# 25 steps as the dreams are; and the same PPO in whole games. Both have as many real frames as the
# sleeper had dreamt ones. The sleeper has none, but for the 45,000 recorded ones that made the world.


# %%
def awake(limit):
    """The policy of PPO that learns in the real game."""
    torch.manual_seed(seed)
    agent, games = ppo.PPO(cells, Discrete(3), learning), minatar.vector("breakout", DREAMS, limit)
    source = stream(games, still, agent.policy(), seed=seed, generator=luck)
    held = [next(source)[0]]
    for _ in progress(range(sizes["rounds"]), "PPO in the game"):
        held = [held[-1], *(row for row, _ in islice(source, HORIZON))]
        agent.learn(Step(*(torch.stack(part, 1) for part in zip(*held, strict=True))), luck)
    return agent.policy()


def at_random(state, generator):
    """Any action."""
    return F.one_hot(torch.randint(3, (sizes["games"],), generator=generator), 3).float()


players = {
    "random moves": (still, at_random),
    "PPO in dreams": (player, sighted(sleeper.policy())),
    "PPO in real games, cut": (still, awake(HORIZON)),
    "PPO in real games, whole": (still, awake(minatar.LIMIT)),
}
returns, asked = {}, []
hooks = [
    layer.register_forward_hook(lambda *_: asked.append(1)) for layer in player.transformer.layers
]
for name, (sees, policy) in players.items():
    games = minatar.vector("breakout", sizes["games"], minatar.LIMIT)
    judging = {"seed": 1000 + seed, "generator": torch.Generator().manual_seed(seed)}
    returns[name] = interact(games, sees, policy, episodes=1, **judging).returns.mean().item()
for hook in hooks:
    hook.remove()
_, ax = plt.subplots(figsize=(5.5, 1.8))
ax.bar_label(ax.barh(list(returns), list(returns.values())), fmt=" %.2f")
ax.set(xlabel="return of a real game", xlim=(0, 1.2 * max(returns.values())))
ax.invert_yaxis()
plt.show()
spent = DREAMS * HORIZON * sizes["rounds"]
print(f"{spent:,} frames each; calls of the transformer's layers while playing: {len(asked)}")

# %%
if lesson.profile != "quick":  # whose 20 rounds are a third of what is claimed of
    slept, many = [returns["PPO in dreams"]], "as a share of PPO's after as many real frames"
    for other, op, bound, what in (
        ("random moves", ">=", 3, "as a multiple of random moves'"),
        ("PPO in real games, cut", ">=", 0.8, f"{many}, in games cut as dreams are"),
        ("PPO in real games, whole", "<=", 0.8, f"{many}, in whole games"),
    ):
        name = f"Breakout: return of an agent from TWM's dreams, {what}"
        claim(name, slept, op, bound, relative_to=[returns[other]])
    claim("acting: calls of TWM's transformer in whole games", [len(asked)], "<=", 0)

# %% [markdown]
# Twenty rounds are a third of the evidence's sixty, that is 96,000 frames. There, on three seeds,
# the agent from dreams has 3.0, 3.3 and 2.4 in the real game, random moves 0.5, 0.4 and 0.6. The
# same PPO after as many *real* frames has 3.0, 2.0 and 2.0 if its games are cut after 25 steps, and
# 6.5, 6.3 and 8.7 if they are whole. After the twenty rounds above the agent from dreams may still
# be behind the one in cut games; after sixty it has caught up: the dream teaches about as much as
# the game does, *as far as the dream goes*: what the sleeper has never seen is what comes after
# step 25. It saves no time: frames of this game are cheap, and the world took 17 minutes to train.
#
# Longer dreams did not help here, nor other starts. With seed 100 and a world of 4,000 updates, dreams of 50
# steps had taught less (1.5 after 96,000 frames, those of 25 steps 2.5), and dreams that start anywhere in
# the recordings hardly anything (0.6 after 64,000, from openings 2.3). Start, length and bounds were chosen
# after such runs with seeds 100 and 101, none of the evidence's: 2.5 to 3.5 after 96,000 frames, random moves
# 0.4, PPO 2.0 in cut games and 5.8 in whole ones after 64,000.
#
# ### What did not hold
#
# - *questions: share that the RSSM answers, gap 64, equal updates*: after the same 500 updates the GRU
#   remembers as well as the transformer. What attention bought here was time, not memory: after the same
#   time the GRU answers nothing yet. The bound was an estimate made before anything was run.

# %% [markdown]
# ## What is missing
#
# - **The size.** TWM learned 26 games of Atari from 100,000 steps each; its mean human-normalised score
#   is 0.956 and its median 0.505, computed from the scores in its repository. TransDreamer was tried on
#   Atari, DeepMind Control, and tasks of its own that ask for long memory.
# - **The loop.** Here the frames are those of two fixed players. TWM collects with its agent, and its
#   world learns what the agent comes to see. Its actor learns by REINFORCE, with the entropy you wrote.
# - **An agent for TransDreamer.** DreamerV2's actor and critic (lesson 2.3) fit it as they are.
# - **A gate and a memory that slides.** TransDreamer's code has gated layers as an option; keys and
#   values are not kept while acting.
#
# ### Questions
#
# 1. The myopic posterior makes all codes independent given the frames. Where does that hurt most:
#    Breakout, or a maze in first person?
# 2. A TSSM's code of a frame cannot say "as expected". What does that do to the divergence, step by step?
# 3. TWM's policy could be given h. The code has the option and leaves it off. What would acting cost
#    then, and what would a dream's first step have to compute?
# 4. With absolute positions a full cache has to be thrown away or read again (lesson 4.1). Why not with
#    distances?
# 5. Rewards are words, but the end of an episode is not. What would it be good for?
#
# ### Where to read on
#
# - C. Chen, Y.-F. Wu, J. Yoon, S. Ahn, *TransDreamer: reinforcement learning with transformer world
#   models*, 2022, arXiv 2202.09481.
# - J. Robine, M. Höftmann, T. Uelwer, S. Harmeling, *Transformer-based world models are happy with 100k
#   interactions*, ICLR 2023, arXiv 2303.07109.
# - Z. Dai, Z. Yang, Y. Yang, J. Carbonell, Q. V. Le, R. Salakhutdinov, *Transformer-XL: attentive
#   language models beyond a fixed-length context*, ACL 2019, arXiv 1901.02860.
# - The code: `changchencc/TransDreamer`, `model/modules_transformer.py` (all of the TSSM);
#   `jrobine/twm`, `twm/world_model.py` (losses), `twm/nets.py` (Transformer-XL, the mask over episode
#   ends), `twm/agent.py` (dreams), `twm/replay_buffer.py` (visits).
# - Here: `utils/worlds/transdreamer.py`, `utils/worlds/transformer_xl.py` and `utils/worlds/twm.py` are
#   the whole lesson. Lay `transdreamer.py` beside `rssm.py`: same methods, same order.
