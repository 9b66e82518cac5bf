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
# # 3.3 Dreamer or MuZero: which of the two would you take, and how do you know?
#
# You have built two agents that learn a model and act with it. DreamerV3 (lesson 2.4) learns to
# predict what it sees, practises in dreams, and acts without thinking. MuZero (lesson 3.1) learns
# what matters for its decisions and nothing else, and thinks before each of them. A colleague asks:
# which one for our problem? In this lesson you answer with a memo of one page. Every number in it
# is measured, by you where you have trained, and the notebook holds each against what was measured.
#
# | | |
# |---|---|
# | You need | lessons 2.4 and 3.1; if you skipped their training, their stored evidence is used |
# | You build | what gathers evidence, compares two arms, counts the work of a decision, probes a latent state, plans for a new reward, and audits a memo; and the memo |
# | Time | about 2 hours, all of it core |
# | Runs on | any laptop: Run All takes about a minute and a half and 1 GB of memory; a GPU is not needed |
#
# Every exercise is followed by its check. It says PASS, or what differs and often which mistake it
# is. Until you solve an exercise, later cells use the reference, so Run All always works. Stuck?
# `hint("3.3.1")` gives a first hint, and a better one each time you call it.

# %%
# SETUP

# %% tags=["parameters"]
PROFILE = None  # smoke, quick or full; None: the environment variable WM_PROFILE, else quick

# %%
import math
import time
from collections.abc import Callable
from functools import partial

import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch
from gymnasium.spaces import Box
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TransformObservation
from IPython.display import Markdown, display
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import one_hot

from utils.agents import actor_critic
from utils.agents.mcts import add_root_noise, muzero
from utils.agents.mcts_models import WorldModel
from utils.agents.replan import Pays
from utils.course.check import check, hint, mine
from utils.course.exercise import ROOT
from utils.course.lesson import begin, claim
from utils.course.show import LivePlot, diagram, progress
from utils.data import descent, hall
from utils.data.replay import Replay
from utils.evaluate import memo as memos
from utils.evaluate.memo import MORE, REQUIRED, Cited, Measured, Record, Values, alike
from utils.evaluate.statistics import bootstrap_interval
from utils.nn.laprop import LaProp
from utils.nn.random import dirichlet
from utils.world import Dreamt, Spec, State, Step, World, interact, repeat, stream
from utils.worlds import dreamer_v3
from utils.worlds.muzero import Config, MuZero, Played, n_step_targets

lesson = begin("3.3", PROFILE, seeds=3)
seed = lesson.seeds[0]
torch.manual_seed(seed)
torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it does
generator = torch.Generator().manual_seed(seed)

# %% [markdown]
# ## The two, side by side
#
# Both learn a latent model from replayed experience. They differ in what the model is trained for,
# and in when they plan: Dreamer beforehand, in dreams that train its actor; MuZero at the moment of
# the decision, in a tree.

# %%
diagram(
    {
        "seen": (0, 0.5, "what is seen", "#8A8A8A"),
        "d": (1.3, 0, "DreamerV3's state\ntrained to show it", "#0072B2"),
        "m": (1.3, 1, "MuZero's state\ntrained on rewards and values", "#0072B2"),
        "da": (3.1, 0, "actor: one pass", "#009E73"),
        "ma": (3.1, 1, "tree: a pass for\neach simulation", "#009E73"),
        "a": (4.2, 0.5, "action", "#8A8A8A"),
    },
    [
        ("seen", "d"),
        ("seen", "m"),
        ("d", "da", "practised in dreams", 0.0),
        ("m", "ma", "planned now", 0.0),
        ("da", "a"),
        ("ma", "a"),
    ],
    spacing=(1.9, 1.1),
)

# %% [markdown]
# ### Often said, and not so
#
# - *"MuZero plans, Dreamer does not."* Dreamer plans in training. Its actor is what is left of tens of
#   thousands of dreams. What it lacks is a second thought about the case at hand.
# - *"Dreamer's model is better, because it predicts more."* It predicts what is loud. Whether that
#   is what matters depends on the task, and you will measure both cases.
# - *"MuZero is more sample-efficient: EfficientZero leads Atari 100k."* EfficientZero is MuZero and
#   three more ideas (lesson 3.2); plain MuZero reaches 0.56 of the human score there, DreamerV3
#   1.28 (means over 26 games, computed from published scores).
# - *"A latent model does not care about the reward."* Dreamer's can be asked about a new one if it
#   can be read off an observation. MuZero's can not.
# - *"One seed each shows it."* It shows one seed each.
#
# ### Paper, code, here
#
# Both agents are the library's, as they were in their own lessons; what is smaller:
#
# | | DreamerV3 paper | here | MuZero paper | here |
# |---|---|---|---|---|
# | parameters | 200 million | 0.18 million | – | 0.01 million |
# | state | 8192 + 32 x 64 | 64 + 16 x 4 (CartPole, lesson 2.4: 128 + 32 x 4) | a picture of 256 channels | 32 numbers |
# | dream, or unroll | 15 | 4 (CartPole 15) | 5 | 5 |
# | simulations | - | - | 50 (Atari), 800 (board games) | 8 in training, 16 judged |
# | horizon of the discount | 333 | 33 (CartPole 100) | 333 (γ = 0.997) | 33 (γ = 0.97) |
# | targets of the value | λ-returns | the same | 10 steps | 4 (descent), 10 (CartPole) |
# | batch | 16 x 64 | 8 x 8 (CartPole 8 x 16) | 1024 x 6 | 64 x 6 |
# | updates per row of 16 games | - | 1 | - | 1 |

# %% [markdown]
# ## Where a number comes from
#
# Each `claim` of a lesson that you run leaves its number in `runs/<lesson>/<profile>/claims.json`.
# The course keeps its own, over several seeds, in `assets/evidence/<lesson>.json`. A memo uses your
# own number where there is one, and says so.
#
# Example: sources A and B, in this order; the claim is in B only, with values {0: 0.9, 1: 0.8}. So
# they are the values, and B is the source. If A has {0: nan}, that run broke off: B again.

# %%
# EXERCISE 3.3.1 utils.evaluate.memo:gather

# %%
gather = check("3.3.1")


# %%
def looked_up(other):
    """What is known of another lesson: your runs of it first, then the stored evidence."""
    found = memos.read_records(lesson.records(other))
    return {path.replace(f"{ROOT}/", ""): record for path, record in found.items() if record}


earlier = looked_up("2.4") | looked_up("3.1")
lines = ["| claim | values by seed | measured in |", "|---|---|---|"]
R2_AHEAD = "distractors: R² of the reward 5 steps ahead, trained on rewards"
R2_SHOWN = "distractors: the same, trained to reconstruct"
MERGED = "chance: a gamble in the learned deterministic model, distance from 0.5"
CARTPOLE = "CartPole: return after 16,000 real frames"
for name in (CARTPOLE, R2_AHEAD, R2_SHOWN, MERGED):
    values, source = gather(name, earlier)
    said = ", ".join(memos.shown(value) for value in values.values())
    lines.append(f"| {name} | {said} | {source} |")
display(Markdown("\n".join(lines)))

# %% [markdown]
# What if a file is cut off, or holds something else? Its claims do not count, a sentence says so,
# the file stays, and the next source is asked.

# %%
broken = lesson.folder / "cut_off.json"
broken.parent.mkdir(parents=True, exist_ok=True)
broken.write_text('{"seeds": [0], "claims": [{"name": "CartPo')
found = memos.read_records([broken, *lesson.records("2.4")])
print(f"read all the same: {len(found) - (str(broken) in found)} source(s)")
broken.unlink()

# %% [markdown]
# ## Two tasks
#
# **Reactive: CartPole.** What to do follows from what is seen now. A fixed rule shows it: push to
# the side to which the pole is falling (lean plus speed). It never looks ahead.
#
# **Planning: the descent.** Four steps down a slope, left or right. Each pays the number that lies
# there, and cuts off a part of the slope for good. The slopes are chosen such that the next row, and
# the next two, say nothing of the better first step. How well can one play who sees one row, two
# rows, or all? That can be computed.

# %%
UNITS = np.array([10.0, 10.0, 180 / math.pi, 180 / math.pi], np.float32)  # as in lesson 2.4
SEEN = Box(-np.inf, np.inf, (4,), np.float32)


def carts(count):
    """CartPole-v1, `count` games side by side, in decimetres and degrees."""
    return SyncVectorEnv(
        [lambda: TransformObservation(gym.make("CartPole-v1"), lambda v: v * UNITS, SEEN)] * count
    )


def slopes(count):
    """Descents of this seed, for training."""
    return descent.vector(count, descent.collection(4000, seed))


def fresh_slopes(count):
    """Descents that nobody has trained on."""
    return descent.vector(count, descent.collection(1000, 1000 + seed))


class Rule:
    """Pushes to where the pole falls; it remembers nothing and looks ahead to nothing."""

    spec = Spec(SEEN, gym.spaces.Discrete(2))

    def initial(self, batch):
        return {"seen": torch.zeros(batch, 4)}

    def observe(self, state, step, **options):
        return {"seen": step.observation}

    def act(self, state, generator):
        return one_hot((state["seen"][:, 2] + state["seen"][:, 3] / 2 > 0).long(), 2).float()


judged = lesson.pick(smoke=4, quick=32)
rule = Rule()
by_rule = interact(carts(judged), rule, rule.act, episodes=1, seed=0).returns.mean().item()
toss = np.random.default_rng(seed)
walked = descent.collection(1000, 1000 + seed)
by_sight = [descent.paid(walked, sight, toss).mean() for sight in range(descent.ROWS + 1)]
chance, best = by_sight[0], by_sight[-1]
print(f"CartPole, by the fixed rule: {by_rule:.0f} of 500")

_, axes = plt.subplots(1, 2, figsize=(8, 2.8))
for row, place in descent.PLACES:
    number = walked[0, row, place]
    colour = {True: "#0072B2", False: "#D55E00"}[bool(number > 0)] if number else "#8A8A8A"
    at = {"ha": "center", "va": "center", "color": colour, "fontsize": 12}
    axes[0].text(place - (row + 1) / 2, -row - 1, f"{number:+.0f}" if number else "0", **at)
axes[0].text(0, 0, "o", ha="center", va="center", fontsize=12)
axes[0].set(xlim=(-2.6, 2.6), ylim=(-4.6, 0.6), xticks=[], yticks=[], title="a slope")
axes[0].grid(False)
axes[1].plot(range(len(by_sight)), by_sight, "o-")
axes[1].set(xlabel="rows that the walker sees", ylabel="return", title="what sight is worth")
axes[1].set_xticks(range(len(by_sight)))
plt.show()

# %% [markdown]
# Two rows of sight are worth little more than one; the third is worth a lot. Here a decision has to
# look three steps ahead, or to be one of many that were learned by heart: there are $5^{14}$ slopes.
#
# ## Train both, with the same real steps
#
# MuZero first. One row of experience from 16 games, one update. **Predict:** where will the search
# be worth more than the policy network that it trains?

# %%
GAMES, GAMMA, SIMULATIONS, JUDGED_WITH = 16, 0.97, 8, 16
ROWS = {
    "descent": lesson.pick(smoke=24, quick=500),
    "CartPole": lesson.pick(smoke=24, quick=1000),
}
AHEAD = {"descent": 4, "CartPole": 10}  # n of the value targets
MAKE = {"descent": (slopes, fresh_slopes), "CartPole": (carts, carts)}


def planner_of(world):
    return WorldModel(world, world.predict, GAMMA)


@torch.no_grad()
def searched(world, simulations, state, generator=None):
    """Moves by the most visited action; without simulations, what the policy network likes best."""
    planner = planner_of(world)
    root = planner.root(state)
    if not simulations:
        return one_hot(root.logits.argmax(-1), root.logits.shape[1]).float()
    action = muzero(root, planner, simulations).action
    return one_hot(action, root.logits.shape[1]).float()


def reached(world, policy, task):
    """Mean return in new games of a task."""
    episodes = 1 if task == "CartPole" else 8
    games = MAKE[task][1](judged)
    fresh = torch.Generator().manual_seed(10_000 + seed)
    with torch.no_grad():
        played = interact(
            games, world, policy, episodes=episodes, seed=10_000 + seed, generator=fresh
        )
    return played.returns.mean().item()


def train_muzero(task, plot):
    """MuZero after `ROWS[task]` rows, and `[real steps, return]` of its training games."""
    rows, ahead, envs = ROWS[task], AHEAD[task], MAKE[task][0](GAMES)
    torch.manual_seed(seed)
    generator.manual_seed(seed)
    config = Config(latent=32, units=64, support=0, value_weight=1.0)
    world = MuZero(envs.single_observation_space, envs.single_action_space, config)
    run = lesson.resume(f"muzero {task}", {"rows": rows, "seed": seed})
    if (tree := run.load()) is not None:
        world.load_state_dict(tree["world"])
        return world, tree["curve"]
    planner, memory, found = planner_of(world), Replay(100_000, Played), None
    adam = torch.optim.AdamW(world.parameters(), 2e-3, weight_decay=1e-4)

    @torch.no_grad()
    def explore(state, generator):
        nonlocal found
        root = planner.root(state)
        noise = dirichlet(torch.full_like(root.logits, 0.5), generator)
        root = root._replace(logits=add_root_noise(root.logits, noise))
        found = muzero(root, planner, SIMULATIONS, temperature=1.0, generator=generator)
        return one_hot(found.action, root.logits.shape[1]).float()

    row, total, scores, curve = None, torch.zeros(GAMES), [], []
    games = stream(envs, world, explore, seed=1000 * seed, generator=generator)
    count = progress(range(rows + 1), f"MuZero, {task}")
    for step, (new, ended) in zip(count, games, strict=False):
        if row is not None:
            memory.add(Played(*row, found.policy, found.tree.value[:, 0]))
        row, total = new, total + new.reward
        scores = (scores + total[ended].tolist())[-100:]
        total = total * ~ended
        if step < 20:
            continue
        adam.param_groups[0]["lr"] = 2e-3 * max(0.1, 1 - step / rows)
        window = memory.sample(64, 6 + ahead, generator)
        target = n_step_targets(window, ahead, GAMMA)
        loss, _, _ = world.loss(
            Played(*(v[:, :6] for v in window))._replace(value=target), generator
        )
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(world.parameters(), 5.0)
        adam.step()
        if scores and (step % 25 == 0 or step == rows):
            curve.append([step * GAMES, float(np.mean(scores))])
            plot.add(step * GAMES / 1000, **{task: curve[-1][1]})
    run.save({"world": world.state_dict(), "curve": curve})
    return world, curve


muzeros, curves = {}, {}
with LivePlot("thousand real steps", **{f"MuZero, {task}": [task] for task in MAKE}) as plot:
    for task in MAKE:
        muzeros[task], curves["MuZero", task] = train_muzero(task, plot)

# %% [markdown]
# DreamerV3 on the descent. On CartPole you trained it in lesson 2.4, with the same 16,000 real
# steps of the same games; that number is taken from there.

# %%
SMALL = dreamer_v3.Config(deter=64, hidden=64, stoch=16, classes=4, units=64, horizon=33)
LENGTH = 8


def train_dreamer(task, plot):
    """DreamerV3 after `ROWS[task]` rows: its world, its actor and critic, its curve."""
    rows, envs = ROWS[task], MAKE[task][0](GAMES)
    torch.manual_seed(seed)
    generator.manual_seed(seed)
    world = dreamer_v3.DreamerV3(envs.single_observation_space, envs.single_action_space, SMALL)
    config = actor_critic.Config(units=64, layers=2, horizon=4)
    behaviour = actor_critic.ActorCritic(world.size, envs.single_action_space, config)
    run = lesson.resume(f"dreamer {task}", {"rows": rows, "seed": seed})
    if (tree := run.load()) is not None:
        world.load_state_dict(tree["world"])
        behaviour.load_state_dict(tree["behaviour"])
        return world, behaviour, tree["curve"]
    parameters = [p for m in (world, behaviour) for p in m.parameters() if p.requires_grad]
    optimiser = LaProp(parameters, 2e-3, warmup=100)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: min(1, 3 * (1 - k / rows)))
    replay, total, scores, curve = Replay(100_000), torch.zeros(GAMES), [], []
    games = stream(envs, world, behaviour.policy(world), seed=1000 * seed, generator=generator)
    count = progress(range(1, rows + 1), f"DreamerV3, {task}")
    for row, (step, ended) in zip(count, games, strict=False):
        replay.add(step)
        total = total + step.reward
        scores = (scores + total[ended].tolist())[-100:]
        total = total * ~ended
        if replay.rows < LENGTH:
            continue
        data = replay.sample(8, LENGTH, generator)
        states, posterior = world.filter(data, generator)
        model, _ = world.objective(data, states, posterior)
        acting, _ = behaviour.loss(world, states, data, generator)
        optimiser.zero_grad()
        (model + acting).backward()
        optimiser.step()
        falling.step()
        if scores and (row % 25 == 0 or row == rows):
            curve.append([row * GAMES, float(np.mean(scores))])
            plot.add(row * GAMES / 1000, **{task: curve[-1][1]})
    run.save({"world": world.state_dict(), "behaviour": behaviour.state_dict(), "curve": curve})
    return world, behaviour, curve


with LivePlot("thousand real steps", **{"DreamerV3, descent": ["descent"]}) as plot:
    dreamer, actor, curves["DreamerV3", "descent"] = train_dreamer("descent", plot)

# %%
budgets = lesson.pick(smoke=(0, 2), quick=(0, 4, 16))
by_budget = {
    task: [reached(world, partial(searched, world, n), task) for n in budgets]
    for task, world in muzeros.items()
}
alone = {task: values[0] for task, values in by_budget.items()}
with_search = {
    task: values[budgets.index(min(budgets[1:], key=lambda n: abs(n - JUDGED_WITH)))]
    for task, values in by_budget.items()
}
dreamed = reached(dreamer, actor.policy(dreamer), "descent")
cart_dreamed, cart_source = gather(CARTPOLE, earlier)
_, axes = plt.subplots(1, 2, figsize=(8, 2.8))
for ax, (task, values) in zip(axes, by_budget.items(), strict=True):
    ax.plot(range(len(budgets)), values, "o-", label="MuZero")
    ax.set_xticks(range(len(budgets)), ["policy\nalone", *map(str, budgets[1:])])
    ax.set(xlabel="simulations", ylabel="return", title=task)
axes[0].axhline(dreamed, color="#D55E00", label="DreamerV3")
axes[0].axhline(best, color="#222222", lw=1, ls=":", label="best play")
axes[0].axhline(by_sight[2], color="#8A8A8A", lw=1, ls="--", label="sees two rows")
axes[1].axhline(np.mean(list(cart_dreamed.values())), color="#D55E00", label="DreamerV3")
axes[0].set(ylim=(0, 6))
axes[1].set(ylim=(0, 700))
for ax in axes:
    ax.legend(fontsize=8, ncols=2, loc="upper left")
plt.show()

# %% [markdown]
# The same code, the same sizes, two answers. On the descent each slope is new, the policy network
# has to guess, and a tree over a model that knows the next step puts it right: over three seeds 16
# simulations add 0.68 [0.52, 0.85]. On CartPole they cost 57 steps [22, 93]: on two seeds the
# policy is better than the search that taught it, on the third both reach 500. A suspect is the end
# of a game. MuZero's model has no head for it (lesson 3.1), and a tree looks where games rarely
# went.
#
# DreamerV3 earns 0.82 [0.43, 1.20] on the descent, less than a walker who sees one row. Its latents
# have to learn 14 numbers before any dream is true, and 8,000 steps are few. That is the comparison
# at equal real steps, and no verdict on what it could reach: more updates on the same steps were
# not tried. Judged, DreamerV3's actions are drawn, MuZero's are its best.
#
# ## Compare two arms
#
# A difference of two means says little without an interval, and an interval needs several seeds.
# Both arms have had the same games with a seed, so a seed is one pair, and pairs are what is drawn
# again. Example: a = {0: 3, 1: 5, 2: 4}, b = {1: 1, 2: 2}. Common seeds are 1 and 2, differences 4
# and 2, mean 3.

# %%
# EXERCISE 3.3.2 utils.evaluate.memo:paired_difference

# %%
paired_difference = check("3.3.2")

# %%
STEPS = {task: rows * GAMES for task, rows in ROWS.items()}
mine_here = {
    "descent: return of MuZero after 8,000 real steps": {seed: with_search["descent"]},
    "descent: return of DreamerV3 after 8,000 real steps": {seed: dreamed},
    "descent: return of MuZero's policy alone": {seed: alone["descent"]},
    "CartPole: return of MuZero after 16,000 real steps": {seed: with_search["CartPole"]},
    "CartPole: return of MuZero's policy alone": {seed: alone["CartPole"]},
}
DESCENT_M, DESCENT_D, DESCENT_P, CART_M, CART_P = mine_here
stored = looked_up("3.3") if lesson.profile != "evidence" else {}
stored = {source: record for source, record in stored.items() if source.startswith("assets")}
noise = np.random.default_rng(0).random((5000, 5))
lines = ["| task | MuZero less DreamerV3 | 90 % interval | pairs |", "|---|---:|---|---:|"]
for task, one, other in (("descent", DESCENT_M, DESCENT_D), ("CartPole", CART_M, CARTPOLE)):
    for records in ({"here": mine_here}, stored):
        known = {name for record in records.values() for name in record}
        if one not in known:
            continue
        a = gather(one, records)[0]
        b = cart_dreamed if other == CARTPOLE else gather(other, records)[0]
        if not set(a) & set(b):
            continue
        gap, low, high = paired_difference(a, b, noise)
        where = "here" if records is not stored else "stored evidence"
        band = "none: one pair" if math.isnan(low) else f"{low:.3g} to {high:.3g}"
        lines.append(f"| {task}, {where} | {gap:.3g} | {band} | {len(set(a) & set(b))} |")
display(Markdown("\n".join(lines)))

# %%
real = {name: [values[seed]] for name, values in mine_here.items()}
claim(DESCENT_M, real[DESCENT_M], ">=", 2.0)
claim(DESCENT_D, real[DESCENT_D], "<=", 1.6)
claim(
    "descent: MuZero's return less DreamerV3's",
    [real[DESCENT_M][0] - real[DESCENT_D][0]],
    ">=",
    1.0,
)
claim(DESCENT_P, real[DESCENT_P], "<=", 2.2)
claim(
    "descent: what 16 simulations add to the policy alone",
    [with_search["descent"] - alone["descent"]],
    ">=",
    0.4,
)
claim(CART_M, real[CART_M], "<=", 400)
claim(CART_P, real[CART_P], "<=", 475)
if lesson.profile == "evidence" or seed in cart_dreamed:
    claim(
        "CartPole: MuZero's return, as a share of DreamerV3's",
        real[CART_M],
        "<=",
        0.75,
        relative_to=[cart_dreamed[seed]],
    )
claim(
    "CartPole: what 16 simulations add to the policy alone",
    [with_search["CartPole"] - alone["CartPole"]],
    "<=",
    0,
)

# %% [markdown]
# ## What a decision costs
#
# One forward pass is one row through one network. Dreamer takes the observation into its state (one
# step of the recurrence) and asks its actor. MuZero represents what it sees, and then asks its
# dynamics and its prediction once for each simulation.
#
# **Predict:** how many passes through the dynamics do 16 simulations take? And how much longer does
# the decision take, in milliseconds? The two are not the same number.

# %%
# EXERCISE 3.3.3 utils.evaluate.memo:forward_passes

# %%
forward_passes = check("3.3.3")

# %%
agent = muzeros["descent"]
look = torch.from_numpy(walked[:1, *descent.CELLS])
row = Step(look, torch.zeros(1, 2), torch.zeros(1), torch.ones(1).bool(), torch.zeros(1).bool())
act = actor.policy(dreamer)


@torch.no_grad()
def dreamer_decides():
    state = dreamer.observe(dreamer.initial(1), row, generator=generator)
    return act(state, generator)


def muzero_decides():
    state = agent.observe(agent.initial(1), row)
    return searched(agent, JUDGED_WITH, state)


def milliseconds(decide):
    """Processor time of one decision: the median of several. On an idle machine that is what one
    waits; on a busy one a clock on the wall would measure the others."""
    spent = []
    for _ in range(lesson.pick(smoke=3, quick=60)):
        began = time.process_time()
        decide()
        spent.append(1000 * (time.process_time() - began))
    return float(np.median(spent))


with torch.no_grad():
    passes = {
        "MuZero": forward_passes(
            {"h": agent.representation, "g": agent.dynamics, "f": agent.prediction}, muzero_decides
        ),
        "DreamerV3": forward_passes(
            {
                "encoder": dreamer.codec.encoder,
                "recurrence": dreamer.rssm.cell,
                "actor": actor.actor,
            },
            dreamer_decides,
        ),
    }
waits = {"MuZero": milliseconds(muzero_decides), "DreamerV3": milliseconds(dreamer_decides)}
for name in passes:
    print(f"{name:10} {waits[name]:6.2f} ms   passes {passes[name]}")
steps_of_model = {"MuZero": passes["MuZero"]["g"], "DreamerV3": passes["DreamerV3"]["recurrence"]}

# %%
claim("a decision: MuZero's passes through its model", [float(passes["MuZero"]["g"])], ">=", 16)
claim(
    "a decision: DreamerV3's passes through its model",
    [float(passes["DreamerV3"]["recurrence"])],
    "<=",
    1,
)
claim(
    "a decision: time of MuZero, as a multiple of DreamerV3's",
    [waits["MuZero"]],
    ">=",
    2,
    relative_to=[waits["DreamerV3"]],
)

# %% [markdown]
# Sixteen passes against one, and 7.7 [7.4, 8.1] times the time: Dreamer's one step is the larger
# one, encoder and recurrence and actor. The time is that of one core and of this code; with larger
# networks it becomes the ratio of the work: sixteen times g and f, against one encoder, recurrence
# and actor.
#
# The bounds of all claims of this lesson were set after seed 0 had been seen, in a prototype, and
# before seeds 1 and 2 were seen.
#
# ## What a state forgets
#
# A small world in which both can be trained in seconds. In a **hall** one walks a corridor and
# turns a dial on the wall. The corridor pays: 1 at its right end, -1 at its left. The dial pays
# nothing. And there is a *loud* hall, with 32 numbers of noise beside what matters. MuZero has 500
# updates here, and trains on the reward alone: its policy and value learn nothing. DreamerV3 has
# 250, and sees a fifth of the rows. What more would do for it in the loud hall was not tried.
#
# What do latent states know, imagined 1 to 5 steps ahead without looking? First the reward, as each
# agent's own head predicts it. Then the dial, by a **linear probe**.
#
# ### Find the bug
#
# A probe is a linear regression for each step ahead. This one flatters every state.

# %%
# EXERCISE 3.3.4 utils.evaluate.memo:probe_r2 bug flatters

# %%
probe_r2 = check("3.3.4")

# %% [markdown]
# **Run it with yours.** States of pure noise, which know nothing. What does the probe say?

# %%
nothing = [torch.randn(80, 1, 40, generator=generator) for _ in range(2)]
about = [torch.randn(80, 1, generator=generator) for _ in range(2)]
said = mine("3.3.4")(nothing[0], about[0], nothing[1], about[1]).item()
print(f"R² of states that know nothing: {said:.2f}")

# %%
BEFORE, WITHIN = 5, 5  # rows that are seen, steps that are imagined
UPDATES = lesson.pick(smoke=3, quick=250)
HALLS = {"quiet": 0, "loud": 32}


def muzero_hall(rows, noise):
    """MuZero's model, trained on the rewards of the corridor."""
    torch.manual_seed(seed)
    config = Config(latent=32, units=64, support=1, squash=False, value_weight=0.0)
    world = MuZero(hall.observation_space(noise), hall.ACTIONS, config)
    adam = torch.optim.AdamW(world.parameters())
    count, length = rows.reward.shape
    for update in progress(range(2 * UPDATES), "MuZero"):
        adam.param_groups[0]["lr"] = 5e-3 * (1 - update / (2 * UPDATES))
        chosen = torch.randint(count, (128,), generator=generator)
        start = int(torch.randint(length - WITHIN, (1,), generator=generator))
        window = Step(*(v[chosen, start : start + WITHIN + 1] for v in rows))
        first = torch.zeros_like(window.first)
        unknown = torch.zeros_like(window.action), torch.zeros_like(window.reward)
        loss, _, _ = world.loss(Played(*window._replace(first=first), *unknown), generator)
        adam.zero_grad()
        loss.backward()
        adam.step()
    return world


def dreamer_hall(rows, noise):
    """DreamerV3's model, trained on observations and on the rewards of the corridor."""
    torch.manual_seed(seed)
    world = dreamer_v3.DreamerV3(hall.observation_space(noise), hall.ACTIONS, SMALL)
    optimiser = LaProp(world.parameters(), 2e-3, warmup=50)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: min(1, 3 * (1 - k / UPDATES)))
    for _ in progress(range(UPDATES), "DreamerV3"):
        chosen = torch.randint(len(rows.reward), (32,), generator=generator)
        loss, _, _ = world.loss(Step(*(v[chosen] for v in rows)), generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        falling.step()
    return world


@torch.no_grad()
def imagined(world, rows):
    """States [B, K, D] and rewards [B, K] after the rows that are seen, and the states themselves."""
    state, states, rewards = world.initial(len(rows.reward)), [], []
    for t in range(BEFORE):
        state = world.observe(state, Step(*(v[:, t] for v in rows)), mode=True)
    for t in range(BEFORE, BEFORE + WITHIN):
        state, reward, _ = world.imagine(state, rows.action[:, t], mode=True)
        states.append(state)
        rewards.append(reward)
    known = "latent" if "latent" in state else None
    features = [s[known] if known else world.features(s) for s in states]
    return torch.stack(features, 1), torch.stack(rewards, 1), states


# %%
count = lesson.pick(smoke=50, quick=2000)
models, knows_reward, knows_dial = {}, {}, {}
for kind, size in HALLS.items():
    generator.manual_seed(seed)
    walks, tests = (hall.record(count, BEFORE + WITHIN, size, generator) for _ in range(2))
    dial, test_dial = (hall.dial_reward(v.observation)[:, BEFORE:] for v in (walks, tests))
    paid = tests.reward[:, BEFORE:]
    for name, trained in (("MuZero", muzero_hall), ("DreamerV3", dreamer_hall)):
        models[name, kind] = world = trained(walks, size)
        features, _, _ = imagined(world, walks)
        test_features, rewards, _ = imagined(world, tests)
        error = (rewards - paid).square().mean(0)
        knows_reward[name, kind] = (1 - error / paid.var(0, correction=0)).tolist()
        knows_dial[name, kind] = probe_r2(features, dial, test_features, test_dial).tolist()
acted = [v.action[:, BEFORE:].cumsum(1) for v in (walks, tests)]
blind = probe_r2(acted[0], dial, acted[1], test_dial).tolist()
acted = [v.action.cumsum(1)[:, BEFORE:] for v in (walks, tests)]
blind_all = probe_r2(acted[0], dial, acted[1], test_dial).tolist()

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3.4), sharey=True)
looks = {"MuZero": "#009E73", "DreamerV3": "#D55E00"}
for (name, kind), values in knows_reward.items():
    style = "o-" if kind == "quiet" else "s--"
    label = f"{name}, {kind}"
    axes[0].plot(range(1, 6), values, style, color=looks[name], label=label)
    axes[1].plot(range(1, 6), knows_dial[name, kind], style, color=looks[name], label=label)
axes[1].plot(range(1, 6), blind, ":", color="#222222", label="the five actions")
axes[1].plot(range(1, 6), blind_all, "-.", color="#222222", label="all actions so far")
axes[0].set(title="the reward, by the agent's head", xlabel="steps ahead", ylabel="R²")
axes[1].set(title="the dial, by a linear probe", xlabel="steps ahead", ylim=(-0.1, 1.05))
for ax in axes:
    ax.set_xticks(range(1, 6))
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=7)
plt.show()

# %%
last = {key: values[-1] for key, values in knows_reward.items()}
claim("loud hall: R² of the reward 5 steps ahead, MuZero", [last["MuZero", "loud"]], ">=", 0.8)
claim("loud hall: the same, DreamerV3", [last["DreamerV3", "loud"]], "<=", 0.4)
claim("quiet hall: the same, DreamerV3", [last["DreamerV3", "quiet"]], ">=", 0.6)
dial_known = {name: knows_dial[name, "quiet"][-1] for name in looks}
claim("quiet hall: R² of the dial 5 steps ahead, DreamerV3", [dial_known["DreamerV3"]], ">=", 0.6)
claim("quiet hall: the same, MuZero", [dial_known["MuZero"]], "<=", 0.5)

# %% [markdown]
# In the loud hall MuZero explains 0.97 of the reward five steps ahead, DreamerV3 nothing at all. In
# the quiet one a probe finds 0.78 of the dial in DreamerV3's states, in MuZero's 0.34, less than
# its five actions alone would tell it.
#
# In the loud hall DreamerV3's loss is paid for noise. Of the dial its state knows about what all
# its actions so far would tell, and of the reward nothing. In the quiet one MuZero has kept the
# corridor; of the dial it knows less than its five actions would tell. Neither is a fault: each
# keeps what it is trained to keep.
#
# ## A new reward
#
# From tomorrow the dial pays, and the corridor does not. Nobody may walk the hall before. What can be
# used again?
#
# A world that shows what comes next can be asked: dream every sequence of actions, decode what one
# would see, and read off it what that pays.

# %%
# EXERCISE 3.3.5 utils.agents.replan:replan

# %%
replan = check("3.3.5")

# %%
walkers, horizon, walk = lesson.pick(smoke=4, quick=64), 4, 8


@torch.no_grad()
def earns(choose, world):
    """What walkers earn at the dial in 8 steps, from anywhere, seeing where they are."""
    place, total = hall.anywhere(walkers, torch.Generator().manual_seed(seed)), 0.0
    state, action, first = world.initial(walkers), torch.zeros(walkers, 4), torch.ones(walkers)
    for _ in range(walk):
        view = hall.seen(place, 0)
        none = torch.zeros(walkers)
        state = world.observe(state, Step(view, action, none, first.bool(), none.bool()), mode=True)
        action, first = one_hot(choose(world, state), 4).float(), none
        place = hall.moved(place, action)
        total = total + hall.dial_reward(hall.seen(place, 0))
    return total.mean().item()


def by_dream(world, state):
    return replan(world, state, hall.dial_reward, horizon)


def by_tree(world, state):
    """MuZero can only go on with the reward that it knows."""
    planner = planner_of(world)
    return muzero(planner.root(state), planner, 50).action


def at_random(world, state):
    return torch.randint(4, (walkers,), generator=generator)


class Exact:
    """The hall itself, as a world: what a perfect model would earn."""

    spec = models["DreamerV3", "quiet"].spec

    def initial(self, batch):
        return {"place": torch.zeros(batch, 2, dtype=torch.long)}

    def observe(self, state, step, **options):
        cell, mark = step.observation.split([hall.CELLS, hall.MARKS], -1)
        return {"place": torch.stack([cell.argmax(-1), mark.argmax(-1)], -1)}

    def imagine(self, state, action, **options):
        after = {"place": hall.moved(state["place"], action)}
        return Dreamt(after, torch.zeros(len(action)), None)

    def decode(self, state):
        return hall.seen(state["place"], 0)


at_dial = {
    "DreamerV3": earns(by_dream, models["DreamerV3", "quiet"]),
    "MuZero": earns(by_tree, models["MuZero", "quiet"]),
    "random": earns(at_random, models["MuZero", "quiet"]),
    "exact": earns(by_dream, Exact()),
}
for name, value in at_dial.items():
    print(f"{name:10} earns {value:5.2f} at the dial in {walk} steps, without a further real step")
reused = {name: at_dial[name] / at_dial["exact"] for name in ("DreamerV3", "MuZero")}

# %%
claim("new reward: DreamerV3, as a share of the exact world", [reused["DreamerV3"]], ">=", 0.7)
claim("new reward: MuZero, as a share of the exact world", [reused["MuZero"]], "<=", 0.3)

# %% [markdown]
# Without one more real step DreamerV3's model earns 0.98 of what the exact world would, MuZero's -0.04.
#
# The condition in small print: the new reward can be read off what is *seen*, and the model has
# learned to show it. In the loud hall this was not tried.
#
# ## Chance
#
# From lesson 3.1: take 0.6 and go home, or gamble: a coin is thrown, one sees it, and is paid 1 for
# saying what it shows. **Predict:** what is a gamble worth for a model that is deterministic, and so
# has one state after the throw for both sides?

# %%
pays = torch.eye(2)  # sides of the coin x what one says
by_merging = pays.mean(0).max().item()  # first the mean over sides, then the best thing to say
by_looking = pays.max(1).values.mean().item()  # the best for each side, then the mean
off, source = gather(MERGED, earlier)
print(f"merged: {by_merging}, so it takes the safe 0.6; with chance nodes: {by_looking}")
print(
    f"the model that MuZero learned is off {by_merging} by {np.mean(list(off.values())):.3f} ({source})"
)

# %% [markdown]
# The best of a mean is less than the mean of the best. Dreamer draws its latents, so each dream has
# one of the sides; MuZero needs chance nodes for it.
#
# ## The evidence
#
# All that was measured, in one table. Your own number comes first; the interval is that of the
# stored evidence.


# %%
def measured(name, unit, records):
    """A claim's number as evidence for a memo."""
    values, source = gather(name, records)
    other = {s: r[name] for s, r in records.items() if s != source and name in r}
    elsewhere = next((float(np.mean(list(v.values()))) for v in other.values()), None)
    many = list(max([values, *other.values()], key=len).values())
    band = bootstrap_interval(many)[1:] if len(many) > 1 else (math.nan, math.nan)
    return Measured(float(np.mean(list(values.values()))), unit, source, elsewhere, *band)


here = dict(mine_here)
for name, value in {
    "loud hall: R² of the reward 5 steps ahead, MuZero": last["MuZero", "loud"],
    "loud hall: the same, DreamerV3": last["DreamerV3", "loud"],
    "new reward: DreamerV3, as a share of the exact world": reused["DreamerV3"],
    "new reward: MuZero, as a share of the exact world": reused["MuZero"],
}.items():
    here[name] = {seed: value}
known = {"here": here} | stored | earlier
evidence = {
    "return, planning: MuZero": measured(DESCENT_M, "points", known),
    "return, planning: DreamerV3": measured(DESCENT_D, "points", known),
    "return, reactive: MuZero": measured(CART_M, "steps", known),
    "return, reactive: DreamerV3": measured(CARTPOLE, "steps", known),
    "policy alone, planning: MuZero": measured(DESCENT_P, "points", known),
    "policy alone, reactive: MuZero": measured(CART_P, "steps", known),
    "simulations: MuZero": Measured(JUDGED_WITH, "", "here"),
    "real steps: planning": Measured(STEPS["descent"], "", "here"),
    "real steps: reactive": Measured(STEPS["CartPole"], "", "here"),
    "forward passes: MuZero": Measured(steps_of_model["MuZero"], "", "here"),
    "forward passes: DreamerV3": Measured(steps_of_model["DreamerV3"], "", "here"),
    "time of a decision: MuZero": Measured(waits["MuZero"], "ms", "here"),
    "time of a decision: DreamerV3": Measured(waits["DreamerV3"], "ms", "here"),
    "distractors: MuZero": measured(
        "loud hall: R² of the reward 5 steps ahead, MuZero", "R²", known
    ),
    "distractors: DreamerV3": measured("loud hall: the same, DreamerV3", "R²", known),
    "chance: deterministic model": Measured(by_merging, "", "here, exact"),
    "chance: with chance nodes": Measured(by_looking, "", "here, exact"),
    "new reward: MuZero": measured(
        "new reward: MuZero, as a share of the exact world", "of the possible", known
    ),
    "new reward: DreamerV3": measured(
        "new reward: DreamerV3, as a share of the exact world", "of the possible", known
    ),
}
display(Markdown(memos.table(evidence)))

# %% [markdown]
# ## Is it the number that was measured?
#
# Memos are wrong in a few ways, again and again: seconds where milliseconds were measured, one arm's
# number under the other's name, a number of last week's run, a number that nobody measured. Write
# the audit that tells them from each other.

# %%
# EXERCISE 3.3.6 utils.evaluate.memo:fault

# %%
fault = check("3.3.6")

# %% [markdown]
# **Run it with yours.** A memo with one mistake of each kind:

# %%
bad = {name: Cited(one.value, one.unit) for name, one in evidence.items()}
bad["time of a decision: MuZero"] = Cited(evidence["time of a decision: MuZero"].value / 1000, "ms")
bad["return, planning: DreamerV3"] = Cited(evidence["return, planning: MuZero"].value, "points")
bad["policy alone, reactive: MuZero"] = Cited(9999.0, "steps")
if (older := evidence["return, reactive: MuZero"].elsewhere) is not None:
    bad["return, reactive: MuZero"] = Cited(older, "steps")
bad["walks the dog: MuZero"] = Cited(1.0, "dogs")
del bad["new reward: MuZero"]
text = " ".join(f"{{{name}}}" for name in bad) + " And it is 42 times as good."
for line in memos.sentences(memos.review(bad, text, evidence, mine("3.3.6")), bad, evidence):
    print("-", line)

# %% [markdown]
# ## Your memo
#
# One page, for somebody who has to decide. It has a recommendation for each kind of problem, the
# numbers that carry it, why they come out so, and what was not measured. Numbers are cited by name
# and never typed, so that the memo follows when you measure again.
#
# **The rubric**, ten points. A teacher, a colleague, or you on the next day:
#
# | | 0 | 1 | 2 |
# |---|---|---|---|
# | **evidence** | numbers without a source | all topics, not all sourced | every topic with its number, unit and source |
# | **comparison** | unlike conditions | like conditions, no word on seeds | same real steps, interval or number of seeds said, one seed called one seed |
# | **mechanism** | none | named | each difference follows from how the agent works |
# | **limits** | none | general ones | what was not measured, and which claim failed |
# | **decision** | "it depends" | one answer for everything | an answer for each kind of problem, and what would change it |
#
# The check sees that all topics are cited, that each number is the one measured (it tries on made-up
# evidence), and that it fits on a page. What it argues, people must judge. Until you write one, an
# example stands here.

# %%
# EXERCISE 3.3.7 utils.evaluate.memo_example:memo

# %%
memo = check("3.3.7")

# %%
numbers, text = memo(evidence)
found = memos.review(numbers, text, evidence, fault)
print("\n".join(memos.sentences(found, numbers, evidence)))
display(Markdown(memos.page(numbers, text)))

# %% [markdown]
# By the rubric the example has a gap, under *limits*: it does not say that three claims failed, and
# that MuZero's three runs on CartPole lie between 126 and 500. Do better in yours.
#
# ### What did not hold
#
# - *descent: return of MuZero's policy alone*: it earns 1.64, 2.84 and 2.66, more than a walker who
#   sees two rows on two of three seeds. The network learned more of the descent by heart than seed
#   0 had shown. The search adds to it all the same.
# - *CartPole: return of MuZero after 16,000 real steps*: 238, 500 and 126. One run of three plays
#   without fault. MuZero can learn this game in as many steps; it does not do so reliably.
# - *CartPole: MuZero's return, as a share of DreamerV3's*: 0.58 [0.33, 0.83]. DreamerV3 is level on one
#   seed and far ahead on two. Three pairs cannot show that it is ahead by a quarter.
#
# ## What is missing
#
# - **Size.** On the descent MuZero has 10 thousand parameters and DreamerV3 180 thousand, and both
#   train for seconds. Which one scales is not answered here.
# - **Tuning.** The settings were chosen once, on one seed, for neither task in particular. More
#   updates for each real step might help both; it was not tried.
# - **One planning task.** It is one in which a model is easy and a policy is hard. Where the model is
#   the hard part, a search looks far ahead in a wrong world.
# - **Hybrids.** Search over a reconstructing model, or a value-equivalent model with an actor, are
#   questions of lesson 7.4.
#
# ### Questions
#
# 1. On CartPole a search with the learned model may do worse than the policy that it trained. What
#    must be wrong in the model for that?
# 2. Which new rewards could MuZero learn fastest from the state that it has?
# 3. DreamerV3 in the loud hall: what would happen if the loss of rewards were weighted 100 times?
# 4. Which number in your memo would you least like to bet on, and what would it cost to measure it
#    better?
#
# ### Where to read on
#
# - J. Schrittwieser and others, *Mastering Atari, Go, chess and shogi by planning with a learned
#   model*, Nature 588, 2020; D. Hafner and others, *Mastering diverse control tasks through world
#   models*, Nature 640, 2025.
# - C. Grimm and others, *The value equivalence principle for model-based reinforcement learning*,
#   NeurIPS 2020; I. Antonoglou and others, *Planning in stochastic environments with a learned
#   model*, ICLR 2022.
# - Here: `utils/evaluate/memo.py`, `utils/agents/replan.py`, `utils/data/descent.py`,
#   `utils/data/hall.py`.
