"""Lesson 2.4: probes, named mistakes, right answers written differently, hints."""

import contextlib
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F

from utils.agents import actor_critic
from utils.course.exercise import Mistake, exercise
from utils.course.probes import gradients, normal, uniform
from utils.nn import one_hot, symlog, two_hot
from utils.world import Step
from utils.worlds import dreamer_v3, rssm

LESSON = "2.4"
B, T, A, D, S, K = 3, 6, 2, 6, 3, 4  # rows, time, actions, deter, latents, classes of the probes


def leaf(tensor):
    return tensor.clone().requires_grad_()


def bare(kind, **parts):
    """A module that has only these parts, so that a check need not make its networks."""
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    for name, part in parts.items():
        setattr(module, name, part)
    return module


class Linear(nn.Linear):
    """A map with random weights of a size at which they matter."""

    def __init__(self, rng, inputs, outputs):
        nn.Module.__init__(self)
        self.weight = nn.Parameter(0.5 * normal(rng, outputs, inputs))
        self.bias = nn.Parameter(0.5 * normal(rng, outputs))


class Codec(Linear):
    """A decoder of three numbers, as their tanh, and what its errors cost."""

    def decode(self, features):
        return self(features)

    def loss(self, prediction, observation):
        return (prediction - observation.tanh()).square().sum(-1)


class SmallWorld(nn.Module):
    """What actor and critic ask of a world, with nothing behind it but a few matrices."""

    discount = 0.875

    def __init__(self, rng):
        super().__init__()
        self.size = D + S * K
        shapes = {"deter": (self.size + A, D), "stoch": (D, S * K), "heads": (self.size, 2)}
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(0.5 * normal(rng, *shape)))

    @property
    def rssm(self):
        return self

    def noise(self, *batch, generator):
        return torch.rand(*batch, S, generator=generator)

    def features(self, state):
        return torch.cat([state["deter"], state["stoch"].flatten(-2)], -1)

    def imagine(self, state, action, noise):
        deter = torch.tanh(torch.cat([self.features(state), action], -1) @ self.deter)
        logits = (deter @ self.stoch).unflatten(-1, (S, K))
        if noise is not None:
            logits = logits * (2 * noise[..., None] - 1)
        return {"deter": deter, "stoch": logits.softmax(-1)}

    def predict(self, features):
        reward, going_on = (features @ self.heads).unbind(-1)
        return reward, self.discount * torch.sigmoid(going_on)


class Cell(nn.Module):
    """A recurrence in one matrix."""

    def __init__(self, rng):
        super().__init__()
        self.size, self.weight = D, nn.Parameter(0.5 * normal(rng, D + S * K, D))

    def forward(self, deter, stoch, inputs):
        return torch.tanh(torch.cat([deter, stoch.flatten(1)], -1) @ self.weight + inputs)


class Logits(nn.Module):
    """A prior, or a posterior where something is seen."""

    def __init__(self, rng):
        super().__init__()
        self.weight = nn.Parameter(normal(rng, D, S * K))

    def forward(self, deter, inputs=0.0):
        return deter @ self.weight + inputs


def small_agent(ActorCritic, rng, features, kind="discrete", **config):
    """An actor-critic whose networks are single layers, the slow critic unlike the critic."""
    agent = bare(ActorCritic)
    options = {"horizon": 4, "lam": 0.8, "entropy": 0.2, "bins": 11}
    agent.config = actor_critic.Config(**options | config)
    choices = {"discrete": actor_critic.Categorical, "continuous": actor_critic.BoundedNormal}
    agent.choice = choices[kind](A)
    agent.actor = Linear(rng, features, agent.choice.outputs)
    agent.critic, agent.slow = Linear(rng, features, 11), Linear(rng, features, 11)
    agent.slow.requires_grad_(False)
    agent.two_hot, agent.range = two_hot.TwoHot(11), actor_critic.ReturnRange()
    agent.two_hot.bins = torch.linspace(-15, 15, 11)
    return agent


def windows(rng):
    """B windows of T rows: in the second one an episode ends for good and the next begins, in the
    third one the same after a time limit, and its last row ends for good."""
    first, terminated = torch.zeros(2, B, T, dtype=torch.bool)
    first[:, 0] = first[1, 3] = first[2, 2] = True
    terminated[1, 2] = terminated[2, -1] = True
    action = F.one_hot(torch.as_tensor(rng.integers(0, A, (B, T))), A) * ~first[..., None]
    reward = 3 * normal(rng, B, T) * ~first
    return Step(normal(rng, B, T, 3), action.float(), reward, first, terminated)


def states_of(rng, *batch):
    """Leaves: a random deterministic part, and latents that are nearly one-hot."""
    latent = (3 * normal(rng, *batch, S, K)).softmax(-1)
    return {"deter": leaf(normal(rng, *batch, D)), "stoch": leaf(latent)}


def answered(value, *parts):
    """What an answer returned, or an error that says what is missing from it."""
    if value is None:
        raise TypeError("it returns None: was `return` forgotten?")
    if parts and not (isinstance(value, tuple | list) and len(value) == len(parts)):
        raise TypeError(f"it must return {len(parts)} things: {', '.join(parts)}")
    return value


# 2.4.1 ------------------------------------------------------------------------------------------


def symlog_by_cases(x):
    return torch.where(x > 0, torch.log(1 + x.abs()), -torch.log(1 + x.abs()))


def symlog_by_copysign(x):
    return torch.log1p(x.abs()).copysign(x)


@exercise(
    "2.4.1",
    symlog.symlog,
    points=1,
    difficulty=1,
    minutes=5,
    gradients=True,
    hints=(
        "What would a logarithm do with 0, and with a negative number? Take it of 1 + |x|, and "
        "put the sign back afterwards.",
        "x.sign() * x.abs().log1p()",
    ),
    mistakes=(
        Mistake("the sign is lost: a debt becomes a win", "x.sign() * ", ""),
        Mistake("the 1 is left out: near 0 a logarithm goes to minus infinity", "log1p", "log"),
        Mistake(
            "this is ln(1 + x): it has no answer below -1, and is no mirror image",
            "x.sign() * x.abs().log1p()",
            "x.log1p()",
        ),
        Mistake(
            "negative numbers become 0",
            "x.abs().log1p()",
            "x.clamp(min=0).log1p()",
        ),
        Mistake(
            "the 1 is added to x, not to its size: the logarithm of a negative number",
            "x.abs().log1p()",
            "x.log1p()",
        ),
        Mistake("this is symexp, which undoes symlog", "log1p()", "expm1()"),
        Mistake(
            "the logarithm is to base 10; the slope at 0 is then not 1",
            "x.abs().log1p()",
            "(x.abs() + 1).log10()",
        ),
        Mistake(
            "large numbers are cut off, not squashed: their order is lost",
            "x.sign() * x.abs().log1p()",
            "x.clamp(-1, 1)",
        ),
    ),
    alternatives=(symlog_by_cases, symlog_by_copysign),
)
def _(symlog, rng):
    small, x = normal(rng, 2, 4), leaf(normal(rng, 6))
    huge = torch.tensor([1e4, -1e6, 1e8, -3e-3, 0.0]) * uniform(rng, 5)
    weight = normal(rng, 6)
    found = {"symlog(x)": symlog(small), "symlog of large and tiny numbers": symlog(huge)}
    return found | gradients(weight * answered(symlog(x)), numbers=[x])


BINS = two_hot.exponential_bins(255)

# 2.4.2 ------------------------------------------------------------------------------------------


def two_hot_by_searching(value, bins):
    above = torch.searchsorted(bins, value.contiguous()).clamp(1, len(bins) - 1)
    share = (value - bins[above - 1]) / (bins[above] - bins[above - 1])
    share = share.clamp(0, 1)[..., None]
    target = torch.zeros(*value.shape, len(bins), dtype=value.dtype)
    target.scatter_(-1, above[..., None] - 1, 1 - share)
    return target.scatter_(-1, above[..., None], share)


def two_hot_by_steps(value, bins):
    # How far the value has come through each gap: 1 in the gaps below it, 0 in those above.
    come = ((value[..., None] - bins[:-1]) / (bins[1:] - bins[:-1])).clamp(0, 1)
    one, zero = torch.ones_like(come[..., :1]), torch.zeros_like(come[..., :1])
    return torch.cat([one, come], -1) - torch.cat([come, zero], -1)


def two_hot_by_distances(value, bins):
    last = len(bins) - 1
    below = ((bins <= value[..., None]).sum(-1) - 1).clamp(0, last)
    above = (len(bins) - (bins > value[..., None]).sum(-1)).clamp(0, last)
    same = below == above  # beyond the bins
    down = torch.where(same, 1.0, (bins[below] - value).abs())
    up = torch.where(same, 1.0, (bins[above] - value).abs())
    low, high = (up / (down + up))[..., None], (down / (down + up))[..., None]
    return low * F.one_hot(below, last + 1) + high * F.one_hot(above, last + 1)


GAP = """    gap = bins[below + 1] - bins[below]
    share = ((value - bins[below]) / gap)"""


@exercise(
    "2.4.2",
    two_hot.two_hot,
    points=3,
    difficulty=3,
    minutes=25,
    hints=(
        "First the bin below each value. How many bins are not above it? "
        "(bins <= value[..., None]).sum(-1) counts them; torch.searchsorted finds the same.",
        "Values beyond the bins need no case of their own: clamp the index of the bin below to 0 "
        "and V - 2, and the share of the bin above to 0 and 1.",
        "share = (value - bins[below]) / (bins[below + 1] - bins[below]). The bin above gets "
        "`share`, the bin below 1 - share; F.one_hot(below, V) is a row of zeros with a 1 in it.",
    ),
    mistakes=(
        Mistake(
            "the two shares are swapped: the nearer bin must get more",
            "(1 - share) * F.one_hot(below, len(bins)) + share * ",
            "share * F.one_hot(below, len(bins)) + (1 - share) * ",
        ),
        Mistake(
            "all mass goes to the nearest bin: the mean is then that bin, not the value",
            ".clamp(0, 1)[..., None]",
            ".clamp(0, 1)[..., None].round()",
        ),
        Mistake(
            "both neighbours get one half, wherever the value lies between them",
            ".clamp(0, 1)[..., None]",
            ".clamp(0.5, 0.5)[..., None]",
        ),
        Mistake(
            "the mass stands one bin too high: count the bins that are not above, less 1",
            ".sum(-1) - 1)",
            ".sum(-1))",
        ),
        Mistake(
            "beyond the first and the last bin a share is negative: clamp it to 0 and 1",
            ".clamp(0, 1)[..., None]",
            "[..., None]",
        ),
        Mistake(
            "the shares are measured in symlog space; they must be those of the bins themselves, "
            "or the mean is not the value",
            GAP,
            """    bins, value = (x.sign() * x.abs().log1p() for x in (bins, value))
    share = ((value - bins[below]) / (bins[below + 1] - bins[below]))""",
        ),
        Mistake(
            "the symlog of the value is encoded; these bins are spaced for the value as it is",
            "    below = ((bins",
            "    value = value.sign() * value.abs().log1p()\n    below = ((bins",
        ),
        Mistake(
            "all gaps are taken to be as wide as the first; the bins may lie at any distance",
            "gap = bins[below + 1] - bins[below]",
            "gap = bins[1] - bins[0]",
        ),
        Mistake("a distance is taken for a share: divide it by the gap", " / gap)", ")"),
    ),
    alternatives=(two_hot_by_searching, two_hot_by_steps, two_hot_by_distances),
    equivalents={
        "below = ((bins <= value[..., None]).sum(-1) - 1).clamp(0, len(bins) - 2) -> "
        "below = ((bins < value[..., None]).sum(-1) - 1).clamp(0, len(bins) - 2)": "a value on a "
        "bin is all of the way through the gap below it, and none of the way through the next"
    },
    atol=1e-5,
)
def _(two_hot, rng):
    bins = normal(rng, 6).sort().values
    inside = bins[0] + (bins[-1] - bins[0]) * uniform(rng, 2, 5)
    found = {"values between the bins": two_hot(inside, bins)}
    found["values on the bins"] = two_hot(bins.flip(0), bins)
    found["values beyond the bins"] = two_hot(torch.tensor([-9.0, 9.0, -50.0, 50.0]), bins)
    found["one number"] = two_hot(inside[0, 0], bins)
    exact = two_hot(inside.double(), bins.double())
    found |= {"float64": exact, "float64 comes back": exact.dtype == torch.float64}
    # The bins of a head, and values that would be large for any other.
    sizes = torch.tensor([1e-3, 1.0, 30.0, 1e4, 1e6, 1e8, 1e9])
    value = sizes * (1 + uniform(rng, 7)) * normal(rng, 7).sign()
    target = answered(two_hot(value, BINS))
    found["values up to 1e9"] = target
    return found | {"means of their distributions": target.double() @ BINS.double()}


# 2.4.3 ------------------------------------------------------------------------------------------


def mean_by_three_parts(self, log_probs):
    probs, bins, n = log_probs.exp(), self.bins, len(self.bins)
    m = n // 2
    low, high = (probs * bins)[..., :m], (probs * bins)[..., n - m :]
    middle = (probs * bins)[..., m : n - m].sum(-1)
    return middle + (low.flip(-1) + high).sum(-1)


def mean_in_double(self, log_probs):
    terms = log_probs.double().exp() * self.bins.double()
    return ((terms + terms.flip(-1)).sum(-1) / 2).float()


@exercise(
    "2.4.3",
    two_hot.TwoHot.mean,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "With equal probabilities every bin and its mirror cancel exactly, if those two are added "
        "before anything else is.",
        "half = V // 2. The lower half is probs[..., :half]; .flip(-1) puts each bin beside its "
        "mirror in the upper half, probs[..., -half:].",
        "((upper - lower.flip(-1)) * self.bins[-half:]).sum(-1)",
    ),
    mistakes=(
        Mistake(
            "the bins are summed as they come: what cancels leaves a rounding error, so that a "
            "fresh head does not predict 0",
            "return surplus @ self.bins[-half:]",
            "return (probs * self.bins).sum(-1)",
        ),
        Mistake(
            "the bins are summed as they come, by a product: what cancels leaves a rounding error, "
            "so that a fresh head does not predict 0",
            "return surplus @ self.bins[-half:]",
            "return probs @ self.bins",
        ),
        Mistake(
            "log-probabilities are taken for probabilities: .exp() first",
            "log_probs.exp()",
            "log_probs",
        ),
        Mistake(
            "the mean is taken of the bins' symlogs, as in the code of 2023; these are averaged as "
            "they are",
            "    return surplus @ self.bins[-half:]",
            "    mean = surplus @ self.bins[-half:].log1p()\n"
            "    return mean.sign() * mean.abs().expm1()",
        ),
        Mistake(
            "the most likely bin is taken; the mean lies between bins",
            "return surplus @ self.bins[-half:]",
            "return self.bins[log_probs.argmax(-1)] + 0 * log_probs.sum(-1)",
        ),
        Mistake(
            "the lower half is not turned round: the first bin's mirror is the last one",
            ".flip(-1)",
            "",
        ),
        Mistake(
            "the sign is upside down: mass in the upper half makes the mean larger",
            "return surplus",
            "return -surplus",
        ),
        Mistake("only the upper half is counted", " - probs[..., :half].flip(-1)", ""),
    ),
    alternatives=(mean_by_three_parts, mean_in_double),
)
def _(TwoHot, rng):
    found = {}
    for number in (255, 254, 5, 4):
        head, name = TwoHot(number), f"{number} bins"
        same = torch.zeros(2, number).log_softmax(-1)
        found[f"a head that starts at zero, {name}"] = head.mean(same)
        half, middle = normal(rng, 2, 3, number // 2), normal(rng, 2, 3, number % 2)
        mirrored = torch.cat([half, middle, half.flip(-1)], -1).log_softmax(-1)
        found[f"probabilities that are their own mirror image, {name}"] = head.mean(mirrored)
        value = torch.tensor([0.7, 40.0, 1e4, 1e6, 1e8]) * (1 + uniform(rng, 5))
        value = value * normal(rng, 5).sign()
        target = two_hot.two_hot(value, head.bins).log()
        found[f"means of two-hot targets, {name}"] = head.mean(target)
        # More mass on one side, so that what is left of the sum is not its rounding.
        tilt = 2 * torch.linspace(-1, 1, number).sign() * torch.tensor([1.0, -1.0])[:, None]
        logits = leaf(normal(rng, 2, number) + tilt)
        mean = answered(head.mean(logits.log_softmax(-1)))
        found[f"means of random probabilities, {name}"] = mean
        # Of the mean in units of its size: at bins next to it, the rest would be rounding.
        back = gradients(mean / mean.detach().abs(), logits=[logits])
        found |= {f"{key}, {name}": value for key, value in back.items()}
    return found


# 2.4.4 ------------------------------------------------------------------------------------------


def unimix_by_lerp(logits, share):
    uniform = torch.full_like(logits, 1 / logits.size(dim=-1))
    return torch.lerp(F.softmax(logits, dim=-1), uniform, share)


def unimix_by_hand(logits, share):
    weights = (logits - logits.amax(-1, keepdim=True)).exp()
    mixed = weights * (1 - share) / weights.sum(-1, keepdim=True)
    return mixed + share / logits.shape[-1]


@exercise(
    "2.4.4",
    one_hot.unimix,
    core=False,
    points=1,
    difficulty=1,
    minutes=5,
    gradients=True,
    hints=(
        "Two distributions, each of which sums to 1: the network's, and one that gives every class "
        "1 / K. How much of each?",
        "(1 - share) * logits.softmax(-1) + share / K, and K is logits.shape[-1].",
    ),
    mistakes=(
        Mistake(
            "each class gets the whole share: it is divided among all K",
            "share / logits.shape[-1]",
            "share",
        ),
        Mistake(
            "the network's part is not scaled down: the sum is more than 1", "(1 - share) * ", ""
        ),
        Mistake(
            "the two parts are swapped: `share` belongs to the uniform distribution",
            "(1 - share) * logits.softmax(-1) + share / logits.shape[-1]",
            "share * logits.softmax(-1) + (1 - share) / logits.shape[-1]",
        ),
        Mistake(
            "the uniform part is added to the logits; it is the probabilities that are mixed",
            "(1 - share) * logits.softmax(-1) + share / logits.shape[-1]",
            "((1 - share) * logits + share / logits.shape[-1]).softmax(-1)",
        ),
        Mistake(
            "probabilities are cut off from below, not mixed: they do not sum to 1, and below the "
            "floor no gradient flows",
            "(1 - share) * logits.softmax(-1) + share / logits.shape[-1]",
            "logits.softmax(-1).clamp(min=share / logits.shape[-1])",
        ),
        Mistake(
            "the logarithm is returned; probabilities are asked for",
            "(1 - share) * logits.softmax(-1) + share / logits.shape[-1]",
            "((1 - share) * logits.softmax(-1) + share / logits.shape[-1]).log()",
        ),
        Mistake(
            "the share is 1 %, whatever the argument says",
            "(1 - share) * logits.softmax(-1) + share / logits.shape[-1]",
            "0.99 * logits.softmax(-1) + 0.01 / logits.shape[-1]",
        ),
        Mistake(
            "the softmax runs over another axis than the classes, which are the last one",
            "softmax(-1)",
            "softmax(0)",
        ),
    ),
    alternatives=(unimix_by_lerp, unimix_by_hand),
)
def _(unimix, rng):
    logits, weight, found = leaf(2 * normal(rng, B, S, K)), normal(rng, B, S, K), {}
    for share in (0.0, 0.01, float(rng.uniform(0.1, 0.9)), 1.0):
        mixed = answered(unimix(logits, share))
        found[f"share {share:.2f}"] = mixed
        back = gradients((weight * mixed).sum(), logits=[logits])
        found |= {f"{name}, share {share:.2f}": value for name, value in back.items()}
    found["logits of 1000 and -1000"] = unimix(1000 * normal(rng, B, 5).sign(), 0.1)
    return found


# 2.4.5 ------------------------------------------------------------------------------------------


def kl_by_maximum(self, posterior, prior):
    free = torch.tensor(self.config.free_nats)
    p, q = (self.rssm.latent.probability(logits) for logits in (posterior, prior))

    def divergence(p, q):
        return torch.maximum((p * (p / q).log()).flatten(-2).sum(-1), free)

    return divergence(p.detach(), q), divergence(p, q.detach())


def kl_by_where(self, posterior, prior):
    free, losses = self.config.free_nats, []
    for p, q in ((posterior.detach(), prior), (posterior, prior.detach())):
        kl = self.rssm.latent.kl(p, q)
        losses.append(torch.where(kl > free, kl, torch.full_like(kl, free)))
    return tuple(losses)


def losses(
    dyn="posterior.detach(), prior", rep="posterior, prior.detach()", clip="clamp(min=free)"
):
    """The two lines of `kl` in which most mistakes are made."""
    return f"    dyn = latent.kl({dyn}).{clip}\n    rep = latent.kl({rep}).{clip}\n"


EACH_LATENT = """    kls = []
    for p, q in ((posterior.detach(), prior), (posterior, prior.detach())):
        p, q = latent.probability(p), latent.probability(q)
        kls.append((p * (p.log() - q.log())).sum(-1).clamp(min=free).sum(-1))
    dyn, rep = kls
"""


UNMIXED = """    kls = []
    for p, q in ((posterior.detach(), prior), (posterior, prior.detach())):
        p, q = (logits.unflatten(-1, latent.shape).log_softmax(-1) for logits in (p, q))
        kls.append((p.exp() * (p - q)).sum((-2, -1)).clamp(min=free))
    dyn, rep = kls
"""


@exercise(
    "2.4.5",
    dreamer_v3.DreamerV3.kl,
    points=3,
    difficulty=3,
    minutes=20,
    gradients=True,
    hints=(
        "One divergence, taken twice. Only the place of .detach() tells the two losses apart: who "
        "learns from the first, who from the second?",
        "self.rssm.latent.kl(posterior.detach(), prior) is [B, T] and trains the prior alone.",
        "Free bits: .clamp(min=self.config.free_nats) of each of the two, before any mean.",
    ),
    mistakes=(
        Mistake(
            "the stop-gradients are on the wrong sides, or the two losses in the wrong order: the "
            "dynamics loss comes first and trains the prior, the other one the posterior",
            losses(),
            losses("posterior, prior.detach()", "posterior.detach(), prior"),
        ),
        Mistake(
            "nothing is detached: both losses train both sides",
            losses(),
            losses("posterior, prior", "posterior, prior"),
        ),
        Mistake(
            "both sides are detached: nothing learns from the divergence",
            losses(),
            losses(*2 * ["posterior.detach(), prior.detach()"]),
        ),
        Mistake(
            "free bits are applied after averaging: one surprising step then pays for all others",
            losses(),
            losses(clip="mean().clamp(min=free)"),
        ),
        Mistake(
            "each latent has free bits of its own; they clip the sum over latents",
            losses(),
            EACH_LATENT,
        ),
        Mistake(
            "the free nats are taken off; they are a floor, below which a divergence counts as it",
            losses(),
            losses(clip="sub(free).clamp(min=0.0)"),
        ),
        Mistake(
            "the free nats cut off from above: use clamp(min=...)",
            losses(),
            losses(clip="clamp(max=free)"),
        ),
        Mistake(
            "free bits are left out: where the prior is already good, the posterior is still "
            "punished for what it tells",
            losses(),
            losses(clip="clamp(min=0.0)"),
        ),
        Mistake(
            "the free nats are 1, whatever config.free_nats says",
            losses(),
            losses(clip="clamp(min=1.0)"),
        ),
        Mistake(
            "unimix is left out: self.rssm.latent.kl mixes the logits' softmax with 1 % uniform",
            losses(),
            UNMIXED,
        ),
        Mistake(
            "prior and posterior have changed places: the posterior comes first",
            losses(),
            losses("prior, posterior.detach()", "prior.detach(), posterior"),
        ),
        Mistake(
            "the scales of the two losses are in here already; they come later",
            "return dyn, rep",
            "return self.config.dyn * dyn, self.config.rep * rep",
        ),
    ),
    alternatives=(kl_by_maximum, kl_by_where),
)
def _(DreamerV3, rng):
    free, found = float(rng.uniform(0.6, 1.2)), {}
    recurrence = SimpleNamespace(latent=rssm.Categoricals(S, K, 0.01))
    config = dreamer_v3.Config(free_nats=free, dyn=0.7, rep=0.3)
    world = bare(DreamerV3, rssm=recurrence, config=config)
    prior = leaf(normal(rng, B, T, S * K))
    # From equal to far apart, so that some steps are free and some are not.
    far = torch.linspace(0.0, 3.0, B * T).view(B, T, 1)
    posterior = leaf(prior.detach() + far * normal(rng, B, T, S * K))
    weight, names = uniform(rng, B, T), ("dynamics", "representation")
    both = answered(world.kl(posterior, prior), *names)
    for name, loss in zip(names, both, strict=True):
        found[f"{name} loss"] = loss
        back = gradients((weight * loss).sum(), prior=[prior], posterior=[posterior])
        found |= {f"{name} loss: {key}": value for key, value in back.items()}
    # One surprise in one latent, all else as expected.
    prior = torch.zeros(2, 2, S * K)
    posterior = prior.clone()
    posterior[0, 1, 0] = 6.0
    for name, loss in zip(names, world.kl(posterior, prior), strict=True):
        found[f"{name} loss with one surprise"] = loss
    return found


# 2.4.6 ------------------------------------------------------------------------------------------


def objective_by_terms(self, batch, states, posterior):
    features = torch.cat([states["deter"], states["stoch"].flatten(2)], dim=-1)
    goes_on = self.discount * (1.0 - batch.terminated.float())
    logit = self.cont(features)[..., 0]
    lost = F.softplus(logit) - goes_on * logit
    dyn, rep = self.kl(posterior, self.rssm.prior(states["deter"]))
    log_probs = torch.log_softmax(self.reward(features), dim=-1)
    loss = self.config.dyn * dyn.mean()
    parts = {"dynamics": loss.detach()}
    for name, cost in {
        "representation": self.config.rep * rep,
        "continuation": lost,
        "reward": self.two_hot.loss(log_probs, batch.reward),
        "reconstruction": self.codec.loss(self.codec.decode(features), batch.observation),
    }.items():
        loss, parts[name] = loss + cost.mean(), cost.mean().detach()
    return loss, parts


SCALED = """        "dynamics": self.config.dyn * dyn,
        "representation": self.config.rep * rep,
"""


@exercise(
    "2.4.6",
    dreamer_v3.DreamerV3.objective,
    core=False,
    points=4,
    difficulty=3,
    minutes=30,
    gradients=True,
    hints=(
        "features = self.features(states), then five tensors [B, T], and only then the means. The "
        "docstring names the call for each.",
        "The prior of each row is self.rssm.prior(states['deter']): the deterministic state knows "
        "the past, not yet the observation. self.kl gives both divergences.",
        "The reward head's logits need .log_softmax(-1). For the continuation: "
        "F.binary_cross_entropy_with_logits(logits.squeeze(-1), target, reduction='none') with the "
        "target self.discount * ~batch.terminated.",
    ),
    mistakes=(
        Mistake(
            "continuation is learned without gamma: its target is gamma (1 - terminated)",
            "self.discount * ~batch.terminated",
            "(~batch.terminated).float()",
        ),
        Mistake(
            "the end is learned, not the continuation: the target is upside down",
            "self.discount * ~batch.terminated",
            "self.discount * batch.terminated",
        ),
        Mistake(
            "gamma is put where an episode ended, too: there the target is 0",
            "self.discount * ~batch.terminated",
            "self.discount * torch.ones_like(batch.reward)",
        ),
        Mistake(
            "rows that begin an episode are taken for its end: terminated is what counts",
            "self.discount * ~batch.terminated",
            "self.discount * ~batch.first",
        ),
        Mistake("the scale of the dynamics loss is left out", "self.config.dyn * dyn", "dyn"),
        Mistake("the scale of the representation loss is left out", "self.config.rep * rep", "rep"),
        Mistake(
            "both scales are left out",
            SCALED,
            SCALED.replace("self.config.dyn * ", "").replace("self.config.rep * ", ""),
        ),
        Mistake(
            "the two scales are swapped",
            SCALED,
            SCALED.replace("config.dyn", "config.rep", 1).replace(
                "config.rep * rep", "config.dyn * rep"
            ),
        ),
        Mistake(
            "the symlog of the reward is the target; two-hot bins hold rewards as they are",
            "self.two_hot.loss(reward, batch.reward)",
            "self.two_hot.loss(reward, batch.reward.sign() * batch.reward.abs().log1p())",
        ),
        Mistake(
            "the reward head's logits are taken for log-probabilities: .log_softmax(-1) first",
            ".log_softmax(-1)",
            "",
        ),
        Mistake(
            "rewards are learned by squared error; that is what two-hot is there to avoid",
            "self.two_hot.loss(reward, batch.reward)",
            "(self.two_hot.mean(reward) - batch.reward).square()",
        ),
        Mistake(
            "rewards are shifted by one step: a reward stands in the row of the state it came with",
            "self.two_hot.loss(reward, batch.reward)",
            "self.two_hot.loss(reward, batch.reward.roll(-1, 1))",
        ),
        Mistake(
            "the first row of an episode is left out of the reward's loss; here it counts, as 0",
            "self.two_hot.loss(reward, batch.reward)",
            "self.two_hot.loss(reward, batch.reward).masked_fill(batch.first, 0.0)",
        ),
        Mistake(
            "prior and posterior have changed places in kl",
            '= self.kl(posterior, self.rssm.prior(states["deter"]))',
            '= self.kl(self.rssm.prior(states["deter"]), posterior)',
        ),
        Mistake(
            "the prior is cut off from its gradient, so that the dream never learns",
            'dyn, rep = self.kl(posterior, self.rssm.prior(states["deter"]))',
            'dyn, rep = self.kl(posterior, self.rssm.prior(states["deter"]).detach())',
        ),
        Mistake("the parts still hang on the graph: keep part.detach()", "part.detach()", "part"),
        Mistake(
            "the heads see features without a gradient: reward and continuation then teach the "
            "recurrence nothing",
            "    features = self.features(states)\n    dyn",
            "    features = self.features(states).detach()\n    dyn",
        ),
    ),
    alternatives=(objective_by_terms,),
)
def _(DreamerV3, rng):
    prior, latent = Linear(rng, D, S * K), rssm.Categoricals(S, K, 0.03)
    size, head = D + S * K, two_hot.TwoHot(11)
    heads = {"reward": Linear(rng, size, 11), "cont": Linear(rng, size, 1)}
    config = dreamer_v3.Config(free_nats=0.8, dyn=0.7, rep=0.3, horizon=8)
    parts = {"codec": Codec(rng, size, 3), "two_hot": head, "config": config, **heads}
    world = bare(DreamerV3, rssm=SimpleNamespace(prior=prior, latent=latent), **parts)
    batch, states = windows(rng), states_of(rng, B, T)
    far = torch.linspace(0.0, 2.0, B * T).view(B, T, 1)
    near = prior(states["deter"]).detach()
    posterior = leaf(near + far * normal(rng, B, T, S * K))
    loss, parts = answered(world.objective(batch, states, posterior), "the loss", "the parts")
    names = ("reconstruction", "reward", "continuation", "dynamics", "representation")
    if missing := [name for name in names if name not in parts]:
        raise TypeError(f"the parts have no {missing[0]}; their names are {', '.join(names)}")
    found = {name: parts[name] for name in names} | {"loss": loss, "parts": len(parts)}
    found["a part hangs on the graph"] = any(part.requires_grad for part in parts.values())
    return found | gradients(
        loss,
        prior=list(prior.parameters()),
        posterior=[posterior],
        reward_head=list(world.reward.parameters()),
        continuation_head=list(world.cont.parameters()),
        decoder=list(world.codec.parameters()),
        deterministic_states=[states["deter"]],
        stochastic_states=[states["stoch"]],
    )


# 2.4.7 ------------------------------------------------------------------------------------------


def lambda_return_by_rows(reward, discount, value, lam):
    lam = lam + torch.zeros_like(reward)
    last = value[:, -1]
    returns = torch.zeros_like(reward[:, 1:])
    for t in range(reward.shape[1] - 2, -1, -1):
        mixed = (1 - lam[:, t + 1]) * value[:, t + 1] + lam[:, t + 1] * last
        last = reward[:, t + 1] + discount[:, t + 1] * mixed
        returns[:, t] = last
    return returns


def lambda_return_by_differences(reward, discount, value, lam):
    # v_t plus all later temporal differences, as in generalised advantage estimation.
    decay = (discount * lam)[:, 1:]
    delta = reward[:, 1:] + discount[:, 1:] * value[:, 1:]
    advantage, found = torch.zeros_like(delta[:, 0]), []
    for t in reversed(range(delta.shape[1])):
        found.insert(0, delta[:, t] + decay[:, t] * advantage)
        advantage = found[0] - value[:, t]
    return torch.stack(found, dim=1)


@exercise(
    "2.4.7",
    actor_critic.lambda_return,
    points=3,
    difficulty=3,
    minutes=25,
    gradients=True,
    hints=(
        "Write R_t for the last t, T - 2, first: all it needs is row T - 1 and the value there.",
        "Go backwards and keep the last return. Everything that R_t uses, reward, discount, value "
        "and λ, stands in row t + 1.",
        "after = value[:, -1]; for t in reversed(range(T - 1)): after = reward[:, t + 1] + "
        "discount[:, t + 1] * ((1 - lam) * value[:, t + 1] + lam * after). With λ by rows, lam is "
        "lam[:, t + 1]. Turn the list round at the end.",
    ),
    mistakes=(
        Mistake(
            "the value of the wrong state is used: the one that bootstraps R_t is v_{t+1}",
            "(discount * (1 - lam) * value)[:, 1:]",
            "(discount * (1 - lam))[:, 1:] * value[:, :-1]",
        ),
        Mistake(
            "rewards and discounts of row t are used; rows arrive, so those of row t + 1 followed",
            "    later = reward[:, 1:] + (discount * (1 - lam) * value)[:, 1:]\n"
            "    carry = (discount * lam)[:, 1:]\n",
            "    later = reward[:, :-1] + (discount[:, :-1] * ((1 - lam) * value)[:, 1:])\n"
            "    carry = (discount * lam)[:, :-1]\n",
        ),
        Mistake(
            "the reward of the wrong row is used: r_{t+1} is what followed state t",
            "later = reward[:, 1:]",
            "later = reward[:, :-1]",
        ),
        Mistake(
            "discounts are off by one: d_{t+1} says whether the episode goes on in state t + 1",
            "    later = reward[:, 1:] + (discount * (1 - lam) * value)[:, 1:]\n"
            "    carry = (discount * lam)[:, 1:]\n",
            "    later = reward[:, 1:] + (discount[:, :-1] * ((1 - lam) * value)[:, 1:])\n"
            "    carry = (discount * lam)[:, :-1]\n",
        ),
        Mistake(
            "nothing is bootstrapped at the end: after the last row comes its value, not 0",
            "returns = [value[:, -1]]",
            "returns = [torch.zeros_like(value[:, -1])]",
        ),
        Mistake(
            "the end is bootstrapped from the first value, not from the last",
            "returns = [value[:, -1]]",
            "returns = [value[:, 0]]",
        ),
        Mistake(
            "lam and 1 - lam are swapped: with lam = 0 a return is one reward and a value",
            "    later = reward[:, 1:] + (discount * (1 - lam) * value)[:, 1:]\n"
            "    carry = (discount * lam)[:, 1:]\n",
            "    later = reward[:, 1:] + (discount * lam * value)[:, 1:]\n"
            "    carry = (discount * (1 - lam))[:, 1:]\n",
        ),
        Mistake(
            "the later return is not discounted, so that rewards leak in from beyond an end",
            "carry = (discount * lam)[:, 1:]",
            "carry = (torch.ones_like(discount) * lam)[:, 1:]",
        ),
        Mistake(
            "the value is not discounted, so that it counts beyond an end",
            "(discount * (1 - lam) * value)",
            "((1 - lam) * value)",
        ),
        Mistake(
            "the returns are in reverse order: they were made backwards",
            "returns[:0:-1]",
            "returns[1:]",
        ),
        Mistake(
            "the last value is returned as one more row: T rows give T - 1 returns",
            "returns[:0:-1]",
            "returns[::-1]",
        ),
        Mistake(
            "lam is taken for one number; it may be a tensor [B, T]: R_t needs lam[:, t + 1]",
            "    later =",
            "    lam = torch.nan if isinstance(lam, Tensor) else lam\n    later =",
        ),
        Mistake(
            "the first row of lam is used for all; it may differ from row to row",
            "    later =",
            "    lam = lam[:, :1] if isinstance(lam, Tensor) else lam\n    later =",
        ),
        Mistake(
            "lam is off by one: R_t needs that of row t + 1, as of all else",
            "    later =",
            "    lam = lam.roll(1, 1) if isinstance(lam, Tensor) else lam\n    later =",
        ),
    ),
    alternatives=(lambda_return_by_rows, lambda_return_by_differences),
)
def _(lambda_return, rng):
    found, right = {}, True
    for steps in (2, T):
        reward, value = normal(rng, B, steps), normal(rng, B, steps)
        discount = 0.5 + 0.5 * uniform(rng, B, steps)
        discount[0, steps // 2] = 0.0  # an episode ends there
        # The first has one right answer that needs no recursion, so that it tells most.
        for lam in (0.0, 1.0, float(rng.uniform(0.2, 0.8))):
            returns = answered(lambda_return(reward, discount, value, lam))
            target = actor_critic.lambda_return(reward, discount, value, lam)
            right &= returns.shape == target.shape and torch.allclose(returns, target, atol=1e-5)
            found[f"{steps} rows, lam = {lam:.2f}"] = returns
    reward, value, discount = (leaf(x) for x in (*normal(rng, 2, B, T), uniform(rng, B, T)))
    returns = lambda_return(reward, discount, value, 0.7)
    weighted = returns * torch.linspace(1, 2, returns.shape[1])
    found |= gradients(weighted, rewards=[reward], discounts=[discount], values=[value])
    # Nothing arrived before row 0 that a return could use.
    before = torch.full((B, 1), torch.nan)
    rows = [torch.cat([before, x[:, 1:]], 1) for x in (reward, discount, value)]
    found["row 0 holds nothing that counts"] = lambda_return(*rows, 0.7)
    # Only who is right with numbers has to be right with rows: one mistake at a time.
    by_row, lam = torch.full((B, T - 1), torch.nan), uniform(rng, B, T)
    if right:
        with contextlib.suppress(RuntimeError, TypeError, ValueError):
            by_row = lambda_return(*rows, lam)
    return found | {"lam by rows": by_row}


# 2.4.8 ------------------------------------------------------------------------------------------


def update_by_sorting(self, returns):
    ordered = returns.detach().reshape(-1).sort().values
    for buffer, share in ((self.low, 0.05), (self.high, 0.95)):
        place = share * (len(ordered) - 1)
        below = int(place)
        above = min(below + 1, len(ordered) - 1)
        percentile = torch.lerp(ordered[below], ordered[above], place - below)
        buffer.mul_(1 - self.rate).add_(self.rate * percentile)
    return torch.maximum(self.high - self.low, torch.ones(()))


def update_by_new_buffers(self, returns):
    with torch.no_grad():
        low, high = torch.quantile(returns.flatten(), 0.05), torch.quantile(returns.flatten(), 0.95)
        self.low = (1 - self.rate) * self.low + self.rate * low
        self.high = (1 - self.rate) * self.high + self.rate * high
    return (self.high - self.low).clamp_min(1.0)


@exercise(
    "2.4.8",
    actor_critic.ReturnRange.update,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "torch.quantile(numbers, torch.tensor([0.05, 0.95])) wants one axis: flatten first, and "
        "detach.",
        "self.low.lerp_(low, self.rate) is the moving average, in place.",
        "The scale is that of the averages, high - low, and never less than 1: clamp(min=1).",
    ),
    mistakes=(
        Mistake(
            "the floor of 1 is left out: where all returns are alike their noise is blown up",
            ".clamp(min=1)",
            "",
        ),
        Mistake(
            "a 1 is added; the scale is the larger of the range and 1", ".clamp(min=1)", " + 1"
        ),
        Mistake(
            "the scale is cut off from above, not from below", ".clamp(min=1)", ".clamp(max=1)"
        ),
        Mistake(
            "the scale is that of this batch alone; it is the moving averages that divide",
            "return (self.high - self.low)",
            "return (high - low)",
        ),
        Mistake(
            "the percentiles of this batch replace the averages",
            "    self.low.lerp_(low, self.rate)\n    self.high.lerp_(high, self.rate)\n",
            "    self.low.copy_(low)\n    self.high.copy_(high)\n",
        ),
        Mistake(
            "the rate belongs to the new percentile; here the old average fades nearly at once",
            "    self.low.lerp_(low, self.rate)\n    self.high.lerp_(high, self.rate)\n",
            "    self.low.lerp_(low, 1 - self.rate)\n    self.high.lerp_(high, 1 - self.rate)\n",
        ),
        Mistake(
            "the averages are corrected for their start at 0; the official code does not",
            "return (self.high - self.low)",
            "return ((self.high - self.low) / self.rate)",
        ),
        Mistake(
            "the extremes are taken, so that one outlier sets the scale",
            "0.05, 0.95, 2",
            "0.0, 1.0, 2",
        ),
        Mistake("the quartiles are taken: 5 % and 95 %", "0.05, 0.95, 2", "0.25, 0.75, 2"),
        Mistake(
            "the standard deviation is taken; where returns are rare it follows the few that are "
            "large",
            "return (self.high - self.low)",
            "return returns.detach().std()",
        ),
        Mistake(
            "the scale is that before this batch: take it in first",
            "    self.low.lerp_(low, self.rate)\n    self.high.lerp_(high, self.rate)\n"
            "    return (self.high - self.low).clamp(min=1)",
            "    scale = (self.high - self.low).clamp(min=1)\n"
            "    self.low.lerp_(low, self.rate)\n    self.high.lerp_(high, self.rate)\n"
            "    return scale",
        ),
        Mistake(
            "the scale hangs on the graph of the returns: detach them",
            "returns.detach().flatten()",
            "returns.flatten()",
        ),
    ),
    alternatives=(update_by_sorting, update_by_new_buffers),
)
def _(ReturnRange, rng):
    found = {}
    # Small returns; one outlier in many; large and moved by an offset that must not matter.
    for rate in (0.01, float(rng.uniform(0.2, 0.6))):
        spread = ReturnRange(rate)
        outlier = torch.zeros(5, 7)
        outlier[2, 3] = 1e4
        batches = (0.1 * normal(rng, 4, 5), outlier, 1000 * normal(rng, 40), 50 + normal(rng, 6, 3))
        for i, returns in enumerate(batches):
            name = f"batch {i}, rate {rate:.2f}"
            scale = torch.as_tensor(answered(spread.update(leaf(returns)))).float()
            found |= {f"low after {name}": spread.low.clone()}
            found |= {f"high after {name}": spread.high.clone()}
            found[f"scale after {name}"] = scale
            found[f"a gradient is kept after {name}"] = scale.requires_grad
    return found


# 2.4.9 ------------------------------------------------------------------------------------------


def actor_loss_by_parts(self, outputs, action, advantage, weight):
    log_prob, entropy = self.choice.score(outputs, action)
    with torch.no_grad():
        scaled = weight * advantage
    reinforce = -(scaled * log_prob).mean()
    bonus = self.config.entropy * (weight * entropy).mean()
    return reinforce - bonus


@exercise(
    "2.4.9",
    actor_critic.ActorCritic.actor_loss,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "log_prob, entropy = self.choice.score(outputs, action). A loss is minimised: which sign "
        "makes an action with a positive advantage likelier?",
        "The advantage is multiplied as a number, advantage.detach(). Both terms are weighted, "
        "then comes the mean.",
        "-(weight * (log_prob * advantage.detach() + self.config.entropy * entropy)).mean()",
    ),
    mistakes=(
        Mistake(
            "the sign is upside down: minimised, this makes good actions rarer",
            "return -(weight",
            "return (weight",
        ),
        Mistake(
            "entropy is punished: a bonus is taken off the loss",
            "advantage.detach() + self",
            "advantage.detach() - self",
        ),
        Mistake("the entropy bonus is left out", " + self.config.entropy * entropy", ""),
        Mistake(
            "the entropy bonus is not scaled by config.entropy: it drowns the advantage",
            "self.config.entropy * entropy",
            "entropy",
        ),
        Mistake(
            "the entropy's scale is 3e-4, whatever config.entropy says",
            "self.config.entropy * entropy",
            "3e-4 * entropy",
        ),
        Mistake(
            "the weight is left out: steps after the dream's end count in full", "weight * (", "("
        ),
        Mistake(
            "the entropy is not weighted",
            "weight * (log_prob * advantage.detach() + self.config.entropy * entropy)",
            "weight * log_prob * advantage.detach() + self.config.entropy * entropy",
        ),
        Mistake(
            "gradients flow through the advantage: it is a number here, detach it",
            "advantage.detach()",
            "advantage",
        ),
        Mistake("the probability is used, not its logarithm", "log_prob * ", "log_prob.exp() * "),
        Mistake(
            "the mean is divided by the sum of the weights; it is a plain mean",
            "entropy)).mean()",
            "entropy)).sum() / weight.sum()",
        ),
        Mistake("the loss is summed; it is a mean over all dreams and steps", ".mean()", ".sum()"),
        Mistake(
            "advantages are standardised here; their scale was set by the range of returns",
            "    return",
            "    advantage = (advantage - advantage.mean()) / advantage.std()\n    return",
        ),
    ),
    alternatives=(actor_loss_by_parts,),
)
def _(ActorCritic, rng):
    found, (N, H) = {}, (4, 3)
    for kind in ("discrete", "continuous"):
        agent = small_agent(ActorCritic, rng, 4, kind, entropy=float(rng.uniform(0.1, 0.5)))
        outputs = leaf(normal(rng, N, H, agent.choice.outputs))
        action = normal(rng, N, H, A)
        if kind == "discrete":
            action = F.one_hot(action.argmax(-1), A).float()
        advantage, weight = leaf(2 * normal(rng, N, H)), uniform(rng, N, H)
        loss = answered(agent.actor_loss(outputs, action, advantage, weight))
        found[f"loss, {kind}"] = loss
        back = gradients(loss, outputs_of_the_actor=[outputs], advantage=[advantage])
        found |= {f"{name}, {kind}": value for name, value in back.items()}
    return found


GATHERED = "the loss gathers from as many rows as there are returns; the last one is not among them"

# 2.4.10 -----------------------------------------------------------------------------------------


def replay_loss_by_padding(self, features, batch, gamma, dreamed):
    ends = torch.cat([batch.first[:, 1:], torch.zeros_like(batch.first[:, :1])], dim=1)
    dreamed = dreamed.reshape(batch.reward.shape)
    discount = torch.where(batch.terminated, 0.0, gamma)
    lam = torch.where(ends, 0.0, self.config.lam)
    returns = actor_critic.lambda_return(batch.reward, discount, dreamed, lam)
    rows, slow = features[:, :-1], self.slow_value(features[:, :-1])
    keep = (~ends[:, :-1]).float()
    return self.critic_loss(self.critic(rows).log_softmax(dim=-1), returns, slow, keep)


@exercise(
    "2.4.10",
    actor_critic.ActorCritic.replay_loss,
    core=False,
    points=3,
    difficulty=4,
    minutes=30,
    hints=(
        "Which rows are last? Those whose next row is first: batch.first.roll(-1, 1), as a float. "
        "What it says of row T - 1 is never used.",
        "An end for good is in the discount, gamma * (1 - terminated). A border after a time limit "
        "is not: there λ is 0, so that the return ends in what was dreamed from that row.",
        "returns = lambda_return(batch.reward, discount, dreamed.view_as(batch.reward), "
        "self.config.lam * (1 - last)); then self.critic(features).log_softmax(-1) and "
        "self.slow_value(features), both [:, :-1], and the weight 1 - last[:, :-1].",
    ),
    mistakes=(
        Mistake(
            "first rows are taken for last ones: look one row ahead",
            "batch.first.roll(-1, 1).float()",
            "batch.first.float()",
        ),
        Mistake(
            "`first` is shifted the wrong way: row t is last if row t + 1 is first",
            "roll(-1, 1)",
            "roll(1, 1)",
        ),
        Mistake(
            "the critic's logits are taken for log-probabilities: .log_softmax(-1) first",
            ".log_softmax(-1)",
            "",
        ),
        Mistake(
            "only rows that terminated are last: a time limit ends an episode, too, and the next "
            "row belongs to another one",
            "batch.first.roll(-1, 1).float()",
            "batch.terminated.float()",
        ),
        Mistake(
            "a time limit is taken for death: only what terminated has no future",
            "gamma * (~batch.terminated).float()",
            "gamma * (~batch.terminated).float() * (1 - last)",
        ),
        Mistake(
            "no end counts in the discount: what terminated has no future",
            "gamma * (~batch.terminated).float()",
            "gamma * torch.ones_like(batch.reward)",
        ),
        Mistake(
            "gamma is left out",
            "gamma * (~batch.terminated).float()",
            "(~batch.terminated).float()",
        ),
        Mistake(
            "returns look across the border of an episode: lambda is 0 in its last row",
            "self.config.lam * (1 - last)",
            "self.config.lam",
        ),
        Mistake(
            "last rows have a loss of their own: what follows them is another episode",
            "1 - last[:, :-1])",
            "torch.ones_like(last[:, :-1]))",
        ),
        Mistake(
            "what was dreamed is laid out by time first; its rows are the batch's, row by row",
            "dreamed.view_as(batch.reward)",
            "dreamed.view(batch.reward.shape[::-1]).t()",
        ),
        Mistake(
            "returns end in what the slow critic expects; they end in what was dreamed",
            "dreamed = dreamed.view_as(batch.reward)",
            "dreamed = self.slow_value(features)",
        ),
        Mistake(
            "the features are cut off: this loss is the one that teaches the world, too",
            "self.critic(features)",
            "self.critic(features.detach())",
        ),
        Mistake(
            "losses stand one row too late: the return of row t is for the state of row t",
            "self.critic_loss(log_probs[:, :-1]",
            "self.critic_loss(log_probs[:, 1:]",
        ),
        Mistake(
            "lambda is left out: every return ends in the next row",
            "self.config.lam * (1 - last)",
            "0.0 * (1 - last)",
        ),
    ),
    alternatives=(replay_loss_by_padding,),
    equivalents={
        "return self.critic_loss(log_probs[:, :-1], returns, slow[:, :-1], 1 - last[:, :-1]) -> "
        "return self.critic_loss(log_probs[:, :], returns, slow[:, :-1], 1 - last[:, :-1])": (
            GATHERED
        )
    },
)
def _(ActorCritic, rng):
    agent, batch, found = small_agent(ActorCritic, rng, 5), windows(rng), {}
    features, dreamed = leaf(normal(rng, B, T, 5)), 3 * normal(rng, B, T)
    # What came before row 0, and what was dreamed from it, is no part of any return.
    batch.reward[:, 0] = dreamed[:, 0] = torch.nan
    for gamma in (1.0, float(rng.uniform(0.5, 0.9))):
        loss = answered(agent.replay_loss(features, batch, gamma, dreamed.flatten()))
        name = f"gamma = {gamma:.2f}"
        found[f"loss, {name}"] = loss
        back = gradients(loss, critic=list(agent.critic.parameters()), features=[features])
        found |= {f"{key}, {name}": value for key, value in back.items()}
    return found


# 2.4.11 -----------------------------------------------------------------------------------------


def recur_by_mask(self, state, embed, action, first, noise):
    keep = 1.0 - first.float()
    deter, stoch = state["deter"] * keep[:, None], state["stoch"] * keep[:, None, None]
    deter = self.cell(deter, stoch, action)
    logits = self.posterior(deter, embed)
    return {"stoch": self.latent.sample(logits, noise), "deter": deter}, logits


RESET = "    state = where(first, self.initial(len(first)), state)\n"
REMEMBER = '    deter = self.cell(state["deter"], state["stoch"], action)\n'


@exercise(
    "2.4.11",
    rssm.RSSM.recur,
    core=False,
    bug="late",
    points=3,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "Let two episodes with different pasts begin with the same row, and compare the states "
        "after it: deter, logits and stoch. Which of them knows the past?",
        "Read the lines in order, and ask of each which state it sees.",
        "What is reset after the cell has read it was reset too late.",
    ),
    mistakes=(
        Mistake(
            "the state is reset after the cell has read it: the last episode lives on in deter",
            RESET + REMEMBER,
            REMEMBER + RESET,
            "late",
        ),
        Mistake(
            "deter is not forgotten, stoch is",
            "self.initial(len(first))",
            'self.initial(len(first)) | {"deter": state["deter"]}',
        ),
        Mistake(
            "stoch is not forgotten, deter is",
            "self.initial(len(first))",
            'self.initial(len(first)) | {"stoch": state["stoch"]}',
        ),
        Mistake(
            "the reset is upside down: what goes on is forgotten, and what begins is kept",
            "where(first, self.initial(len(first)), state)",
            "where(first, state, self.initial(len(first)))",
        ),
        Mistake(
            "all rows are reset as soon as one begins anew",
            "where(first,",
            "where(first.any().expand_as(first),",
        ),
        Mistake(
            "the posterior reads the deterministic state before this step; it must read the new "
            "one",
            "self.posterior(deter, embed)",
            'self.posterior(state["deter"], embed)',
        ),
        Mistake(
            "the prior is asked; here an observation is there to be looked at",
            "self.posterior(deter, embed)",
            "self.prior(deter)",
        ),
        Mistake(
            "no sample is drawn: stoch is the likeliest class, whatever the noise",
            "self.latent.sample(logits, noise)",
            "self.latent.sample(logits, None)",
        ),
    ),
    alternatives=(recur_by_mask,),
)
def _(RSSM, rng):
    latent = rssm.Categoricals(S, K, 0.03)
    model = RSSM(Cell(rng), Logits(rng), Logits(rng), latent)
    state, found = states_of(rng, 4), {}
    for first in ([0, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]):
        first = torch.tensor(first, dtype=torch.bool)
        noise = None if first.all() else uniform(rng, 4, S)
        action, embed = normal(rng, 4, D) * ~first[:, None], normal(rng, 4, S * K)
        after, logits = answered(model.recur(state, embed, action, first, noise), "state", "logits")
        name = f"{first.sum()} of 4 rows begin"
        found |= {f"deter, {name}": after["deter"], f"logits, {name}": logits}
        found[f"stoch, {name}"] = after["stoch"]
        weight = normal(rng, 4, S, K)
        total = after["deter"].square().sum() + (weight * after["stoch"]).sum()
        back = gradients(total, old_deter=[state["deter"]], old_stoch=[state["stoch"]])
        found |= {f"{key}, {name}": value for key, value in back.items()}
    return found


# 2.4.12 -----------------------------------------------------------------------------------------


@torch.no_grad()
def imagine_by_decorator(self, world, starts, generator=None):
    rows, steps, like = len(starts["deter"]), self.config.horizon, starts["deter"]
    latent = world.noise(steps, rows, generator=generator)
    choice = self.choice.noise(steps, rows, like=like, generator=generator)
    features, actions = [world.features(starts)], []
    for z, a in zip(latent, choice, strict=True):
        actions.append(self.choice.sample(self.actor(features[-1]), a))
        starts = world.rssm.imagine(starts, actions[-1], z)
        features.append(world.features(starts))
    return torch.stack(features, 1), torch.stack(actions, 1)


def imagine_by_detaching(self, world, starts, generator=None):
    steps, like = self.config.horizon, starts["deter"]
    latent = world.noise(steps, len(like), generator=generator)
    choice = self.choice.noise(steps, len(like), like=like, generator=generator)
    features, actions, state = [world.features(starts).detach()], [], starts
    for t in range(steps):
        actions.append(self.choice.sample(self.actor(features[t]), choice[t]).detach())
        state = world.rssm.imagine(state, actions[t], latent[t])
        state = {name: value.detach() for name, value in state.items()}
        features.append(world.features(state))
    return torch.stack(features, dim=1), torch.stack(actions, dim=1)


DREAM = """    with torch.no_grad():
        state, features, actions = starts, [world.features(starts)], []
        for t in range(steps):
            actions.append(self.choice.sample(self.actor(features[-1]), choice[t]))
            state = world.rssm.imagine(state, actions[-1], latent[t])
            features.append(world.features(state))
"""
THROUGH = """    starts = {name: value.detach() for name, value in starts.items()}
    state, features, actions = starts, [world.features(starts)], []
    for t in range(steps):
        actions.append(self.choice.sample(self.actor(features[-1]), choice[t]))
        state = world.rssm.imagine(state, actions[-1], latent[t])
        features.append(world.features(state))
"""


@exercise(
    "2.4.12",
    actor_critic.ActorCritic.imagine,
    core=False,
    bug="through",
    points=3,
    difficulty=3,
    minutes=15,
    hints=(
        "Call loss(...).backward() of the actor-critic alone, and look at the gradients of "
        "world.rssm.prior. Whose loss should train it?",
        "The starts are cut off from the graph. What else does a dreamed state depend on?",
        "The weights of the world. Dream inside `with torch.no_grad():`.",
    ),
    mistakes=(
        Mistake(
            "gradients pass through the dream into the world: the starts are detached, but its "
            "weights are part of the graph",
            DREAM,
            THROUGH,
            "through",
        ),
        Mistake(
            "every action is chosen at the start: the actor must see the state it acts in",
            "self.actor(features[-1])",
            "self.actor(features[0])",
        ),
        Mistake(
            "the dream stands still: each step starts from where it began",
            "state = world.rssm.imagine(state,",
            "state = world.rssm.imagine(starts,",
        ),
        Mistake("the same chance comes at every step of the dream", "latent[t]", "latent[0]"),
        Mistake("the actor's dice fall the same way at every step", "choice[t]", "choice[0]"),
        Mistake(
            "the dream leaves nothing to chance: it goes on with the likeliest latents",
            "latent[t]",
            "None",
        ),
        Mistake(
            "the action of the start is repeated for ever",
            "imagine(state, actions[-1], ",
            "imagine(state, actions[0], ",
        ),
        Mistake(
            "time and rows are swapped in what is returned: rows come first",
            "torch.stack(features, 1), torch.stack(actions, 1)",
            "torch.stack(features, 0), torch.stack(actions, 0)",
        ),
    ),
    alternatives=(imagine_by_decorator, imagine_by_detaching),
)
def _(ActorCritic, rng):
    found, seed = {}, int(rng.integers(2**31))
    for kind in ("discrete", "continuous"):
        world = SmallWorld(rng)
        agent = small_agent(ActorCritic, rng, world.size, kind)
        starts, generator = states_of(rng, 5), torch.Generator().manual_seed(seed)
        dream = agent.imagine(world, starts, generator)
        features, actions = answered(dream, "features", "actions")
        found |= {f"actions, {kind}": actions, f"features, {kind}": features}
        found[f"features hang on a graph, {kind}"] = features.requires_grad
        found[f"nobody can learn from these features, {kind}"] = features.is_inference()
        found[f"actions hang on a graph, {kind}"] = actions.requires_grad
    return found


# 2.4.13 -----------------------------------------------------------------------------------------


def loss_in_steps(self, world, states, batch, generator=None):
    self.follow()
    starts = {name: value.detach().flatten(0, 1) for name, value in states.items()}
    features, actions = self.imagine(world, starts, generator)
    before = features[:, :-1]
    log_probs = self.critic(before).log_softmax(-1)
    with torch.no_grad():
        reward, discount = world.predict(features)
        value = self.two_hot.mean(self.critic(features).log_softmax(-1))
        returns = actor_critic.lambda_return(reward, discount, value, self.config.lam)
        advantage = (returns - value[:, :-1]) / self.range.update(returns)
        weight = torch.ones_like(returns)
        for t in range(weight.shape[1]):
            weight[:, t] = discount[:, : t + 1].prod(1)
    actor = self.actor_loss(self.actor(before), actions, advantage, weight)
    critic = self.critic_loss(log_probs, returns, self.slow_value(before), weight)
    replayed = self.replay_loss(world.features(states), batch, world.discount, returns[:, 0])
    replayed = self.config.replay_value * replayed
    metrics = {"actor": actor, "critic": critic, "replay value": replayed}
    metrics = {name: part.detach() for name, part in metrics.items()}
    metrics |= {"return": returns.mean(), "range": self.range.high - self.range.low}
    return actor + critic + replayed, metrics


NO_GRAPH = "made under no_grad, so that there is no graph to leave"
PARTS = (
    "parts = {{'actor': self.actor_loss(*chosen, advantage, weight[:, :-1]), 'critic': "
    "self.critic_loss(log_probs[:, {}], returns, slow[:, :-1], weight[:, :-1]), 'replay value': "
    "self.config.replay_value * self.replay_loss(*replayed)}}"
)


@exercise(
    "2.4.13",
    actor_critic.ActorCritic.loss,
    core=False,
    bug="twice",
    points=3,
    difficulty=4,
    minutes=20,
    gradients=True,
    hints=(
        "A world that pays 1 in every step for ever is worth 1 / (1 - gamma). What does this loss "
        "make of it?",
        "1 / (1 - gamma^2), about half. Where does the second gamma come from?",
        "world.predict gives a discount, not a probability: what the continuation head learned is "
        "gamma (1 - terminated).",
    ),
    mistakes=(
        Mistake(
            "gamma counts twice: it is in the continuation's target already",
            "lambda_return(reward, discount, value",
            "lambda_return(reward, world.discount * discount, value",
            "twice",
        ),
        Mistake(
            "gamma counts twice, in returns and weights: it is in the continuation's target "
            "already",
            "        value, slow",
            "        discount = world.discount * discount\n        value, slow",
        ),
        Mistake(
            "the start's own discount is missing from the weights: dreams that begin where an "
            "episode ended count in full",
            "discount.cumprod(1)",
            "torch.cat([torch.ones_like(discount[:, :1]), discount[:, 1:]], 1).cumprod(1)",
        ),
        Mistake(
            "weights are one step late: whether life goes on in state t counts for step t, too",
            "discount.cumprod(1)",
            "torch.cat([torch.ones_like(discount[:, :1]), discount[:, :-1]], 1).cumprod(1)",
        ),
        Mistake(
            "gamma is divided out; the discount is meant to hold it",
            "        value, slow",
            "        discount = discount / world.discount\n        value, slow",
        ),
        Mistake(
            "nothing weighs the steps: what comes after the dream's end counts in full",
            "discount.cumprod(1)",
            "torch.ones_like(discount)",
        ),
        Mistake(
            "each step is weighed by its own discount alone; they multiply up along the dream",
            "discount.cumprod(1)",
            "discount",
        ),
        Mistake(
            "the baseline is the value of the state after the action; it is that of the state "
            "before it",
            "returns - value[:, :-1]",
            "returns - value[:, 1:]",
        ),
        Mistake(
            "there is no baseline: the critic's value is not taken off",
            "(returns - value[:, :-1])",
            "returns",
        ),
        Mistake(
            "advantages are not divided by the range of returns",
            "(returns - value[:, :-1]) / self.range.update(returns)",
            "(returns - value[:, :-1])",
        ),
        Mistake(
            "returns are divided by their range before the baseline is taken off",
            "(returns - value[:, :-1]) / self.range.update(returns)",
            "returns / self.range.update(returns) - value[:, :-1]",
        ),
        Mistake(
            "the slow critic bootstraps the returns; here the fast one does, and the slow one is "
            "only a second target",
            "lambda_return(reward, discount, value",
            "lambda_return(reward, discount, slow",
        ),
        Mistake("the slow critic is never moved", "    self.follow()\n", ""),
        Mistake(
            "the critic's loss on replay keeps its full scale: config.replay_value is left out",
            "self.config.replay_value * ",
            "",
        ),
        Mistake(
            "the critic's loss on replay is cut off from the world; that one teaches it",
            "replayed = world.features(states),",
            "replayed = world.features(states).detach(),",
        ),
        Mistake(
            "the critic sees dreamed states one step too late",
            "self.critic_loss(log_probs[:, :-1]",
            "self.critic_loss(log_probs[:, 1:]",
        ),
        Mistake(
            "the replayed states get the return dreamed a step later: each has its own, row 0",
            "returns[:, 0]",
            "returns[:, 1]",
        ),
    ),
    alternatives=(loss_in_steps,),
    equivalents={
        "starts = {k: v.detach().flatten(0, 1) for k, v in states.items()} -> "
        "starts = {k: v.flatten(0, 1) for k, v in states.items()}": "`imagine` keeps no graph",
        "returns = lambda_return(reward, discount, value, self.config.lam) -> "
        "returns = lambda_return(reward, discount, value, self.config.lam).detach()": NO_GRAPH,
        "weight = discount.cumprod(1) -> weight = discount.cumprod(1).detach()": NO_GRAPH,
        "advantage = (returns - value[:, :-1]) / self.range.update(returns) -> "
        "advantage = ((returns - value[:, :-1]) / self.range.update(returns)).detach()": NO_GRAPH,
        f"{PARTS.format(':-1')} -> {PARTS.format(':')}": GATHERED,
    },
)
def _(ActorCritic, rng):
    seed = int(rng.integers(2**31))
    world = SmallWorld(rng)
    agent = small_agent(ActorCritic, rng, world.size, replay_value=0.4, slow_rate=0.2)
    agent.range.low.fill_(-2.0)  # so that advantages are scaled
    agent.range.high.fill_(3.0)
    states, generator = states_of(rng, B, T), torch.Generator().manual_seed(seed)
    losses = agent.loss(world, states, windows(rng), generator)
    loss, metrics = answered(losses, "the loss", "the metrics")
    found = {n: metrics[n] for n in ("return", "range", "actor", "critic", "replay value")}
    found |= {"loss": loss, "slow critic": agent.slow.weight}
    found["a metric hangs on the graph"] = any(v.requires_grad for v in metrics.values())
    return found | gradients(
        loss,
        actor=list(agent.actor.parameters()),
        critic=list(agent.critic.parameters()),
        states=list(states.values()),
        world=list(world.parameters()),
    )
