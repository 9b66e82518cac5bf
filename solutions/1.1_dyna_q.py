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
# # 1.1 Dyna-Q: what is a model of the world good for?
#
# An agent that learns only from what it does needs many steps. An agent that also learns *what
# its actions lead to* can think: it tries steps in its head, and learns from those too. In this
# lesson you build one of the first agents that do so, Dyna-Q (1990), and measure what its model is
# worth, when it misleads, and how to think about the right things first.
#
# | | |
# |---|---|
# | You need | PyTorch indexing (`q[rows, state]`), and what a Markov decision process is |
# | You build | Q-learning, a learned model, planning, curiosity, value iteration, prioritised sweeping |
# | Time | about 3 hours for the *core* exercises, 2 more for those marked *more* |
# | Runs on | any laptop: Run All takes about a minute and a half and 1 GB of memory; a GPU is not needed |
#
# *Core* exercises are what a week of ten hours has room for. *More* is for those who have longer:
# skip it, and the reference stands in.
#
# Every exercise is followed by its check. It says PASS, or what differs and often which mistake
# it is. Until you solve an exercise, later cells use the reference, so Run All always works.
# Stuck? `hint("1.1.1")` gives a first hint, and a better one each time you call it.

# %%
# SETUP

# %% tags=["parameters"]
PROFILE = None  # smoke, quick or full; None: the environment variable WM_PROFILE, else quick

# %%
import gymnasium as gym
import matplotlib.pyplot as plt
import numpy as np
import torch
from gymnasium.envs.toy_text.taxi import TaxiEnv
from IPython.display import Markdown, display
from jaxtyping import Bool, Float, Int
from torch import Tensor

from utils.agents.q_learning import epsilon_greedy, greedy_policy
from utils.course.check import check, hint, mine
from utils.course.lesson import begin, claim
from utils.course.play import play
from utils.course.show import LivePlot, band, diagram, film_strip, progress
from utils.data import tables
from utils.evaluate import ladder
from utils.evaluate.mazes import draw_arrows, draw_legend, draw_maze, frame, model_frame
from utils.world import Step, to_tensor
from utils.worlds import tabular

lesson = begin("1.1", PROFILE, seeds=100, batch=30)
seeds = len(lesson.seeds)
torch.set_num_threads(1)  # the tensors are small: a second thread costs more than it does

# %% [markdown]
# ## The idea
#
# In 1943 the psychologist Kenneth Craik proposed that thought works with a *small-scale model* of
# reality: the outside is translated into symbols, the symbols are worked on, and the result is
# translated back into an action or an expectation. A mind with such a model can try alternatives
# without paying for them.
#
# Richard Sutton's **Dyna** (1990, 1991) is that proposal as a program. One table of values is
# improved from two sources, and the update is the same for both:
#
# - **learning**: a real step, once it has happened;
# - **planning**: imagined steps, as many as there is time for, from a model that real steps teach.

# %%
diagram(
    {
        "values": (1, 0, "values and policy\nQ(s, a)", "#0072B2"),
        "world": (0, 1.5, "world\n(the maze)", "#8A8A8A"),
        "model": (2, 1.5, "model\nwhat follows (s, a)", "#D55E00"),
    },
    [
        ("values", "world", "action", 0.2),
        ("world", "values", "learning:\nreal steps", 0.2),
        ("world", "model", "model learning: real steps"),
        ("model", "values", "planning:\nimagined steps", -0.2),
    ],
    spacing=(2.4, 1.0),
)

# %% [markdown]
# ### Often said, and not so
#
# - *"Dyna plans a path."* It does not search. It updates values at single imagined steps, in any
#   order, and acts on whatever the values say at that moment.
# - *"The model is a simulator somebody wrote."* It is learned from the same steps as the values.
# - *"Dyna was a maze program."* Sutton described an architecture: any learned model and any
#   reinforcement learner fit. DreamerV3 in week 2 has the same boxes, with networks in them.
# - *"Planning needs a perfect model."* It needs one that is right where it matters. You will see
#   one that is wrong, and an agent that finds out.

# %% [markdown]
# ### Paper, code, here
#
# The mazes and numbers are those of Sutton and Barto, *Reinforcement Learning* (2nd ed., 2018),
# chapter 8; the widely used code for the book is by Shangtong Zhang.
#
# | | book | Zhang's code | here |
# |---|---|---|---|
# | Dyna maze: discount, step size, exploration | γ 0.95, α 0.1, ε 0.1 | the same | the same |
# | a tie between best actions | at random | at random | at random |
# | an untried pair in Dyna-Q+ | leads back to its state, reward 0 | the same | the same |
# | time since the last try, τ | real time steps | real time steps | real time steps |
# | shortcut maze | κ not given | κ 1e-3, α 1, n 50 | the code's; quick saves time with n 20 |
# | blocking maze | κ not given | κ 1e-4, α 1, n 10 | the code's |
# | a pair drawn to be imagined | a visited state, then an action tried there | the same | any tried pair, all alike |
# | prioritised sweeping | θ not given | α 0.5, n 5, θ 1e-4 | α 1, which a deterministic world allows; n and θ the code's |
# | a pair that is queued again | the larger priority stays | takes its newest priority | the larger stays |
# | an imagined step into the goal | the goal is worth 0 | the same | the target is R alone |
# | the maze changes | at the step | when the episode ends | at the step |
# | seeds | 30 runs | 5 to 20 runs, one after the other | 30 at once, as rows of a tensor |
#
# The last row is why everything below has a leading axis `B`: row `b` belongs to seed `b`. A
# thousand agents then cost about three times as much as one.

# %% [markdown]
# ## The world
#
# A maze of 6 x 9 cells. Four moves; one into a wall leads nowhere. Reaching G pays 1 and ends the
# episode; every other step pays 0. The shortest way from S has 14 steps.

# %%
maze = tables.maze(tables.DYNA_MAZE)
shortest = int(tables.fewest_steps(maze)[maze.start.argmax()])
_, ax = plt.subplots(figsize=(3.6, 2.4))
draw_maze(ax, maze, torch.zeros(maze.states), f"the shortest way has {shortest} steps")
plt.show()

# %% [markdown]
# ## Learning from a real step
#
# Q-learning keeps a number for each pair of state and action: the discounted reward to expect
# from there if one goes on as well as possible. After a step it moves the number towards what the
# step showed:
#
# $$\delta = R + \gamma \max_{a} Q(S', a) - Q(S, A), \qquad Q(S, A) \leftarrow Q(S, A) + \alpha\, \delta .$$
#
# Where the step ended the episode there is no next state to value, and the target is $R$ alone.
# Forgetting this is a common bug: values then leak from a
# place that is never reached.
#
# Example: $Q(S, A) = 0.2$, reward 0, best next value 0.5, $\gamma = 0.95$, $\alpha = 0.1$ give
# $\delta = 0.475 - 0.2 = 0.275$ and the new value $0.2275$.

# %%
# EXERCISE 1.1.1 utils.agents.q_learning:q_update

# %%
q_update = check("1.1.1")

# %% [markdown]
# Here is your update at work: the example above, for one agent with two states and one action.

# %%
q = torch.tensor([[[0.2], [0.5]]])
zero, no, yes = torch.tensor([0]), torch.tensor([False]), torch.tensor([True])
error = q_update(q, zero, zero, torch.tensor([0.0]), zero + 1, no, 0.1, 0.95)
print(f"error {error.item():.4f}, new value {q[0, 0, 0].item():.4f}")
error = q_update(q, zero, zero, torch.tensor([1.0]), zero + 1, yes, 0.1, 0.95)
print(f"if the step ends the episode with reward 1: error {error.item():.4f}")

# %% [markdown]
# ## Learning a model
#
# A real step also shows what the world does: from state $S$, action $A$ led to $S'$ with reward
# $R$. A deterministic world needs to be told once. The simplest learned model is a table with the
# last outcome of each pair: $\text{Model}(S, A) \leftarrow R, S'$.
#
# To plan, the agent will draw pairs that it has tried, all with the same chance. So the model
# also keeps a list of them. And it notes *when* each was tried last: that will matter when the
# world changes.
#
# The lesson's own subclass below takes your answer as its method.


# %%
class Tabular(tabular.Tabular):
    """The model with your `learn` in it."""


# %%
# EXERCISE 1.1.2 utils.worlds.tabular:Tabular.learn

# %%
Tabular.learn = check("1.1.2")

# %% [markdown]
# A random walker teaches a model. Beside the world is what the model knows. Nobody told it where the
# walls are: it knows which moves lead nowhere.


# %%
def noise(*shape):
    """Uniform numbers in [0, 1) from the lesson's generator."""
    return torch.rand(shape, generator=generator)


def wander(table, model, steps):
    """Teaches `model` by random steps; returns where its agents are."""
    agents = len(model.number)
    state = table.reset(noise(agents))
    for _ in range(steps):
        action = (noise(agents) * table.actions).long()
        reward, next_state, terminated = table.step(state, action, noise(agents))
        model.learn(state, action, reward, next_state, terminated)
        state = torch.where(terminated, table.reset(noise(agents)), next_state)
    return state


def beside(*frames):
    """Frames side by side, with a gap."""
    gap = np.full((len(frames[0]), 12, 3), 160, np.uint8)
    return np.hstack([part for f in frames for part in (f, gap)][:-1])


generator = torch.Generator().manual_seed(0)
walker = Tabular(1, maze.states, maze.actions)
figure, axes = plt.subplots(1, 3, figsize=(9, 2.2))
axes[0].imshow(frame(maze, int(maze.start.argmax())))
axes[0].set_title("the world")
for ax, steps in zip(axes[1:], (60, 600), strict=True):
    cell = wander(maze, walker, steps)
    ax.imshow(model_frame(walker, 0, 9, int(cell[0])))
    ax.set_title(f"the model after {int(walker.clock)} steps")
for ax in axes:
    ax.axis("off")
draw_legend(figure)
plt.show()

# %% [markdown]
# ## Planning
#
# Planning is learning from steps that did not happen. Draw a pair that was tried, ask the model
# what follows, and update the value as if it had just happened. Do that $n$ times after each real
# step. That is all of Dyna-Q.
#
# The updates come one after the other: the second may build on what the first has just changed.

# %%
# EXERCISE 1.1.3 utils.agents.q_learning:plan

# %%
plan = check("1.1.3")

# %% [markdown]
# Now the whole agent, in one loop. `n` is the number of imagined steps after each real one; with
# `n=0` it is plain Q-learning.


# %%
def dyna_q(table, n, episodes, agents, planner=plan, watch=None):
    """Runs agents side by side until each has finished its episodes.

    Returns the steps of every episode [agents, episodes], the values and the models.
    """
    alpha, gamma, epsilon = 0.1, 0.95, 0.1
    q = torch.zeros(agents, table.states, table.actions)
    model = Tabular(agents, table.states, table.actions)
    rows, state = torch.arange(agents), table.reset(noise(agents))
    taken = torch.zeros(agents, episodes + 1)  # the last column takes what comes after the end
    done = torch.zeros(agents, dtype=torch.long)
    while (done < episodes).any():
        action = epsilon_greedy(q, state, epsilon, noise(agents, table.actions + 1))
        reward, next_state, terminated = table.step(state, action, noise(agents))
        q_update(q, state, action, reward, next_state, terminated, alpha, gamma)
        model.learn(state, action, reward, next_state, terminated)
        if n:
            visited = planner(q, model, noise(2, n, agents), alpha, gamma)
            if watch is not None:
                watch(int(model.clock), q, visited)
        taken[rows, done.clamp(max=episodes)] += 1
        done += terminated
        state = torch.where(terminated, table.reset(noise(agents)), next_state)
    return taken[:, :-1], q, model


# %% [markdown]
# **Predict before you run.** The first episode is alike for all three: nothing is known, so the agent
# wanders at random until it stumbles on the goal, after about 870 steps on average. How many
# episodes until the way is short: without planning, with 5 imagined steps after each real one, 50?

# %%
world = lesson.pick(smoke=tables.maze("S..G"), quick=maze)
episodes = lesson.pick(smoke=3, quick=50)
curves = {}
for n in progress((0, 5, 50), "planning steps"):
    generator.manual_seed(1)
    curves[n], _, _ = dyna_q(world, n, episodes, seeds)

_, ax = plt.subplots()
for n, label in ((0, "no planning"), (5, "5 imagined steps"), (50, "50 imagined steps")):
    band(ax, np.arange(2, episodes + 1), curves[n][:, 1:].numpy(), label)
ax.axhline(shortest, color="#222222", lw=1, ls=":")
ax.set(xlabel="episode", ylabel="steps to the goal", ylim=(0, 200), title="mean of all seeds")
ax.text(episodes, shortest - 3, "shortest way", ha="right", va="top", fontsize=9)
ax.legend()
plt.show()

# %% [markdown]
# The claims of figure 8.2 of the book, put to the test on the mean over all seeds. Each line shows
# this run beside the stored evidence, which was made by `python -m utils evidence 1.1`. With
# ε = 0.1 even a perfect agent needs 15.9 steps on average, because one step in ten is random; 18
# is the bar.


# %%
def first_below(bar):
    """The number of the first episode whose mean length is at most `bar`."""
    return lambda curve: float(np.argmax(curve <= bar) + 1) if (curve <= bar).any() else np.inf


for n, op, bound in ((0, ">=", 20), (5, "<=", 9), (50, "<=", 4)):
    name = f"Dyna maze, n = {n}: first episode with 18 steps or fewer"
    claim(name, curves[n], op, bound, statistic=first_below(18))
name = "Dyna maze: length of episode 2 without planning, as a multiple of n = 50"
claim(name, curves[0][:, 1], ">=", 5, relative_to=curves[50][:, 1])

# %% [markdown]
# ### Where imagination goes
#
# The second episode of one agent with `n = 50`, in the middle of it. The agent has walked only a
# part of the maze again, yet the greedy arrows have spread far back from the goal: imagination has
# carried the values there. Without planning, one episode teaches one step: the last.

# %%
generator.manual_seed(5)
snapshots = {}


def watch(clock, q, visited):
    """Keeps the values at some moments, and counts imagined visits."""
    count.scatter_add_(0, visited[:, 0], torch.ones(len(visited)))
    snapshots[clock] = q[0].clone()


count = torch.zeros(maze.states)
lengths, _, _ = dyna_q(maze, lesson.pick(smoke=5, quick=50), 2, 1, watch=watch)
first = int(lengths[0, 0])
moments = (first, first + int(lengths[0, 1]) // 2, first + int(lengths[0, 1]))
_, axes = plt.subplots(1, 3, figsize=(9, 2.2))
titles = ("values when the goal is first reached", "half-way through episode 2", "after episode 2")
for ax, moment, title in zip(axes, moments, titles, strict=True):
    draw_maze(ax, maze, snapshots[moment].amax(-1), title)
    draw_arrows(ax, maze, snapshots[moment])
plt.show()

_, ax = plt.subplots(figsize=(3.6, 2.4))
draw_maze(ax, maze, count, f"{int(count.sum()):,} imagined visits in {moments[-1]:,} real steps")
plt.show()

# %% [markdown]
# Imagination goes where the agent has been, all pairs alike: also to corners that do not matter.
# Prioritised sweeping, at the end of the lesson, does better: there is a map of its visits too.

# %% [markdown]
# ### Run it with yours
#
# What does forgetting `terminated` cost? `mine("1.1.1")` is the update that *you* wrote, right or
# wrong. Two cells: the step from the first one ends the episode with reward 1, so it is worth 1.
# The second cell, behind the end, looks as if it were worth 10. An update that looks behind the
# end makes the first step worth 10.50, and an agent would give up a real reward of 10 for it.

# %%
update, q = mine("1.1.1"), torch.tensor([[[0.0], [10.0]]])
for _ in range(50):
    update(q, zero, zero, torch.tensor([1.0]), zero + 1, yes, 0.5, 0.95)
print(f"with your update the step seems worth {q[0, 0, 0]:.2f}")

# %% [markdown]
# ## When the model is wrong
#
# A learned model is a memory. If the world changes, the memory is wrong, and the agent goes on
# planning with it. If the world got *worse*, the agent walks into the new wall and finds out. If
# it got *better*, it seldom notices: nothing in the model says that there is anything to find.
#
# **Dyna-Q+** is curious. For each pair it counts the real steps $\tau$ since the pair was last
# tried, and in imagination, and only there, adds a bonus:
#
# $$R + \kappa \sqrt{\tau}.$$
#
# And it imagines *any* action in a state that it has visited, also one it has never tried: of such
# a pair the model says that it leads back to where it was, with reward 0. The bonus makes a long
# untried move look better and better until the agent goes and tries, on a path of imagined
# rewards.

# %%
# EXERCISE 1.1.4 utils.agents.q_learning:plan_curious

# %%
plan_curious = check("1.1.4")

# %% [markdown]
# Two mazes that change. In the *blocking* maze the only gap closes after 1,000 steps and one opens
# at the other end. In the *shortcut* maze a second, shorter way opens after 3,000 steps; the old
# one stays. **Predict:** which of the two changes does plain Dyna-Q survive?


# %%
def live(pictures, change, steps, n, kappa=None, alpha=1.0, gamma=0.95, epsilon=0.1):
    """Agents in a maze that changes; returns the reward of every step [agents, steps].

    Without `kappa` they are Dyna-Q, with it Dyna-Q+.
    """
    before, after = (tables.maze(picture) for picture in pictures)
    q = torch.zeros(seeds, before.states, before.actions)
    model = Tabular(seeds, before.states, before.actions)
    state, rewards = before.reset(noise(seeds)), []
    for step in range(steps):
        table = before if step < change else after
        action = epsilon_greedy(q, state, epsilon, noise(seeds, table.actions + 1))
        reward, next_state, terminated = table.step(state, action, noise(seeds))
        q_update(q, state, action, reward, next_state, terminated, alpha, gamma)
        model.learn(state, action, reward, next_state, terminated)
        if kappa is None:
            plan(q, model, noise(2, n, seeds), alpha, gamma)
        else:
            plan_curious(q, model, noise(3, n, seeds), alpha, gamma, kappa)
        state = torch.where(terminated, table.reset(noise(seeds)), next_state)
        rewards.append(reward)
    return torch.stack(rewards, 1)


many = lesson.pick(quick=20, full=50, evidence=50)
mazes = {
    "blocking": (tables.BLOCKING_MAZE, 1000, 3000, 10, 1e-4),
    "shortcut": (tables.SHORTCUT_MAZE, 3000, 6000, many, 1e-3),
}
earned = {}
for name, (pictures, change, steps, n, kappa) in progress(mazes.items(), "changing mazes"):
    if lesson.profile == "smoke":
        change, steps = 20, 60
    for agent, bonus in (("Dyna-Q", None), ("Dyna-Q+", kappa)):
        generator.manual_seed(2)
        earned[name, agent] = live(pictures, change, steps, n, bonus)

_, axes = plt.subplots(1, 2, figsize=(9, 3))
for ax, (name, (_, change, _, _, _)) in zip(axes, mazes.items(), strict=True):
    for agent in ("Dyna-Q", "Dyna-Q+"):
        total = earned[name, agent].cumsum(1)[:, ::20].numpy()
        band(ax, np.arange(total.shape[1]) * 20, total, agent)
    ax.axvline(change, color="#222222", lw=1, ls=":")
    ax.set(xlabel="real step", ylabel="reward so far", title=f"{name} maze, changes at {change:,}")
    ax.legend()
plt.show()

# %% [markdown]
# Plain Dyna-Q does badly with both. 2,000 steps after the wall closed, 13 of 30 agents use the new
# gap. The others wander below the wall: their old values fade but stay above 0, and the cells
# behind the new gap are still worth 0, so an agent that slips through turns back. None finds the
# shortcut. Dyna-Q+ agents find both, and they learn the first maze faster. But curiosity costs:
# while the shortcut maze stands still, Dyna-Q+ earns a little less than Dyna-Q.

# %%
half = earned["shortcut", "Dyna-Q"].shape[1] // 2
gain = (earned["shortcut", "Dyna-Q+"] - earned["shortcut", "Dyna-Q"])[:, half:].sum(1)
claim("shortcut maze: Dyna-Q+ over Dyna-Q once it is open", gain, ">=", 50, unit="reward")
half = earned["blocking", "Dyna-Q"].shape[1] // 3
gain = (earned["blocking", "Dyna-Q+"] - earned["blocking", "Dyna-Q"])[:, half:].sum(1)
claim("blocking maze: Dyna-Q+ over Dyna-Q once it has changed", gain, ">=", 20, unit="reward")

# %% [markdown]
# ## Latent learning
#
# In 1948 Edward Tolman looked back on experiments with rats that had wandered through a maze without
# reward. Once they had found food in it, they soon made as few errors as rats that had been fed
# there from the start: they had learned *the maze*, not a habit.
# Craik's model in the head, seen from outside.
#
# The same experiment: an agent takes 4,000 random steps in a maze that pays nothing. Then, once,
# it steps into the goal and gets a reward. What does it know now? To squeeze everything out of
# the model, sweep over *all* pairs until the values stand still. That is value iteration, with the
# learned model in place of the true one:
#
# $$Q(s, a) \leftarrow \sum_k p_k \Big(r_k + \gamma \max_{a'} Q(s'_k, a')\Big) .$$
#
# A deterministic model has one outcome for each pair, with $p = 1$; the sum will be needed soon.

# %%
# EXERCISE 1.1.5 utils.agents.q_learning:value_iteration

# %%
value_iteration = check("1.1.5")

# %% [markdown]
# Both agents below have the same experience: 4,000 steps without reward, one step with. The
# planner gets no further real step. How a policy does is computed exactly from the true maze: no
# episode needs to be sampled.

# %%
unpaid = tables.maze(tables.DYNA_MAZE.replace("G", "."))  # nothing to be earned, nothing ends
generator.manual_seed(3)
explorer = Tabular(seeds, maze.states, maze.actions)
wander(unpaid, explorer, lesson.pick(smoke=50, quick=4000))

below = torch.full((seeds,), int(maze.goals.flatten().nonzero()[0]) + 9)  # the cell under the goal
up = torch.zeros(seeds, dtype=torch.long)
reward, goal, terminated = maze.step(below, up, noise(seeds))
explorer.learn(below, up, reward, goal, terminated)

planned = value_iteration(*explorer.outcomes(), gamma=0.95, sweeps=100)
learned = torch.zeros(seeds, maze.states, maze.actions)
q_update(learned, below, up, reward, goal, terminated, 0.1, 0.95)

limit = 200
arrived, steps = tables.expected_outcome(maze, greedy_policy(planned), limit)
arrived_q, _ = tables.expected_outcome(maze, greedy_policy(learned), limit)
print(
    f"planner: reaches the goal with probability {arrived.mean():.2f} in {steps.mean():.1f} steps"
)
print(f"Q-learning: with probability {arrived_q.mean():.2f} in {limit} steps, by chance")

_, axes = plt.subplots(1, 2, figsize=(7, 2.4))
for ax, q, title in ((axes[0], planned[0], "planned"), (axes[1], learned[0], "Q-learning")):
    draw_maze(ax, maze, q.amax(-1), f"{title}: values after one reward")
    draw_arrows(ax, maze, q)
plt.show()

# %%
name = "latent learning: the planned way is the shortest, with no further real step"
claim(name, (steps - shortest).abs() < 0.01, ">=", 0.95)
claim("latent learning: Q-learning reaches the goal in 200 steps", arrived_q, "<=", 0.2)

# %% [markdown]
# ## A world that slips
#
# The last outcome of a pair is the whole truth in a maze. On ice it is not. In gymnasium's
# *FrozenLake* a move goes where it should one time in three, and sideways otherwise. A model that
# keeps the last outcome believes whatever happened last. The repair is to count: how often did
# each state follow this pair? Relative frequencies estimate the probabilities $p_k$.

# %%
# EXERCISE 1.1.6 utils.worlds.tabular:Counts blank Counts.learn, Counts.outcomes

# %%
Counts = check("1.1.6")

# %% [markdown]
# Two models learn from the same random steps, and value iteration plans in both. The thin lines
# are what the best policy and random moves reach in 100 steps.

# %%
lake = tables.from_gymnasium(gym.make("FrozenLake-v1"))
moments = lesson.pick(smoke=(100, 200), quick=(250, 500, 1000, 2000, 4000, 8000))
success = {}
for kind, label in ((Tabular, "last outcome"), (Counts, "counts")):
    generator.manual_seed(4)
    model = kind(seeds, lake.states, lake.actions)
    success[label] = []
    for moment in moments:
        wander(lake, model, moment - int(model.clock))
        q = value_iteration(*model.outcomes(), gamma=0.99, sweeps=200)
        success[label].append(tables.expected_outcome(lake, greedy_policy(q), 100)[0])

best = greedy_policy(tables.optimal_values(lake, 0.99)[None])
anything = torch.full_like(best, 1 / lake.actions)
_, ax = plt.subplots()
for label, values in success.items():
    band(ax, moments, torch.stack(values, 1).numpy(), label)
for policy, line, label in ((best, ":", "best policy"), (anything, "-", "random moves")):
    reached = float(tables.expected_outcome(lake, policy, 100)[0])
    ax.axhline(reached, color="#222222", ls=line, lw=1, label=label)
ax.set(xscale="log", ylim=(0, 1), xlabel="real steps", ylabel="P(reaching the goal)")
ax.set_xticks(moments, [f"{moment:,}" for moment in moments])
ax.minorticks_off()
ax.legend()
plt.show()

# %%
name = f"FrozenLake after {moments[-1]:,} steps: success of counts, as a multiple of last outcome"
claim(name, success["counts"][-1], ">=", 2, relative_to=success["last outcome"][-1])

# %% [markdown]
# ## What planning is worth on a real task
#
# *Taxi* has 500 states and six actions; each step costs 1, a wrong pick-up or drop-off 10, and the
# right drop-off pays 20. How many real steps until the greedy policy earns 7 or more on average?
# (The best policy earns 7.9.) The loop is the one from before; it stops when every seed is there.


# %%
def steps_to_solve(table, n, target, most, every, plot, alpha=1.0, gamma=0.99, epsilon=0.1):
    """Real steps until the greedy policy of each agent earns `target`; `most` if it never does."""
    q = torch.zeros(seeds, table.states, table.actions)
    model = Tabular(seeds, table.states, table.actions)
    state, age = table.reset(noise(seeds)), torch.zeros(seeds)
    solved = torch.full((seeds,), float(most))
    for step in range(1, most + 1):
        action = epsilon_greedy(q, state, epsilon, noise(seeds, table.actions + 1))
        reward, next_state, terminated = table.step(state, action, noise(seeds))
        q_update(q, state, action, reward, next_state, terminated, alpha, gamma)
        if n:
            model.learn(state, action, reward, next_state, terminated)
            plan(q, model, noise(2, n, seeds), alpha, gamma)
        age += 1
        over = terminated | (age >= 200)  # gymnasium's time limit: a new episode, not an end
        age[over] = 0
        state = torch.where(over, table.reset(noise(seeds)), next_state)
        if step % every == 0:
            earns, _ = tables.expected_outcome(table, greedy_policy(q), 200)
            plot.add(step, **{f"n = {n}": earns.clamp(min=-50)})
            solved = torch.where((earns >= target) & (solved == most), float(step), solved)
            if (solved < most).all():
                break
    return solved


taxi = tables.from_gymnasium(TaxiEnv())  # by its class: its id is Taxi-v3 or v4, by release
most = lesson.pick(smoke=100, quick=100_000)
every, real = lesson.pick(smoke=50, quick=500), {}
compared = lesson.pick(quick=(0, 5), evidence=(0, 5, 50))
title = "return of the greedy policy (cut at -50)"
with LivePlot("real step", **{title: [f"n = {n}" for n in compared]}) as plot:
    for n in progress(compared, "Taxi"):
        generator.manual_seed(6)
        real[n] = steps_to_solve(taxi, n, 7.0, most, every, plot)
for n, steps in real.items():
    print(f"n = {n:2}: {steps.mean():8,.0f} real steps on average, most {steps.max():,.0f}")

# %%
claim(
    "Taxi: real steps to solve with n = 5, as a multiple of n = 0",
    real[5],
    "<=",
    0.5,
    relative_to=real[0],
)

# %% [markdown]
# ## Expected or sampled updates?
#
# With a count model there is a choice. An **expected** update looks at all $V$ outcomes of a pair
# and is then exact. A **sample** update looks at one and is done, but noisy. Per *look* at an
# outcome, which gets nearer to the truth? If the $V$ values are independent draws with variance 1
# and equally likely, the error after $t$ sample updates is, in the root mean square,
#
# $$\sqrt{\frac{V - 1}{V\, t}} .$$
#
# Write the experiment: the error of both as a function of the number of looks.

# %%
# EXERCISE 1.1.7 utils.agents.q_learning:update_errors

# %%
update_errors = check("1.1.7")

# %%
sizes, runs = (
    lesson.pick(smoke=(2, 10), quick=(2, 10, 100, 1000)),
    lesson.pick(smoke=20, quick=1000),
)
generator.manual_seed(7)
_, ax = plt.subplots()
worst = torch.zeros(seeds)
for i, size in enumerate(sizes):
    looks = torch.arange(1, 2 * size + 1)
    law = ((size - 1) / (size * looks)).sqrt()
    for seed in range(seeds):
        values = torch.randn(runs, size, generator=generator)
        draws = (torch.rand(runs, 2 * size, generator=generator) * size).long()
        sample, expected = update_errors(values, draws)
        worst[seed] = torch.maximum(worst[seed], (sample / law - 1).abs().mean())
    ax.plot(looks / size, sample, color=f"C{i}", label=f"V = {size}")
    ax.plot(looks / size, law, color="#222222", lw=0.8, ls=":")
ax.plot([0, 1, 1, 2], [1, 1, 0, 0], color="#8A8A8A", label="expected update")
ax.set(xlabel="looks, as a share of V", ylabel="RMS error", title="dotted: the formula")
ax.legend()
plt.show()

# %%
claim("sample updates: mean relative distance from the formula", worst, "<=", 0.05)

# %% [markdown]
# With many outcomes sampling is soon near: after a tenth of the looks its error is 0.31 with V = 100
# and 0.10 with V = 1,000. After all V looks the expected update is exact and sampling is not. A
# world with as many outcomes as there are pictures can only be sampled.

# %% [markdown]
# ## Where to plan
#
# Dyna-Q imagines all tried pairs alike. Right after the first reward, nearly all of that is
# wasted: only the last pair and those that lead to it have anything to learn. **Prioritised sweeping** keeps a
# queue of pairs by the size of the error that an update would correct. When the value of a state
# has changed, the pairs that *lead to* it become urgent:
#
# $$P(\bar s, \bar a) = \big|\bar R + \gamma \max_a Q(s, a) - Q(\bar s, \bar a)\big| .$$
#
# So the wave runs backwards from the goal. For this the model is asked backwards: which tried
# pairs does it say lead here?

# %%
# EXERCISE 1.1.8 utils.agents.q_learning:predecessor_priorities

# %%
predecessor_priorities = check("1.1.8")

# %% [markdown]
# ### Find the bug
#
# One step of the sweep takes the most urgent pair out of the queue, updates it, and puts in its
# predecessors. The queue is a table with a priority for each pair; 0 means "not in it". The code
# below has one mistake. It does not crash, and every update in it is right; yet an agent that
# plans with it learns next to nothing from planning. Find it and mend it.

# %%
# EXERCISE 1.1.9 utils.agents.q_learning:sweep bug stays

# %%
sweep = check("1.1.9")

# %% [markdown]
# Dyna-Q and prioritised sweeping, here on the maze, and in the stored evidence (README) also on
# mazes of 2 and 3 times the size. Both may do up to five
# imagined updates after each real step. An update is one use of the rule, real or imagined, whether it changes the value or not.
# How many until the greedy way is nearly the shortest, at most 1.2 times as long?


# %%
def updates_to_solve(scale, sweeper, most, n=5, alpha=1.0, gamma=0.95, theta=1e-4, near=1.2):
    """Updates until the greedy way of an agent is at most `near` times the shortest.

    With a `sweeper` they go by priority, without one they are Dyna-Q's. Returns the updates of
    each agent [agents], and how many imagined ones all of them made in each cell [states].
    """
    table = tables.maze(tables.DYNA_MAZE, scale)
    shortest = int(tables.fewest_steps(table)[table.start.argmax()])
    model, q = Tabular(seeds, table.states, table.actions), torch.zeros(seeds, table.states, 4)
    priority, state = torch.zeros_like(q), table.reset(noise(seeds))
    updates, result, agent = torch.zeros(seeds), torch.zeros(seeds), torch.arange(seeds)
    visits = torch.zeros(table.states)
    for _ in range(most):
        rows = torch.arange(len(q))
        action = epsilon_greedy(q, state, 0.1, noise(len(q), table.actions + 1))
        reward, next_state, terminated = table.step(state, action, noise(len(q)))
        model.learn(state, action, reward, next_state, terminated)
        real = (state, action, reward, next_state, terminated)
        if sweeper:
            urgency = q_update(q, *real, 0.0, gamma).abs()  # alpha = 0: only the error
            urgency = urgency.where(urgency > theta, 0.0)
            priority[rows, state, action] = urgency.maximum(priority[rows, state, action])
            for _ in range(n):
                cell = priority.flatten(1).argmax(1) // table.actions  # whose turn it is
                busy = sweeper(q, model, priority, alpha, gamma, theta)
                visits.index_add_(0, cell, busy.float())
                updates += busy
                if not busy.any():
                    break
        else:
            q_update(q, *real, alpha, gamma)
            cells = plan(q, model, noise(2, n, len(q)), alpha, gamma).flatten()
            visits.index_add_(0, cells, torch.ones(len(cells)))
            updates += n + 1
        state = torch.where(terminated, table.reset(noise(len(q))), next_state)
        result[agent] = updates  # of those that never get there: at least so many
        if terminated.any():
            ended = terminated.nonzero()[:, 0]
            _, length = tables.expected_outcome(table, greedy_policy(q[ended]), 2 * shortest)
            left = torch.ones(len(q), dtype=torch.bool)
            left[ended[length <= near * shortest]] = False
            if not left.any():
                break
            if not left.all():  # who is there needs no more computing
                model = model.take(left)
                q, priority, state = q[left], priority[left], state[left]
                updates, agent = updates[left], agent[left]
    return result, visits


scales = lesson.pick(quick=(1,), full=(1, 2, 3), evidence=(1, 2, 3))
most = lesson.pick(smoke=100, quick=100_000, evidence=1_000_000)
updates, visits = {}, {}
for scale in progress(scales, "mazes"):
    for sweeper in (None, sweep):
        generator.manual_seed(8)
        arm = scale, bool(sweeper)
        updates[arm], visits[arm] = updates_to_solve(scale, sweeper, most)
for scale in scales:
    dyna, swept = (updates[scale, sweeping].mean() for sweeping in (False, True))
    print(f"x{scale}: Dyna-Q {dyna:10,.0f} updates, sweeping {swept:8,.0f}")

_, axes = plt.subplots(1, 2, figsize=(7, 2.4))
for ax, sweeping, title in ((axes[0], False, "Dyna-Q"), (axes[1], True, "sweeping")):
    count = visits[1, sweeping] / seeds
    draw_maze(ax, maze, count, f"{title}: {count.sum():,.0f} imagined updates an agent")
plt.show()

# %% [markdown]
# Where imagination went until the way was found, each map in its own shades. Dyna-Q's updates crowd
# around the start, where the agent has been most, and where there is nothing to learn before the
# first reward. The sweep's are spread evenly: the wave that runs back from the goal passes each of
# the 46 cells three or four times, and that is enough.

# %% [markdown]
# ### Run it with yours
#
# The same with the sweep *you* wrote or mended, for at most 2,000 real steps. With the bug in it,
# an agent makes some thousand updates, and almost all of them are the same one.

# %%
generator.manual_seed(8)
yours, _ = updates_to_solve(1, mine("1.1.9"), min(most, 2000))
print(f"with your sweep: {yours.mean():,.0f} updates")

# %%
for scale in scales:
    name = f"maze x{scale}: updates of sweeping, as a share of Dyna-Q's"
    claim(name, updates[scale, True], "<=", 1 / 3, relative_to=updates[scale, False])

# %% [markdown]
# Two limits. Most of Dyna-Q's updates come before the first reward, when there is nothing to learn:
# 77 % of them on this maze. Without those, sweeping's share is still under a tenth. And it saves
# updates, not real steps. With α = 0.5 the shares are larger: 0.14, 0.31 and 0.45 on sizes 1, 2 and
# 3 (30 seeds), and single seeds are far worse. Try it: `alpha=0.5` in the call above.

# %% [markdown]
# ## On the ladder
#
# Every world model of this course is measured in the same way, on one table: *the ladder*. The
# table of this lesson is its first row. It has learned from 5,000 random steps, sees five rows of
# a test episode, and then dreams on under the recorded actions. *Persistence* is the world in
# which nothing ever moves.
#
# | row | says |
# |---|---|
# | wrong cells@k | share of dreams that are in a wrong cell k steps ahead |
# | valid | steps until a dream goes wrong, at the median |
# | shuffled@5 | wrong cells@5 when the world gets the actions of another episode: if that is no more than wrong cells@5, it ignores actions |
# | calibration@5 | how much further its dreams are from the truth than from each other: above 0, it is surer than it is right |
# | precision, recall | of the rewards (ends) that it predicts within 15 steps, the share that came; of those that came, the share that it predicted |
# | parameters, trained | how many numbers it learned, and from what |
# | dream-real gap | what an agent planned in the dream earns there, less what it earns in the maze |
# | agent return | what that agent earns in the maze |

# %%
generator.manual_seed(9)
trained = Tabular(1, maze.states, maze.actions)
wander(maze, trained, lesson.pick(smoke=500, quick=5000))
recorded = tables.record(maze, 55 * 40, 32, generator)
windows = Step(*(v.reshape(-1, 55, *v.shape[2:]) for v in recorded))
learned_row = ladder.measure(trained, windows, 5, ladder.GRID, "table (1.1)")

values = value_iteration(*trained.outcomes(), gamma=0.95, sweeps=100)
real_return, real_steps = tables.expected_outcome(maze, greedy_policy(values), 100)


def plan_policy(state, generator):
    """Greedy in the planned values, in the dream as in the maze."""
    return to_tensor(trained.spec.action_space, values[0, state["cell"]].argmax(-1))


first = Step(*(v[recorded.first] for v in recorded))
starts = trained.observe(trained.initial(len(first.reward)), first)
dreamed = ladder.dream_returns(trained, starts, plan_policy, len(first.reward), 100)
learned_row |= {
    "dream-real gap": (dreamed.mean() - real_return.mean()).item(),
    "agent return": real_return.item(),
    "parameters": 3 * trained.next.numel(),  # next state, reward and end of every pair
    "trained": f"{int(trained.clock):,} real steps",
}
still = ladder.measure(ladder.Persistence(trained.spec), windows, 5, ladder.GRID, "persistence")
rows = [{k: v for k, v in row.items() if k != "seconds"} for row in (learned_row, still)]
display(Markdown(ladder.render(rows)))

# %% [markdown]
# The numbers say: after enough steps a table is a perfect simulator of a small deterministic
# world. It makes no mistake in 50 steps, it heeds actions (under another window's actions it
# errs), and an agent planned in it earns the same in the maze as in the dream.
# None of the later worlds will be perfect. And none of the later worlds could be a table: there
# are more 64 x 64 pictures than atoms in the universe.

# %% [markdown]
# ### The dream beside the truth
#
# The same moves in the maze and in a model that has seen 300 steps only. As long as it knows the
# moves, the dream is exact. At the first unknown one the dream stays where it is, and from then on
# it is lost.

# %%
generator.manual_seed(10)
novice = Tabular(1, maze.states, maze.actions)
wander(maze, novice, 300)
walk = map(int, "11333033333000")  # a way to the goal: 0 up, 1 down, 2 left, 3 right
real_cell = dream_cell = int(maze.start.argmax())
truth, dream = [frame(maze, real_cell)], [model_frame(novice, 0, 9, dream_cell)]
for action in walk:
    real_cell = int(maze.next[real_cell, action, 0])
    dream_cell = int(novice.next[0, dream_cell, action])
    truth.append(frame(maze, real_cell))
    dream.append(model_frame(novice, 0, 9, dream_cell))
film_strip({"truth": np.stack(truth), "dream": np.stack(dream)}, times=[0, 4, 9, 14])
draw_legend(plt.gcf())
plt.show()

# %% [markdown]
# ### Walk in both
#
# Left the maze, right what `novice` knows of it, in the same colours. Each key or button is one move in both. Look for
# places where the model has no idea, and for the moment when the two part. *r* begins again.


# %%
class Walk:
    """Two walkers that get the same moves, one in the maze and one in the model."""

    def __init__(self):
        self.begin()

    def begin(self):
        self.real = self.dream = int(maze.start.argmax())
        self.said = "both at the start"

    def step(self, action):
        if action == "again":
            self.begin()
        elif action is not None:
            known = bool(novice.tried[0, self.dream, action])
            self.real = int(maze.next[self.real, action, 0])
            self.dream = int(novice.next[0, self.dream, action])
            self.said = "the model knows this move" if known else "the model has no idea"
            if self.real != self.dream:
                self.said += "; dream and maze have parted"
        return beside(frame(maze, self.real), model_frame(novice, 0, 9, self.dream)), self.said


keys = {"ArrowUp": 0, "ArrowDown": 1, "ArrowLeft": 2, "ArrowRight": 3, "r": "again"}
play(Walk().step, keys, paced=False, text="the maze, and what the model knows")

# %% [markdown]
# ## What is a model of the world good for?
#
# The answer of this lesson, in the numbers of this run: means over its seeds.

# %%
taxi_alone, taxi_dyna = real[0].mean(), real[5].mean()
third = earned["blocking", "Dyna-Q"].shape[1] // 3
trusting, curious = (earned["blocking", a][:, -third:].sum(1).mean() for a in ("Dyna-Q", "Dyna-Q+"))
answers = [
    ["A model ...", "measured", "", ""],
    ["---"] * 4,
    [
        "saves real steps",
        "length of the second episode in the maze",
        f"no planning: {curves[0][:, 1].mean():,.0f}",
        f"50 imagined steps: {curves[50][:, 1].mean():,.0f}",
    ],
    [
        "",
        "real steps to solve Taxi",
        f"no planning: {taxi_alone:,.0f}",
        f"5 imagined steps: {taxi_dyna:,.0f}",
    ],
    [
        "costs computing",
        "updates to solve Taxi",
        f"no planning: {taxi_alone:,.0f}",
        f"5 imagined steps: {6 * taxi_dyna:,.0f}",
    ],
    [
        "serves a new aim at once",
        "P(reaching the goal) after one reward",
        f"Q-learning: {arrived_q.mean():.2f}",
        f"planned: {arrived.mean():.2f}",
    ],
    [
        "misleads once it is wrong",
        "reward in the last third of the blocking maze",
        f"trusting: {trusting:.1f}",
        f"curious: {curious:.1f}",
    ],
    [
        "is best used where something changes",
        "updates until the way is short",
        f"all pairs alike: {updates[1, False].mean():,.0f}",
        f"by priority: {updates[1, True].mean():,.0f}",
    ],
]
display(Markdown("\n".join(f"| {' | '.join(line)} |" for line in answers)))

# %% [markdown]
# ## What is missing
#
# - **Generalisation.** A table learns nothing about a state from its neighbours. Networks do, and
#   from there the questions of this course begin: what should a learned world predict (pixels,
#   states, values), and how long can one dream in it?
# - **Sutton's Dyna-PI** (1990), which learns a policy in place of Q-values.
# - **Planning at decision time.** Dyna plans in the background. Lesson 3.1, MuZero, looks ahead
#   from the state it is in.
# - A full-size run does not exist: the quick profile is already the book's experiment but for the
#   20 imagined steps in the shortcut maze, and `python -m utils evidence 1.1` repeats it with 50
#   there, and with 100 seeds.
#
# ### Questions
#
# 1. Why does the second episode profit so much from planning, and the first not at all?
# 2. In the blocking maze many Dyna-Q agents never find the new gap. What holds them back? (Compare
#    the values below the wall with those behind the gap.)
# 3. The bonus $\kappa \sqrt{\tau}$ is added in imagination only. What would go wrong with it in the
#    real update?
# 4. A count model of Taxi would need 500 x 6 x 500 numbers. Why does `Tabular` do there?
#
# ### Where to read on
#
# - R. S. Sutton, *Dyna, an integrated architecture for learning, planning, and reacting*, SIGART
#   Bulletin 2(4), 1991.
# - Sutton and Barto, *Reinforcement Learning: An Introduction*, 2nd ed., 2018, chapter 8; code by
#   Shangtong Zhang: `ShangtongZhang/reinforcement-learning-an-introduction`, `chapter08/`.
# - K. J. W. Craik, *The Nature of Explanation*, Cambridge University Press, 1943.
# - Here: `utils/worlds/tabular.py` and `utils/agents/q_learning.py` are the whole lesson in 450
#   lines, and `utils/agents/dyna.py` races it against plain Python.
