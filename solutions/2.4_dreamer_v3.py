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
# # 2.4 DreamerV3: what makes one set of hyper-parameters work everywhere?
#
# DreamerV2 (lesson 2.3) plays Atari, and needs other settings for a robot. One game pays 1 a step,
# another 10,000 once. Learning rates, loss scales and the weight of exploration that fit the one
# are wrong for the other. DreamerV3 runs on more than 150 tasks with *one* configuration. Nothing
# in it is a new idea of a world model. It is a handful of small functions, each of which takes a
# scale away. You write them, train an agent with them, and take them out again one by one.
#
# | | |
# |---|---|
# | You need | lessons 2.2 and 2.3: the RSSM, λ-returns, an actor and a critic on dreams |
# | You build | symlog, two-hot regression, unimix, the balanced KL with free bits, λ-returns, the range of returns, the losses of actor and critic |
# | Time | about 2.5 hours for the core, 2.5 more for *more* |
# | Runs on | any laptop: Run All takes about two minutes and 1 GB of memory; a GPU is not needed |
#
# Every exercise is followed by its check. It says PASS, or what differs and often which mistake
# it is. Until you solve an exercise, later cells use the reference, so Run All always works.
# Stuck? `hint("2.4.1")` gives a first hint, and a better one each time you call it.

# %%
# SETUP

# %% tags=["parameters"]
PROFILE = None  # smoke, quick or full; None: the environment variable WM_PROFILE, else quick

# %%
import json
import math
import time
from dataclasses import replace
from functools import partial

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch
from gymnasium.spaces import Box, Discrete, MultiBinary
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TransformObservation, TransformReward
from IPython.display import Markdown, display
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from utils.agents import actor_critic, ppo
from utils.course import store
from utils.course.check import check, hint, mine
from utils.course.exercise import ROOT
from utils.course.lesson import begin, claim
from utils.course.play import play
from utils.course.show import LivePlot, diagram, film_strip, progress
from utils.data import cart_pole, hidden, minatar, pendulum
from utils.data.replay import Replay
from utils.data.sequences import sample_windows
from utils.evaluate import breakout, ladder
from utils.evaluate.breakout import draw_breakout
from utils.evaluate.playing import DreamGame
from utils.nn import codec
from utils.nn import two_hot as binned
from utils.nn.laprop import LaProp
from utils.nn.mlp import initialise
from utils.nn.symlog import symexp
from utils.world import Spec, State, Step, interact, rollout, stream, where
from utils.worlds import dreamer_v3, rssm

lesson = begin("2.4", PROFILE, seeds=5)
seed = lesson.seeds[0]
torch.manual_seed(seed)
torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it does
generator = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## The idea
#
# Three networks learn at the same time. The **world model**, an RSSM with categorical latents,
# learns from replayed experience. The **critic** and the **actor** learn from what the world model
# dreams, 15 steps on from each replayed state. Every arrow below carries numbers whose size
# depends on the task, and at each of them stands a function that makes the size unimportant.

# %%
diagram(
    {
        "real": (0, 0, "replayed steps\nobservation, reward, end", "#8A8A8A"),
        "world": (1.45, 0, "world model (RSSM)\nblock GRU, categoricals", "#0072B2"),
        "dream": (2.9, 0, "dreams\n15 steps each", "#D55E00"),
        "critic": (4.15, -0.6, "critic\nreturns as classes", "#009E73"),
        "actor": (4.15, 0.6, "actor\nREINFORCE", "#009E73"),
    },
    [
        ("real", "world", "symlog", 0.0),
        ("world", "dream", "unimix,\nfree bits", 0.0),
        ("dream", "critic", "two-hot", 0.1),
        ("dream", "actor", "return range", -0.1),
        ("critic", "actor", "baseline", 0.0),
        ("real", "critic", "replay value loss", -0.32),
    ],
    spacing=(1.95, 1.1),
)

# %% [markdown]
# ### Often said, and not so
#
# - *"DreamerV3, Mastering Diverse Domains, Nature."* arXiv 2301.04104 (2023) is *Mastering Diverse
#   Domains through World Models*. The Nature paper (640, 647-653, 2025) is *Mastering diverse
#   control tasks through world models*. Their algorithms differ, see below; this lesson teaches
#   the second.
# - *"Dreamer learns by gradients through the dynamics."* DreamerV1 does. So did the 2023 version
#   of DreamerV3 for continuous actions. Now it is REINFORCE everywhere, and dreams carry no
#   gradient.
# - *"Free bits: each latent may cost one nat."* The KL is summed over all latents first. One nat
#   is free for a whole time step.
# - *"Returns are normalised to unit variance."* They are divided by their range, and only where
#   that is above 1. Nothing is ever blown up.
# - *"The policy is 1 % uniform."* So says its option. The code's head for discrete actions ignores
#   it.
# - *"It finds diamonds in Minecraft as a human would."* It does find them, from scratch. But
#   blocks break at once: its environment sets `break_speed` to 100.
#
# ### Paper, code, here
#
# The code is danijar/dreamerv3 at `e3f0224`.
#
# | | paper (Nature) | code | here |
# |---|---|---|---|
# | sizes: $h$, latents, units | 8192, 32 x 64, 1024 for 200 M parameters | `size1m` to `size400m` | 128, 32 x 4, 64: 0.2 M parameters |
# | continuation learns | 1 at steps that go on | $\gamma$: the discount is in its target | the code's |
# | weights of a dream's steps | product of the continuations before | the start's own, too: a terminal start teaches nothing | the code's |
# | slow critic | regularises the fast one | a second target; returns bootstrap from the fast one | the code's |
# | critic on replay | returns of replayed rewards | each bootstraps after one step, from the dreamed return | the code's |
# | return range starts | - | at 0, without correction | the code's |
# | unimix of the actor | 1 % | no effect | none |
# | clipping (AGC) | per unit in Brock et al. | norm of whole tensors | the code's |
# | sequences begin with | - | latents stored in replay | zeros, as in 2023 |
# | learning rate, warm-up | 4e-5, 1000 steps | the same | 2e-3, 100 steps, falling to 0 in the last third: a run has 1,000 updates, not 10^6 |
# | horizon of the discount, $1 / (1 - \gamma)$ | 333 | 333 | 100, for the same reason |
# | batch | 16 sequences of 64 | the same (+1) | 8 of 16 |
# | replayed per real step | 32 to 512 by task | the same | 8; Breakout 26 |
# | layers of actor and critic | 3 | 3 | 2 |
# | numbers | bfloat16 | bfloat16 | float32 |
#
# ### 2023 and now
#
# | | 2023 (`8fa35f8`) | since 2024 |
# |---|---|---|
# | scale of the dynamics loss | 0.5 | **1.0** |
# | core | one dense GRU | **block GRU**, 8 blocks |
# | optimiser | Adam, clipped by norm, three rates | **LaProp** with adaptive clipping, one rate |
# | critic on replayed states | no | **yes**, scale 0.3 |
# | norm | LayerNorm | RMSNorm |
# | bins | 255, uniform in symlog space; the mean is taken there | 255, exponential; the mean is taken in raw space |
# | continuous actor | gradients through the dynamics | REINFORCE |
#
# The bold ones are four fields here. One cell below flips them.

# %% [markdown]
# ## Numbers of any size
#
# Some sensors read 0.01, some 10,000. A network wants numbers around 1, and to divide by a scale
# one has to know it before. The **symmetric logarithm** needs to know nothing:
#
# $$\text{symlog}(x) = \text{sign}(x)\, \ln(|x| + 1) .$$
#
# Near 0 it is $x$ itself, far away a logarithm, and unlike a logarithm it takes 0 and negative
# numbers. Its inverse is $\text{symexp}(y) = \text{sign}(y)\,(e^{|y|} - 1)$.
#
# Example: $\text{symlog}(-10{,}000) = -9.21$, and $\text{symlog}(0.01) = 0.00995$.

# %%
# EXERCISE 2.4.1 utils.nn.symlog:symlog

# %%
symlog = check("2.4.1")

# %%
x = torch.linspace(-20, 20, 401)
_, ax = plt.subplots(figsize=(5.5, 2.8))
ax.plot(x, x, color="#8A8A8A", lw=1, label="x")
ax.plot(x, symlog(x), label="symlog(x)")
ax.plot(x[x > 0], x[x > 0].log(), "--", label="ln(x)")
ax.set(xlabel="x", ylim=(-5, 5), title="the same near 0, a logarithm far from it")
ax.legend()
plt.show()

# %% [markdown]
# Vector observations go into the encoder as symlogs, and the decoder learns their symlogs with a
# squared error. This is the codec with your function in it.


# %%
class Vectors(codec.Vectors):
    """Vector observations through the lesson's symlog."""

    def encode(self, observation):
        return self.encoder(symlog(self.flat(observation)))

    def loss(self, prediction, observation):
        return (prediction - symlog(self.flat(observation))).square().sum(-1)


# %% [markdown]
# ## Regression by classification
#
# Rewards and returns need more. They are *random*: a network trained by squared error on their
# symlogs would learn the mean of the symlogs, which is not the symlog of the mean. And the
# gradient of a squared error is as large as the error.
#
# So a number becomes a distribution over $V = 255$ bins $b_k$, spaced exponentially from
# $-5 \cdot 10^8$ to $5 \cdot 10^8$. The target is **two-hot**: all of the mass on the two
# neighbours of the number, in such shares that the mean is exactly the number,
#
# $$p_k = \frac{b_{k+1} - x}{b_{k+1} - b_k}, \qquad p_{k+1} = 1 - p_k, \qquad b_k \le x < b_{k+1} ,$$
#
# and the loss is a cross entropy. Its gradient for a logit is $\text{softmax}_k - p_k$: never more
# than 1, whatever the reward.
#
# Example: bins $-1, 0, 2$ and $x = 0.5$. The neighbours are 0 and 2; the shares 0.75 and 0.25.

# %%
# EXERCISE 2.4.2 utils.nn.two_hot:two_hot

# %%
two_hot = check("2.4.2")

# %% [markdown]
# Left: two targets. Right: the gradient that one target sends into a head that predicts 0, by the
# size of that target.

# %%
bins = binned.exponential_bins()
sizes = torch.logspace(-2, 6, 60)
pull = {"two-hot, cross entropy": (torch.full((255,), 1 / 255) - two_hot(sizes, bins)).norm(dim=-1)}
pull["squared error"] = 2 * sizes
pull["squared error of symlogs"] = 2 * symlog(sizes)
_, axes = plt.subplots(1, 2, figsize=(8, 2.8))
for value in (1.0, 40.0):
    axes[0].plot(symlog(bins), two_hot(torch.tensor(value), bins), ".-", label=f"x = {value:.0f}")
axes[0].set(xlim=(0, 5), xlabel="symlog of the bin", ylabel="probability")
for name, values in pull.items():
    axes[1].plot(sizes, values, label=name)
axes[1].set(xscale="log", yscale="log", xlabel="target", ylabel="length of the gradient")
for ax in axes:
    ax.legend()
plt.show()

# %%
values = torch.tensor([-1e6, -37.2, -1.0, 0.0, 0.003, 1.0, 250.0, 99_000.0], dtype=torch.float64)
back = (two_hot(values, bins.double()) * bins.double()).sum(-1)
off = ((back - values).abs() / (values.abs() + 1e-3)).max().item()
claim("two-hot and back: largest relative error", [off], "<=", 1e-9)

# %% [markdown]
# ### Zero means zero
#
# Heads of rewards and values start with weights of zero, so that all 255 logits are equal. Then
# nobody chases random predictions in the first thousand steps. The mean of the bins is 0 - on
# paper. In float32 a sum from left to right goes down to $-5 \cdot 10^8$ and up again, and what
# was rounded off on the way stays. So each bin is taken together with its mirror image before
# anything is summed:
#
# $$\sum_{k < V/2} (p_{V-1-k} - p_k)\, b_{V-1-k} .$$


# %%
class TwoHot(binned.TwoHot):
    """The lesson's own bins, with your mean in it."""


# %%
# EXERCISE 2.4.3 utils.nn.two_hot:TwoHot.mean

# %%
TwoHot.mean = check("2.4.3")

# %%
head = TwoHot()
equal = torch.zeros(255).log_softmax(-1)
naive = 0.0
for p, b in zip(equal.exp().numpy(), bins.numpy(), strict=True):
    naive = np.float32(naive + p * b)
print(f"equal probabilities: {head.mean(equal).item()} by pairs, {naive:.3g} from left to right")
noisy = (torch.randn(1000, 255, generator=generator) * 1e-3).log_softmax(-1)
print(f"logits with a noise of 0.001: predictions up to {head.mean(noisy).abs().max().item():,.0f}")

# %% [markdown]
# The second line is a warning. The outer bins are huge, and a head that is only *nearly* zero
# predicts thousands. Exactly zero is the one start that works.
#
# In the world model your `two_hot` makes the target of each reward. The critic sees sixteen times
# as many numbers, and gathers two of 255 terms in place of building targets that are zero
# elsewhere.


# %%
class Dense(TwoHot):
    """The loss as it is written: a target for every bin."""

    def loss(self, log_probs, *values):
        target = sum(two_hot(value, self.bins) for value in values)
        return -(target * log_probs).sum(-1)


some, log_probs = torch.randn(64, generator=generator) * 100, noisy[:64]
gap = (Dense().loss(log_probs, some) - TwoHot().loss(log_probs, some)).abs().max().item()
print(f"largest difference between the two forms of the loss: {gap:.1e} nats")

# %% [markdown]
# ## Latents that never give up
#
# The stochastic part of the state is $S$ categorical variables of $K$ classes. A categorical that
# has become certain is dead: its gradient is zero, and if it is certain and *wrong* its KL is
# infinite. So every distribution gets 1 % of the uniform one,
#
# $$p = 0.99\ \text{softmax}(\text{logits}) + 0.01 / K .$$
#
# Example: $K = 4$ and logits $(100, 0, 0, 0)$ give $(0.9925, 0.0025, 0.0025, 0.0025)$.

# %%
# EXERCISE 2.4.4 utils.nn.one_hot:unimix

# %%
unimix = check("2.4.4")


# %%
class Categoricals(rssm.Categoricals):
    """The lesson's latents: their probabilities are your `unimix`."""

    def probability(self, logits):
        return unimix(logits.unflatten(-1, self.shape), self.share)


# %%
opposite = torch.zeros(2, 32)
opposite[0, 0] = opposite[1, 1] = 1e4
mixed, bound = Categoricals(1, 32, 0.01), math.log(32 / 0.01)
worst = mixed.kl(opposite[0], opposite[1]).item()
print(
    f"KL of two opposite certainties: {worst:.2f} nats; no KL exceeds ln(32 / 0.01) = {bound:.2f}"
)
claim("unimix: KL of opposite certainties, as a share of ln(K / share)", [worst / bound], "<=", 1.0)

# %% [markdown]
# ## The balanced KL, with free bits
#
# The KL divergence between what was seen (posterior) and what was expected (prior) trains both. It
# should mostly train the prior to expect better, and a little the posterior to be easier to
# expect. With a stop-gradient (sg) it is split in two losses of the same value:
#
# $$L_\text{dyn} = \max(1,\ \text{KL}[\text{sg}(q)\,\|\,p]), \qquad L_\text{rep} = \max(1,\ \text{KL}[q\,\|\,\text{sg}(p)]),$$
#
# with scales 1 and 0.1. The maximum is the free bits: below one nat the prior is good enough, no
# gradient flows, and the capacity goes to what is still wrong. One nat of the *sum* over all $S$
# latents, and of each time step by itself: taken after a mean, one surprising step would be hidden
# by many dull ones.


# %%
class DreamerV3(dreamer_v3.DreamerV3):
    """The lesson's own world model, with your methods in it."""


# %%
# EXERCISE 2.4.5 utils.worlds.dreamer_v3:DreamerV3.kl

# %%
DreamerV3.kl = check("2.4.5")

# %% [markdown]
# How hard the losses pull, by how surprising a step is: the posterior is certain of one class, and
# the prior becomes more and more sure of another.


# %%
SIZES = dreamer_v3.Config(deter=128, hidden=64, stoch=32, classes=4, units=64, horizon=100)
CARTPOLE = Box(-np.inf, np.inf, (4,), np.float32), Discrete(2)
small = DreamerV3(*CARTPOLE, SIZES, latent=Categoricals)
surprise, pulls = [], []
for sure in torch.linspace(0, 3, 40):
    prior = torch.zeros(1, 1, 32, 4)
    prior[..., 1] = sure
    posterior = torch.zeros(1, 1, 32, 4)
    posterior[..., 0] = 0.3 + sure
    prior, posterior = (v.flatten(2).requires_grad_() for v in (prior, posterior))
    dyn, rep = small.kl(posterior, prior)
    into = torch.autograd.grad((dyn + 0.1 * rep).sum(), (prior, posterior), allow_unused=True)
    surprise.append(small.rssm.latent.kl(posterior, prior).item())
    pulls.append([g.norm().item() for g in into])
_, ax = plt.subplots(figsize=(5.5, 2.6))
for name, line in zip(("prior", "posterior"), zip(*pulls, strict=True), strict=True):
    ax.plot(surprise, line, label=f"gradient of the {name}")
ax.axvline(1, color="#222222", lw=1, ls=":", label="one free nat")
ax.set(xlabel="KL of this step, nats", ylabel="length", xlim=(0, 10))
ax.legend()
plt.show()

# %% [markdown]
# ### The loss of the world model
#
# Five parts, and no scale that a task would have to set. Two habits of the official code are in
# it. The continuation has the target $\gamma\,(1 - \text{terminated})$, so that the head gives the
# discount of what follows. And errors are summed over the observation, but averaged over batch and
# time.

# %%
# EXERCISE 2.4.6 utils.worlds.dreamer_v3:DreamerV3.objective

# %%
DreamerV3.objective = check("2.4.6")

# %% [markdown]
# ## Returns
#
# The dream has $H = 15$ steps, and life goes on after it. The **λ-return** is an exponentially
# weighted mean of all n-step returns, each of which ends in the critic's value:
#
# $$R_t = r_{t+1} + d_{t+1}\big((1 - \lambda)\, v_{t+1} + \lambda R_{t+1}\big), \qquad R_{T-1} = v_{T-1} ,$$
#
# with the discount $d$ from the continuation head. Rows *arrive*: $r_t$ and $d_t$ came with state
# $t$, and $d_t = 0$ if the episode ended in it.
#
# Example: rewards $(0, 1, 0)$, discounts 1, values $(5, 5, 5)$ and λ = 0: $R = (1 + 5,\ 0 + 5)$. λ
# may be one number, or one for each row: a 0 in row $t + 1$ makes $R_t$ end in its value, whatever
# comes later.

# %%
# EXERCISE 2.4.7 utils.agents.actor_critic:lambda_return

# %%
lambda_return = check("2.4.7")

# %% [markdown]
# One reward in step 12 of a dream, and a critic that knows nothing yet. **Predict:** with which λ
# does the start hear of it?

# %%
reward, nothing = torch.zeros(1, 16), torch.zeros(1, 16)
reward[0, 12] = 1.0
_, ax = plt.subplots(figsize=(5.5, 2.6))
for lam in (0.0, 0.5, 0.95, 1.0):
    returns = lambda_return(reward, torch.full((1, 16), 0.997), nothing, lam)
    ax.plot(range(15), returns[0], "o-", ms=3, label=f"λ = {lam}")
ax.set(xlabel="step of the dream", ylabel="return")
ax.legend()
plt.show()

# %% [markdown]
# ### How far returns reach
#
# The actor maximises returns plus a little entropy, so returns and entropy must be of one scale,
# and that of the entropy is fixed. So returns are divided by their *range*, from the 5th to the
# 95th percentile, as a moving average; a few freak returns do not count. And never by less than 1:
#
# $$S = \max\big(1,\ \text{EMA}[\text{Per}_{95}(R)] - \text{EMA}[\text{Per}_5(R)]\big) .$$
#
# Where all returns are 0 but for the critic's noise, dividing by their spread would turn noise
# into advantages of size 1, and the actor would follow them away from exploring.


# %%
class ReturnRange(actor_critic.ReturnRange):
    """The lesson's own range, with your method in it."""


# %%
# EXERCISE 2.4.8 utils.agents.actor_critic:ReturnRange.update

# %%
ReturnRange.update = check("2.4.8")

# %%
table = [
    "| returns of a batch | size of advantages, by range | by standard deviation |",
    "|---|---|---|",
]
amplified = {}
for name, scale, noise in (
    ("nothing found yet: 0, and noise of 0.001", 0.0, 1e-3),
    ("rewards of about 1", 1.0, 1e-3),
    ("rewards of about 10,000", 1e4, 1.0),
):
    batch = scale * torch.rand(4096, generator=generator)
    batch += noise * torch.randn(4096, generator=generator)
    ruler = ReturnRange(rate=1.0)  # no moving average: this batch alone
    by_range = (batch - batch.mean()) / ruler.update(batch)
    by_std = (batch - batch.mean()) / (batch.std() + 1e-8)
    amplified[name] = (by_std.abs().mean() / by_range.abs().mean()).item()
    table.append(f"| {name} | {by_range.abs().mean():.3g} | {by_std.abs().mean():.3g} |")
display(Markdown("\n".join(table)))
name, times = next(iter(amplified.items()))
claim(
    "returns that are noise: blown up by a standard deviation, not by the range", [times], ">=", 100
)

# %% [markdown]
# ## Actor and critic
#
# The actor learns by REINFORCE, with the critic as baseline: actions that led further than
# expected become more likely. Each step weighs what the dream says of getting there at all,
# $w_t = \prod_{i \le t} d_i$.
#
# $$L(\theta) = -\frac{1}{NH} \sum_t \text{sg}(w_t) \Big[ \log \pi(a_t|s_t)\ \text{sg}\Big(\frac{R_t - v_t}{S}\Big) + 3 \cdot 10^{-4}\ \mathrm H[\pi(\cdot|s_t)] \Big]$$


# %%
class ActorCritic(actor_critic.ActorCritic):
    """The lesson's own actor and critic, with your methods in it."""


# %%
# EXERCISE 2.4.9 utils.agents.actor_critic:ActorCritic.actor_loss

# %%
ActorCritic.actor_loss = check("2.4.9")

# %% [markdown]
# The critic learns the returns of dreams, as classes. A second loss keeps it on the ground: on the
# *replayed* states, with the rewards that were really paid. After each real reward the return
# dreamed from there is what follows. This one also shapes the world model: its gradient is let
# through.
#
# The border between two episodes needs care: the row after it belongs to another life. If the
# episode *terminated*, nothing follows: its discount is 0. If it was cut by a time limit, much
# would have followed, and the return ends in the value (λ = 0). In both cases the last row itself
# has no next reward, and weighs 0.

# %%
# EXERCISE 2.4.10 utils.agents.actor_critic:ActorCritic.replay_loss

# %%
ActorCritic.replay_loss = check("2.4.10")

# %% [markdown]
# ## Find the bugs
#
# The next three functions came from a colleague. Each runs, each trains something, and each has
# one mistake that no error message will ever tell you of.
#
# ### One step of filtering
#
# This one runs when the agent acts, and in every step of training.


# %%
class RSSM(rssm.RSSM):
    """The lesson's own recurrence, with your method in it."""


# %%
# EXERCISE 2.4.11 utils.worlds.rssm:RSSM.recur bug late

# %%
RSSM.recur = check("2.4.11")

# %% [markdown]
# **Run it with yours.** Two histories that have nothing in common, and then the same first row of
# a new episode. Do the two states agree?

# %%
fresh = DreamerV3(*CARTPOLE, SIZES, latent=Categoricals, rssm=RSSM)
pasts = {
    "deter": torch.randn(2, 128, generator=generator),
    "stoch": torch.randn(2, 32, 4, generator=generator).softmax(-1),
}
yours = mine("2.4.11")
with torch.no_grad():
    looked = fresh.rssm.posterior.inputs(fresh.codec.encode(torch.zeros(2, 4)))
    nothing_done = fresh.rssm.cell.inputs(torch.zeros(2, 2))
    after, _ = yours(fresh.rssm, pasts, looked, nothing_done, torch.ones(2).bool(), None)
gap = (after["deter"][0] - after["deter"][1]).abs().max().item()
print(f"after the same first row, the two memories differ by up to {gap:.3f}")

# %% [markdown]
# ### The dream
#
# REINFORCE asks the world for states and rewards, and for no gradient.

# %%
# EXERCISE 2.4.12 utils.agents.actor_critic:ActorCritic.imagine bug through

# %%
ActorCritic.imagine = check("2.4.12")

# %% [markdown]
# **Run it with yours.** Only the losses of actor and critic are taken back here. Does anything
# reach the world's prior, which none of them may touch?

# %%
AGENT = actor_critic.Config(units=64, layers=2)
judge = ActorCritic(fresh.size, CARTPOLE[1], AGENT, two_hot=TwoHot, returns=ReturnRange)
states = {
    "deter": torch.randn(4, 8, 128, generator=generator),
    "stoch": torch.randn(4, 8, 32, 4, generator=generator).softmax(-1),
}
starts = {name: value.flatten(0, 1) for name, value in states.items()}
features, actions = mine("2.4.12")(judge, fresh, starts, generator)
(judge.critic(features).square().mean() + judge.actor(features).square().mean()).backward()
reached = [p.grad is not None for p in fresh.rssm.prior.parameters()]
print(
    f"parameters of the prior that actor and critic would train: {sum(reached)} of {len(reached)}"
)

# %% [markdown]
# ### All of it together
#
# Dream, returns, weights, and the three losses.

# %%
# EXERCISE 2.4.13 utils.agents.actor_critic:ActorCritic.loss bug twice

# %%
ActorCritic.loss = check("2.4.13")

# %% [markdown]
# **Run it with yours.** A world that pays 1 in each step and never ends is worth
# $1 / (1 - \gamma)$, here 100. Below, the critic says 0 everywhere, then 50. From the returns that
# your `loss` finds in each case follows the value at which the two would agree.

# %%
pays = torch.zeros(4, 8)
calm = Step(torch.zeros(4, 8, 4), torch.zeros(4, 8, 2), pays + 1, pays.bool(), pays.bool())


def constant(layer, bias):
    """Makes a head say the same everywhere."""
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.copy_(bias)


constant(fresh.reward[-1], two_hot(torch.tensor(1.0), bins).clamp(min=1e-20).log())
constant(fresh.cont[-1], torch.tensor([fresh.discount]).logit())
yours, found = mine("2.4.13"), []
with torch.no_grad():
    for said in (0.0, 50.0):
        constant(judge.critic[-1], two_hot(torch.tensor(said), bins).clamp(min=1e-20).log())
        found.append(yours(judge, fresh, states, calm, generator)[1]["return"].item())
slope = (found[1] - found[0]) / 50  # what is found is a straight line of what is said
print(f"what a life is worth that pays 1 a step for ever: {found[0] / (1 - slope):.1f}")

# %% [markdown]
# ## What else there is
#
# Four parts of the recipe have no exercise. You have read, or can read, each of them in a minute.
#
# - **Block GRU** (`BlockGRU`): eight blocks see each other's memory only through a narrow layer.
#   The matrices are an eighth as large, so the memory can be eight times as wide for the same
#   price.
# - **RMSNorm** (`utils/nn/mlp.py`): divides by the root mean square. No mean is taken off.
# - **The critic's slow twin**: a copy that follows with a rate of 0.02; what it says is a second
#   target.
# - **LaProp with adaptive clipping** (`utils/nn/laprop.py`): Adam takes the momentum of gradients
#   and divides it by their size; LaProp divides each gradient first, so that an old, large one
#   cannot come in through the momentum. And no gradient may be longer than 0.3 of the tensor that
#   it changes.
#
# A parameter has a steady gradient of 1, but in update 20 it is 1,000. Without clipping, both
# optimisers remember the size of that gradient, and hardly move for hundreds of updates.


# %%
def steps_taken(optimiser, parameter, count=60):
    """The length of each step, where the gradient is 1 and in step 20 it is 1,000."""
    lengths = []
    for step in range(count):
        before = parameter.detach().clone()
        parameter.grad = torch.full_like(parameter, 1000.0 if step == 20 else 1.0)
        optimiser.step()
        lengths.append((before - parameter).abs().mean().item())
    return lengths


_, ax = plt.subplots(figsize=(5.5, 2.6))
w = torch.nn.Parameter(torch.ones(4))
ax.plot(steps_taken(torch.optim.Adam([w], 1e-3), w), label="Adam")
w = torch.nn.Parameter(torch.ones(4))
ax.plot(steps_taken(LaProp([w], 1e-3, warmup=1), w), label="LaProp, clipped")
w = torch.nn.Parameter(torch.ones(4))
ax.plot(steps_taken(LaProp([w], 1e-3, warmup=1, clip=1e9), w), "--", label="LaProp, not clipped")
ax.set(xlabel="update", ylabel="length of the step", yscale="log", xlim=(10, 60))
ax.legend()
plt.show()

# %% [markdown]
# ## Train
#
# CartPole-v1: keep a pole upright on a cart, 1 for each step, 500 at most. 16 games run side by
# side. After each row the agent learns once, from eight sequences of 16 rows.
#
# First the parts, in the order in which you made them. What the arguments change is for later.


# %%
def agent(
    envs,
    *,
    sizes=SIZES,
    config=AGENT,
    vectors=Vectors,
    world_bins=Dense,
    bins=TwoHot,
    returns=ReturnRange,
):
    """A world model and what acts in it, made of the functions above."""
    observations, actions = envs.single_observation_space, envs.single_action_space
    parts = {"rssm": RSSM, "latent": Categoricals, "vectors": vectors, "two_hot": world_bins}
    world = DreamerV3(observations, actions, sizes, **parts)
    return world, ActorCritic(world.size, actions, config, two_hot=bins, returns=returns)


UNITS = np.array([10.0, 10.0, 180 / math.pi, 180 / math.pi], np.float32)  # of m, m/s, rad, rad/s


def carts(count, scale=1.0, units=UNITS, seen=(0, 1, 2, 3)):
    """CartPole-v1, `count` games side by side: rewards times `scale`, observations in `units`, and of
    them those `seen`."""
    space = Box(-np.inf, np.inf, (len(seen),), np.float32)

    def one():
        env = gym.make("CartPole-v1")
        env = TransformObservation(env, lambda values: (values * units)[list(seen)], space)
        return TransformReward(env, lambda reward: scale * reward)

    return SyncVectorEnv([one] * count)


# %% [markdown]
# One decision about scale is left. symlog shrinks what is large. What is *small* it leaves small.
# CartPole measures in metres and radians: the pole counts as fallen at 0.2. A world model that sees
# nothing of the angle errs by at most $0.2^2 = 0.04$. In degrees the same angle is 12, its symlog
# 2.6, and being wrong costs up to 6.6. So here the cart is measured in decimetres, and the pole in
# degrees. **Predict:** what does it cost to leave metres and radians? One of the arms below does.
#
# Then the loop, a screenful. It saves itself after every 500 rows, and goes on from there.

# %%
GAMES, BATCH, LENGTH, RATE = 16, 8, 16, 2e-3
LAPROP = partial(LaProp, lr=RATE, warmup=100)
ROWS, SEGMENT = lesson.pick(smoke=18, quick=1000), lesson.pick(smoke=18, quick=500)


def train(name, seed, world, behaviour, envs, *, rows=ROWS, optimiser=LAPROP, fall=3, plot=None):
    """Plays and learns for `rows` rows of all games; returns `frames, return` of every 50 rows.

    The rate falls to 0 over the last of `fall` parts of the run.
    """
    torch.manual_seed(seed)
    parameters = [p for m in (world, behaviour) for p in m.parameters() if p.requires_grad]
    optimiser = optimiser(parameters)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: min(1, fall * (1 - k / rows)))
    policy, replay = behaviour.policy(world), Replay(100_000)
    generator = torch.Generator().manual_seed(seed)
    parts = {"world": world, "behaviour": behaviour, "optimiser": optimiser}
    parts |= {"falling": falling, "replay": replay}
    run, first, curve = lesson.resume(f"{name} {seed}", {"rows": rows}), 0, []
    if (tree := run.load()) is not None:
        first, curve = tree["row"], tree["curve"]
        generator.set_state(tree["generator"])
        for part in parts:
            parts[part].load_state_dict(tree[part])

    for begin_at in range(first, rows, SEGMENT):  # games cannot be saved: each segment starts anew
        games = stream(envs, world, policy, seed=1000 * seed + begin_at, generator=generator)
        total, returns = torch.zeros(envs.num_envs), []
        segment = range(begin_at + 1, min(rows, begin_at + SEGMENT) + 1)
        for row, (step, ended) in zip(progress(segment, name), games, strict=False):
            replay.add(step)
            total += step.reward
            returns += total[ended].tolist()
            total[ended] = 0
            if replay.rows >= LENGTH:
                data = replay.sample(BATCH, LENGTH, generator)
                states, posterior = world.filter(data, generator)
                model, metrics = world.objective(data, states, posterior)
                acting, more = behaviour.loss(world, states, data, generator)
                optimiser.zero_grad()
                (model + acting).backward()
                optimiser.step()
                falling.step()
                if plot and row % 5 == 0:
                    shown = {"KL": metrics["dynamics"], "value range": more["range"]}
                    shown |= {part: metrics[part] for part in ("reconstruction", "continuation")}
                    plot.add(row * envs.num_envs, **shown)
            if row % 50 == 0 or row == rows:
                mean = float(np.mean(returns)) if returns else (curve[-1][1] if curve else 0.0)
                curve.append([row * envs.num_envs, mean])
                returns = []
                if plot:
                    plot.add(row * envs.num_envs, score=mean)
        tree = {name: part.state_dict() for name, part in parts.items()}
        run.save(tree | {"row": row, "curve": curve, "generator": generator.get_state()})
    return curve


def judged(envs, world, behaviour, seed, episodes=1):
    """Mean return of fresh games, one each or more."""
    generator = torch.Generator().manual_seed(10_000 + seed)
    policy = behaviour.policy(world)
    seen = interact(envs, world, policy, episodes=episodes, seed=10_000 + seed, generator=generator)
    return seen.returns.mean().item()


# %% [markdown]
# Everything that this lesson trains is an *arm*. Here you run the first. All of them take about
# two hours of one core, so they have a command of their own, `python -m assets.dreamer_v3_arms`, which
# runs the cells of this notebook and keeps every finished run.

# %%
ARMS = {"Breakout": 3, "all of it": 5, "velocities hidden": 5, "Pendulum": 3, "metres, radians": 3}
ARMS |= {f"rewards x {scale}": 3 for scale in ("100", "10,000")}
ARMS |= {f"plain, rewards x {scale}": 3 for scale in ("1", "100", "10,000")}
WITHOUT = ("symlog", "two-hot", "unimix", "free bits", "balance", "return range", "zero heads")
WITHOUT += ("replay value", "LaProp and AGC")
ARMS |= {f"without {part}": 3 for part in WITHOUT} | {"as in 2023": 3}
main = seed < 5  # seeds of this arm; with another, only the functions are wanted

# %%
made = ROOT / "assets/2.4_arms.json"
known = json.loads(made.read_text())["arms"] if made.exists() else {}
envs = carts(GAMES)
torch.manual_seed(seed)
world, behaviour = agent(envs)
panels = {"return of training games": ["score"], "nats": ["KL", "reconstruction", "continuation"]}
panels["range of returns"] = ["value range"]
began = time.process_time()
with LivePlot("real frames", **panels) as plot:
    if known:
        curves = np.array([one["curve"] for one in known["all of it"]])
        plot.band("score", curves[0, :, 0], curves[:, :, 1])
    curve = train("all of it", seed, world, behaviour, envs, rows=ROWS if main else 20, plot=plot)
spent = time.process_time() - began
score = judged(carts(lesson.pick(smoke=2, quick=32)), world, behaviour, seed)
print(
    f"{score:.0f} steps on average, after {ROWS * GAMES:,} real frames and {spent:.0f} CPU seconds"
)

# %%
if main:
    claim(
        "CartPole: return of 475 or more after 16,000 real frames (yes or no)",
        [score >= 475],
        ">=",
        0.8,
    )
    claim("CartPole: return after 16,000 real frames", [score], ">=", 450)

# %% [markdown]
# ## What it dreams
#
# All that the actor has ever learned from is dreams such as these. Somebody pushes at random for
# ten rows, until the pole leans by some 5 degrees. From there the actor plays on in the dream,
# four times. The dashed lines are the truth: the physics of CartPole, under the actions that were
# chosen *in the dream*.

# %%
units = torch.from_numpy(UNITS)
given, ahead = 10, lesson.pick(smoke=8, quick=40)
tries = carts(64)


def at_random(state, generator):
    """Pushes left or right by the toss of a coin."""
    side = torch.randint(2, (len(state["deter"]),), generator=generator)
    return F.one_hot(side, 2).float()


with torch.no_grad():
    pushed = interact(tries, world, at_random, steps=given, seed=seed, generator=generator).step
lean = pushed.observation[:, -1, 2].abs().masked_fill(pushed.first[:, 1:].any(1), 90)
chosen = (lean - 5).abs().argsort()[:8]  # where it leans by 5 degrees, and no game has ended
context = Step(*(v[chosen] for v in pushed))
with torch.no_grad():
    start = ladder.filtered(world, context, given)
    now = {name: value[:1].expand(4, *value.shape[1:]) for name, value in start.items()}
    dreams = rollout(world, now, behaviour.policy(world), ahead, generator=generator)
    states = {k: torch.cat([now[k][:, None], dreams.state[k]], 1) for k in now}
    shown = world.codec.expected(world.codec.decode(world.features(states)))
truth = [context.observation[:1, -1].expand(4, 4) / units]
for t in range(ahead):
    truth.append(cart_pole.physics(truth[-1], dreams.action[:, t]))
truth = torch.stack(truth, 1) * units  # physics is in metres and radians
fallen = (truth[..., 2].abs() > 12).cumsum(1) > 1
truth = truth.masked_fill(fallen[..., None], torch.nan)  # a game ends where the pole has fallen

# %%
with torch.no_grad():
    features = world.features(states)
    reward, discount = world.predict(features)
    value = behaviour.two_hot.mean(behaviour.critic(features).log_softmax(-1))
    returns = lambda_return(reward, discount, value, AGENT.lam)
    right = behaviour.actor(features).softmax(-1)[..., 1]
_, axes = plt.subplots(2, 2, figsize=(8.5, 4.6), sharex=True)
colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
for row, colour in enumerate(colours):
    axes[0, 0].plot(shown[row, :, 2], color=colour)
    axes[0, 0].plot(truth[row, :, 2], "--", color=colour, lw=1)
    axes[0, 1].plot(shown[row, :, 0], color=colour)
    axes[0, 1].plot(truth[row, :, 0], "--", color=colour, lw=1)
    axes[1, 0].plot(value[row], color=colour)
    axes[1, 0].plot(returns[row], ":", color=colour)
    axes[1, 1].plot(right[row], color=colour)
axes[0, 0].set(
    title="angle of the pole: dreams, dashed the truth", ylabel="degrees", ylim=(-14, 14)
)
axes[0, 1].set(title="place of the cart", ylabel="dm")
axes[1, 0].set(title="value, dotted the λ-return", xlabel="step of the dream")
axes[1, 1].set(title="probability that it pushes right", xlabel="step of the dream", ylim=(0, 1))
plt.show()

# %% [markdown]
# As the pole is caught, its value rises. Then the actor pushes left and right in turn. The truth
# soon goes another way: an upright pole is unstable, and pushes that balance a dreamt pole do not
# balance a real one. The dream is also rough, and its cart jumps by a decimetre a step. All the
# same, who has learned in such dreams balances the real pole. Each dream is only 15 steps long and
# begins in a state that was really seen; and in the real game the actor looks at each step.
#
# The same as a film: the first dream, and below what its pushes would really do, up to the fall.
# (The pole is drawn leaning three times as far as it does.)

# %%
painter = hidden.CartPole()


def picture(observations):
    """Frames of carts from the four numbers of CartPole; black where there are none."""
    limits = torch.tensor([10 * cart_pole.EDGE, 180 / math.pi * cart_pole.TILT])
    frames = painter.picture(observations[:, [0, 2]].nan_to_num() / limits, 48)
    return frames.masked_fill(observations.isnan().any(-1)[:, None, None], 0.0).numpy()


film_strip({"dream": picture(shown[0]), "truth": picture(truth[0])}, times=range(min(12, ahead)))
plt.show()

# %% [markdown]
# ## Where it loses
#
# A mean hides how a game is lost. **Predict:** does the pole fall, or does the cart leave the track
# at 24 dm? Now look at 500 rows of real games, played by your agent: how they end; and, by how far
# the cart is from the middle, how wrong the decoded place is and what the critic says.

# %%
watched, rows = carts(lesson.pick(smoke=4, quick=32)), lesson.pick(smoke=20, quick=500)
with torch.no_grad():
    policy = behaviour.policy(world)
    seen = interact(
        watched, world, policy, steps=rows, seed=20_000 + seed, generator=generator
    ).step
    features = world.features(world.filter(seen, generator)[0])
    decoded = world.codec.expected(world.codec.decode(features))
    value = behaviour.two_hot.mean(behaviour.critic(features).log_softmax(-1))
place, last = seen.observation[..., 0], seen.observation[seen.terminated]
off_track = (last[:, 0].abs() > 10 * cart_pole.EDGE).sum().item()
print(f"{len(last)} games lost: {off_track} off the track, {len(last) - off_track} by the pole")
lines = ["| cart from the middle | share of time | place wrong by | value |", "|---|---|---|---|"]
for low, high in ((0, 2), (2, 6), (6, 12), (12, 18), (18, 24)):
    here = (place.abs() >= low) & (place.abs() < high)
    if here.any():
        wrong = (decoded[..., 0] - place)[here].abs().mean()
        lines.append(
            f"| {low} to {high} dm | {here.float().mean():.1%} | {wrong:.1f} dm | {value[here].mean():.1f} |"
        )
display(Markdown("\n".join(lines)))

# %% [markdown]
# In the stored run no game is lost. The table shows all the same where one would be. In the middle
# the world knows the place to 0.2 dm, at the edge it is wrong by 6.6 dm; and the critic hardly minds,
# 67.7 there against 68.2. A run stopped halfway lost ten games, all of them off the track. Its world
# was wrong by 10 dm at the edge, and the critic gave 32.3 there against 33.1 in the middle. What is
# rare in the replay is learned last.

# %% [markdown]
# ## Does one set fit?
#
# Now each part is taken out again. What it is replaced by:
#
# | without | instead |
# |---|---|
# | symlog | observations as they are, squared error |
# | two-hot | a head gives one number, half the squared error; the scale of rewards is in its gradient |
# | unimix | softmax alone |
# | free bits | every fraction of a nat costs |
# | balance | both losses with the scale 0.55 |
# | return range | advantages as they are |
# | zero heads | heads of reward and critic start at random |
# | replay value | the critic sees dreams only |
# | LaProp and AGC | Adam with the same rate, not clipped |
#
# *Plain* is without symlog, two-hot and return range at the same time: nothing is left that takes
# away a scale. *As in 2023* flips the bold lines of the table above.


# %%
class Raw(codec.Vectors):
    """Vector observations as they are."""

    def encode(self, observation):
        return self.encoder(self.flat(observation))

    def loss(self, prediction, observation):
        return (prediction - self.flat(observation)).square().sum(-1)

    def expected(self, prediction):
        return prediction.unflatten(-1, self.shape)


class Numbers(binned.TwoHot):
    """A head that gives a number: the log-odds of two classes, which can be any."""

    def mean(self, log_probs):
        return log_probs[..., 1] - log_probs[..., 0]

    def loss(self, log_probs, *values):
        return sum(0.5 * (self.mean(log_probs) - v.detach()).square() for v in values)


class One(ReturnRange):
    """Advantages as they are."""

    def update(self, returns):
        return torch.ones_like(self.low)


# %%
two = {"sizes": replace(SIZES, bins=2), "config": replace(AGENT, bins=2)}
squared = {"world_bins": Numbers, "bins": Numbers, **two}
old = {"sizes": replace(SIZES, dyn=0.5, blocks=1), "config": replace(AGENT, replay_value=0.0)}
CHANGED = {
    "plain": {"vectors": Raw, "returns": One, **squared},
    "without symlog": {"vectors": Raw},
    "without two-hot": squared,
    "without unimix": {"sizes": replace(SIZES, unimix=0.0)},
    "without free bits": {"sizes": replace(SIZES, free_nats=0.0)},
    "without balance": {"sizes": replace(SIZES, dyn=0.55, rep=0.55)},
    "without return range": {"returns": One},
    "without replay value": {"config": replace(AGENT, replay_value=0.0)},
    "as in 2023": old,
}
SCALES = {"1": 1.0, "100": 100.0, "10,000": 10_000.0}


def vector_arm(name, number):
    """Trains one arm on CartPole or Pendulum; its mean return in units of one reward, its curve."""
    kind, _, size = name.partition("rewards x ")
    scale = SCALES.get(size, 1.0)
    view = {"seen": (0, 2)} if name == "velocities hidden" else {}
    view |= {"units": np.ones(4, np.float32)} if name == "metres, radians" else {}
    many = partial(carts, scale=scale, **view)
    if name == "Pendulum":
        many = pendulum.pendulums
    envs = many(GAMES)
    torch.manual_seed(number)
    world, behaviour = agent(envs, **CHANGED.get(kind.strip(", ") or name, {}))
    if name == "without zero heads":
        for layer in (world.reward[-1], behaviour.critic[-1]):
            initialise(layer.weight, layer.in_features)
        behaviour.slow.load_state_dict(behaviour.critic.state_dict())
    plain_adam = name in ("without LaProp and AGC", "as in 2023")
    optimiser = partial(torch.optim.Adam, lr=RATE) if plain_adam else LAPROP
    curve = train(name, number, world, behaviour, envs, optimiser=optimiser)
    mean = judged(many(lesson.pick(smoke=2, quick=32)), world, behaviour, number) / scale
    return {"score": mean, "curve": [[frames, value / scale] for frames, value in curve]}


# %% [markdown]
# ### A game with pictures, and a control without a model
#
# MinAtar Breakout shows 10 x 10 cells of four kinds, here as 400 bits. Beside DreamerV3 plays PPO
# (`utils/agents/ppo.py`), which has no model. It learns from each stretch of 64 rows four times,
# and throws it away. DreamerV3's batch is that of CartPole. Its networks are larger, its rate is
# 1.5e-3 and falls from the first row on, and 5 games play in place of 16, so that each frame is
# replayed 26 times. (In the paper the size of the network and the train ratio are all that ever
# changes. The smaller rate was chosen on one seed.)

# %%
BITS = dreamer_v3.Config(deter=128, hidden=128, stoch=12, classes=12, units=96)
BITS_AGENT = actor_critic.Config(units=96, layers=2)
BITS_TRAINING = {"rows": lesson.pick(smoke=18, quick=2000), "fall": 1}
BITS_TRAINING |= {"optimiser": partial(LaProp, lr=1.5e-3, warmup=100)}


def breakout_arm(name, number):
    """DreamerV3 and PPO on the same number of real frames, and PPO on twenty times as many."""
    envs = minatar.vector("breakout", 5, minatar.LIMIT)
    judges = minatar.vector("breakout", lesson.pick(smoke=2, quick=64), minatar.LIMIT)
    torch.manual_seed(number)
    world, behaviour = agent(envs, sizes=BITS, config=BITS_AGENT)
    random = judged(judges, world, behaviour, number)  # nothing is learned yet
    began = time.process_time()
    curve = train(name, number, world, behaviour, envs, **BITS_TRAINING)
    seconds = time.process_time() - began
    made = {"score": judged(judges, world, behaviour, number), "curve": curve, "random": random}
    return made | {"seconds": seconds, "ppo": model_free(number, curve[-1][0])}


def model_free(number, frames):
    """PPO's `[real frames, CPU seconds, return]`, measured after `frames` of them and later."""
    envs = minatar.vector("breakout", 16, minatar.LIMIT)
    judges = minatar.vector("breakout", lesson.pick(smoke=2, quick=64), minatar.LIMIT)
    eyes = ladder.Persistence(Spec(envs.single_observation_space, envs.single_action_space))
    torch.manual_seed(number)
    control = ppo.PPO(envs.single_observation_space, envs.single_action_space, ppo.Config())
    generator = torch.Generator().manual_seed(number)
    policy, seconds, seen, held, found = control.policy(), 0.0, 0, [], []
    asked = [frames * times for times in lesson.pick(smoke=(1,), quick=(1, 2, 5, 10, 20))]
    stretch, began = lesson.pick(smoke=8, quick=64), time.process_time()
    for step, _ in stream(envs, eyes, policy, seed=1000 * number, generator=generator):
        held.append(step)
        seen += envs.num_envs
        if len(held) > stretch:
            control.learn(Step(*(torch.stack(v, 1) for v in zip(*held, strict=True))), generator)
            held = held[-1:]
        if seen >= asked[len(found)]:
            seconds += time.process_time() - began
            fresh = torch.Generator().manual_seed(10_000 + number)
            played = interact(
                judges, eyes, policy, episodes=1, seed=10_000 + number, generator=fresh
            )
            found.append([seen, seconds, played.returns.mean().item()])
            began = time.process_time()
        if len(found) == len(asked):
            return found


# %%
if lesson.profile == "smoke":  # that every kind of arm runs
    for name in ("plain, rewards x 100", "as in 2023", "Pendulum"):
        vector_arm(name, 0)
    breakout_arm("Breakout", 0)

# %%
stored = {name: one for name in known for one in known[name] if one["seed"] == seed}
if lesson.profile != "evidence":  # a claim is of the stored runs, not of yours
    stored = {}
score_of = {name: [one["score"]] for name, one in stored.items()}
for name, bound in {"velocities hidden": 400, "Pendulum": -300}.items():
    if name in stored:
        claim(f"{name}: return", score_of[name], ">=", bound)
if "plain, rewards x 10,000" in stored:
    claim("plain, rewards x 10,000: return", score_of["plain, rewards x 10,000"], "<=", 250)
same = {"rewards x 100": ">=", "rewards x 10,000": ">="}
lost = {"without two-hot": "<=", "without zero heads": "<="}
for name, op in (same | lost).items():
    if name in stored:
        whole = score_of["all of it"]
        claim(
            f"{name}: return, as a share of all of it", score_of[name], op, 0.8, relative_to=whole
        )
if one := stored.get("velocities hidden"):
    yes = [one["score"] >= 475]
    claim("velocities hidden: return of 475 or more (yes or no)", yes, ">=", 0.8)
if one := stored.get("Breakout"):
    name, here, equal = "Breakout: return, as a multiple of", [one["score"]], one["ppo"][0][2]
    claim(f"{name} random play", here, ">=", 3, relative_to=[one["random"]])
    claim(f"{name} PPO's after the same real frames", here, ">=", 1.2, relative_to=[equal])
    par = next((cpu for _, cpu, value in one["ppo"] if value >= one["score"]), np.inf)
    name = "Breakout: CPU seconds until PPO plays as well, as a share of DreamerV3's"
    claim(name, [par], "<=", 0.5, relative_to=[one["seconds"]])

# %% [markdown]
# ### What came of it
#
# Each dot is one run: the mean return of 32 fresh games after 16,000 real frames. The bar is the
# mean. A run that learned nothing scores 10 to 30; 500 is the most.

# %%
if known:
    names = [name for name in ARMS if name in known and name not in ("Breakout", "Pendulum")]
    _, ax = plt.subplots(figsize=(7, 0.27 * len(names) + 0.8))
    for row, name in enumerate(names):
        scores = [one["score"] for one in known[name]]
        ax.barh(row, np.mean(scores), color="#D9E4EC", height=0.75)
        ax.plot(scores, [row] * len(scores), "o", ms=4, color="#0072B2")
    ax.plot(score, 0, "o", ms=8, mfc="none", color="#D55E00", label="your run")
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.set(xlabel="return, of 500", xlim=(0, 520))
    ax.legend(loc="lower right")
    plt.show()
else:
    print(
        "No arms are stored yet: python -m utils evidence 2.4, then python -m assets.dreamer_v3_arms"
    )

# %% [markdown]
# **Scale.** With rewards 1, 100 and 10,000 times as large, all of it together returns 444, 437 and
# 480 of 500 on average over the same three seeds. *Plain* returns 398, 341 and 25: at 10,000 no run
# of three learned anything. That is what the paper is about.
#
# **Alone.** Without zero heads 123, and the best of three runs stays below the worst with all of it
# together. A head that begins at random predicts millions (you saw it above), and the range of
# returns does not forget them soon. Without two-hot 283: two of three runs are lost. No other part
# can be told from chance here: runs of all of it lie between 345 and 500, and runs without one
# of the other parts between 182 and 500. CartPole pays 1 in each step, and has four numbers in it.
# It does not need what 150 tasks need.
#
# **How reliable is it?** The five seeds of the evidence return 500, 500, 497, 479 and 415. Seeds 0 to 2
# ran again on another processor, which rounds otherwise: 489, 500 and 345. Most runs are at 500
# early, with a cart that stays in the middle; then it drifts, and the world must learn of the edges
# from a few lost games. With half the batch and a larger rate (3e-3, 19,200 frames) five runs
# returned 126 to 500: these settings came of a search over some 60 runs. Without velocities 237, 477,
# 205, 472 and 267, and more frames do not mend it: seeds 0 and 2 end at 194 and 264 after 48,000.
#
# **Other actions.** On Pendulum the same settings learn with continuous actions: -200, -258 and -196
# after 16,000 decisions. Random torques return about -1,200, PlaNet's planner of lesson 2.2 -174.

# %%
if known:
    control = [one["ppo"] for one in known["Breakout"]]
    _, axes = plt.subplots(1, 2, figsize=(8, 2.8), sharey=True)
    for one, points in zip(known["Breakout"], control, strict=True):
        frames, seconds, values = (np.array(v) for v in zip(*points, strict=True))
        axes[0].plot(frames, values, "o-", ms=3, color="#8A8A8A")
        axes[1].plot(seconds, values, "o-", ms=3, color="#8A8A8A")
        axes[0].plot(one["curve"][-1][0], one["score"], "s", color="#0072B2")
        axes[1].plot(one["seconds"], one["score"], "s", color="#0072B2")
    axes[0].set(
        xlabel="real frames", ylabel="return", xscale="log", title="squares DreamerV3, dots PPO"
    )
    axes[1].set(xlabel="CPU seconds", xscale="log", title="three seeds each")
    chance = np.mean([one["random"] for one in known["Breakout"]])
    axes[0].set_xticks([10_000, 50_000, 200_000], ["10,000", "50,000", "200,000"])
    for ax in axes:
        ax.minorticks_off()
        ax.axhline(chance, color="#222222", lw=1, ls=":")
    plt.show()

# %% [markdown]
# **Breakout.** After 10,000 real frames DreamerV3 scores 1.6, 0.0 and 3.0 on three seeds; PPO has
# 1.3, 1.4 and 2.0 after as many. One run never got off the ground: its policy had settled on one
# move before it had met a reward. PPO needs less than a second for those frames, and four minutes
# of DreamerV3 are enough for PPO to play 20 times as many and to score 6. On this game the model-free
# control is far ahead in CPU seconds, and not clearly behind in frames.

# %%
if known:
    lines = ["| arm | runs | mean return | CPU seconds a run |", "|---|---|---|---|"]
    for name in (name for name in ARMS if name in known):
        scores = [one["score"] for one in known[name]]
        seconds = np.mean([one["cpu seconds"] for one in known[name]])
        lines.append(f"| {name} | {len(scores)} | {np.mean(scores):.3g} | {seconds:.0f} |")
    display(Markdown("\n".join(lines)))

# %% [markdown]
# ## On the ladder
#
# The same two grounds as PlaNet's in lesson 2.2. **CartPole** without velocities, pushed at
# random:

# %%
pushes = cart_pole.record(
    lesson.pick(smoke=30, quick=300), 100, torch.Generator().manual_seed(seed)
)
held = cart_pole.record(200, 100, torch.Generator().manual_seed(seed + 1000))
pushes, held = (data._replace(observation=10 * data.observation) for data in (pushes, held))
cart, _ = agent(carts(1, seen=(0, 2)))
optimiser = LaProp(cart.parameters(), RATE, warmup=50)
updates = lesson.pick(smoke=3, quick=80, full=600, evidence=3)
falling = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.02, updates)
for _ in progress(range(updates), "world alone"):
    cost, _, _ = cart.loss(sample_windows(pushes, 32, 20, generator), generator)
    optimiser.zero_grad()
    cost.backward()
    optimiser.step()
    falling.step()
count, chosen = lesson.pick(smoke=16, quick=512), torch.Generator().manual_seed(0)
windows = sample_windows(held, count, breakout.CONTEXT + 15, chosen)
ground = ladder.vectors("CartPole without velocities", pushes.observation.flatten(0, 1).std(0))
rows = [ladder.measure(cart, windows, breakout.CONTEXT, ground, "DreamerV3 (2.4)")]
rows[0]["trained"] = f"{pushes.reward.numel():,} random steps, {updates} updates"
rows.append(
    ladder.measure(ladder.Persistence(cart.spec), windows, breakout.CONTEXT, ground, "persistence")
)
display(Markdown(ladder.render(ladder.relative_cost(rows, "DreamerV3 (2.4)"))))


# %% [markdown]
# **MinAtar Breakout**, its fixed data. Two minutes are not enough here, so the world comes from a
# checkpoint that the same code made (`python -m assets.dreamer_v3_breakout`; its card stands
# beside it). Actor and critic learned with it, in dreams of the recorded frames alone, and met the
# game for the first time when they were judged.

# %%
path = ROOT / "assets/2.4_breakout.safetensors"
stored, card = store.load(path), store.card(path)
spaces = MultiBinary(minatar.SHAPE), Discrete(3)
arcade = DreamerV3(
    *spaces, dreamer_v3.Config(**stored["config"]), rssm=RSSM, latent=Categoricals, two_hot=Dense
)
player = ActorCritic(
    arcade.size,
    spaces[1],
    actor_critic.Config(**stored["behaviour"]),
    two_hot=TwoHot,
    returns=ReturnRange,
)
arcade.load_state_dict(stored["world weights"])
player.load_state_dict(stored["behaviour weights"])
recorded = minatar.load("breakout")
test = breakout.windows(recorded, lesson.pick(smoke=16, quick=128, full=512, evidence=16))
how = {"context": breakout.CONTEXT, "ground": breakout.BREAKOUT, "subsets": test.subsets}
rows = [ladder.measure(arcade, test.steps, name="DreamerV3 (2.4)", **how)]
rows[0]["trained"] = f"45,000 frames, {card['seconds']} s on {card['device']}"
rows[0]["agent return"] = card["claims"]["real return"]
rows.append(ladder.measure(ladder.Persistence(arcade.spec), test.steps, name="persistence", **how))
display(Markdown(ladder.render(ladder.relative_cost(rows, "DreamerV3 (2.4)"))))

# %% [markdown]
# The ball is right in 96 of 100 frames one step ahead, in 85 five steps and in 65 fifteen steps
# ahead, and half of the dreams are faultless for 20 steps (V-M-C in lesson 2.1: 92, 81, 58, and 12
# steps). On new frames it is 92, 75 and 46: like every world with one vector for a frame, it knows
# what it has seen. Bricks are its weak side; of 400 cells it loses one or two in every frame, where
# persistence loses none.
#
# What it is good for: an actor that has never played scores 7.7 in the real game. The players whose
# games it was given score 0.5 (random) and 6.5. Its dreams promise it 15.8, though. It has found
# what is wrong with them, as in lesson 2.1, and here it is still good enough.
#
# On CartPole without velocities DreamerV3 is *worse* than a world in which nothing moves, after the
# 80 updates of quick. After 600 its error is 0.86 and 0.99 of persistence's at 5 steps, 1.02
# and 1.46 at 15 (two seeds). Its squared error has the unit of a whole symlog; PlaNet's Gaussian in lesson 2.2 is
# ten times as narrow, and forecasts far better. To act well is not to forecast well.
#
# ### A dream of Breakout
#
# Five frames are given, up to the line. Then the recorded moves in the game and in the dream.
# Below: what the actor would do in each of these dreamed frames, and what the critic says it is
# worth.

# %%
window = 3
clip = Step(*(v[window : window + 1, : breakout.CONTEXT + 30] for v in test.steps))
with torch.no_grad():
    begin_at = ladder.filtered(arcade, clip, breakout.CONTEXT)
    film = rollout(arcade, begin_at, clip.action[:, breakout.CONTEXT :], 30, mode=True)
    frames = arcade.codec.expected(arcade.codec.decode(arcade.features(film.state)))[0]
    features = arcade.features(film.state)[0]
    choice = player.actor(features).softmax(-1)
    value = player.two_hot.mean(player.critic(features).log_softmax(-1))
truth = draw_breakout(clip.observation[0])
dream = np.concatenate([truth[: breakout.CONTEXT], draw_breakout(frames)])
film_strip({"truth": truth, "dream": dream}, times=[0, 2, 4, 5, 7, 9, 12, 15, 19, 24, 30], start=5)
plt.show()
_, axes = plt.subplots(1, 2, figsize=(8, 2.4))
axes[0].stackplot(
    range(30), choice.T, labels=("stay", "left", "right"), colors=("#DDDDD8", "#56B4E9", "#E69F00")
)
axes[0].set(xlabel="step of the dream", ylabel="probability", ylim=(0, 1))
axes[0].legend(loc="lower left", ncols=3)
axes[1].plot(value, label="value")
axes[1].plot(film.reward[0], label="reward dreamed in this step")
axes[1].set(xlabel="step of the dream")
axes[1].legend()
plt.show()

# %% [markdown]
# ### Play it
#
# Nothing of what you see is the game: every frame is what the world model makes of your keys.

# %%
with torch.no_grad():
    first_rows = Step(*(v[:32, : breakout.CONTEXT] for v in test.steps))
    bank = ladder.filtered(arcade, first_rows, breakout.CONTEXT)
game = DreamGame(arcade, bank, draw_breakout)
text = "Breakout, dreamt by DreamerV3: left and right move the paddle."
play(game.step, {"ArrowLeft": 1, "ArrowRight": 2}, idle=0, fps=8, text=text)

# %% [markdown]
# ## The full-size run
#
# Walker-walk of DeepMind Control, from proprioception: 24 numbers, 6 torques, 1,000 steps an
# episode. The same code with the official model of one million parameters, for 100,000 frames, on
# a GPU: `python -m assets.dreamer_v3_walker`. In grey the official curves of five seeds
# (`scores/dmc_proprio-dreamerv3.json.gz` in its repository). Today's official configuration for
# this task replays 1,024 steps for each frame; here it is 128 for each decision, which lasts two.

# %%
OFFICIAL = (  # walker-walk, return after 10,000, 20,000, ... frames
    (37, 83, 133, 143, 234, 245, 240, 181, 225, 298),
    (46, 63, 112, 238, 215, 416, 362, 528, 482, 523),
    (52, 125, 105, 348, 448, 442, 511, 477, 459, 306),
    (40, 54, 125, 147, 206, 300, 425, 591, 668, 714),
    (40, 117, 195, 209, 343, 410, 402, 358, 571, 536),
)
_, ax = plt.subplots(figsize=(5.5, 2.8))
for number, curve in enumerate(OFFICIAL):
    label = None if number else "official, five seeds"
    ax.plot(range(10_000, 110_000, 10_000), curve, color="#8A8A8A", lw=1, label=label)
path = ROOT / "assets/2.4_walker.json"
if path.exists():
    walked = json.loads(path.read_text())
    frames, returns = np.array(walked["curve"]).T
    ax.plot(frames, returns, ".", ms=4, color="#56B4E9")
    times = np.unique(frames)
    ax.plot(times, [returns[frames == t].mean() for t in times], label="here, one seed")
    print(f"{walked['seconds'] / 60:.0f} minutes on {walked['device']}")
ax.set(xlabel="frames", ylabel="return", title="walker-walk, from proprioception")
ax.legend()
plt.show()

# %% [markdown]
# It learns: from 50 to about 280 in 100,000 frames, which took three minutes, with 6,250 updates. The
# official seeds have 298 to 714 there, with 16 times as many updates a frame. One setting is not
# theirs: a rate of 3e-4. With their 4e-5 a run of 5,100 updates had learned nothing (37 to 68); so
# small a rate is made for a million updates.
#
# ### What did not hold
#
# - *CartPole: return after 16,000 real frames*: the mean is 478, but one seed of five returned 415,
#   and the interval of the mean reaches down to 449; 450 was claimed. The other claim, 475 or more
#   on four of five seeds, holds.
# - *velocities hidden: return*: 332 on average where 400 was claimed.
# - *velocities hidden: return of 475 or more (yes or no)*: one seed of five where four were claimed.
#   Why is not found: with three times the frames two seeds were no better.
# - *without two-hot: return, as a share of all of it*: 0.64, but one of three runs does as well as
#   with it, so the interval reaches 0.95. The bounds for it and for zero heads were set when two of
#   the three seeds had been seen.
# - *Breakout: return, as a multiple of random play*: 4.5 on average, but one of three runs never
#   scored.
# - *Breakout: return, as a multiple of PPO's after the same real frames*: 0.99.
#
# ## What is missing
#
# - **Images.** The convolutions of the paper are in `utils/nn/codec.py` and are tested, and
#   `DreamerV3` takes them by itself for a space of frames. On two cores they are too slow for this
#   lesson.
# - **Size.** The paper's finding that larger models need *fewer* steps (12 to 400 million
#   parameters) needs more than a laptop.
# - **Breadth.** One set of hyper-parameters on 150 tasks is the claim; here they are two tasks and
#   three scales.
#
# ### Questions
#
# 1. symlog is the identity near 0. What does the world model learn of a sensor that reads between
#    -0.01 and 0.01? What would you do about it?
# 2. Why is the return range not also divided out where it is below 1?
# 3. Two-hot targets are made of the bins, not of their symlogs. Which mean would the other one
#    give?
# 4. The 2023 version sent gradients through the dynamics for continuous actions. What did they
#    gain by giving that up, and what did they lose?
#
# ### Where to read on
#
# - D. Hafner, J. Pasukonis, J. Ba, T. Lillicrap, *Mastering diverse control tasks through world
#   models*, Nature 640, 2025; *Mastering Diverse Domains through World Models*, arXiv 2301.04104,
#   2023.
# - The code: github.com/danijar/dreamerv3. Begin with `dreamerv3/agent.py` (`imag_loss`,
#   `repl_loss`), then `dreamerv3/rssm.py`, then `embodied/jax/opt.py` for the optimiser.
# - L. Ziyin et al., *LaProp*, arXiv 2002.04839; A. Brock et al., *High-Performance Large-Scale
#   Image Recognition Without Normalization*, 2021, for the clipping.
# - J. Schulman et al., *Proximal Policy Optimization Algorithms*, arXiv 1707.06347: the control.
