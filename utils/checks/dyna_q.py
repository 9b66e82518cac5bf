"""Lesson 1.1: probes, named mistakes, right answers written differently, hints."""

import torch

from utils.agents import q_learning
from utils.course.exercise import Mistake, exercise
from utils.course.probes import normal, uniform
from utils.worlds import tabular

LESSON = "1.1"
B, S, A = 3, 6, 4  # agents, states, actions of the probes
ALL_N = "all five have N rows, so that there is nothing to be strict about"


def integers(rng, high, *shape):
    return torch.as_tensor(rng.integers(0, high, shape))


def transitions(rng, n):
    """n real steps of B agents: state, action, reward, next state, terminated (a third are)."""
    for _ in range(n):
        step = integers(rng, S, B), integers(rng, A, B), normal(rng, B), integers(rng, S, B)
        yield *step, uniform(rng, B) < 1 / 3


def experienced(model, rng, n=20):
    """A model that has learned from n random steps."""
    for step in transitions(rng, n):
        model.learn(*step)
    return model


# 1.1.1 ------------------------------------------------------------------------------------------


def q_update_by_rows(q, state, action, reward, next_state, terminated, alpha, gamma):
    errors = []
    for b in range(len(q)):
        s, a = int(state[b]), int(action[b])
        future = 0.0 if terminated[b] else q[b, next_state[b]].max()
        error = reward[b] + gamma * future - q[b, s, a]
        step = alpha[b] if torch.is_tensor(alpha) else alpha
        q[b, s, a] = q[b, s, a] + step * error
        errors.append(error)
    return torch.stack(errors)


def q_update_by_convex_mix(q, state, action, reward, next_state, terminated, alpha, gamma):
    pair = (torch.arange(q.shape[0]), state, action)
    best = q[pair[0], next_state].max(dim=1).values
    target = torch.where(terminated, reward, reward + gamma * best)
    error = target - q[pair]
    q[pair] = (1 - alpha) * q[pair] + alpha * target
    return error


@exercise(
    "1.1.1",
    q_learning.q_update,
    points=3,
    difficulty=2,
    minutes=15,
    hints=(
        "Three numbers per agent: the value now, the reward, the best value of the next state. "
        "With rows = torch.arange(len(q)), q[rows, state, action] is [B].",
        "Behind a terminated step there is no next state: its best value counts as 0. "
        "tensor.masked_fill(terminated, 0.0) does that.",
        "error = reward + gamma * future - value; then q[rows, state, action] = value + "
        "alpha * error, and return the error.",
    ),
    mistakes=(
        Mistake(
            "the update bootstraps past the end of an episode: where `terminated`, the next "
            "state's value must not count",
            ".masked_fill(terminated, 0.0)",
            "",
        ),
        Mistake(
            "the value of the same action in the next state is used; Q-learning takes the largest",
            "q[rows, next_state].amax(-1)",
            "q[rows, next_state, action]",
        ),
        Mistake(
            "the reward is discounted too; gamma belongs to what comes after it",
            "reward + gamma * future - value",
            "gamma * (reward + future) - value",
        ),
        Mistake(
            "the old value is not subtracted, so that the table grows without bound",
            "error = reward + gamma * future - value",
            "error = reward + gamma * future",
        ),
        Mistake(
            "terminated steps are not learned from at all; their reward counts",
            "value + alpha * error",
            "value + alpha * error * ~terminated",
        ),
        Mistake(
            "argmax (which action) is taken where max (how much) is meant",
            "q[rows, next_state].amax(-1)",
            "q[rows, next_state].argmax(-1).to(q.dtype)",
        ),
        Mistake(
            "the table is replaced by the target at once: alpha is left out",
            "value + alpha * error",
            "value + error",
        ),
    ),
    alternatives=(q_update_by_rows, q_update_by_convex_mix),
    equivalents={
        "future = q[rows, next_state].amax(-1).masked_fill(terminated, 0.0) -> "
        "future = q[rows, next_state].amax(1).masked_fill(terminated, 0.0)": "[B, A] has two axes: "
        "axis 1 is the last",
    },
)
def _(q_update, rng):
    q = normal(rng, B, S, A)
    found = {}
    for i, step in enumerate(transitions(rng, 8)):
        alpha = float(rng.uniform(0.1, 0.9)) if i % 2 else uniform(rng, B)
        found[f"error of step {i}"] = q_update(q, *step, alpha, float(rng.uniform(0.5, 0.99)))
        found[f"table after step {i}"] = q.clone()
    ends = torch.ones(B, dtype=torch.bool)
    found["error at the end"] = q_update(q, *step[:-1], ends, 0.0, 0.9)
    found["table with alpha = 0"] = q
    return found


# 1.1.2 ------------------------------------------------------------------------------------------


def learn_by_rows(self, state, action, reward, next_state, terminated):
    self.clock.add_(1)
    for b, (s, a) in enumerate(zip(state.tolist(), action.tolist(), strict=True)):
        if not self.tried[b, s, a]:
            self.pairs[b, self.number[b]] = torch.tensor([s, a])
            self.number[b] += 1
            self.tried[b, s, a] = True
        self.next[b, s, a], self.reward[b, s, a] = next_state[b], reward[b]
        self.terminated[b, s, a], self.last[b, s, a] = terminated[b], self.clock


@exercise(
    "1.1.2",
    tabular.Tabular.learn,
    points=3,
    difficulty=2,
    minutes=15,
    hints=(
        "Six tables have an entry for the pair; self.next[rows, state, action] = next_state is "
        "the first of them.",
        "A pair is new where self.tried[rows, state, action] is still False: ask before you set "
        "it. The place for it in the list is self.pairs[rows, self.number].",
        "You may write the pair to self.pairs[rows, self.number] in any case: if it is not new, "
        "self.number does not grow, and the place is written over later.",
    ),
    mistakes=(
        Mistake(
            "a pair enters the list each time it is tried, so that planning favours what the "
            "agent does often",
            "self.number += ~self.tried[rows, state, action]",
            "self.number += 1",
        ),
        Mistake(
            "the model keeps the first outcome of a pair; it must follow a world that changes",
            "self.next[rows, state, action] = next_state",
            "self.next[rows, state, action] = torch.where(\n"
            "        self.tried[rows, state, action], self.next[rows, state, action], next_state\n"
            "    )",
        ),
        Mistake(
            "the model does not remember that an episode ended there",
            "self.terminated[rows, state, action] = terminated",
            "pass",
        ),
        Mistake("the clock stands still", "self.clock += 1", "pass"),
        Mistake(
            "the model forgets when the pair was tried",
            "self.last[rows, state, action] = self.clock",
            "pass",
        ),
        Mistake(
            "the list holds (action, state); it must hold (state, action)",
            "torch.stack([state, action], -1)",
            "torch.stack([action, state], -1)",
        ),
        Mistake(
            "rewards add up over visits; the last one replaces the one before",
            "self.reward[rows, state, action] = reward",
            "self.reward[rows, state, action] += reward",
        ),
    ),
    alternatives=(learn_by_rows,),
    equivalents={
        "self.pairs[rows, self.number] = torch.stack([state, action], -1) -> "
        "self.pairs[rows, self.number] = torch.stack([state, action], 1)": "the stack has two axes",
    },
)
def _(Tabular, rng):
    model = experienced(Tabular(B, S, A), rng, n=40)
    found = {n: getattr(model, n) for n in ("next", "reward", "terminated", "tried", "last")}
    # Behind the last tried pair the list may hold anything.
    known = torch.arange(S * A) < model.number[:, None]
    listed = model.pairs[:, :-1].masked_fill(~known[..., None], -1)
    return found | {"number": model.number, "clock": model.clock, "pairs": listed}


# 1.1.3 ------------------------------------------------------------------------------------------


def plan_by_index(q, model, noise, alpha, gamma):
    visited = torch.zeros(noise.shape[1:], dtype=torch.long)
    for n in range(noise.shape[1]):
        state, action = model.draw(noise[0, n : n + 1])
        visited[n], move = state[0], action[0]
        reward, next_state, terminated = model.predict(visited[n], move, noise[1, n])
        q_learning.q_update(q, visited[n], move, reward, next_state, terminated, alpha, gamma)
    return visited


@exercise(
    "1.1.3",
    q_learning.plan,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Three lines do it: draw N pairs, predict what follows them, loop over the N rows.",
        "state, action = model.draw(noise[0]); model.predict takes them and noise[1]. "
        "All results are [N, B]; row n holds imagined step n of every agent.",
        "for n in range(N): q_update(q, state[n], action[n], reward[n], ...). "
        "The updates must come one after the other.",
    ),
    mistakes=(
        Mistake(
            "imagination goes on past the end of an episode: pass on `terminated`",
            "zip(state, action, *imagined, strict=True)",
            "zip(state, action, *imagined[:2], torch.zeros_like(imagined[2]), strict=True)",
        ),
        Mistake(
            "all N updates start from the values before planning; each must see the one before",
            "    for step in zip(state, action, *imagined, strict=True):\n"
            "        q_update(q, *step, alpha, gamma)",
            "    before, change = q.clone(), torch.zeros_like(q)\n"
            "    for step in zip(state, action, *imagined, strict=True):\n"
            "        fresh = before.clone()\n"
            "        q_update(fresh, *step, alpha, gamma)\n"
            "        change += fresh - before\n"
            "    q += change",
        ),
        Mistake(
            "planning improves a copy of the table, and the agent never sees it",
            "q_update(q, *step, alpha, gamma)",
            "q_update(q.clone(), *step, alpha, gamma)",
        ),
        Mistake(
            "one noise decides both the pair and what follows it; the second one is for that",
            "noise[1]",
            "noise[0]",
        ),
        Mistake(
            "the states returned are the next states; the visited ones are those drawn",
            "return state",
            "return imagined[1]",
        ),
    ),
    alternatives=(plan_by_index,),
    equivalents={
        "for step in zip(state, action, *imagined, strict=True): -> "
        "for step in zip(state, action, *imagined, strict=False):": ALL_N,
    },
)
def _(plan, rng):
    found = {}
    for kind in (tabular.Tabular, tabular.Counts):
        model, q = experienced(kind(B, S, A), rng, n=30), normal(rng, B, S, A)
        alpha, gamma = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.7, 0.99))
        visited = plan(q, model, uniform(rng, 2, 12, B), alpha, gamma)
        name = kind.__name__
        found |= {f"table, {name}": q, f"states visited, {name}": visited}
        # Imagination must not count as experience.
        found |= {f"clock of the model, {name}": model.clock, f"pairs tried, {name}": model.number}
        found[f"time of the last try, {name}"] = model.last
    return found


# 1.1.4 ------------------------------------------------------------------------------------------


def plan_curious_by_index(q, model, noise, alpha, gamma, kappa):
    visited, agents = torch.zeros(noise.shape[1:], dtype=torch.long), torch.arange(q.shape[0])
    for n in range(noise.shape[1]):
        state = visited[n] = model.draw(noise[0, n : n + 1])[0][0]
        action = torch.floor(q.shape[2] * noise[1, n]).long()
        reward, next_state, terminated = model.predict(state, action, noise[2, n])
        age = (model.clock - model.last[agents, state, action]).float()
        curious = reward + kappa * age**0.5
        q_learning.q_update(q, state, action, curious, next_state, terminated, alpha, gamma)
    return visited


@exercise(
    "1.1.4",
    q_learning.plan_curious,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Start from your plan. Two things differ: where the action comes from, and the reward.",
        "The action is (noise[1] * A).long(), whatever draw says about actions. What follows the "
        "pair takes noise[2].",
        "tau = model.clock - model.last[rows, state, action] with rows = arange(B); the "
        "imagined reward is reward + kappa * tau.sqrt().",
    ),
    mistakes=(
        Mistake(
            "only actions that were tried are imagined; then a new way is never looked for",
            "    state, _ = model.draw(noise[0])\n    action = (noise[1] * q.shape[-1]).long()",
            "    state, action = model.draw(noise[0])",
        ),
        Mistake("the bonus grows with tau, not with its root", "kappa * tau.sqrt()", "kappa * tau"),
        Mistake(
            "the bonus is taken off; long untried pairs must look better, not worse",
            "reward + kappa",
            "reward - kappa",
        ),
        Mistake(
            "imagination counts as a try: tau starts anew, and curiosity dies",
            "    return state",
            "    model.last[rows, state, action] = model.clock\n    return state",
        ),
        Mistake("the bonus is forgotten", "reward + kappa * tau.sqrt()", "reward"),
        Mistake(
            "tau is the time of the last try; it must count the steps since then",
            "model.clock - model.last[rows, state, action]",
            "model.last[rows, state, action]",
        ),
    ),
    alternatives=(plan_curious_by_index,),
    equivalents={
        "for step in zip(state, action, reward, next_state, terminated, strict=True): -> "
        "for step in zip(state, action, reward, next_state, terminated, strict=False):": ALL_N,
    },
)
def _(plan_curious, rng):
    found = {}
    for kind in (tabular.Tabular, tabular.Counts):
        model, q = experienced(kind(B, S, A), rng, n=30), normal(rng, B, S, A)
        alpha, gamma = float(rng.uniform(0.3, 0.9)), float(rng.uniform(0.7, 0.99))
        noise, kappa = uniform(rng, 3, 12, B), float(rng.uniform(0.1, 1.0))
        visited = plan_curious(q, model, noise, alpha, gamma, kappa)
        name = kind.__name__
        found |= {f"table, {name}": q, f"states visited, {name}": visited}
        # Imagination must not count as experience.
        found |= {f"clock of the model, {name}": model.clock, f"pairs tried, {name}": model.number}
        found[f"time of the last try, {name}"] = model.last
    return found


# 1.1.5 ------------------------------------------------------------------------------------------


def value_iteration_by_loops(next_state, probability, reward, terminated, gamma, sweeps):
    agents, states, actions, outcomes = reward.shape
    q = torch.zeros(agents, states, actions)
    for _ in range(sweeps):
        new = torch.zeros_like(q)
        best = q.max(dim=2).values
        for k in range(outcomes):
            follows = torch.stack([best[b][next_state[b, :, :, k]] for b in range(agents)])
            target = reward[..., k] + gamma * follows * (~terminated[..., k])
            new = new + probability[..., k] * target
        q = new
    return q


@exercise(
    "1.1.5",
    q_learning.value_iteration,
    points=4,
    difficulty=3,
    minutes=25,
    hints=(
        "One sweep: take the best value of every state, look it up for every next state, and "
        "average over the K outcomes.",
        "The value of every state is q.amax(-1), [B, S]. To look it up per agent: "
        "value.gather(1, next_state.flatten(1)).view_as(reward).",
        "target = reward + gamma * future.masked_fill(terminated, 0.0); the new q is "
        "(probability * target).sum(-1). Keep the old q until the sweep is done.",
    ),
    mistakes=(
        Mistake(
            "values flow back from behind the end of an episode: mask what is terminated",
            ".masked_fill(terminated, 0.0)",
            "",
        ),
        Mistake(
            "the best outcome counts; the world, not the agent, chooses among outcomes: average",
            "(probability * target).sum(-1)",
            "target.amax(-1)",
        ),
        Mistake(
            "all outcomes count the same; weigh them by their probability",
            "(probability * target).sum(-1)",
            "target.mean(-1)",
        ),
        Mistake(
            "the policy is averaged over actions; the agent takes the best one",
            "q.amax(-1)",
            "q.mean(-1)",
        ),
        Mistake("there is one sweep too few", "range(sweeps)", "range(sweeps - 1)"),
        Mistake(
            "the reward is discounted too",
            "target = reward + gamma * future.masked_fill(terminated, 0.0)",
            "target = gamma * (reward + future.masked_fill(terminated, 0.0))",
        ),
    ),
    alternatives=(value_iteration_by_loops,),
    equivalents={
        "q = torch.zeros_like(reward[..., 0]) -> q = torch.zeros_like(reward[..., -1])": "only the "
        "shape is used",
    },
)
def _(value_iteration, rng):
    found = {}
    for K in (1, 3):
        next_state, reward = integers(rng, S, B, S, A, K), normal(rng, B, S, A, K)
        probability = normal(rng, B, S, A, K).softmax(-1)
        terminated = uniform(rng, B, S, A, K) < 1 / 4
        tables, gamma = (next_state, probability, reward, terminated), float(rng.uniform(0.5, 0.95))
        for n in (0, 1, 2, 30):
            found[f"{n} sweeps, {K} outcomes"] = value_iteration(*tables, gamma, n)
    return found


# 1.1.6 ------------------------------------------------------------------------------------------


class CountsByRows(tabular.Counts):
    def learn(self, state, action, reward, next_state, terminated):
        tabular.Tabular.learn(self, state, action, reward, next_state, terminated)
        for b in range(len(state)):
            place = (b, int(state[b]), int(action[b]), int(next_state[b]))
            self.count[place] = self.count[place] + 1
            self.gain[place], self.ended[place] = reward[b], terminated[b]

    def outcomes(self):
        total, size = self.count.sum(-1, keepdim=True), self.count.shape[1]
        stay = torch.eye(size)[None, :, None, :].expand_as(self.count)
        probability = torch.where(total > 0, self.count / total.clamp(min=1), stay)
        follows = torch.arange(size).expand_as(self.count)
        return follows, probability, self.gain, self.ended


@exercise(
    "1.1.6",
    tabular.Counts,
    blank=("learn", "outcomes"),
    core=False,
    points=3,
    difficulty=3,
    minutes=25,
    hints=(
        "learn: Tabular.learn does the old work; three tables of this class have an entry for "
        "(rows, state, action, next_state).",
        "outcomes: a relative frequency is count / count.sum(-1, keepdim=True). What is it for a "
        "pair that was never tried?",
        "torch.eye(S)[:, None, :] says 'back to the own state' for every pair; put it in place of "
        "the counts with torch.where(self.tried[..., None], self.count, own).",
    ),
    mistakes=(
        Mistake(
            "a pair that was never tried divides 0 by 0; it must lead back to its own state",
            "torch.where(self.tried[..., None], self.count, own)",
            "self.count",
        ),
        Mistake(
            "the frequencies sum to 1 over actions; they must sum to 1 over what follows",
            "count.sum(-1, keepdim=True)",
            "count.sum(-2, keepdim=True)",
        ),
        Mistake(
            "rewards add up over visits; the last one replaces the one before",
            "self.gain[rows, state, action, next_state] = reward",
            "self.gain[rows, state, action, next_state] += reward",
        ),
        Mistake(
            "the count only says that an outcome was seen, not how often",
            "self.count[rows, state, action, next_state] += 1.0",
            "self.count[rows, state, action, next_state] = 1.0",
        ),
        Mistake(
            "the model forgets where episodes ended",
            "self.ended[rows, state, action, next_state] = terminated",
            "pass",
        ),
    ),
    alternatives=(CountsByRows,),
)
def _(Counts, rng):
    model = Counts(B, S - 1, A)
    for state, action, reward, next_state, terminated in transitions(rng, 40):
        model.learn(state % (S - 1), action, reward, next_state % (S - 1), terminated)
    follows, probability, reward, terminated = model.outcomes()
    found = {"states that follow": follows, "probabilities": probability}
    found |= {"rewards": reward, "terminated": terminated}
    kept = ("count", "clock", "tried", "last", "next", "reward", "terminated", "number")
    return found | {f"{n} of the model": getattr(model, n) for n in kept}


# 1.1.7 ------------------------------------------------------------------------------------------


def update_errors_by_steps(values, draws):
    runs, count = values.shape
    truth, seen = values.mean(1), torch.zeros(runs)
    sample, expected = [], []
    for t in range(1, draws.shape[1] + 1):
        seen = seen + (values[torch.arange(runs), draws[:, t - 1]] - seen) / t
        sample.append(((seen - truth) ** 2).mean() ** 0.5)
        expected.append(float(t < count))
    return torch.stack(sample), torch.tensor(expected)


@exercise(
    "1.1.7",
    q_learning.update_errors,
    core=False,
    points=2,
    difficulty=3,
    minutes=20,
    hints=(
        "The estimate after t looks is the mean of the first t values that were drawn.",
        "values.gather(1, draws).cumsum(1) / looks gives all estimates at once.",
        "The error is the root of the mean square over runs, against values.mean(1). The expected "
        "update is 1 while looks < V, then 0.",
    ),
    mistakes=(
        Mistake(
            "the errors are averaged as they are, so that those of opposite sign cancel",
            ".square().mean(0).sqrt()",
            ".mean(0).abs()",
        ),
        Mistake(
            "the estimate is the last value that was drawn, not the mean of all so far",
            ".cumsum(1) / looks",
            "",
        ),
        Mistake(
            "the expected update is ready one look too late: look V is its last",
            "looks < values.shape[1]",
            "looks <= values.shape[1]",
        ),
        Mistake(
            "the truth is taken over all runs; each run has successors of its own",
            "values.mean(1, keepdim=True)",
            "values.mean()",
        ),
    ),
    alternatives=(update_errors_by_steps,),
)
def _(update_errors, rng):
    found = {}
    for size in (2, 7):
        values, draws = normal(rng, 50, size), integers(rng, size, 50, 12)
        sample, expected = update_errors(values, draws)
        found |= {f"sample updates, V = {size}": sample, f"expected update, V = {size}": expected}
    return found


# 1.1.8 ------------------------------------------------------------------------------------------


def predecessor_priorities_by_loops(q, model, state, gamma):
    priority = torch.zeros_like(q)
    for b in range(len(q)):
        best = q[b, state[b]].max()
        for s in range(q.shape[1]):
            for a in range(q.shape[2]):
                leads = model.tried[b, s, a] and model.next[b, s, a] == state[b]
                if leads and not model.terminated[b, s, a]:
                    error = model.reward[b, s, a] + gamma * best - q[b, s, a]
                    priority[b, s, a] = error.abs()
    return priority


@exercise(
    "1.1.8",
    q_learning.predecessor_priorities,
    core=False,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "No loop over pairs is needed: which pairs lead here is one comparison of model.next "
        "with the state, [B, S, A].",
        "leads = tried, and not terminated, and next == state[:, None, None].",
        "The value of the state is q[rows, state].amax(-1)[:, None, None]; the priority is the "
        "absolute error, with masked_fill(~leads, 0.0).",
    ),
    mistakes=(
        Mistake(
            "pairs that were never tried count: the model only seems to know where they lead",
            "model.tried & ",
            "",
        ),
        Mistake(
            "a pair that ended the episode counts as a way to the state behind the end",
            "~model.terminated & ",
            "",
        ),
        Mistake(
            "the error keeps its sign; values that must fall would never be updated",
            ".abs()",
            "",
        ),
        Mistake(
            "the value is that of the predecessor; it must be that of the state it leads to",
            "q[rows, state].amax(-1)[:, None, None]",
            "q.amax(-1, keepdim=True)",
        ),
        Mistake(
            "the reward is that of the state, not of the pair that leads to it",
            "model.reward + gamma",
            "model.reward[rows, state].amax(-1)[:, None, None] + gamma",
        ),
    ),
    alternatives=(predecessor_priorities_by_loops,),
    equivalents={
        "value = q[rows, state].amax(-1)[:, None, None] -> "
        "value = q[rows, state].amax(1)[:, None, None]": "[B, A] has two axes: axis 1 is the last",
    },
)
def _(predecessor_priorities, rng):
    model, q = experienced(tabular.Tabular(B, S, A), rng, n=40), normal(rng, B, S, A)
    gamma = float(rng.uniform(0.5, 0.95))
    states = range(S)
    return {
        f"states from {s}": predecessor_priorities(q, model, (s + torch.arange(B)) % S, gamma)
        for s in states
    }


# 1.1.9 ------------------------------------------------------------------------------------------


def sweep_by_rows(q, model, priority, alpha, gamma, theta):
    busy = []
    for b in range(len(q)):
        urgency, place = priority[b].flatten().max(0)
        busy.append(bool(urgency > 0))
        if not busy[-1]:
            continue
        s, a = divmod(int(place), q.shape[2])
        priority[b, s, a] = 0.0
        future = 0.0 if model.terminated[b, s, a] else q[b, model.next[b, s, a]].max()
        target = model.reward[b, s, a] + gamma * future
        q[b, s, a] = q[b, s, a] + alpha * (target - q[b, s, a])
        here = torch.full((len(q),), s)
        urgent = q_learning.predecessor_priorities(q, model, here, gamma)[b]
        urgent = torch.where(urgent > theta, urgent, torch.zeros_like(urgent))
        priority[b] = torch.maximum(priority[b], urgent)
    return torch.tensor(busy)


@exercise(
    "1.1.9",
    q_learning.sweep,
    bug="stays",
    points=3,
    difficulty=4,
    minutes=20,
    hints=(
        "Run two steps by hand with three pairs in the queue. How many are left?",
        "One pair is taken, its predecessors are put in. Which pair is taken in the second step?",
        "What was updated has nothing left to learn for now: its priority must be 0 again.",
    ),
    mistakes=(
        Mistake(
            "the queue forgets all pairs that wait when new ones are put in",
            "torch.maximum(priority, urgent.masked_fill(~queued, 0.0), out=priority)",
            "priority.copy_(urgent.masked_fill(~queued, 0.0))",
        ),
        Mistake(
            "a pair that is queued again takes its newest priority; the larger one must stay",
            "torch.maximum(priority, urgent.masked_fill(~queued, 0.0), out=priority)",
            "priority.copy_(torch.where(queued, urgent, priority))",
        ),
        Mistake(
            "the pair that was updated stays in the queue and is taken again and again",
            "    priority[pair] = 0.0\n",
            "",
            "stays",
        ),
        Mistake(
            "agents with an empty queue make an update all the same",
            "alpha * busy",
            "alpha",
        ),
        Mistake(
            "predecessors below theta are queued too, so that the queue never empties",
            "(urgent > theta)",
            "(urgent > 0)",
        ),
        Mistake(
            "the predecessors are those of the state the pair leads to; its own value changed",
            "predecessor_priorities(q, model, state, gamma)",
            "predecessor_priorities(q, model, imagined[1], gamma)",
        ),
    ),
    alternatives=(sweep_by_rows,),
)
def _(sweep, rng):
    model, q = experienced(tabular.Tabular(B, S, A), rng, n=40), normal(rng, B, S, A)
    waits = (uniform(rng, B, S, A) < 0.3) & model.tried
    priority = uniform(rng, B, S, A).masked_fill(~waits, 0.0)
    priority[-1] = 0.0  # the last agent has nothing to do
    gamma, theta, found = float(rng.uniform(0.5, 0.95)), float(rng.uniform(0.2, 0.5)), {}
    for step in range(6):
        busy = sweep(q, model, priority, float(rng.uniform(0.3, 0.9)), gamma, theta)
        found |= {f"busy, step {step}": busy, f"queue after step {step}": priority.clone()}
        found[f"table after step {step}"] = q.clone()
    # All wait with 9, more than any error here: what is queued again keeps its 9.
    waits = 9.0 * model.tried.float()
    for _ in range(8):
        sweep(q, model, waits, 0.5, gamma, 0.0)
    found["queue where all were urgent"] = waits
    # An error of exactly theta is not urgent: here all are |reward| = theta.
    model.reward.fill_(0.25)
    waits = 0.1 * uniform(rng, B, S, A).masked_fill(~model.tried, 0.0)
    for _ in range(4):  # the first pair may have no predecessors
        sweep(torch.zeros(B, S, A), model, waits, 0.0, gamma, 0.25)
    return found | {"queue where all errors are theta": waits}
