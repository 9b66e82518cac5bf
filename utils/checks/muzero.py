"""Lesson 3.1: probes, named mistakes, right answers written differently, hints."""

import math

import gymnasium as gym
import numpy as np
import torch
from torch.nn import functional as F

from utils.agents import mcts, mcts_models
from utils.agents.mcts import Reached
from utils.course.exercise import Mistake, exercise
from utils.course.probes import gradient, normal, uniform
from utils.world import Dreamt, Spec
from utils.worlds import muzero

LESSON = "3.1"
NO_GRADIENT = "what is detached is made of data, which has no gradient"
TWO_AXES = "there are two axes: axis 1 is the last"
B, N, A, K, D = 3, 6, 4, 6, 5  # trees, nodes, actions, unrolled steps, latent features


def counts(rng, high, *shape):
    return torch.as_tensor(rng.integers(0, high, shape), dtype=torch.float32)


def small_world(World, rng, **config):
    """With heads that say something: at the start they are zero."""
    torch.manual_seed(int(rng.integers(2**31)))
    sizes = muzero.Config(**({"latent": D, "units": 7, "support": 3} | config))
    world = World(gym.spaces.Box(-1.0, 1.0, (6,), np.float32), gym.spaces.Discrete(A), sizes)
    for head in (world.to_policy, world.to_value, world.to_reward):
        torch.nn.init.normal_(head.weight)
    return world


# 3.1.1 ------------------------------------------------------------------------------------------


def exploration_by_edges(prior, visits, node_visits):
    bonus = torch.empty_like(prior)
    for index in np.ndindex(*prior.shape):
        n = float(node_visits[index[:-1]])
        rate = 1.25 + math.log((n + 19652 + 1) / 19652)
        bonus[index] = prior[index] * math.sqrt(n) / (1 + visits[index]) * rate
    return bonus


@exercise(
    "3.1.1",
    mcts.exploration,
    points=2,
    difficulty=2,
    minutes=10,
    hints=(
        "The second factor depends on the node only: give it an axis more, [..., None].",
        "rate = sqrt(N) (C_INIT + log((N + C_BASE + 1) / C_BASE)); then prior * rate / (1 + n).",
    ),
    mistakes=(
        Mistake(
            "an edge does not lose by being taken: divide by 1 + its visits",
            " / (visits + 1)",
            "",
        ),
        Mistake(
            "the root of the node's visits is missing: the bonus would never fade",
            "node_visits.sqrt()",
            "node_visits",
        ),
        Mistake(
            "the slow factor with c2 is left out",
            "(C_INIT + ((node_visits + C_BASE + 1) / C_BASE).log())",
            "C_INIT",
        ),
        Mistake(
            "an edge that was taken once is treated as one that was never taken",
            "(visits + 1)",
            "visits.clamp(min=1)",
        ),
        Mistake("the prior is left out", "return prior * rate", "return rate"),
    ),
    alternatives=(exploration_by_edges,),
    rtol=1e-7,
    atol=1e-9,
)
def _(exploration, rng):
    prior = normal(rng, B, N, A).double().softmax(-1)  # to see the 1 beside c2
    visits = counts(rng, 6, B, N, A).double()
    often = 1e5 * uniform(rng, 2).double()  # where the logarithm counts
    return {
        "bonus": exploration(prior, visits, visits.sum(-1) + 1),
        "bonus of often visited nodes": exploration(prior[0, :2], visits[0, :2], often),
        "bonus in a node not visited": exploration(prior[0], visits[0], torch.zeros(N).double()),
    }


# 3.1.2 ------------------------------------------------------------------------------------------


def normalise_by_tree_in_loops(q, visits, value):
    result = torch.zeros_like(q)
    for b in range(len(q)):
        known = q[b][visits[b] > 0]
        if len(known) and known.max() > known.min():
            scaled = (q[b] - known.min()) / (known.max() - known.min())
            result[b] = torch.where(visits[b] > 0, scaled, torch.zeros(()))
    return result


@exercise(
    "3.1.2",
    mcts.normalise_by_tree,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    bug="empty",
    hints=(
        "What is the range after the first simulation, when one edge was tried?",
        "0 / 0 is nan, and nothing is larger than nan: clamp the range at a small number.",
    ),
    mistakes=(
        Mistake(
            "an empty range gives 0 / 0, which is nan: it must give 0",
            "(high - low).clamp(min=1e-8)",
            "(high - low)",
            "empty",
        ),
        Mistake(
            "edges that were never tried count for the lower end of the range",
            "low = torch.where(tried, q, torch.inf)",
            "low = torch.where(tried, q, 0.0)",
        ),
        Mistake(
            "edges that were never tried do not get 0",
            "return torch.where(tried, (q - low) / (high - low).clamp(min=1e-8), 0.0)",
            "return (q - low) / (high - low).clamp(min=1e-8)",
        ),
        Mistake(
            "Q is moved to 0 but not stretched to 1",
            " / (high - low).clamp(min=1e-8)",
            "",
        ),
        Mistake(
            "the upper end is that of each node, not of the tree",
            "torch.where(tried, q, -torch.inf).amax((-2, -1), keepdim=True)",
            "torch.where(tried, q, -torch.inf).amax(-1, keepdim=True)",
        ),
    ),
    alternatives=(normalise_by_tree_in_loops,),
    equivalents={
        "return torch.where(tried, (q - low) / (high - low).clamp(min=1e-08), 0.0) -> "
        "return torch.where(tried, (q - low) / (high - low).clamp(min=1.1000000000000001e-08), "
        "0.0)": "how small a range still counts is not asked, only that an empty one gives 0",
    },
)
def _(normalise_by_tree, rng):
    q, visits = 3 * normal(rng, B, N, A) + 1, counts(rng, 3, B, N, A)
    one = torch.zeros(2, N, A)
    one[0, 0, 1] = 1.0  # one edge was tried, or none
    same = torch.where(visits > 0, 2.0, 0.0)  # all tried edges are worth the same
    value = normal(rng, B, N)
    return {
        "Q": normalise_by_tree(q, visits, value),
        "Q above 5": normalise_by_tree(q.abs() + 5, visits, value),
        "Q below -5": normalise_by_tree(-q.abs() - 5, visits, value),
        "Q after one simulation, or none": normalise_by_tree(q[:2], one, value[:2]),
        "Q where all are equal": normalise_by_tree(same, visits, value),
    }


# 3.1.3 ------------------------------------------------------------------------------------------


def grown(rng):
    """Random trees, as far as a backup looks at them."""
    logits, value = normal(rng, B, A), normal(rng, B)
    tree = mcts.plant(mcts.Root({"x": normal(rng, B, 2)}, logits, value), N - 1)
    tree.visits, tree.node_visits = counts(rng, 4, B, N, A), counts(rng, 9, B, N)
    tree.q = normal(rng, B, N, A) * (tree.visits > 0)
    tree.value = normal(rng, B, N) * (tree.node_visits > 0)
    best = torch.as_tensor(rng.integers(0, A, (B, N)))
    above = (uniform(rng, B, N) < 0.6).float()
    above[:, 0] = 1.0
    return tree, best, above, normal(rng, B, N)


def back_up_in_loops(tree, best, above, returns):
    for b, n in above.nonzero().tolist():
        a = best[b, n]
        tree.q[b, n, a] = (tree.q[b, n, a] * tree.visits[b, n, a] + returns[b, n]) / (
            tree.visits[b, n, a] + 1
        )
        tree.visits[b, n, a] += 1
        total = tree.value[b, n] * tree.node_visits[b, n] + returns[b, n]
        tree.node_visits[b, n] += 1
        tree.value[b, n] = total / tree.node_visits[b, n]


def back_up_by_index(tree, best, above, returns):
    line = above > 0
    edge = torch.zeros_like(tree.visits, dtype=torch.bool).scatter(2, best[..., None], True)
    edge = edge & line[..., None]
    total = tree.q * tree.visits + returns[..., None]
    tree.q = torch.where(edge, total / (tree.visits + 1), tree.q)
    tree.visits = tree.visits + edge
    mean = (tree.value * tree.node_visits + returns) / (tree.node_visits + 1)
    tree.value = torch.where(line, mean, tree.value)
    tree.node_visits = tree.node_visits + line


@exercise(
    "3.1.3",
    mcts.back_up,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "A mean of n values takes in one more by mean += (new - mean) / (n + 1). Count first, then "
        "divide by the new count.",
        "The edges: above[..., None] * (torch.arange(A) == best[..., None]) is 1 at one edge of "
        "each node of the line. Multiply every change by it.",
        "tree.visits += taken; tree.q += taken * (returns[..., None] - tree.q) / "
        "tree.visits.clamp(min=1); the same for nodes with above.",
    ),
    mistakes=(
        Mistake(
            "every edge of a node on the line is counted, not only the one that was taken",
            "above[..., None] * (actions == best[..., None])",
            "above[..., None] * (actions >= 0)",
        ),
        Mistake(
            "nodes that are not on the line are counted too",
            "above[..., None] * (actions == best[..., None])",
            "1.0 * (actions == best[..., None])",
        ),
        Mistake(
            "the return is added to Q, not averaged in",
            "tree.q += taken * (returns[..., None] - tree.q) / tree.visits.clamp(min=1)",
            "tree.q += taken * returns[..., None]",
        ),
        Mistake("nodes are not counted", "    tree.node_visits += above\n", ""),
        Mistake("edges are not counted", "    tree.visits += taken\n", ""),
        Mistake(
            "the last return replaces Q",
            "taken * (returns[..., None] - tree.q) / tree.visits.clamp(min=1)",
            "taken * (returns[..., None] - tree.q)",
        ),
        Mistake(
            "the value of the nodes stays what the network said",
            "    tree.value += above * (returns - tree.value) / tree.node_visits.clamp(min=1)",
            "    pass",
        ),
    ),
    alternatives=(back_up_in_loops, back_up_by_index),
)
def _(back_up, rng):
    tree, best, above, returns = grown(rng)
    back_up(tree, best, above, returns)
    parts = ("visits", "q", "node_visits", "value")
    found = {f"{name} after one backup": getattr(tree, name).clone() for name in parts}
    for _ in range(2):
        back_up(tree, best.roll(1, 1), above, normal(rng, B, N))
    return found | {f"{name} after three": getattr(tree, name) for name in parts}


# 3.1.4 ------------------------------------------------------------------------------------------


def predict(state):
    return state["x"], state["x"].sum(-1)


class Nothing:
    spec = Spec(gym.spaces.Discrete(2), gym.spaces.Discrete(A))


def reached_by_cases(self, dreamt):
    logits, value = self.predict(dreamt.state)
    reward, cont = dreamt.reward, dreamt.cont
    reward = torch.zeros(len(value)) if reward is None else reward
    cont = torch.ones(len(value)) if cont is None else cont
    sign = {1: 1.0, 2: -1.0}[self.players]
    return Reached(dreamt.state, reward, sign * self.gamma * cont, logits, value)


@exercise(
    "3.1.4",
    mcts_models.WorldModel.reached,
    points=2,
    difficulty=2,
    minutes=10,
    hints=(
        "A backup computes reward + discount * value. The value is the next mover's.",
        "With two players the discount is -gamma; either way times cont, the probability of going "
        "on. A world without cont never ends: ones.",
    ),
    mistakes=(
        Mistake(
            "what is good for the opponent counts as good: with two players the discount is -gamma",
            "self.gamma if self.players == 1 else -self.gamma",
            "self.gamma",
        ),
        Mistake(
            "the sign is turned with one player and not with two",
            "self.players == 1",
            "self.players == 2",
        ),
        Mistake(
            "what comes after an end counts: multiply the discount by cont",
            "discount * cont,",
            "discount * torch.ones_like(cont),",
        ),
        Mistake(
            "a world without cont ends at every step; it never does",
            "torch.ones_like(value) if dreamt.cont is None",
            "torch.zeros_like(value) if dreamt.cont is None",
        ),
        Mistake(
            "the sign is turned twice: the value is the mover's own, only the discount is negative",
            "discount * cont, logits, value)",
            "discount * cont, logits, value if self.players == 1 else -value)",
        ),
    ),
    alternatives=(reached_by_cases,),
)
def _(Model, rng):
    found = {}
    for players in (1, 2):
        model = Model(Nothing(), predict, float(rng.uniform(0.8, 1.0)), players)
        for name, parts in {
            "reward and cont": (normal(rng, B), uniform(rng, B)),
            "neither": (None, None),
        }.items():
            said = model.reached(Dreamt({"x": normal(rng, B, A)}, *parts))
            what = f"{players} player{'s' * (players > 1)}, a world with {name}"
            for field in ("reward", "discount", "logits", "value"):
                found[f"{field}, {what}"] = getattr(said, field)
    return found


# 3.1.5 ------------------------------------------------------------------------------------------


def add_root_noise_by_interpolation(logits, noise, fraction=0.25):
    mixed = torch.lerp(logits.softmax(-1), noise, fraction)
    return torch.log(torch.maximum(mixed, torch.tensor(torch.finfo(mixed.dtype).tiny)))


@exercise(
    "3.1.5",
    mcts.add_root_noise,
    core=False,
    points=1,
    difficulty=2,
    minutes=10,
    hints=(
        "Noise is a distribution: mix it with softmax(logits), and take the logarithm after that.",
        "((1 - fraction) * logits.softmax(-1) + fraction * noise).clamp(min=tiny).log()",
    ),
    mistakes=(
        Mistake(
            "noise is mixed with logits; it is a distribution, and so must be the other part",
            "logits.softmax(-1)",
            "logits",
        ),
        Mistake(
            "the parts do not sum to 1: the prior keeps 1 - fraction",
            "(1 - fraction) * ",
            "",
        ),
        Mistake(
            "the result are probabilities, where logits are asked for",
            ".tiny).log()",
            ".tiny)",
        ),
        Mistake(
            "an action without probability and noise becomes -inf",
            ".clamp(min=torch.finfo(mixed.dtype).tiny)",
            "",
        ),
        Mistake(
            "fraction and 1 - fraction are swapped",
            "(1 - fraction) * logits.softmax(-1) + fraction * noise",
            "fraction * logits.softmax(-1) + (1 - fraction) * noise",
        ),
    ),
    alternatives=(add_root_noise_by_interpolation,),
    equivalents={
        "mixed = (1 - fraction) * logits.softmax(-1) + fraction * noise -> "
        "mixed = (1 - fraction) * logits.softmax(1) + fraction * noise": TWO_AXES,
    },
)
def _(add_root_noise, rng):
    logits, noise = normal(rng, B, A), normal(rng, B, A).softmax(-1)
    share = float(rng.uniform(0.1, 0.9))
    ruled_out, none = logits.clone(), noise.clone()
    ruled_out[:, 0], none[:, 0] = -torch.inf, 0.0
    return {
        "logits with a quarter of noise": add_root_noise(logits, noise),
        f"logits with {share:.2f} of noise": add_root_noise(logits, noise, share),
        "logits of an action without probability or noise": add_root_noise(ruled_out, none),
        "logits with no noise at all": add_root_noise(logits, noise, 0.0).softmax(-1),
    }


# 3.1.6 ------------------------------------------------------------------------------------------


def scaled_by_rows(self, latent):
    rows = []
    for row in latent.reshape(-1, latent.shape[-1]):
        mean = row.sum() / len(row)
        variance = (row * row).sum() / len(row) - mean * mean
        rows.append((row - mean) / torch.sqrt(variance.clamp(min=0) + 1e-5))
    return torch.stack(rows).reshape(latent.shape)


def scaled_by_layer_norm(self, latent):
    return F.layer_norm(latent, latent.shape[-1:])


@exercise(
    "3.1.6",
    muzero.MuZero.scaled,
    core=False,
    points=1,
    difficulty=1,
    minutes=5,
    gradients=True,
    hints=(
        "mean(-1, keepdim=True) is that of each row. The variance is the mean of the squares of "
        "what is left.",
        "centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()",
    ),
    mistakes=(
        Mistake(
            "one mean for the whole batch: each row has its own",
            "latent.mean(-1, keepdim=True)",
            "latent.mean()",
        ),
        Mistake(
            "the mean is that of each feature over the batch, as in a batch norm",
            "latent.mean(-1, keepdim=True)",
            "latent.mean(0, keepdim=True)",
        ),
        Mistake(
            "a row of equal features becomes nan: add 1e-5 to the variance",
            " + 1e-5",
            "",
        ),
        Mistake(
            "it is divided by the variance, not by its root",
            " + 1e-5).sqrt()",
            " + 1e-5)",
        ),
        Mistake(
            "the mean is not taken off what is returned",
            "return centred / ",
            "return latent / ",
        ),
        Mistake(
            "the variance is divided by D - 1, as `torch.var` does unless it is told not to",
            "centred.square().mean(-1, keepdim=True)",
            "latent.var(-1, keepdim=True)",
        ),
    ),
    alternatives=(scaled_by_layer_norm, scaled_by_rows),
    equivalents={
        f"{line} -> {line.replace('mean(-1', 'mean(1')}": TWO_AXES
        for line in (
            "centred = latent - latent.mean(-1, keepdim=True)",
            "return centred / (centred.square().mean(-1, keepdim=True) + 1e-05).sqrt()",
        )
    },
)
def _(World, rng):
    world = small_world(World, rng)
    latent = (10 * normal(rng, B, D)).requires_grad_()
    scaled = world.scaled(latent)
    (scaled * normal(rng, B, D)).sum().backward()
    flat = torch.zeros(2, D)
    flat[1, 0] = float(rng.uniform(0.005, 0.01))  # where the 1e-5 counts
    return {
        "state": scaled,
        "gradient of the latent": latent.grad,
        "state of equal features, and of nearly equal ones": world.scaled(flat),
    }


# 3.1.7 ------------------------------------------------------------------------------------------


def value_transform_by_cases(x):
    root = torch.sqrt(x.abs() + 1) - 1
    return torch.where(x < 0, -root, root) + 0.001 * x


@exercise(
    "3.1.7",
    muzero.value_transform,
    core=False,
    points=1,
    difficulty=1,
    minutes=5,
    hints=(
        "The function is odd: work on |x|, and give the sign back.",
        "x.sign() * ((x.abs() + 1).sqrt() - 1) + EPSILON * x",
    ),
    mistakes=(
        Mistake("the linear term is left out: far out, h is flat", " + EPSILON * x", ""),
        Mistake(
            "h(0) is not 0: take 1 off the root",
            "((x.abs() + 1).sqrt() - 1)",
            "(x.abs() + 1).sqrt()",
        ),
        Mistake("the sign is lost", "x.sign() * ", ""),
        Mistake(
            "the root is taken of |x|: at 0 its slope would be infinite",
            "((x.abs() + 1).sqrt() - 1)",
            "x.abs().sqrt()",
        ),
        Mistake(
            "the linear term has the size of x: both signs would count the same",
            "EPSILON * x",
            "EPSILON * x.abs()",
        ),
    ),
    alternatives=(value_transform_by_cases,),
)
def _(value_transform, rng):
    return {
        "h of small numbers": value_transform(normal(rng, 6)),
        "h of large numbers": value_transform(1e4 * normal(rng, 6)),
        "h(0)": value_transform(torch.zeros(1)),
    }


# 3.1.8 ------------------------------------------------------------------------------------------


def scale_gradient_as_sum(x, scale):
    return torch.lerp(x.detach(), x, scale)


@exercise(
    "3.1.8",
    muzero.scale_gradient,
    core=False,
    points=1,
    difficulty=2,
    minutes=10,
    gradients=True,
    hints=(
        "x.detach() has the value of x and no gradient. x - x.detach() is zero, and has one.",
        "x.detach() + scale * (x - x.detach())",
    ),
    mistakes=(
        Mistake(
            "the value is scaled as well",
            "return x.detach() + scale * (x - x.detach())",
            "return scale * x",
        ),
        Mistake("the gradient stays whole", "scale * (x - x.detach())", "(x - x.detach())"),
        Mistake(
            "no gradient is left", "scale * (x - x.detach())", "scale * (x.detach() - x.detach())"
        ),
        Mistake(
            "the gradient is scaled by 1 - scale",
            "+ scale * (x - x.detach())",
            "+ (1 - scale) * (x - x.detach())",
        ),
        Mistake(
            "the gradient of x itself is scaled, also where x is used elsewhere: scale only what "
            "is returned",
            "return x.detach() + scale * (x - x.detach())",
            "x.register_hook(lambda gradient: gradient * scale)\n    return x",
        ),
    ),
    alternatives=(scale_gradient_as_sum,),
)
def _(scale_gradient, rng):
    found = {}
    scales = {"a quarter or so": float(rng.uniform(0.1, 0.4)), "0.5": 0.5, "0": 0.0, "1": 1.0}
    for name, scale in scales.items():
        x = normal(rng, B, D).requires_grad_()
        y = scale_gradient(x, scale)
        found |= {f"value, scale {name}": y}
        found |= {f"gradient, scale {name}": gradient(y * normal(rng, B, D), x)}
        x = normal(rng, B, D).requires_grad_()
        both = scale_gradient(x, scale) * normal(rng, B, D) + x * normal(rng, B, D)
        found |= {f"gradient of x, used twice, scale {name}": gradient(both, x)}
    return found


# 3.1.9 ------------------------------------------------------------------------------------------


def unroll_step_by_step(self, latent, action):
    policy, value = self.heads(latent)
    policies, values, rewards = [policy], [value], []
    for chosen in action.unbind(1):
        latent, reward = self.step(muzero.scale_gradient(latent, 0.5), chosen)
        policy, value = self.heads(latent)
        for kept, new in ((policies, policy), (values, value), (rewards, reward)):
            kept.append(new)
    return torch.stack(policies, 1), torch.stack(values, 1), torch.stack(rewards, 1)


@exercise(
    "3.1.9",
    muzero.MuZero.unroll,
    points=4,
    difficulty=3,
    minutes=25,
    gradients=True,
    hints=(
        "K actions make K rewards and K + 1 states: the first state is kept before the loop.",
        "In the loop: latent, reward = self.step(scale_gradient(latent, 0.5), action[:, k]).",
        "Keep the states as they come out of step, not the scaled ones; the heads read "
        "torch.stack(latents, 1) in one call.",
    ),
    mistakes=(
        Mistake(
            "the gradient is not halved on its way back through the dynamics",
            "scale_gradient(latent, 0.5)",
            "latent",
        ),
        Mistake(
            "no gradient passes from one step to the one before: halve it, do not cut it",
            "scale_gradient(latent, 0.5)",
            "latent.detach()",
        ),
        Mistake(
            "what the heads read is scaled too; only what goes into `step` is",
            "        latents.append(latent)",
            "        latent = scale_gradient(latent, 0.5)\n        latents.append(latent)",
        ),
        Mistake(
            "every step uses the first action",
            "action[:, k])",
            "action[:, 0])",
        ),
        Mistake(
            "every step starts from the first state: its own result must go on",
            "latent, reward = self.step(scale_gradient(latent, 0.5), action[:, k])\n"
            "        latents.append(latent)",
            "after, reward = self.step(scale_gradient(latent, 0.5), action[:, k])\n"
            "        latents.append(after)",
        ),
    ),
    alternatives=(unroll_step_by_step,),
)
def _(World, rng):
    world = small_world(World, rng)
    latent = uniform(rng, B, D).requires_grad_()
    index = torch.as_tensor(rng.integers(0, A, (B, K)))
    action = F.one_hot(index, A).float()
    found = {}
    names = ("policy", "value", "reward")
    for name, logits in zip(names, world.unroll(latent, action), strict=True):
        weight = normal(rng, *logits.shape)
        found[f"logits of the {name}"] = logits
        whole, last = (gradient(part, latent) for part in (logits * weight, logits[:, -1]))
        found[f"gradient of the first state from the {name}"] = whole
        found[f"gradient of the first state from the last {name}"] = last
    return found


# 3.1.10 -----------------------------------------------------------------------------------------


def n_step_targets_by_rows(rows, n, discount):
    batch, length = rows.reward.shape
    targets = torch.zeros(batch, length - n)
    for b in range(batch):
        for t in range(length - n):
            total, factor, at = 0.0, 1.0, t
            while not rows.terminated[b, at] and at < t + n and not rows.first[b, at + 1]:
                at += 1
                total = total + factor * rows.reward[b, at]
                factor = factor * discount
            if not rows.terminated[b, at]:
                total = total + factor * rows.value[b, at]
            targets[b, t] = total
    return targets


def played(rng, length):
    """Windows with an end, a cut, both, and neither; an end in the last row."""
    first, terminated = torch.zeros(2, 5, length, dtype=torch.bool)
    first[0, 4] = terminated[0, 3] = True
    first[1, 3] = True
    first[2, 2] = terminated[2, 1] = first[2, 6] = True
    terminated[3, -1] = first[4, -1] = True
    first[:, 0] = torch.as_tensor(rng.random(5) < 0.5)
    reward = normal(rng, 5, length) * ~first
    nothing = torch.zeros(5, length, A)
    value = normal(rng, 5, length)
    return muzero.Played(nothing, nothing, reward, first, terminated, nothing, value)


@exercise(
    "3.1.10",
    muzero.n_step_targets,
    points=4,
    difficulty=4,
    minutes=30,
    hints=(
        "Go backwards: the return from a row is the next row's reward plus discount times the "
        "return from there. Start with the value n rows on, and go back n times.",
        "Everything for all rows at once: value[:, n:] is the bootstrap of rows 0 to T - n - 1; "
        "rows.reward[:, i + 1 : i + 1 + T - n] is what comes i + 1 steps after them.",
        "First set the values of terminated rows to 0. Where rows.first says that the row arrived "
        "in starts an episode, the return is the value of the row before it.",
    ),
    mistakes=(
        Mistake(
            "rewards are one step off: what an action earns stands in the row it leads to",
            "rows.reward[:, arrived]",
            "rows.reward[:, i : i + length]",
        ),
        Mistake(
            "the value of a row in which the episode ended counts: nothing comes after it",
            "rows.value.masked_fill(rows.terminated, 0.0)",
            "rows.value",
        ),
        Mistake(
            "rewards of the next episode are added",
            "torch.where(rows.first[:, arrived], value[:, i : i + length], onward)",
            "onward",
        ),
        Mistake(
            "the sum bootstraps one row too early",
            "target = value[:, n:]",
            "target = value[:, n - 1 : -1]",
        ),
        Mistake(
            "the first reward is discounted already",
            "onward = rows.reward[:, arrived] + discount * target",
            "onward = discount * (rows.reward[:, arrived] + target)",
        ),
        Mistake(
            "an episode that was cut counts as ended: it would have gone on",
            "torch.where(rows.first[:, arrived], value[:, i : i + length], onward)",
            "torch.where(rows.first[:, arrived], 0.0, onward)",
        ),
        Mistake(
            "the value is not used: the sum needs a rest",
            "target = value[:, n:]",
            "target = torch.zeros_like(value[:, n:])",
        ),
    ),
    alternatives=(n_step_targets_by_rows,),
)
def _(n_step_targets, rng):
    rows, gamma = played(rng, 9), float(rng.uniform(0.7, 0.95))
    return {
        "targets, n = 3": n_step_targets(rows, 3, gamma),
        "targets, n = 1": n_step_targets(rows, 1, gamma),
        "targets, n = 8": n_step_targets(rows, 8, gamma),
        "targets of two players, n = 3": n_step_targets(rows, 3, -gamma),
    }


# 3.1.11 -----------------------------------------------------------------------------------------


def loss_by_rows(self, rows, generator=None):
    batch, length = rows.reward.shape
    latent = self.represent(rows.observation[:, 0])
    drawn = muzero.random_actions(rows.action, generator)
    sums = {"policy": 0.0, "value": 0.0, "reward": 0.0}
    for b in range(batch):
        border = [t for t in range(1, length) if rows.first[b, t]]
        stop = border[0] if border else length
        ends = [t for t in range(stop) if rows.terminated[b, t]]
        end = ends[0] if ends else length
        action = torch.cat([rows.action[b, :stop], drawn[b, stop:]])[None, 1:]
        policy, value, reward = self.unroll(latent[b : b + 1], action)
        for t in range(length if ends else stop):
            weight = 1.0 if t == 0 else 1 / (length - 1)
            alive = t < min(stop, end)
            target = rows.value[b, t] if alive else torch.zeros(())
            cost = self.misfit(value[0, t], self.to_support(target))
            sums["value"] = sums["value"] + weight * cost / batch
            if alive:
                cost = muzero.cross_entropy(policy[0, t], rows.policy[b, t])
                sums["policy"] = sums["policy"] + weight * cost / batch
            if t:
                target = rows.reward[b, t] if t < stop else torch.zeros(())
                cost = self.misfit(reward[0, t - 1], self.to_support(target))
                sums["reward"] = sums["reward"] + weight * cost / batch
    loss = sums["policy"] + self.config.value_weight * sums["value"] + sums["reward"]
    return loss, {k: v.detach() for k, v in sums.items()}, {"latent": latent.detach()}


@exercise(
    "3.1.11",
    muzero.MuZero.loss,
    core=False,
    points=3,
    difficulty=4,
    minutes=20,
    bug="absorbing",
    gradients=True,
    hints=(
        "Which rows count after the end of an episode? Compare the text of the contract with "
        "`counts`.",
        "After an end the model must learn that nothing comes: those rows count, with targets 0. "
        "After a cut they do not.",
    ),
    mistakes=(
        Mistake(
            "rows after the end do not count, so nobody teaches the model that nothing comes there",
            "(inside | over)",
            "inside",
            "absorbing",
        ),
        Mistake(
            "values are always taken for distributions: `misfit` knows whether they are",
            "self.misfit(value, value_target)",
            "cross_entropy(value, value_target)",
        ),
        Mistake(
            "rows 1 to K count in full: a longer unroll would weigh more",
            "    counts[:, 1:] /= steps\n",
            "",
        ),
        Mistake(
            "policies of other episodes, or of a finished one, are learned",
            "counts * ~over * cross_entropy",
            "counts * cross_entropy",
        ),
        Mistake(
            "after an end the value is taken from the next episode",
            "masked_fill(over | ~inside, 0.0)",
            "masked_fill(over & inside, 0.0)",
        ),
        Mistake(
            "after an end the rewards of the next episode are learned",
            "rows.reward.masked_fill(~inside, 0.0)[:, 1:]",
            "rows.reward[:, 1:]",
        ),
        Mistake(
            "the value counts as much as the policy",
            "self.config.value_weight * ",
            "",
        ),
        Mistake(
            "the actions of the next episode are followed after an end",
            "torch.where(inside[..., None], rows.action, random_actions(rows.action, generator))",
            "rows.action",
        ),
    ),
    alternatives=(loss_by_rows,),
    equivalents={
        f"{line} -> {changed}": NO_GRADIENT
        for line, changed in (
            (
                "inside = rows.first[:, 1:].cumsum(1) == 0",
                "inside = (rows.first[:, 1:].cumsum(1) == 0).detach()",
            ),
            (
                "inside = torch.cat([torch.ones_like(inside[:, :1]), inside], 1)",
                "inside = torch.cat([torch.ones_like(inside[:, :1]), inside], 1).detach()",
            ),
            (
                "over = (rows.terminated & inside).cumsum(1) > 0",
                "over = ((rows.terminated & inside).cumsum(1) > 0).detach()",
            ),
            *(
                (line, f"{line}.detach()")
                for line in (
                    "counts = (inside | over).to(rows.reward.dtype)",
                    "action = torch.where(inside[..., None], rows.action, "
                    "random_actions(rows.action, generator))",
                    "value_target = self.to_support(rows.value.masked_fill(over | ~inside, 0.0))",
                    "reward_target = self.to_support(rows.reward.masked_fill(~inside, 0.0)[:, 1:])",
                )
            ),
        )
    },
)
def _(World, rng):
    world, rows = small_world(World, rng, value_weight=0.3), played(rng, 7)
    shape = (5, 7)
    index = torch.as_tensor(rng.integers(0, A, shape))
    rows = rows._replace(
        observation=normal(rng, *shape, 6),
        action=F.one_hot(index, A).float() * ~rows.first[..., None],
        policy=normal(rng, *shape, A).softmax(-1),
    )
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    loss, parts, starts = world.loss(rows, generator)
    world.zero_grad()
    loss.backward()
    found = {f"{name} loss": parts[name] for name in ("policy", "value", "reward")}
    for name in ("representation", "dynamics", "prediction"):
        found[f"gradient of the {name}"] = getattr(world, name)[0].weight.grad
    for name in ("to_policy", "to_value", "to_reward"):
        found[f"gradient of {name}"] = getattr(world, name).weight.grad
    kept = [*parts.values(), starts["latent"]]
    free = torch.tensor([float(not v.requires_grad) for v in kept])
    found["parts and states cut off from the graph"] = free
    numbers = small_world(World, rng, support=0).loss(rows, generator)[0]
    found |= {"states of row 0": starts["latent"], "loss of a world without atoms": numbers}
    return {"loss": loss, **found}
