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
# # 2.3 Dreamer: can one learn to act without ever planning?
#
# PlaNet searches anew at every step, and forgets what it found. Dreamer (2020) learns an *actor* in
# its dreams instead: acting then costs one pass through a small network. The dream is
# differentiable, so the actor can follow the gradient of what it earned through the world model
# back to what it did. DreamerV2 (2021) makes the latent state categorical and was the first agent to
# reach the human median on Atari with a world model. In this lesson you build both.
#
# | | |
# |---|---|
# | You need | lesson 2.2 (the recurrent state-space model), what an actor and a critic are |
# | You build | λ-returns, dreams that gradients pass through, the actor's and the critic's loss; straight-through samples, KL balancing |
# | Time | about 2 hours for the core, 1.5 more for *more* |
# | Runs on | any laptop: Run All takes about two minutes and 1 GB of memory; full wants a GPU and DeepMind Control |
#
# Every exercise is followed by its check. It says PASS, or what differs and often which mistake
# it is. Until you solve an exercise, later cells use the reference, so Run All always works.
# Stuck? `hint("2.3.1")` gives a first hint, and a better one each time you call it.

# %%
# SETUP

# %% tags=["parameters"]
PROFILE = None  # smoke, quick or full; None: the environment variable WM_PROFILE, else quick

# %%
from dataclasses import replace
from itertools import islice
from pathlib import Path

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch
from gymnasium.spaces import Discrete, MultiBinary
from gymnasium.vector import SyncVectorEnv
from IPython.display import Markdown, display
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from utils.agents import mixed_actor_critic, pathwise_actor_critic
from utils.agents.pathwise_actor_critic import dream_weights
from utils.course import store
from utils.course.check import check, hint, mine
from utils.course.exercise import ROOT
from utils.course.lesson import begin, claim
from utils.course.play import play
from utils.course.show import LivePlot, diagram, film_strip, progress
from utils.data import cart_pole, minatar
from utils.data.pendulum import pendulums
from utils.data.replay import Replay
from utils.data.sequences import sample_windows
from utils.data.two_hills import ACTION, LEFT, POSTS, RIGHT, TwoHills, reward_at
from utils.evaluate import breakout, ladder
from utils.evaluate.breakout import draw_breakout
from utils.evaluate.pendulum import draw_pendulum
from utils.evaluate.playing import DreamGame
from utils.nn.one_hot import draw
from utils.world import Rollout, State, Step, World, frozen, interact, rollout, rows, stream, take
from utils.worlds import dreamer_v1, dreamer_v2, planet

lesson = begin("2.3", PROFILE, seeds=5)
seed = lesson.seeds[0]
torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it does
generator = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## The idea
#
# Three things learn, and each from something else:
#
# - the **world model** from what was really seen (PlaNet's, unchanged);
# - the **critic** from dreams: how much will be earned from a latent state on, beyond the end of the
#   dream;
# - the **actor** from the critic and the dreamt rewards: climb.
#
# When the agent acts, nothing is dreamt. The latent state is filtered, and the actor says what to do.

# %%
diagram(
    {
        "z0": (0, 0, "posterior state\nof real experience", "#0072B2"),
        "a0": (1, 1.2, "action $a_0$", "#D55E00"),
        "z1": (2, 0, "dreamt $s_1$"),
        "a1": (3, 1.2, "action $a_1$", "#D55E00"),
        "z2": (4, 0, "dreamt $s_2$"),
        "r1": (2, -1, "reward $r_1$, value $v_1$", "#009E73"),
        "r2": (4, -1, "reward $r_2$, value $v_2$", "#009E73"),
    },
    [
        ("z0", "a0", "actor looks (cut)", 0.0),
        ("a0", "z1"),
        ("z0", "z1", "world", 0.0),
        ("z1", "a1", "actor looks (cut)", 0.0),
        ("a1", "z2"),
        ("z1", "z2", "world", 0.0),
        ("z1", "r1"),
        ("z2", "r2"),
    ],
    spacing=(1.45, 0.95),
)

# %% [markdown]
# Follow the arrows backwards from $r_2$: that is the way of the gradient. It reaches both actions
# through the world, and stops where the actor looks at a state.
#
# ### Often said, and not so
#
# - *"Dreamer plans."* It dreams while it trains. At decision time it does not look ahead at all.
# - *"Dreamer is differentiated from end to end."* The first one is, and DreamerV2 where actions are
#   continuous. With discrete actions DreamerV2 learns by REINFORCE, and so does DreamerV3 everywhere.
# - *"The gradient through the dream is the gradient of the return."* Not quite. The released code
#   cuts the actor's look at a dreamt state: later actions are treated as if they would stay what they
#   were. You will measure what that changes.
# - *"KL balancing weighs the divergence."* The loss has the same value whatever the balance. What
#   changes is who learns from it.
# - *"DreamerV2 is better than humans on Atari."* The claim is about the *median* of 55 games.
#
# ### Paper, code, here: Dreamer
#
# The code is danijar/dreamer at `56d4d44`.
#
# | | paper | code | here |
# |---|---|---|---|
# | recurrence | deterministic and Gaussian path, as PlaNet | 200 and 30, hidden 200 | the same in full; 64, 16, 64 in quick |
# | dense layers | 3 of 300, ELU | 400 units: reward 2, value 3, actor 4 | the code's in full; 64 units, 2 layers in quick |
# | free nats | 3 | clip the mean of the batch: max(3, mean KL) | the same; 0.3 in quick |
# | reward's log-likelihood | weight 1 | the same | the same in full; 10 in quick, where rewards are divided by 10 |
# | continuation | a discount head, for tasks that end | off (`pcont` False) | none: these tasks never terminate |
# | horizon, γ, λ | 15, 0.99, 0.95 | the same | the same; γ 0.97 in quick |
# | the actor's look at dreamt states | nothing said | gradient stopped | as the code |
# | action | tanh of a Gaussian | mean within 5, deviation starts at 5 | the code's; deviation starts at 0.5 in quick |
# | noise on actions, to explore | N(0, 0.3) | the same | the same |
# | start of weights | not said | Glorot, biases 0; the GRU's memory orthogonal | Glorot, biases 0; the GRU as torch does |
# | acting when judged | not said | the likeliest of 100 samples | the tanh of the mean |
# | dreams start from | every filtered state | every one | every one in full; 64 of them in quick |
# | learning rates: world, value, actor | 6e-4, 8e-5, 8e-5 | the same | the same in full; 2e-3, 2e-3, 5e-4 in quick |
# | gradient norms | clipped at 100, each part by itself | the same | the same |
# | batch | 50 sequences of 50 | the same | the same in full; 8 of 16 in quick |
# | updates | 100 after each episode | 100 every 1,000 steps | 100 after each episode in full; 150 after two in quick |
# | action repeat | 2 | 2 | as PlaNet's paper, by task |
#
# ## λ-returns
#
# A dream is $H = 15$ steps long. What is a state in it worth? One could add up the rewards to the end
# of the dream and trust the critic there, or trust it after one step already. The λ-return is the
# weighted mean of all such sums. It is computed backwards:
#
# $$R_t = r_t + d_t\,\big((1 - \lambda)\, v_{t+1} + \lambda\, R_{t+1}\big), \qquad R_{H-1} = v_{H-1} .$$
#
# λ = 0 trusts the critic after one step, λ = 1 only at the end. Here a state's value counts the
# reward $r_t$ *that came with it*; so do both Dreamers of this lesson. (DreamerV3 starts with the
# next reward, as you will see in 2.4.)
#
# Example: $r = (1, 2, 9)$, $d = (0.5, 0.5, 0.5)$, $v = (0, 4, 8)$, λ = 0.5. Then
# $R_1 = 2 + 0.5 \cdot 8 = 6$ and $R_0 = 1 + 0.5\,(0.5 \cdot 4 + 0.5 \cdot 6) = 3.5$.

# %%
# EXERCISE 2.3.1 utils.agents.pathwise_actor_critic:lambda_return

# %%
lambda_return = check("2.3.1")

# %%
one = torch.tensor([[[1.0, 2.0, 9.0]], [[0.5, 0.5, 0.5]], [[0.0, 4.0, 8.0]]])
print("the example:", lambda_return(*one, 0.5).tolist()[0])

# %% [markdown]
# Which values count how much? Your function is differentiable, so it can say so itself: the
# derivative of $R_0$ with respect to each $v_t$, without a discount.

# %%
_, ax = plt.subplots(figsize=(6, 2.6))
for number, lam in enumerate((0.5, 0.8, 0.95)):
    values = torch.zeros(1, 16, requires_grad=True)
    first = lambda_return(torch.zeros(1, 16), torch.ones(1, 16), values, lam)[0, 0]
    share = torch.autograd.grad(first, values)[0][0]
    ax.bar(np.arange(16) + 0.27 * (number - 1), share, width=0.27, label=f"λ = {lam}")
ax.set(xlabel="step of the dream, t", ylabel="share of $v_t$ in $R_0$")
ax.legend()
plt.show()

# %% [markdown]
# With λ = 0.95 nearly half of the weight sits on the last value: the critic is asked where the dream
# ends, and the rewards before it are the world's.
#
# ## Two ways to the gradient of a return
#
# A world that is known exactly: $s' = s + a$, reward $-s'^2$, and an actor
# $a = \theta s + \sigma \epsilon$. The gradient of the expected return with respect to $\theta$ has a
# closed form. Two ways to estimate it from samples:
#
# - **REINFORCE**: push up the log-probability of each action by what was earned after it. It asks
#   nothing of the world, not even what it is.
# - **pathwise**: hold the noise $\epsilon$ fixed, and differentiate the return through the world. It
#   asks for the derivative of the world.
#
# Both are right on average. **Predict before you run**: how much more do the samples of REINFORCE
# spread? REINFORCE is given the best help there is: the exact value of each state as its baseline.

# %%
THETA, SIGMA, STEPS = -0.3, 0.1, 15
samples = lesson.pick(smoke=200, quick=20_000)


def exact_gradient():
    """By the second moment: E[s'^2] = (1 + theta)^2 E[s^2] + sigma^2, from s = 1."""
    theta = torch.tensor(THETA, dtype=torch.float64, requires_grad=True)
    moment, total = torch.ones((), dtype=torch.float64), 0.0
    for _ in range(STEPS):
        moment = (1 + theta) ** 2 * moment + SIGMA**2
        total = total - moment
    return torch.autograd.grad(total, theta)[0].item()


def exact_value(place, left):
    """What is earned from a place on, in `left` more steps."""
    square, variance, total = place**2, 0.0, 0.0
    for _ in range(left):
        square, variance = (1 + THETA) ** 2 * square, (1 + THETA) ** 2 * variance + SIGMA**2
        total = total - square - variance
    return total


def sampled_gradients(way):
    """One estimate of the gradient from each of many tries."""
    theta = torch.full((samples,), THETA, dtype=torch.float64, requires_grad=True)
    place, rewards, scores, values = torch.ones(samples, dtype=torch.float64), [], [], []
    for step in range(STEPS):
        noise = torch.randn(samples, generator=generator, dtype=torch.float64)
        looked = place.detach() if way == "pathwise, cut" else place
        action = theta * looked + SIGMA * noise
        if way.startswith("REINFORCE"):
            action, place = action.detach(), place.detach()
            scores.append(-0.5 * ((action - theta * place) / SIGMA) ** 2)  # log-probability
            values.append(exact_value(place, STEPS - step) * (way != "REINFORCE"))
        place = place + action
        rewards.append(-(place**2))
    gained = torch.stack(rewards, 1)
    if scores:
        later = gained.flip(1).cumsum(1).flip(1)
        gained = torch.stack(scores, 1) * (later - torch.stack(values, 1)).detach()
    return torch.autograd.grad(gained.sum(), theta)[0]


ways = ("REINFORCE", "REINFORCE with baseline", "pathwise", "pathwise, cut")
found, truth = {way: sampled_gradients(way) for way in ways}, exact_gradient()
_, ax = plt.subplots(figsize=(6.4, 2.6))
for number, (way, value) in enumerate(found.items()):
    low, high = value.quantile(0.05), value.quantile(0.95)
    ax.plot([low, high], [number, number], lw=6, alpha=0.5, color=f"C{number}")
    ax.plot(value.mean(), number, "D", color=f"C{number}")
    print(f"{way:24}: mean {value.mean():7.3f}, variance {value.var():7.2f}")
ax.axvline(truth, color="#222222", lw=1, ls=":")
ax.set_yticks(range(len(ways)), ways)
ax.set(xlabel="estimates from one try: 90 % of them, and their mean. Dotted: the true gradient")
ax.invert_yaxis()
plt.show()

# %%
claim(
    "known model: variance of the pathwise gradient, as a share of REINFORCE's",
    [found["pathwise"].var().item()],
    "<=",
    0.1,
    relative_to=[found["REINFORCE"].var().item()],
)
claim(
    "known model: the same, as a share of REINFORCE's with the exact baseline",
    [found["pathwise"].var().item()],
    "<=",
    0.2,
    relative_to=[found["REINFORCE with baseline"].var().item()],
)
off = [(found[way].mean() - truth) / (found[way].var() / samples).sqrt() for way in ways]
claim(
    "known model: pathwise mean within 3 standard errors of the truth",
    [bool(abs(off[2]) <= 3)],
    ">=",
    0.9,
)
claim(
    "known model: the cut gradient, as a multiple of the true one",
    [found["pathwise, cut"].mean().item() / truth],
    ">=",
    1.3,
)

# %% [markdown]
# The last row is what Dreamer's code does. When it differentiates, it holds later actions fixed, as
# if the actor would not react to where its first action led. Here that overstates the gradient by
# more than a half, and its samples spread as widely as REINFORCE's with the exact baseline. What
# saves it is the critic: it knows how the actor reacts, and every λ-return leans on it.
#
# ## Actions that can be differentiated
#
# The actor says a mean $m$ and a raw deviation $s$ for each action. The action is a Gaussian sample,
# squashed: $a = \tanh(\mu + \sigma \epsilon)$. Two details keep the slope of the tanh alive: the
# mean stays within 5, and $\sigma$ starts at a number of one's choice.


# %%
class TanhNormal(pathwise_actor_critic.TanhNormal):
    """The lesson's own actions, with your sample in it."""


# %%
# EXERCISE 2.3.2 utils.agents.pathwise_actor_critic:TanhNormal.sample

# %%
TanhNormal.sample = check("2.3.2")

# %% [markdown]
# At the official start, $\sigma = 5$, an actor that knows nothing goes nearly always to one end or
# the other. That explores well, and flattens the gradient. With 0.5 it does not.

# %%
_, axes = plt.subplots(1, 2, figsize=(7, 2.2), sharey=True)
for ax, std in zip(axes, (5.0, 0.5), strict=True):
    ignorant = TanhNormal(1, std)
    noise = torch.randn(5000, 1, generator=generator)
    ax.hist(ignorant.sample(torch.zeros(5000, 2), noise).numpy(), bins=40, color="C0")
    ax.set(xlabel="action", title=f"first deviation {std:g}")
axes[0].set_ylabel("of 5,000 samples")
plt.show()

# %% [markdown]
# ## A dream to learn from
#
# From each start, $H$ steps: look, act, let the world go on. The gradient's way is what matters:
#
# - from a reward to an action **through the world**: open;
# - from an action to the actor: open, by the sample that you wrote;
# - from the actor's look at a dreamt state back into the dream: **cut**.


# %%
class PathwiseActorCritic(pathwise_actor_critic.PathwiseActorCritic):
    """The lesson's own actor and critic, with your methods in it."""


# %%
# EXERCISE 2.3.3 utils.agents.pathwise_actor_critic:PathwiseActorCritic.imagine

# %%
PathwiseActorCritic.imagine = check("2.3.3")

# %% [markdown]
# ## What actor and critic learn from
#
# The actor maximises its λ-returns, so its loss is their mean with a minus. The critic's loss is the
# squared error to the same returns, taken as numbers. A step that is $t$ steps into the dream counts
# $\gamma^t$.
#
# Two things would like to learn along and must not. The **world** would become what pleases the
# actor. The **critic** would promise ever more, because the actor's loss passes through it. So both
# are *frozen* while the dream is made: their parameters get no gradient, and what passes through them
# goes on.

# %%
# EXERCISE 2.3.4 utils.agents.pathwise_actor_critic:PathwiseActorCritic.loss

# %%
PathwiseActorCritic.loss = check("2.3.4")

# %% [markdown]
# ### Find the bug
#
# The critic's loss below gives the right number, and training runs. But the actor does strange
# things: it prefers states whose returns are easy to foresee. Find the reason and mend it.

# %%
# EXERCISE 2.3.5 utils.agents.pathwise_actor_critic:PathwiseActorCritic.critic_loss bug target

# %%
PathwiseActorCritic.critic_loss = check("2.3.5")

# %% [markdown]
# ## Beyond the horizon
#
# Does an agent that dreams fifteen steps see only fifteen steps far? A line with two hills of reward:
# a small one ten steps to the left of the start, a large one forty steps to the right. The world is
# exact, so that nothing else can fail. Two agents get the same dreams from everywhere on the line.
# One of them has a critic, for the other all that comes after the dream is worth nothing.
#
# **Predict before you run.** Where does each of them go?


# %%
class Nothing(nn.Module):
    """A critic that expects nothing, ever."""

    def forward(self, features):
        return 0 * features[..., :1]


def climb(adam, loss, *parts):
    """One step of the optimiser; the gradient of each part is clipped by itself."""
    adam.zero_grad()
    loss.backward()
    for part in parts:
        nn.utils.clip_grad_norm_(part.parameters(), 100.0)
    adam.step()


def walker(critic=None, returns=lambda_return):
    """An actor and a critic for the line, started from this run's seed."""
    torch.manual_seed(seed)
    sizes = pathwise_actor_critic.Config(
        units=32, actor_layers=2, critic_layers=2, discount=0.99, init_std=1.0
    )
    behaviour = PathwiseActorCritic(POSTS, ACTION, sizes, returns=returns, choice=TanhNormal)
    behaviour.critic = critic or behaviour.critic
    groups = [
        {"params": behaviour.actor.parameters(), "lr": 1e-3},
        {"params": behaviour.critic.parameters(), "lr": 3e-3},
    ]
    return behaviour, torch.optim.Adam(groups)


hills, updates = TwoHills(), lesson.pick(smoke=4, quick=500)
along = torch.linspace(LEFT, RIGHT, 181)
best = rollout(hills, hills.initial(1), (torch.arange(100) < 40).float()[None, :, None], 100)
walks, values = {}, []
for arm, critic in progress({"with a critic": None, "without": Nothing()}.items(), "two hills"):
    behaviour, adam = walker(critic)
    luck = torch.Generator().manual_seed(seed)
    for update in range(updates):
        loss, _ = behaviour.loss(hills, hills.anywhere(64, luck), luck)
        climb(adam, loss, behaviour)
        if critic is None and update % max(1, updates // 5) == 0:
            with torch.no_grad():
                values.append((update, behaviour.value(hills.features({"place": along}))))
    with torch.no_grad():
        acts = behaviour.policy(hills, explore=False)
        walks[arm] = rollout(hills, hills.initial(1), acts, 100)
share = {k: (walk.reward.sum() / best.reward.sum()).item() for k, walk in walks.items()}
print({k: f"{v:.2f} of what is possible" for k, v in share.items()})

# %%
_, axes = plt.subplots(1, 3, figsize=(9.5, 2.6))
axes[0].fill_between(along, reward_at(along), color="#009E73", alpha=0.4)
axes[0].axvline(0, color="#222222", lw=1, ls=":")
axes[0].set(xlabel="place (dotted: start)", ylabel="reward of a step")
for arm, walk in walks.items():
    axes[1].plot(walk.state["place"][0], label=arm)
axes[1].set(xlabel="step", ylabel="place")
axes[1].legend()
for number, (update, value) in enumerate(values):
    axes[2].plot(along, value, color=plt.cm.viridis(number / len(values)), label=f"{update}")
axes[2].set(xlabel="place", ylabel="value")
axes[2].legend(title="updates", fontsize=7, title_fontsize=7)
plt.show()

# %% [markdown]
# Without a critic the agent sees the small hill and stays on it. With one, news of the large hill
# travels: on the right, the value rises with each batch of dreams and creeps to the left, fifteen
# steps at a time at most, until it reaches the start.

# %%
claim("two hills: share of the possible with a critic", [share["with a critic"]], ">=", 0.9)
claim("two hills: share of the possible without", [share["without"]], "<=", 0.4)

# %% [markdown]
# ### Run it with yours
#
# The same agent with the λ-return that *you* wrote, right or wrong. One that bootstraps from the
# wrong step, or forgets to, gets stuck on the small hill or finds none at all.

# %%
try:
    behaviour, adam = walker(returns=mine("2.3.1"))
    luck = torch.Generator().manual_seed(seed)
    for _ in range(lesson.pick(smoke=2, quick=300)):
        loss, _ = behaviour.loss(hills, hills.anywhere(64, luck), luck)
        climb(adam, loss, behaviour)
    acts = behaviour.policy(hills, explore=False)
    with torch.no_grad():
        walk = rollout(hills, hills.initial(1), acts, 100)
    print(f"with yours it ends at {walk.state['place'][0, -1]:.2f}; the large hill is at 4")
except (NotImplementedError, RuntimeError, TypeError, IndexError) as error:
    print(f"yours cannot train yet: {type(error).__name__}")

# %% [markdown]
# ## Dreamer
#
# Now everything together, in a world that has to be learned from nothing:
#
# 1. a few episodes of random actions;
# 2. an update: the world from windows of all that was seen, then actor and critic from dreams that
#    start in the states of those windows;
# 3. after many of them, an episode with the actor and some noise; keep what was seen; back to 2.
#
# Quick: Pendulum-v1 from its three numbers, each action for two frames. Full: DeepMind Control's
# cartpole swing-up from 64 x 64 pixels, with the same code and the official sizes. (Full needs
# `pip install "dm-control>=1.0.30" "mujoco<4"`.)

# %%
if lesson.profile == "full":
    from utils.data.control import cartpole_swingup

    envs, config, device, together, unit = (
        cartpole_swingup,
        dreamer_v1.Config(),
        lesson.device,
        1,
        1.0,
    )
    sizes, rates = pathwise_actor_critic.Config(), (6e-4, 8e-5, 8e-5)
else:
    envs, config, device, together, unit = (
        pendulums,
        dreamer_v1.SMALL,
        torch.device("cpu"),
        2,
        0.1,
    )
    small = {"units": 64, "actor_layers": 2, "critic_layers": 2, "discount": 0.97, "init_std": 0.5}
    sizes, rates = pathwise_actor_critic.Config(**small), (2e-3, 2e-3, 5e-4)
rounds, first_updates, updates = lesson.pick(
    smoke=(1, 2, 2), quick=(11, 300, 150), full=(95, 500, 100)
)
batch, length, dreams = lesson.pick(smoke=(2, 4, 4), quick=(8, 16, 64), full=(50, 50, 2500))
luck = torch.Generator(device).manual_seed(seed)


def anything(state, generator):
    """Random actions in [-1, 1]."""
    shape = (rows(state), learned.spec.action_size)
    return 2 * torch.rand(shape, generator=generator, device=device) - 1


def collect(policy, count, number):
    """One episode in each of `count` environments; `number` says which. Rewards in units that the
    networks are used to; returns as they are."""
    seen = interact(
        envs(count), learned, policy, episodes=1, seed=1000 * seed + number, generator=luck
    )
    return seen._replace(step=seen.step._replace(reward=unit * seen.step.reward))


# %%
example = envs(1)
torch.manual_seed(seed)
spaces = example.single_observation_space, example.single_action_space
learned = dreamer_v1.DreamerV1(*spaces, config).to(device)
behaviour = PathwiseActorCritic(
    config.deter + config.stoch, spaces[1], sizes, returns=lambda_return, choice=TanhNormal
).to(device)
adam = torch.optim.Adam(learned.parameters(), rates[0], fused=True)
groups = [
    {"params": behaviour.critic.parameters(), "lr": rates[1]},
    {"params": behaviour.actor.parameters(), "lr": rates[2]},
]
adam_behaviour = torch.optim.Adam(groups, fused=True)
parts = {
    "world": learned,
    "behaviour": behaviour,
    "adam": adam,
    "adam_behaviour": adam_behaviour,
}
about = {"seed": seed, "rounds": rounds, "updates": (first_updates, updates), "batch": batch}
run, done, curve = lesson.resume("dreamer", about), 0, []
if (tree := run.load()) is not None:
    for name, part in parts.items():
        part.load_state_dict(tree[name])
    luck.set_state(tree["luck"])
    data, done, curve = Step(*tree["data"]), tree["round"], tree["curve"]
else:
    opening = collect(anything, 5, 0)
    data, curve = opening.step, [(opening.step.reward.numel(), opening.returns.mean().item())]

panels = {"loss": ["reconstruction", "reward", "divergence"], "dreamt": ["return"]}
with LivePlot("update", **panels, log=("loss",)) as plot:
    for number in progress(range(done, rounds), "Dreamer"):
        for update in range(updates if number else first_updates):
            windows = sample_windows(data, batch, length, luck)
            loss, metrics, starts = learned.loss(windows, luck)
            climb(adam, loss, learned)
            chosen = torch.randperm(rows(starts), generator=luck, device=device)[:dreams]
            loss, more = behaviour.loss(learned, take(starts, chosen), luck)
            climb(adam_behaviour, loss, behaviour.actor, behaviour.critic)
            if update % 10 == 0:
                so_far = first_updates + updates * (number - 1) if number else 0
                plot.add(so_far + update, **metrics, **{"return": more["return"]})
        seen = collect(behaviour.policy(learned), together, 1 + number)
        data = Step(*(torch.cat(pair) for pair in zip(data, seen.step, strict=True)))
        curve.append((data.reward.numel(), seen.returns.mean().item()))
        if run.due():
            state = {name: part.state_dict() for name, part in parts.items()}
            state |= {"data": list(data), "luck": luck.get_state(), "round": number + 1}
            run.save(state | {"curve": curve})

# %% [markdown]
# How good is it now, without noise on the actions?

# %%
judged = lesson.pick(smoke=1, quick=8, full=4)
tested = collect(behaviour.policy(learned, explore=False), judged, 900)
final, chance = tested.returns.mean().item(), curve[0][1]
decisions, returns = zip(*curve, strict=True)
_, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(decisions, returns, "o-", label="Dreamer, exploring")
ax.plot(decisions[-1] * 1.03, final, "D", color="C1", label="judged, at the end")
ax.axhline(chance, color="#8A8A8A", lw=1, ls="--", label="random actions")
if lesson.profile != "full":
    ax.axhline(-130, color="#222222", lw=1, ls=":", label="planning in the exact world (2.2)")
ax.set(xlabel="decisions so far", ylabel="return of an episode")
ax.legend(fontsize=8)
plt.show()
print(f"random {chance:.0f}, Dreamer {final:.0f} after {decisions[-1]:,} decisions")

# %%
if lesson.profile != "full":
    claim("Pendulum: return of Dreamer", [final], ">=", -600)
    claim(
        "Pendulum: what Dreamer loses, as a share of what random actions lose",
        [final],
        "<=",
        0.5,
        relative_to=[chance],
    )

# %% [markdown]
# ### The dream beside the truth
#
# Five rows are seen, up to the line. Then the recorded actions in the pendulum and in the dream.

# %%
ahead, context = lesson.pick(smoke=8, quick=40), 5
tests = sample_windows(tested.step, 8, context + ahead, luck)
with torch.no_grad():
    state = ladder.filtered(learned, tests, context)
    expected = ladder.ahead(learned, state, tests.action[:, context:]).state[0]
seen = tests.observation[0]
times = [0, 2, 4, *np.linspace(context, context + ahead - 1, 8).astype(int)]
if lesson.profile == "full":
    film = {"truth": seen.cpu(), "dream": torch.cat([seen[:context], expected.byte()]).cpu()}
else:
    dreamt = torch.cat([seen[:context], expected])
    film = {"truth": draw_pendulum(seen), "dream": draw_pendulum(dreamt)}
film_strip(film, times, context)
plt.show()

# %% [markdown]
# ## DreamerV2: latents that are categories
#
# A Gaussian has one peak. When a ball may bounce left or right, its mean lies between, where no ball
# will ever be. DreamerV2 gives the latent state 32 *categorical* variables of 32 classes each. A
# sample is one-hot, and that is the trouble: it jumps, and a jump has no derivative.
#
# The *straight-through* estimator pretends. Forwards the sample is one-hot; backwards the gradient
# passes as if the sample had been the vector of probabilities. One line does it.

# %%
# EXERCISE 2.3.6 utils.nn.one_hot:straight_through

# %%
straight_through = check("2.3.6")

# %% [markdown]
# How wrong is it? Take one variable $z$ of three classes and some function of it. The true gradient
# of $\mathbb E[f(z)]$ is a sum over three classes. For a linear $f$ the estimate is right in the mean;
# for a curved one it has a bias.

# %%
logits = torch.tensor([0.5, 0.0, -1.0], dtype=torch.float64, requires_grad=True)
worth = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
for name, function in {
    "linear": lambda z: z @ worth,
    "curved": lambda z: (z @ worth - 0.3) ** 2,
}.items():
    classes = torch.eye(3, dtype=torch.float64)
    exact = torch.autograd.grad(logits.softmax(-1) @ function(classes), logits)[0]
    found_gradient = 0.0
    for k in range(3):  # the mean over samples, class by class
        probability = logits.softmax(-1)
        sample = straight_through(probability, torch.tensor(k))
        back = torch.autograd.grad(function(sample), logits)[0]
        found_gradient = found_gradient + probability[k].detach() * back
    print(
        f"{name}: true gradient {exact.numpy().round(3)}, mean straight-through gradient "
        f"{found_gradient.numpy().round(3)}"
    )


# %%
class Categoricals(dreamer_v2.Categoricals):
    """The lesson's own latents: drawn straight through by your function."""

    def sample(self, logits, noise):
        probability = self.probability(logits)
        index = probability.argmax(-1) if noise is None else draw(probability, noise)
        return straight_through(probability, index)


# %% [markdown]
# ## Who gives way?
#
# The divergence $\text{KL}(q\,\|\,p)$ pulls two things together: the prior $p$ should foresee, the
# posterior $q$ should not surprise. If both give way alike, a posterior that has much to say is
# drawn to a prior that knows nothing yet, and the state says nothing. DreamerV2 lets the prior do
# most of the work:
#
# $$\alpha\,\text{KL}\big(\text{sg}(q)\,\|\,p\big) + (1 - \alpha)\,\text{KL}\big(q\,\|\,\text{sg}(p)\big), \qquad \alpha = 0.8 ,$$
#
# where sg stops the gradient. (The weight stays 1 in sum, and the loss what it was.)


# %%
class DreamerV2(dreamer_v2.DreamerV2):
    """The lesson's own world, with your divergence in it."""


# %%
# EXERCISE 2.3.7 utils.worlds.dreamer_v2:DreamerV2.kl

# %%
DreamerV2.kl = check("2.3.7")

# %% [markdown]
# ### Run it with yours
#
# Which share of the plain gradient arrives at each side? Measured with the function that *you*
# wrote, right or wrong.

# %%
torch.manual_seed(seed)
world = DreamerV2(MultiBinary(4), Discrete(2), dreamer_v2.SMALL, latent=Categoricals)
pair = [torch.randn(16, 64, dtype=torch.float64, requires_grad=True) for _ in range(2)]
plain = torch.autograd.grad(world.rssm.latent.kl(*pair).mean(), pair)


def shares(kl):
    """Of the posterior and of the prior: how much of the plain gradient they get."""
    mixed = torch.autograd.grad(kl(world, *pair), pair, allow_unused=True)
    return [
        0.0 if m is None else ((m * p).sum() / p.square().sum()).item()
        for m, p in zip(mixed, plain, strict=True)
    ]


try:
    print("with yours: posterior {:.2f}, prior {:.2f}".format(*shares(mine("2.3.7"))))
except (NotImplementedError, RuntimeError, AttributeError, TypeError) as error:
    print(f"yours gives no gradient yet: {type(error).__name__}")

# %%
share = shares(DreamerV2.kl)
claim("KL balancing: share of the prior, distance from 0.8", [abs(share[1] - 0.8)], "<=", 1e-9)
claim("KL balancing: share of the posterior, distance from 0.2", [abs(share[0] - 0.2)], "<=", 1e-9)

# %% [markdown]
# What that means when only the divergence acts: prior and posterior of one coin walk towards each
# other. With α = 0.8 they meet near where the posterior was, with 0.5 it has given up most of what it
# said.

# %%
_, ax = plt.subplots(figsize=(5, 2.4))
for number, balance in enumerate((0.8, 0.5)):
    coins = [torch.tensor([v, 0.0], requires_grad=True) for v in (2.2, -2.2)]
    one_coin = DreamerV2(
        MultiBinary(4),
        Discrete(2),
        replace(dreamer_v2.SMALL, stoch=1, classes=2, balance=balance),
        latent=Categoricals,
    )
    sgd, path = torch.optim.SGD(coins, 0.5), []
    for _ in range(60):
        path.append([c.softmax(-1)[0].item() for c in coins])
        loss = one_coin.kl(*(c[None, None] for c in coins))
        climb(sgd, loss)
    for line, name in zip(np.array(path).T, ("posterior", "prior"), strict=True):
        style = "-" if name == "posterior" else "--"
        ax.plot(line, style, color=f"C{number}", label=f"{name}, α = {balance}")
ax.set(xlabel="steps of gradient descent", ylabel="probability of heads")
ax.legend(fontsize=8)
plt.show()

# %% [markdown]
# ### Paper, code, here: DreamerV2
#
# The code is danijar/dreamerv2 at `07d906e`, with its settings for Atari.
#
# | | paper | code | here |
# |---|---|---|---|
# | latents | 32 of 32 classes | the same; no uniform share | the same in its defaults; 8 of 8 on CartPole, 16 of 16 on Breakout |
# | recurrence | GRU of 600 | GRU with one layer norm over all gates, ε 1e-3, update gate minus 1 | the code's; 128 here |
# | divergence | weight 0.1, α 0.8 | the same; free nats 0, and would clip the batch mean | the code's; weight 1 on CartPole, 0.5 on Breakout, where an observation is small |
# | continuation | predicted | weight 5, target γ (1 - terminal) | the same |
# | reward | tanh of it, unit Gaussian | the same | as it is, unit Gaussian |
# | pictures | unit Gaussian, ELU | the same, first layer 48 channels | ReLU, shared with PlaNet |
# | cells of 0 and 1 | none | none | Bernoulli, logits count from -3 |
# | start of weights | not said | Glorot, biases 0 | the same (a matrix that is split here: each part by itself) |
# | actor | ρ REINFORCE + (1 - ρ) dynamics + η entropy | for discrete actions REINFORCE alone; `both` mixes in a tenth of dynamics, and then differentiates the action inside log π too | `mix` is the share of dynamics, 0 on CartPole; the action is a number |
# | baseline | the critic | the slow critic, whatever `slow_baseline` says: nothing reads it | the slow critic |
# | advantage | return minus value | $R_{t+1} - v_t$: return and value count different rewards | the same; a baseline may be anything that the action does not change |
# | start of a dream | weight 1 | weight 1; its discount from the data | the same |
# | slow critic | a copy every 100 updates | the same, first after one update | the same, first before one |
# | entropy η, horizon, λ | 1e-3, 15, 0.95 | the same | η 3e-3 on CartPole |
# | γ | 0.999 | the same | 0.99 on CartPole and Breakout |
# | learning rates: world, actor, critic | 2e-4, 4e-5, 1e-4 | the same; Adam ε 1e-5, weight decay 1e-6 | 1e-3, 3e-4, 1e-3; no weight decay |
# | batch | 50 of 50 | 16 of 50, ends drawn more often | 8 of 16, all windows alike |
# | continuous actions | truncated normal | the same | none: see Dreamer above |
# | acting when judged | mode | the same | the same |
#
# ## The actor of DreamerV2
#
# With discrete actions there are again two ways to a gradient, and DreamerV2 can mix them:
#
# $$\rho\, R_{t+1} + (1 - \rho)\, \log \pi(a_t\,|\,s_t)\; \text{sg}(R_{t+1} - v_t) + \eta\, \text{entropy} .$$
#
# The first goes through the dream, by straight-through actions: little variance, some bias. The
# second is REINFORCE: no bias, more variance. On Atari REINFORCE alone was better. (The paper's ρ is
# the share of REINFORCE; the code's, and ours, is that of the dream.)


# %%
class MixedActorCritic(mixed_actor_critic.MixedActorCritic):
    """The lesson's own actor and critic, with your methods in it."""


# %%
# EXERCISE 2.3.8 utils.agents.mixed_actor_critic:MixedActorCritic.actor_loss

# %%
MixedActorCritic.actor_loss = check("2.3.8")

# %% [markdown]
# A critic that learns from its own promises can chase itself. So returns bootstrap from a *slow*
# critic, a copy that stands still for 100 updates.

# %%
# EXERCISE 2.3.9 utils.agents.mixed_actor_critic:MixedActorCritic.follow

# %%
MixedActorCritic.follow = check("2.3.9")

# %% [markdown]
# ### Find the bug
#
# A dream is a row of states, actions, returns, values and weights. What follows says which columns of
# them belong together. It runs, and the critic learns; the actor hardly does. Two things in it are
# one step apart.

# %%
# EXERCISE 2.3.10 utils.agents.mixed_actor_critic:MixedActorCritic.parts bug shift

# %%
MixedActorCritic.parts = check("2.3.10")

# %% [markdown]
# ## DreamerV2 balances a pole
#
# CartPole-v1 from its four numbers: 500 steps is all that an episode can have. The loop is another
# one this time, as the official code has it: eight poles are balanced side by side, and after every
# second row of experience there is an update.

# %%
poles = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * 8)
spaces = poles.single_observation_space, poles.single_action_space
torch.manual_seed(seed)
pole = DreamerV2(*spaces, dreamer_v2.SMALL, latent=Categoricals)
balancer = MixedActorCritic(
    pole.size,
    spaces[1],
    mixed_actor_critic.Config(units=64, layers=2, entropy=3e-3),
    returns=lambda_return,
)
adam = torch.optim.Adam(pole.parameters(), 1e-3, eps=1e-5, fused=True)
groups = [
    {"params": balancer.actor.parameters(), "lr": 3e-4},
    {"params": balancer.critic.parameters(), "lr": 1e-3},
]
adam_behaviour = torch.optim.Adam(groups, eps=1e-5, fused=True)
updates, every, before = lesson.pick(smoke=3, quick=450), 2, lesson.pick(smoke=20, quick=64)
PARTS = ["reconstruction", "reward", "continuation", "divergence"]
replay, luck, lengths = Replay(100_000), torch.Generator().manual_seed(seed), []
total, frames = torch.zeros(8), before + every * updates

with LivePlot("update", loss=PARTS, game=["length"], log=("loss",)) as plot:
    rows_seen = stream(poles, pole, balancer.policy(pole), seed=1000 * seed, generator=luck)
    for number, (row, ended) in enumerate(progress(islice(rows_seen, frames), "V2", frames)):
        replay.add(row)
        total += row.reward
        lengths += total[ended].tolist()
        total[ended] = 0
        if number < before or number % every:
            continue
        windows = replay.sample(8, 16, luck)
        states, posterior = pole.filter(windows, luck)
        loss, metrics = pole.objective(windows, states, posterior)
        climb(adam, loss, pole)
        loss, more = balancer.loss(pole, states, windows, luck)
        climb(adam_behaviour, loss, balancer.actor, balancer.critic)
        if number % 10 == 0:
            plot.add((number - before) / every, **metrics, length=np.mean(lengths[-16:] or [0]))

judges = SyncVectorEnv([lambda: gym.make("CartPole-v1")] * lesson.pick(smoke=2, quick=16))
upright = interact(
    judges, pole, balancer.policy(pole, explore=False), episodes=1, seed=seed, generator=luck
).returns
print(f"{8 * frames:,} frames: {upright.mean():.0f} steps of 500, at worst {upright.min():.0f}")

# %%
claim("CartPole: steps that DreamerV2 balances", [upright.mean().item()], ">=", 350)

# %% [markdown]
# ### What it dreams, and what it thinks of it
#
# Eight dreams from one real state. Left the angle of the pole, decoded; right what the critic expects
# in each dreamt state. (With γ = 0.99 a pole that never falls is worth 100. After so few updates the
# critic is far from saying so, and the actor balances all the same: it needs to know what is better,
# not by how much.)

# %%
steps, moment = lesson.pick(smoke=5, quick=30), lesson.pick(smoke=2, quick=60)
with torch.no_grad():
    seen = Step(*(part[:1, :moment] for part in replay.data()))
    start = ladder.filtered(pole, seen, seen.reward.shape[1])
    many = {name: part.expand(8, *part.shape[1:]) for name, part in start.items()}
    acts = balancer.policy(pole)
    angle = rollout(pole, many, acts, steps, generator=luck, read=pole.decode).state[..., 2]
    worth = rollout(
        pole, many, acts, steps, generator=luck, read=lambda s: balancer.value(pole.features(s))
    ).state
_, axes = plt.subplots(1, 2, figsize=(8, 2.4))
for ax, lines, name in zip(axes, (angle, worth), ("angle of the pole", "value"), strict=True):
    ax.plot(range(1, steps + 1), lines.T, color="C0", lw=0.8, alpha=0.7)
    ax.set(xlabel="step of the dream", ylabel=name)
axes[0].axhspan(-0.2095, 0.2095, color="#009E73", alpha=0.12, lw=0)
axes[0].set_title("green: not fallen")
plt.show()

# %% [markdown]
# ## On the ladder
#
# Two grounds. On **CartPole** without velocities the world sees two numbers, pushes are random, and
# an error of 1 means "as good as the mean". On **MinAtar Breakout**'s fixed data, frames have 10 x 10
# cells; *new* are test frames that training never showed.

# %%
pushes = cart_pole.record(
    lesson.pick(smoke=30, quick=300), 100, torch.Generator().manual_seed(seed)
)
held = cart_pole.record(200, 100, torch.Generator().manual_seed(seed + 1000))
space, luck = cart_pole.OBSERVATION, torch.Generator().manual_seed(seed)
torch.manual_seed(seed)
first = replace(dreamer_v1.SMALL, noise=0.05)
second = replace(dreamer_v2.SMALL, noise=0.05, free_nats=0.3)
contestants = {
    "Dreamer (2.3)": dreamer_v1.DreamerV1(space, Discrete(2), first),
    "DreamerV2 (2.3)": DreamerV2(space, Discrete(2), second, latent=Categoricals),
}
updates = lesson.pick(smoke=3, quick=500)
for world in progress(contestants.values(), "ladder"):
    adam = torch.optim.Adam(world.parameters(), 3e-3, fused=True)
    for _ in range(updates):
        loss, _, _ = world.loss(sample_windows(pushes, 24, 16, luck), luck)
        climb(adam, loss, world)

count, chosen = lesson.pick(smoke=16, quick=512), torch.Generator().manual_seed(0)
windows = sample_windows(held, count, breakout.CONTEXT + 15, chosen)
ground = ladder.vectors("CartPole without velocities", pushes.observation.flatten(0, 1).std(0))
contestants["persistence"] = ladder.Persistence(contestants["Dreamer (2.3)"].spec)
table = [
    ladder.measure(world, windows, breakout.CONTEXT, ground, name)
    for name, world in contestants.items()
]
for row in table[:2]:
    row["trained"] = f"{pushes.reward.numel():,} random steps, {updates} updates"
display(Markdown(ladder.render(ladder.relative_cost(table, "DreamerV2 (2.3)"))))

# %%
claim(
    "CartPole: Dreamer's error after 5 steps, as a share of persistence's",
    [table[0]["nRMSE@5"]],
    "<=",
    0.7,
    relative_to=[table[2]["nRMSE@5"]],
)

# %% [markdown]
# On two numbers the Gaussian latents are far ahead at this budget: categories have to learn first
# that one class lies beside another. DreamerV2 was made for pictures. (It balanced a pole above all
# the same: there it saw the speeds, and an actor needs much less than a forecast to the percent.)

# %% [markdown]
# Breakout takes longer than two minutes. This run trains for a moment, to show that the code is the
# same; then it loads what the same code made (`python -m assets.dreamer_v2_breakout`, card beside the
# file).

# %%
recorded = minatar.load("breakout")
checkpoint = ROOT / "assets/2.3_breakout.safetensors"
stored, made = store.load(checkpoint), store.card(checkpoint)
torch.manual_seed(seed)
config = dreamer_v2.Config(**stored["config"])
world = DreamerV2(MultiBinary(minatar.SHAPE), Discrete(3), config, latent=Categoricals)
adam = torch.optim.Adam(world.parameters(), 2e-3, fused=True)
with LivePlot("update", nats=PARTS, log=("nats",)) as plot:
    for update in range(lesson.pick(smoke=2, quick=40)):
        loss, metrics, _ = world.loss(sample_windows(recorded.train, 48, 10, luck), luck)
        climb(adam, loss, world)
        plot.add(update, **metrics)
world.load_state_dict({name: value.float() for name, value in stored["weights"].items()})

test = breakout.windows(recorded, lesson.pick(smoke=16, quick=512))
steps, how = test.steps, {"context": breakout.CONTEXT, "ground": breakout.BREAKOUT}
measured = ladder.measure(world, steps, name="DreamerV2 (2.3)", subsets=test.subsets, **how)
measured["trained"] = f"45,000 frames, {made['updates']:,} updates of {made['batch']} windows"
base = ladder.Persistence(world.spec)
still = ladder.measure(base, steps, name="persistence", subsets=test.subsets, **how)
display(Markdown(ladder.render(ladder.relative_cost([measured, still], "DreamerV2 (2.3)"))))

# %% [markdown]
# The paddle is nearly always right, the ball for a handful of steps, on new frames for fewer. Of the
# bricks it knows less than a world in which nothing ever happens: a wall that it never saw has to
# pass through sixteen categories.
#
# Five frames are given, up to the line; then the recorded moves in the game and in the dream. What
# the world is not sure of is pale.

# %%
shown = 3
clip = Step(*(part[shown : shown + 1, :25] for part in steps))
with torch.no_grad():
    state = ladder.filtered(world, clip, breakout.CONTEXT)
    going = ladder.ahead(world, state, clip.action[:, breakout.CONTEXT :]).state[0]
dream = torch.cat([clip.observation[0, : breakout.CONTEXT].float(), going])
film_strip(
    {"truth": draw_breakout(clip.observation[0]), "dream": draw_breakout(dream)},
    times=[0, 2, 4, 5, 7, 9, 12, 15, 19, 24],
    start=breakout.CONTEXT,
)
plt.show()

# %% [markdown]
# ### Play it
#
# Breakout as DreamerV2 dreams it. Arrows move the paddle; the dream says itself when the ball is lost.

# %%
starts_here = ladder.filtered(world, Step(*(part[:64] for part in steps)), breakout.CONTEXT)
game = DreamGame(world, starts_here, draw_breakout, limit=100)
play(game.step, {"ArrowLeft": 1, "ArrowRight": 2}, idle=0, fps=6, text="Breakout, dreamt")

# %% [markdown]
# ### What did not hold
#
# - *CartPole: steps that DreamerV2 balances*: four of five seeds balance all 500 steps, one only 232,
#   so that the interval reaches down to 339. The bound stays: 450 updates are too few for all seeds.
#
# And one seed in five of the first Dreamer stood at -790 on the pendulum, where the others stood
# between -220 and -310. The claims about the mean hold all the same.

# %% [markdown]
# ## What is missing
#
# - **The size.** Dreamer learned twenty tasks of DeepMind Control from pixels, DreamerV2 55 games of
#   200 million frames each, ten days on one GPU. `WM_PROFILE=full` runs one of the tasks, cartpole
#   swing-up, for 100 episodes (100,000 frames) with the official sizes. An estimate for a T4, not
#   measured: 10,000 updates of 0.35 s, a little under an hour.
# - **Atari.** The official DreamerV2 sees games in grey pixels; here it sees vectors and cells.
# - **Continuous actions with DreamerV2.** The code has them; they follow the first Dreamer's gradient.
# - **Other tasks without tuning.** The two tables above list a dozen numbers that differ between
#   tasks. DreamerV3 is about getting rid of them (lesson 2.4).
#
# ### Questions
#
# 1. The actor's look is cut in the dream. Which term of the gradient is lost, and which part of the
#    λ-return still knows about it?
# 2. Where would the pathwise gradient have *more* variance than REINFORCE? Think of a world in which
#    nearby states part quickly.
# 3. Take λ = 0. Is the cut still an error?
# 4. KL balancing changes who gives way, not where both end. Or does it? What if the posterior is
#    pulled by a decoder at the same time?
# 5. The slow critic stands still for 100 updates and then jumps. DreamerV3 lets it creep. What is
#    each good for?
#
# ### Where to read on
#
# - D. Hafner, T. Lillicrap, J. Ba, M. Norouzi, *Dream to control: learning behaviors by latent
#   imagination*, ICLR 2020, arXiv 1912.01603.
# - D. Hafner, T. Lillicrap, M. Norouzi, J. Ba, *Mastering Atari with discrete world models*, ICLR 2021,
#   arXiv 2010.02193.
# - Y. Bengio, N. Léonard, A. Courville, *Estimating or propagating gradients through stochastic
#   neurons for conditional computation*, 2013: straight-through.
# - The code: `danijar/dreamer`, `dreamer.py` (all of the agent in one file), `models.py`, `tools.py`
#   (λ-returns); `danijar/dreamerv2`, `dreamerv2/agent.py` (actor and critic),
#   `dreamerv2/common/nets.py` (world model and KL balancing), `dreamerv2/configs.yaml`.
# - Here: `utils/worlds/dreamer_v1.py`, `utils/worlds/dreamer_v2.py`,
#   `utils/agents/pathwise_actor_critic.py` and `utils/agents/mixed_actor_critic.py` are the whole
#   lesson. Lay `dreamer_v2.py` beside `dreamer_v3.py`: the difference is the next one.
