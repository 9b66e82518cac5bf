"""Lesson 2.1: probes, named mistakes, right answers written differently, hints."""

import math

import gymnasium as gym
import numpy as np
import torch
from torch.nn import functional as F

from utils.agents import evolution
from utils.course.exercise import Mistake, exercise
from utils.course.probes import normal, uniform
from utils.nn import gaussian
from utils.world import Dream, Dreamt, Spec, Step
from utils.worlds import vmc

LESSON = "2.1"
B, T, Z, K, A = 3, 7, 4, 5, 2  # rows, time, latent dimensions, components, actions of the probes
TWO_AXES = "there are two axes: axis 1 is the last"
NO_GRADIENT = "what is detached is a mask, which has no gradient"
VECTOR = gym.spaces.Box(-1.0, 1.0, (Z,), np.float32)


def leaf(tensor):
    return tensor.clone().requires_grad_()


def small_world(World, rng, **config):
    """A world with small random weights, that sees its vectors nearly as they are."""
    torch.manual_seed(int(rng.integers(2**31)))
    config = vmc.VMCConfig(**({"hidden": 6, "mixtures": 3, "width": 5} | config))
    return World(vmc.Direct(VECTOR, noise=0.1), gym.spaces.Discrete(A), config)


def window(rng):
    """B windows of T rows; the second holds an end and a new beginning, the third begins anew in
    its last row, as after a time limit."""
    first = torch.zeros(B, T, dtype=torch.bool)
    first[:, 0], first[1, 4], first[2, -1] = True, True, True
    terminated = torch.zeros(B, T, dtype=torch.bool)
    terminated[1, 3] = terminated[0, -1] = True
    kept = (~first).float()
    index = torch.as_tensor(rng.integers(0, A, (B, T)))
    action = F.one_hot(index, A).float() * kept[..., None]
    return Step(normal(rng, B, T, Z), action, normal(rng, B, T) * kept, first, terminated)


# 2.1.1 ------------------------------------------------------------------------------------------


def reparameterise_by_std(mean, log_variance, noise):
    std = log_variance.exp() ** 0.5
    return torch.addcmul(mean, std, noise)


@exercise(
    "2.1.1",
    gaussian.reparameterise,
    core=False,
    points=1,
    difficulty=1,
    minutes=5,
    gradients=True,
    hints=(
        "The standard deviation is the root of the variance. What is it, given log_variance?",
        "std = exp(log_variance / 2); the sample is mean + std * noise.",
    ),
    mistakes=(
        Mistake(
            "the log variance is taken for a log standard deviation: halve it first",
            "torch.exp(log_variance / 2)",
            "torch.exp(log_variance)",
        ),
        Mistake(
            "the sample is drawn anew inside; the noise is an argument",
            "torch.exp(log_variance / 2) * noise",
            "torch.exp(log_variance / 2) * torch.randn_like(mean)",
        ),
        Mistake(
            "no gradient reaches log_variance: the spread must be part of the graph",
            "torch.exp(log_variance / 2)",
            "torch.exp(log_variance / 2).detach()",
        ),
    ),
    alternatives=(reparameterise_by_std,),
)
def _(reparameterise, rng):
    mean, log_variance, noise = leaf(normal(rng, B, Z)), leaf(normal(rng, B, Z)), normal(rng, B, Z)
    z = reparameterise(mean, log_variance, noise)
    (z * normal(rng, B, Z)).sum().backward()
    return {"z": z, "gradient of mean": mean.grad, "gradient of log_variance": log_variance.grad}


# 2.1.2 ------------------------------------------------------------------------------------------


def vae_loss_by_frames(target, picture, mean, log_variance, tolerance=0.5):
    losses = []
    for x, y, m, s in zip(target, picture, mean, log_variance, strict=True):
        kl = 0.5 * (torch.exp(s) + m * m - s - 1).sum()
        floor = torch.tensor(tolerance * len(m))
        losses.append(((x - y) ** 2).sum() + torch.maximum(kl, floor))
    return sum(losses) / len(losses)


def vae_loss_by_where(target, picture, mean, log_variance, tolerance=0.5):
    kl, floor = gaussian.kl_to_unit(mean, log_variance), tolerance * mean.shape[1]
    kl = torch.where(kl > floor, kl, torch.full_like(kl, floor))
    return ((target - picture) ** 2).sum() / len(mean) + kl.mean()


@exercise(
    "2.1.2",
    vmc.vae_loss,
    points=3,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "Two numbers for each frame, [B] each; their sum is averaged over B last.",
        "The error: square, then flatten(1).sum(-1). The KL: kl_to_unit(mean, log_variance) "
        "is [B] already.",
        "clamp(min=tolerance * Z) is the maximum with the floor, and sends no gradient below it.",
    ),
    mistakes=(
        Mistake(
            "the floor is applied to the mean over the batch: each frame has a floor of its own",
            "kl_to_unit(mean, log_variance).clamp",
            "kl_to_unit(mean, log_variance).mean().clamp",
        ),
        Mistake(
            "the floor is `tolerance` nats for all dimensions together; it is that much for each",
            "tolerance * mean.shape[-1]",
            "tolerance",
        ),
        Mistake(
            "the squared error is averaged over a frame: then the KL outweighs it by far",
            ".flatten(1).sum(-1)",
            ".flatten(1).mean(-1)",
        ),
        Mistake(
            "the KL is cut off above the floor, not below: use clamp(min=...)",
            ".clamp(min=",
            ".clamp(max=",
        ),
        Mistake(
            "the tolerated part is taken off; it is a floor: KL below it counts as the floor",
            "    return (error + divergence).mean()",
            "    return (error + divergence - tolerance * mean.shape[-1]).mean()",
        ),
        Mistake("the batch is summed; the loss is a mean over it", ".mean()", ".sum()"),
        Mistake(
            "KL is free altogether: the tolerance is lost, and its gradient never stops",
            ".clamp(min=tolerance * mean.shape[-1])",
            "",
        ),
    ),
    alternatives=(vae_loss_by_frames, vae_loss_by_where),
    equivalents={
        "error = (target - picture).square().flatten(1).sum(-1) -> "
        "error = (target - picture).square().flatten(1).sum(1)": TWO_AXES,
        "divergence = kl_to_unit(mean, log_variance).clamp(min=tolerance * mean.shape[-1]) -> "
        "divergence = kl_to_unit(mean, log_variance).clamp(min=tolerance * mean.shape[1])": (
            TWO_AXES
        ),
    },
)
def _(vae_loss, rng):
    found = {}
    # KL below and above its floor, so that frames differ in who is free; their mean below the last.
    for tolerance in (None, float(rng.uniform(0.2, 1.0)), 5.0):
        scale = torch.tensor([0.1, 1.5, 0.2, 5.0, 0.1])[:, None]
        mean, log_variance = leaf(scale * normal(rng, 5, Z)), leaf(0.2 * scale * normal(rng, 5, Z))
        target, picture = uniform(rng, 5, 3, 2, 3), leaf(uniform(rng, 5, 3, 2, 3))
        given = () if tolerance is None else (tolerance,)
        loss = vae_loss(target, picture, mean, log_variance, *given)
        loss.backward()
        name = f"tolerance {tolerance or 0.5:.2f}"
        found |= {f"loss, {name}": loss, f"gradient of the picture, {name}": picture.grad}
        found |= {f"gradient of mean, {name}": mean.grad}
        found |= {f"gradient of log_variance, {name}": log_variance.grad}
    return found


# 2.1.3 ------------------------------------------------------------------------------------------


def mixture_log_prob_by_components(logits, mean, log_std, value):
    total = None
    log_weights = torch.log_softmax(logits, -1)
    for k in range(logits.shape[-1]):
        distance = (value - mean[..., k]) / torch.exp(log_std[..., k])
        log_normal = -0.5 * distance**2 - log_std[..., k] - 0.5 * math.log(2 * math.pi)
        term = log_weights[..., k] + log_normal
        total = term if total is None else torch.logaddexp(total, term)
    return total


def mixture_log_prob_by_library(logits, mean, log_std, value):
    mixture = torch.distributions.Categorical(logits=logits)
    parts = torch.distributions.Normal(mean, log_std.exp())
    return torch.distributions.MixtureSameFamily(mixture, parts).log_prob(value)


@exercise(
    "2.1.3",
    vmc.mixture_log_prob,
    points=3,
    difficulty=3,
    minutes=20,
    gradients=True,
    hints=(
        "value needs an axis more to meet its K components: value[..., None].",
        "log_prob(value[..., None], mean, log_std) is [..., Z, K]; add the log of the weights.",
        "Log weights are logits.log_softmax(-1); the log of a sum of exponentials is "
        "logsumexp(-1).",
    ),
    mistakes=(
        Mistake(
            "the weights do not sum to 1: take log_softmax of the logits",
            " - logits.logsumexp(-1)",
            "",
        ),
        Mistake(
            "the densities are added as they are: far from all components the sum underflows to 0",
            "weighted.logsumexp(-1)",
            "weighted.exp().sum(-1).log()",
        ),
        Mistake(
            "one component is chosen for the whole vector; each dimension has a mixture of its own",
            "log_prob(value[..., None], mean, log_std)",
            "log_prob(value[..., None], mean, log_std).sum(-2, keepdim=True)",
        ),
        Mistake(
            "log_std is taken for a log variance",
            "log_prob(value[..., None], mean, log_std)",
            "log_prob(value[..., None], mean, log_std / 2)",
        ),
        Mistake(
            "the logarithms of the components are averaged; it is the densities that add up",
            "return weighted.logsumexp(-1) - logits.logsumexp(-1)",
            "return (weighted.log_softmax(-1).exp() * log_prob(value[..., None], mean, log_std))"
            ".sum(-1)",
        ),
        Mistake(
            "the likeliest component alone is counted",
            "weighted.logsumexp(-1)",
            "weighted.amax(-1)",
        ),
    ),
    alternatives=(mixture_log_prob_by_components, mixture_log_prob_by_library),
    equivalents={
        "weighted = logits + log_prob(value[..., None], mean, log_std) -> "
        "weighted = logits + log_prob(mean, value[..., None], log_std)": "a Gaussian depends on "
        "the distance of value and mean alone",
    },
)
def _(mixture_log_prob, rng):
    # In float64: far from all components right gradients differ in the fourth digit of a float32.
    shape = B, T, Z, K
    logits, mean = leaf(normal(rng, *shape).double() + 2.0), leaf(normal(rng, *shape).double())
    log_std, value = leaf(0.5 * normal(rng, *shape).double()), normal(rng, B, T, Z).double()
    value[0] *= 100.0  # far from every component
    log_probability = mixture_log_prob(logits, mean, log_std, value)
    (log_probability * uniform(rng, B, T, Z)).sum().backward()
    single = normal(rng, 2, 1, K), normal(rng, 2, 1, K), normal(rng, 2, 1, K), normal(rng, 2, 1)
    return {
        "log density": log_probability,
        "gradient of logits": logits.grad,
        "gradient of mean": mean.grad,
        "gradient of log_std": log_std.grad,
        "log density, Z = 1": mixture_log_prob(*single),
    }


# 2.1.4 ------------------------------------------------------------------------------------------


def death_loss_by_cases(logits, terminated, weight):
    return torch.where(terminated, weight * F.softplus(-logits), F.softplus(logits))


@exercise(
    "2.1.4",
    vmc.death_loss,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    gradients=True,
    hints=(
        "F.binary_cross_entropy_with_logits(logits, target, reduction='none') is right for every "
        "weight of 1; the target is a float.",
        "Multiply by weight where terminated, and by 1 elsewhere.",
    ),
    mistakes=(
        Mistake(
            "every row counts `weight` times, not only the ends",
            "(1 + (weight - 1) * target)",
            "weight",
        ),
        Mistake(
            "an end counts once more than it should: 1 + (weight - 1) is weight",
            "(weight - 1)",
            "weight",
        ),
        Mistake(
            "rows that go on get the weight, and ends do not",
            "(weight - 1) * target",
            "(weight - 1) * (1 - target)",
        ),
        Mistake(
            "the sigmoid is taken before the logarithm: for large logits it is 0 or 1, and the "
            "loss is cut off",
            'F.binary_cross_entropy_with_logits(logits, target, reduction="none")',
            'F.binary_cross_entropy(logits.sigmoid(), target, reduction="none")',
        ),
        Mistake("the loss is averaged here; it is elementwise", 'reduction="none"', ""),
    ),
    alternatives=(death_loss_by_cases,),
    equivalents={
        "target = terminated.to(logits.dtype) -> target = terminated.to(logits.dtype).detach()": (
            NO_GRADIENT
        ),
    },
)
def _(death_loss, rng):
    logits, terminated = leaf(3 * normal(rng, B, T)), uniform(rng, B, T) < 0.3
    weight = float(rng.uniform(2, 20))
    loss = death_loss(logits, terminated, weight)
    (loss * uniform(rng, B, T)).sum().backward()
    far = torch.tensor([-150.0, 150.0, -150.0, 150.0])
    ends = torch.tensor([True, True, False, False])
    return {
        "loss": loss,
        "gradient of the logits": logits.grad,
        "loss of logits -150 and 150": death_loss(far, ends, weight),
    }


# 2.1.5 ------------------------------------------------------------------------------------------


def sequence_loss_by_rows(self, h, z, batch):
    sums, count = {}, 0
    for b in range(len(z)):
        for t in range(1, z.shape[1]):
            if batch.first[b, t]:
                break
            count += 1
            now, seen = h[b : b + 1, t], z[b : b + 1, t]
            row = {"nll": -vmc.mixture_log_prob(*self.mixture(now), seen).mean()}
            features = torch.cat([now, seen], -1)
            if self.config.reward:
                row["reward"] = (self.reward_head(features)[0] - batch.reward[b, t]) ** 2
            if self.config.cont:
                ended = batch.terminated[b : b + 1, t]
                weight = self.config.death_weight
                row["death"] = vmc.death_loss(self.death_head(features), ended, weight)[0]
            sums = {name: sums.get(name, 0.0) + value for name, value in row.items()}
    if not sums:  # nothing counts: zeros, with a gradient that is zero
        names = ["nll"] + ["reward"] * self.config.reward + ["death"] * self.config.cont
        sums = {name: (0.0 * h).sum() for name in names}
    means = {name: value / max(count, 1) for name, value in sums.items()}
    return sum(means.values()), {name: value.detach() for name, value in means.items()}


def sequence_loss_by_mask(self, h, z, batch):
    border = batch.first.clone()
    border[:, 0] = False
    counts = torch.cumsum(border, 1) == 0
    counts[:, 0] = False
    if not counts.any():
        counts = torch.zeros_like(counts)
    n = max(int(counts.sum()), 1)
    features = torch.cat([h, z], 2)
    parts = {"nll": -vmc.mixture_log_prob(*self.mixture(h), z).mean(2)[counts].sum() / n}
    if self.reward_head is not None:
        parts["reward"] = (self.reward_head(features) - batch.reward)[counts].pow(2).sum() / n
    if self.death_head is not None:
        losses = vmc.death_loss(
            self.death_head(features), batch.terminated, self.config.death_weight
        )
        parts["death"] = losses[counts].sum() / n
    loss = torch.stack(list(parts.values())).sum()
    return loss, {k: v.detach() for k, v in parts.items()}


@exercise(
    "2.1.5",
    vmc.VMC.sequence_loss,
    points=4,
    difficulty=4,
    minutes=30,
    gradients=True,
    hints=(
        "First the mask: rows 1 to T - 1, until the first of them with batch.first. "
        "batch.first[:, 1:].cumsum(1) == 0 says which those are.",
        "Leave row 0 of h, z and everything else out; then h and z belong together row by row. "
        "self.mixture(h) gives what mixture_log_prob needs.",
        "Each part is [B, T - 1]; its mean over rows that count is (part * counts).sum() / "
        "counts.sum(), with at least 1 below the line. Add them up; detach what you report.",
    ),
    mistakes=(
        Mistake(
            "rows of the next episode count: from the first row that starts one on, none may",
            "counts = (batch.first[:, 1:].cumsum(1) == 0)",
            "counts = torch.ones_like(batch.first[:, 1:])",
        ),
        Mistake(
            "only the row that starts an episode is left out; what comes after it counts",
            "batch.first[:, 1:].cumsum(1) == 0",
            "~batch.first[:, 1:]",
        ),
        Mistake(
            "the sum is divided by all rows, not by those that count",
            "total = counts.sum().clamp(min=1.0)",
            "total = counts.numel()",
        ),
        Mistake(
            "h is one row behind: h[:, t] has read what led to row t, and predicts row t",
            "h, z = h[:, 1:], z[:, 1:]",
            "h, z = h[:, :-1], z[:, 1:]",
        ),
        Mistake(
            "rewards are shifted by one row against what they came with",
            "batch.reward[:, 1:]",
            "batch.reward[:, :-1]",
        ),
        Mistake(
            "the likelihood has the wrong sign",
            '{"nll": -mixture_log_prob',
            '{"nll": mixture_log_prob',
        ),
        Mistake(
            "latent dimensions are summed; the loss is a mean over them",
            "z).mean(-1)}",
            "z).sum(-1)}",
        ),
        Mistake(
            "the end is predicted without its weight",
            "death_loss(self.death_head(features), terminated, weight)",
            "death_loss(self.death_head(features), terminated, 1.0)",
        ),
    ),
    alternatives=(sequence_loss_by_rows, sequence_loss_by_mask),
    equivalents={
        "counts = (batch.first[:, 1:].cumsum(1) == 0).to(z.dtype) -> "
        "counts = (batch.first[:, 1:].cumsum(1) == 0).to(z.dtype).detach()": NO_GRADIENT,
        "total = counts.sum().clamp(min=1.0) -> total = counts.sum().clamp(min=1.0).detach()": (
            NO_GRADIENT
        ),
    },
)
def _(VMC, rng):
    found = {}
    for name, config in (("all heads", {}), ("no heads", {"reward": False, "cont": False})):
        world = small_world(VMC, rng, death_weight=float(rng.uniform(2, 20)), **config)
        batch = window(rng)
        h, z = leaf(normal(rng, B, T, 6)), batch.observation
        loss, parts = world.sequence_loss(h, z, batch)
        loss.backward()
        found |= {f"loss, {name}": loss, f"gradient of h, {name}": h.grad}
        found |= {f"part {k}, {name}": v for k, v in parts.items()}
        found[f"parts hang on the graph, {name}"] = any(v.requires_grad for v in parts.values())
        found[f"number of parts, {name}"] = len(parts)
    for b, counting in ((1, "one row"), (None, "nothing")):
        alone = Step(*(v[:, :2].clone() for v in batch))
        alone.first[:, 1] = torch.arange(B) != b if b else True
        found[f"loss where {counting} counts"], _ = world.sequence_loss(h[:, :2], z[:, :2], alone)
    return found


# 2.1.6 ------------------------------------------------------------------------------------------


def heat_by_softmax(logits, log_std, temperature):
    return logits * (1 / temperature), torch.log(torch.exp(log_std) * temperature**0.5)


@exercise(
    "2.1.6",
    vmc.heat,
    points=2,
    difficulty=1,
    minutes=10,
    hints=(
        "The second is a logarithm: what does a factor of sqrt(temperature) do to it?",
        "log(std * sqrt(t)) = log_std + log(t) / 2.",
    ),
    mistakes=(
        Mistake(
            "the std is multiplied by the temperature, not by its root",
            "0.5 * math.log(temperature)",
            "math.log(temperature)",
        ),
        Mistake(
            "the logarithm of the std is multiplied; it is the std that is",
            ", log_std + 0.5 * math.log(temperature)",
            ", log_std * temperature**0.5",
        ),
        Mistake(
            "the logits are multiplied: then heat would make the likeliest component still "
            "likelier",
            "return logits / temperature",
            "return logits * temperature",
        ),
        Mistake(
            "the components keep their width",
            "log_std + 0.5 * math.log(temperature)",
            "log_std",
        ),
        Mistake(
            "the components keep their weights",
            "return logits / temperature",
            "return logits",
        ),
    ),
    alternatives=(heat_by_softmax,),
)
def _(heat, rng):
    found = {}
    for temperature in (0.1, 1.0, float(rng.uniform(1.1, 3.0))):
        logits, log_std = heat(normal(rng, B, Z, K), normal(rng, B, Z, K), temperature)
        found |= {f"logits at {temperature:.1f}": logits, f"log std at {temperature:.1f}": log_std}
    return found


# 2.1.7 ------------------------------------------------------------------------------------------


def draw_by_loops(self, logits, mean, log_std, lot, noise):
    logits, log_std = vmc.heat(logits, log_std, self.temperature)
    shape, components = lot.shape, logits.shape[-1]
    rows = [v.reshape(-1, components) for v in (logits.softmax(-1), mean, log_std)]
    drawn = []
    for probability, centre, width, u, e in zip(*rows, lot.flatten(), noise.flatten(), strict=True):
        k, reached = 0, probability[0]
        while reached <= u and k < components - 1:
            k += 1
            reached = reached + probability[k]
        drawn.append(centre[k] + width[k].exp() * e)
    return torch.stack(drawn).reshape(shape)


def draw_by_search(self, logits, mean, log_std, lot, noise):
    logits, log_std = vmc.heat(logits, log_std, self.temperature)
    edges = torch.softmax(logits, -1).cumsum(-1)[..., :-1].contiguous()
    index = torch.searchsorted(edges, lot[..., None].contiguous(), right=True)
    pick = torch.take_along_dim
    return (pick(mean, index, -1) + pick(log_std, index, -1).exp() * noise[..., None])[..., 0]


@exercise(
    "2.1.7",
    vmc.VMC.draw,
    core=False,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Cumulative probabilities are softmax(-1).cumsum(-1), [..., Z, K]. How many of them does "
        "lot reach or pass?",
        "(reached <= lot[..., None]).sum(-1) is the number of the component.",
        "mean.gather(-1, index) takes an index with as many axes: keepdim=True in the sum, then "
        "squeeze(-1). Clamp the index to K - 1.",
    ),
    mistakes=(
        Mistake(
            "the temperature is forgotten",
            "logits, log_std = heat(logits, log_std, self.temperature)",
            "pass",
        ),
        Mistake(
            "one lot decides for all dimensions; each draws a component of its own",
            "(reached <= lot[..., None] * reached[..., -1:])",
            "(reached <= lot[..., :1, None] * reached[..., -1:])",
        ),
        Mistake(
            "the likeliest component is always taken",
            "index = (reached <= lot[..., None] * reached[..., -1:]).sum(-1, keepdim=True)",
            "index = logits.argmax(-1, keepdim=True)",
        ),
        Mistake(
            "the log of the std multiplies the noise",
            "log_std.gather(-1, index).exp()",
            "log_std.gather(-1, index)",
        ),
        Mistake(
            "the component before the right one is taken",
            ".sum(-1, keepdim=True)",
            ".sum(-1, keepdim=True).sub(1).clamp(min=0)",
        ),
    ),
    alternatives=(draw_by_loops, draw_by_search),
)
def _(VMC, rng):
    world, found = small_world(VMC, rng), {}
    for temperature in (1.0, 0.2, float(rng.uniform(1.2, 3.0))):
        world.temperature = temperature
        mixture = normal(rng, B, 20, Z, K), normal(rng, B, 20, Z, K), normal(rng, B, 20, Z, K)
        lot, noise = uniform(rng, B, 20, Z), normal(rng, B, 20, Z)
        found[f"z at {temperature:.1f}"] = world.draw(*mixture, lot, noise)
    world.temperature = 1.0
    even = torch.zeros(1, 5, 4), normal(rng, 1, 5, 4), normal(rng, 1, 5, 4)
    edges = torch.tensor([[0.0, 0.25, 0.5, 0.75, 1 - 2**-24]])  # on an edge the next one begins
    found["z where the lot is on an edge"] = world.draw(*even, edges, normal(rng, 1, 5))
    far = 100 * normal(rng, 1, 20, K), normal(rng, 1, 20, K), normal(rng, 1, 20, K)
    found["z of logits far apart"] = world.draw(*far, uniform(rng, 1, 20), normal(rng, 1, 20))
    uneven = normal(rng, 1, 500, 7), normal(rng, 1, 500, 7), normal(rng, 1, 500, 7)
    near = torch.full((1, 500), 1 - 2**-24)
    found["z where the lot is nearly 1"] = world.draw(*uneven, near, normal(rng, 1, 500))
    return found


# 2.1.8 ------------------------------------------------------------------------------------------


def continuation_by_odds(self, logits):
    odds = torch.exp(logits) / self.config.death_weight
    return 1 / (1 + odds)


@exercise(
    "2.1.8",
    vmc.VMC.continuation,
    core=False,
    bug="weight",
    points=2,
    difficulty=2,
    minutes=10,
    hints=(
        "What does the sigmoid of the logits say for a death of probability 0.1 and a weight "
        "of 10?",
        "The logits hold log(10 p / (1 - p)). Take log(10) off before the sigmoid.",
    ),
    mistakes=(
        Mistake(
            "the weight is not taken back: deaths are dreamt too often",
            "math.log(self.config.death_weight) - logits",
            "-logits",
            "weight",
        ),
        Mistake(
            "this is the probability that the episode ends; it should be that it goes on",
            "torch.sigmoid(math.log(self.config.death_weight) - logits)",
            "torch.sigmoid(logits - math.log(self.config.death_weight))",
        ),
        Mistake(
            "the weight counts twice, in the wrong direction",
            "math.log(self.config.death_weight) - logits",
            "-math.log(self.config.death_weight) - logits",
        ),
        Mistake(
            "the probability is divided by the weight; it is the odds that are",
            "torch.sigmoid(math.log(self.config.death_weight) - logits)",
            "1 - torch.sigmoid(logits) / self.config.death_weight",
        ),
    ),
    alternatives=(continuation_by_odds,),
)
def _(VMC, rng):
    found = {}
    for weight in (1.0, float(rng.uniform(2, 20))):
        world = small_world(VMC, rng, death_weight=weight)
        found[f"P(goes on), weight {weight:.1f}"] = world.continuation(3 * normal(rng, B, T))
    return found


# 2.1.9 ------------------------------------------------------------------------------------------


def linear_controller_by_individuals(parameters, features, actions):
    outputs = []
    for vector, seen in zip(parameters, features, strict=True):
        weight = vector[actions:].reshape(seen.shape[1], actions)
        outputs.append(seen @ weight + vector[:actions])
    return torch.stack(outputs)


def linear_controller_by_einsum(parameters, features, actions):
    weight = parameters[:, actions:].reshape(len(parameters), -1, actions)
    return torch.einsum("prf,pfa->pra", features, weight) + parameters[:, None, :actions]


@exercise(
    "2.1.9",
    evolution.linear_controller,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    hints=(
        "parameters[:, :actions] are the biases. The rest is one matrix [F, A] for each of the P.",
        "weight = parameters[:, actions:].unflatten(-1, (-1, actions)) is [P, F, A]; "
        "features @ weight multiplies each individual by its own.",
    ),
    mistakes=(
        Mistake(
            "the bias is taken from the end of the vector",
            "parameters[:, :actions], parameters[:, actions:]",
            "parameters[:, -actions:], parameters[:, :-actions]",
        ),
        Mistake(
            "the weights are packed action by action; they are packed feature by feature",
            "weight.unflatten(-1, (-1, actions))",
            "weight.unflatten(-1, (actions, -1)).transpose(-1, -2)",
        ),
        Mistake("the bias is left out", " + bias[:, None]", ""),
        Mistake(
            "all individuals act by the parameters of the first",
            "weight.unflatten(-1, (-1, actions))",
            "weight[:1].unflatten(-1, (-1, actions))",
        ),
    ),
    alternatives=(linear_controller_by_individuals, linear_controller_by_einsum),
    equivalents={
        "return features @ weight.unflatten(-1, (-1, actions)) + bias[:, None] -> "
        "return features @ weight.unflatten(1, (-1, actions)) + bias[:, None]": TWO_AXES,
    },
)
def _(linear_controller, rng):
    found = {}
    for P, R, features, actions in ((3, 4, 5, 2), (2, 2, 2, 3), (1, 3, 4, 1)):
        parameters = normal(rng, P, (features + 1) * actions)
        outputs = linear_controller(parameters, normal(rng, P, R, features), actions)
        found[f"outputs, P = {P}, R = {R}, F = {features}, A = {actions}"] = outputs
    return found


# 2.1.10 -----------------------------------------------------------------------------------------


class Countdown:
    """A dream whose rows live as long as their start says, and earn what they do."""

    def __init__(self):
        one = gym.spaces.Box(-9.0, 9.0, (1,), np.float32)
        self.spec = Spec(one, one)

    def imagine(self, state, action, *, generator=None, mode=False):
        left, own = state["left"] - 1, state["own"]
        reward = action[:, 0] * own + left
        return Dreamt({"left": left, "own": own}, reward, (left > 0).float())


def dream_scores_by_lists(dream, parameters, act):
    state = dream.reset()
    earned = [[] for _ in range(dream.batch)]
    over = [False] * dream.batch
    for _ in range(dream.limit):
        outcome = dream.step(act(parameters, state))
        for i in range(dream.batch):
            if not over[i]:
                earned[i].append(float(outcome.reward[i]))
                over[i] = bool(outcome.terminated[i])
        state = dream.state
    each = dream.batch // len(parameters)
    totals = torch.tensor([sum(one) for one in earned])
    return torch.stack([totals[p * each : (p + 1) * each].mean() for p in range(len(parameters))])


@exercise(
    "2.1.10",
    evolution.dream_scores,
    points=4,
    difficulty=3,
    minutes=25,
    hints=(
        "The rows are independent: no loop over individuals. Keep two tensors of all rows: what "
        "they have earned, and whether they are still in their first life.",
        "for each step: outcome = dream.step(act(parameters, dream.state)); add outcome.reward "
        "where alive; then alive &= ~outcome.terminated.",
        "Row p * R + r belongs to p: total.unflatten(0, (P, -1)).mean(-1). Begin with "
        "dream.reset(), and go on for dream.limit steps at most.",
    ),
    mistakes=(
        Mistake(
            "what a row earns in its next life counts too",
            "outcome.reward * alive",
            "outcome.reward",
        ),
        Mistake(
            "the reward of the last step is lost: it came with the end",
            "        total += outcome.reward * alive\n        alive &= ~outcome.terminated\n",
            "        alive &= ~outcome.terminated\n        total += outcome.reward * alive\n",
        ),
        Mistake(
            "rows are dealt out to individuals like cards; row p * R + r belongs to p",
            "total.unflatten(0, (len(parameters), -1)).mean(-1)",
            "total.unflatten(0, (-1, len(parameters))).mean(0)",
        ),
        Mistake(
            "the dream goes on where the last generation left it; it must start over",
            "    dream.reset()\n",
            "",
        ),
        Mistake(
            "the R roll-outs are summed; a score is their mean",
            ".mean(-1)",
            ".sum(-1)",
        ),
        Mistake(
            "the dream ends when the first row does",
            "if not alive.any():",
            "if not alive.all():",
        ),
    ),
    alternatives=(dream_scores_by_lists,),
    equivalents={
        "return total.unflatten(0, (len(parameters), -1)).mean(-1) -> "
        "return total.unflatten(-1, (len(parameters), -1)).mean(-1)": "there is one axis",
        "return total.unflatten(0, (len(parameters), -1)).mean(-1) -> "
        "return total.unflatten(0, (len(parameters), -1)).mean(1)": TWO_AXES,
    },
)
def _(dream_scores, rng):
    found = {}

    def act(parameters, state):
        rounds = dream.batch // len(parameters)
        return (parameters.repeat_interleave(rounds, 0)[:, :1] * state["own"][:, None]).sin()

    for P, R, limit in ((3, 4, 5), (2, 1, 12), (4, 2, 3)):
        lives = torch.as_tensor(rng.integers(1, 9, 50)).float()
        starts = {"left": lives, "own": normal(rng, 50)}
        seed = int(rng.integers(2**31))
        dream = Dream(Countdown(), starts, P * R, limit, ends="threshold", seed=seed)
        name = f"P = {P}, R = {R}, limit {limit}"
        found[f"scores, {name}"] = dream_scores(dream, normal(rng, P, 2), act)
    return found


# 2.1.11 -----------------------------------------------------------------------------------------


class Strategy:
    """What `generation` sees of CMA-ES, with a memory of what it was told."""

    def __init__(self, vectors):
        self.vectors, self.asked, self.told = vectors, 0, []

    def ask(self):
        self.asked += 1
        return self.vectors

    def tell(self, vectors, costs):
        self.told.append((np.stack(vectors), np.asarray(costs)))


def generation_by_numpy(strategy, score):
    vectors = strategy.ask()
    parameters = torch.tensor(np.array(vectors)).float()
    scores = score(parameters)
    strategy.tell(vectors, [-float(one) for one in scores])
    return parameters, scores


@exercise(
    "2.1.11",
    evolution.generation,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "Four steps: ask, make one tensor of all vectors, score it in one call, tell.",
        "torch.as_tensor(np.stack(vectors), dtype=torch.float32) is [P, N].",
        "tell wants the vectors that ask gave, and costs: (-scores).tolist().",
    ),
    mistakes=(
        Mistake(
            "CMA-ES is told scores; it minimises, so that it would breed the worst",
            "(-scores).tolist()",
            "scores.tolist()",
        ),
        Mistake(
            "each individual is scored by itself; the population is one tensor, and one call",
            "scores = score(parameters)",
            "scores = torch.cat([score(one[None]) for one in parameters])",
        ),
        Mistake(
            "the vectors are asked for twice: what is told are not those that were scored",
            "strategy.tell(vectors, (-scores)",
            "strategy.tell(strategy.ask(), (-scores)",
        ),
        Mistake(
            "nothing is told: the population never moves",
            "    strategy.tell(vectors, (-scores).tolist())\n",
            "",
        ),
    ),
    alternatives=(generation_by_numpy,),
)
def _(generation, rng):
    strategy = Strategy([rng.normal(size=6) for _ in range(5)])
    calls, weights = [], normal(rng, 6)

    def score(parameters):
        calls.append(len(parameters))
        return (parameters * weights).sum(-1) + len(parameters)

    parameters, scores = generation(strategy, score)
    found = {"parameters": parameters, "scores": scores, "rows of each call of score": calls}
    found |= {"times asked": strategy.asked, "times told": len(strategy.told)}
    for vectors, costs in strategy.told:
        found |= {"vectors told": vectors, "costs told": costs}
    return found


# 2.1.12 -----------------------------------------------------------------------------------------


def observe_by_masks(self, state, step, *, generator=None, mode=False):
    keep = (~step.first).float()[:, None]
    kept = {name: value * keep for name, value in state.items()}
    h, c = self.recur(kept, step.action)
    mean, log_variance = self.vision.posterior(step.observation)
    if mode:
        return {"z": mean, "h": h, "c": c}
    z = vmc.normal(mean, torch.exp(0.5 * log_variance), generator)
    return {"z": z, "h": h, "c": c}


@exercise(
    "2.1.12",
    vmc.VMC.observe,
    core=False,
    bug="leaks",
    points=3,
    difficulty=3,
    minutes=15,
    hints=(
        "An LSTM remembers in two places. Which parts does a state have?",
        "Let two episodes with different pasts begin with the same frame, and compare all parts "
        "of their states.",
        "where(step.first, self.initial(B), state) forgets everything.",
    ),
    mistakes=(
        Mistake(
            "c is not forgotten: the LSTM's cells carry the last episode into the next",
            "self.initial(len(step.first))",
            'self.initial(len(step.first)) | {"c": state["c"]}',
            "leaks",
        ),
        Mistake(
            "nothing is ever forgotten",
            "    state = where(step.first, self.initial(len(step.first)), state)\n",
            "",
        ),
        Mistake(
            "one episode that begins makes all rows forget",
            "where(step.first,",
            "where(step.first.any().expand_as(step.first),",
        ),
        Mistake(
            "what goes on is forgotten, and what begins is kept",
            "where(step.first,",
            "where(~step.first,",
        ),
        Mistake(
            "M reads the new frame; it reads the last z, and the action that followed it",
            "    h, c = self.recur(state, step.action)\n",
            '    seen = state | {"z": self.vision.encode(step.observation, mode=True)}\n'
            "    h, c = self.recur(seen, step.action)\n",
        ),
    ),
    alternatives=(observe_by_masks,),
)
def _(VMC, rng):
    world, data, found = small_world(VMC, rng), window(rng), {}
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    state = {name: normal(rng, *value.shape) for name, value in world.initial(B).items()}
    for given in ({"mode": True}, {"mode": False}, {}):
        for t in range(T):
            step = Step(*(v[:, t] for v in data))
            state = world.observe(state, step, generator=generator, **given)
            name = f"row {t}, {given}"
            found |= {f"{part} at {name}": value for part, value in state.items()}
    return found
