"""Lesson 4.2: probes, named mistakes, right answers written differently, hints."""

import math
from dataclasses import replace

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch.nn import functional as F

from utils.course.exercise import Mistake, exercise
from utils.course.probes import gradients, normal, seeded, uniform
from utils.data import visits
from utils.nn import context, entropy
from utils.world import Step
from utils.worlds import transdreamer, transformer_xl, twm
from utils.worlds.dreamer_v2 import Categoricals

LESSON = "4.2"
B, T, A, E = 3, 6, 2, 5  # rows, time, actions, features of an embedded observation
TSSM = transdreamer.Config(
    width=8, blocks=2, heads=2, context=7, hidden=6, stoch=2, classes=3, units=5, layers=1
)
TWM = twm.Config(
    **{"stoch": 2, "classes": 3, "width": 6, "blocks": 2, "heads": 2, "head": 4, "between": 8},
    **{"memory": 2, "context": 3, "units": 8, "layers": 1},
)
LINE, CHOICE = Box(-1, 1, (4,), np.float32), Discrete(A)


def spread(module, rng, size=0.6):
    """The module with weights of a size at which everything in it matters."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(size * normal(rng, *parameter.shape))
    return module


def borders(rng, rows=B, time=T):
    """Windows with a border in the middle, a border at the beginning, and none."""
    first = torch.zeros(rows, time, dtype=torch.bool)
    first[0, int(rng.integers(2, time - 1))] = True
    first[1, 0] = True
    first[1, int(rng.integers(2, time - 1))] = True
    return first


def tssm(Kind, rng):
    return spread(Kind(A, E, TSSM, Categoricals(TSSM.stoch, TSSM.classes)), rng)


def world(Kind, rng, **config):
    return spread(Kind(LINE, CHOICE, replace(TWM, **config)), rng)


def steps(rng, time=T):
    """Random rows, with an end and a beginning in the middle of one."""
    first, terminated = torch.zeros(2, B, time, dtype=torch.bool)
    first[0, 0] = first[1, 3] = terminated[1, 2] = terminated[2, time - 1] = True
    action = F.one_hot(torch.as_tensor(rng.integers(A, size=(B, time))), A).float()
    return Step(
        uniform(rng, B, time, 4) * 2 - 1,
        action * ~first[..., None],
        normal(rng, B, time) * ~first,
        first,
        terminated,
    )


# 4.2.1 ------------------------------------------------------------------------------------------


def attendable_by_loops(first):
    batch, time = first.shape
    seen = torch.zeros(batch, time, time, dtype=torch.bool)
    for b in range(batch):
        for t in range(time):
            for s in range(t, -1, -1):
                seen[b, t, s] = True
                if first[b, s]:
                    break
    return seen


@exercise(
    "4.2.1",
    context.attendable,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "Number the episodes of a window: two rows may see each other if their numbers agree.",
        "episode = first.cumsum(1); compare episode[:, :, None] with episode[:, None, :], and keep "
        "the lower triangle (`.tril()` takes bool too).",
    ),
    mistakes=(
        Mistake(
            "rows look into the future: only the lower triangle may be seen",
            "same & torch.ones_like(same).tril()",
            "same",
        ),
        Mistake(
            "rows look across the border of an episode",
            "same & torch.ones_like(same).tril()",
            "torch.ones_like(same).tril()",
        ),
        Mistake("a row does not see itself", ".tril()", ".tril(-1)"),
        Mistake(
            "the two axes are swapped: [b, t, s] says whether t sees s",
            ".tril()",
            ".triu()",
        ),
        Mistake(
            "the first row of an episode still belongs to the one before",
            "first.cumsum(1)",
            "first.roll(1, 1).cumsum(1)",
        ),
    ),
    alternatives=(attendable_by_loops,),
)
def _(attendable, rng):
    first = borders(rng)
    return {"who may look at whom": attendable(first), "in one row": attendable(first[:, :1])}


# 4.2.2 ------------------------------------------------------------------------------------------


def filter_by_loop(self, embed, action, first, noise):
    logits, tokens, before = self.posterior(embed), [], torch.zeros(len(embed), 0)
    stoch = self.latent.sample(logits, noise)
    before = torch.zeros_like(stoch[:, 0])
    for t in range(embed.shape[1]):
        token = torch.cat([before.flatten(1), action[:, t]], -1)
        tokens.append(torch.where(first[:, t, None], torch.zeros_like(token), token))
        before = stoch[:, t]
    tokens = torch.stack(tokens, 1)
    old = context.age(first)
    states = {"stoch": stoch, "deter": self.remember(tokens, old, context.attendable(first))}
    states.update(self.kept(tokens, old))
    return states, logits


@exercise(
    "4.2.2",
    transdreamer.TSSM.filter,
    points=4,
    difficulty=3,
    minutes=30,
    gradients=True,
    hints=(
        "Three steps: all logits and samples at once; the tokens; `self.remember`.",
        "Row t's token needs z of row t - 1. F.pad(stoch.flatten(2), (0, 0, 1, 0)) puts a row of "
        "zeros in front of all; leave out the last.",
        "tokens = torch.cat([before, action], -1).masked_fill(first[..., None], 0.0), then deter = "
        "self.remember(tokens, age(first), attendable(first)).",
    ),
    mistakes=(
        Mistake(
            "row t's token holds z_t itself: h_t would know what it shall foretell",
            "F.pad(stoch.flatten(2), (0, 0, 1, 0))[:, :-1]",
            "stoch.flatten(2)",
        ),
        Mistake(
            "the token of an episode's first row still holds what was before",
            ".masked_fill(first[..., None], 0.0)",
            "",
        ),
        Mistake(
            "attention crosses the border of an episode",
            "attendable(first))\n",
            "attendable(torch.zeros_like(first)))\n",
        ),
        Mistake(
            "positions are counted from the window's beginning, not from the episode's",
            "deter = self.remember(tokens, age(first), ",
            "deter = self.remember(tokens, age(torch.zeros_like(first)), ",
        ),
        Mistake(
            "the posterior takes its mode; it samples with the noise",
            "stoch = self.latent.sample(logits, noise)",
            "stoch = self.latent.sample(logits, None)",
        ),
        Mistake(
            "z is cut off from its gradient: then h cannot teach the posterior what to remember",
            "F.pad(stoch.flatten(2), ",
            "F.pad(stoch.detach().flatten(2), ",
        ),
        Mistake(
            "action and z stand in the wrong order in the token",
            "torch.cat([before, action], -1)",
            "torch.cat([action, before], -1)",
        ),
    ),
    alternatives=(filter_by_loop,),
)
def _(Kind, rng):
    model, first = tssm(Kind, rng), borders(rng)
    embed = normal(rng, B, T, E).requires_grad_()
    action, noise = normal(rng, B, T, A), uniform(rng, B, T, TSSM.stoch)
    states, logits = model.filter(embed, action, first, noise)
    found = {"logits": logits, **states}
    weight = normal(rng, *states["deter"].shape)
    found |= gradients((weight * states["deter"]).sum(), observations=[embed])
    mode, _ = model.filter(embed, action, first, None)
    return found | {"stoch, without noise": mode["stoch"]}


# 4.2.3 ------------------------------------------------------------------------------------------


def remember_into_place(self, tokens, position, mask):
    x = F.elu(self.enter(tokens))
    size = x.shape[-1]
    x = transdreamer.sinusoids(position, size) + x
    found = x.new_empty(*x.shape[:2], len(self.blocks), size)
    for layer, block in enumerate(self.blocks):
        x = block(x, mask.unsqueeze(1))[0]
        found[:, :, layer] = x
    return found.flatten(2)


@exercise(
    "4.2.3",
    transdreamer.TSSM.remember,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "One x goes through all blocks; keep a list of what comes out of each.",
        "x, _ = block(x, mask[:, None]); at the end torch.cat(outputs, -1).",
    ),
    mistakes=(
        Mistake(
            "only the last layer's output is returned",
            "torch.cat(outputs, -1)",
            "outputs[-1]",
        ),
        Mistake("the tokens have no position", "x = x + sinusoids(position, x.shape[-1])", "x = x"),
        Mistake(
            "the input of each layer is kept, not its output",
            "x, _ = block(x, mask[:, None])\n        outputs.append(x)",
            "outputs.append(x)\n        x, _ = block(x, mask[:, None])",
        ),
        Mistake("elu is left out", "F.elu(self.enter(tokens))", "self.enter(tokens)"),
        Mistake(
            "the mask is left out: every token sees every other",
            "mask[:, None]",
            "torch.ones_like(mask)[:, None]",
        ),
        Mistake(
            "the layers stand in the wrong order",
            "torch.cat(outputs, -1)",
            "torch.cat(outputs[::-1], -1)",
        ),
    ),
    alternatives=(remember_into_place,),
)
def _(Kind, rng):
    model, first = tssm(Kind, rng), borders(rng)
    tokens = normal(rng, B, T, TSSM.stoch * TSSM.classes + A)
    position = torch.as_tensor(rng.integers(9, size=(B, T)))
    return {"features": model.remember(tokens, position, context.attendable(first))}


# 4.2.4 ------------------------------------------------------------------------------------------


def shift_by_gather(scores):
    rows, columns = scores.shape[-2:]
    i, j = torch.arange(rows)[:, None], torch.arange(columns)
    column = (j + rows - 1 - i).clamp(max=columns - 1)
    return scores.gather(-1, column.expand_as(scores))


@exercise(
    "4.2.4",
    transformer_xl.relative_shift,
    points=3,
    difficulty=3,
    minutes=25,
    hints=(
        "Write down which distance token j has before row i: J - I + i - j. In which column r of "
        "the input does it stand? J - 1 - r is the same distance.",
        "r = j + I - 1 - i. One way is an index of these columns (clamped to J - 1) and "
        "scores.gather(-1, index).",
        "Without an index: put one zero in front of each row, flatten the last two axes, leave out "
        "the first I numbers, and read the rest in rows of J again.",
    ),
    mistakes=(
        Mistake("nothing is shifted", "padded[..., rows:]", "scores.flatten(-2)"),
        Mistake(
            "the rows are shifted by one too few",
            "padded[..., rows:]",
            "padded[..., rows - 1 : -1]",
        ),
        Mistake("the zero stands behind each row, not before", "(1, 0)", "(0, 1)"),
        Mistake(
            "the distances run the wrong way: the last column is the token itself",
            "F.pad(scores, ",
            "F.pad(scores.flip(-1), ",
        ),
    ),
    alternatives=(shift_by_gather,),
)
def _(relative_shift, rng):
    found = {}
    for rows, columns in ((5, 5), (3, 7), (1, 4)):
        shifted = relative_shift(normal(rng, 2, 3, rows, columns))
        seen = torch.ones(rows, columns).tril(columns - rows).bool()
        found[f"{rows} of {columns} tokens, what may be seen"] = shifted.masked_fill(~seen, 0.0)
    alone = relative_shift(normal(rng, 3, 4))
    return found | {"a single matrix": alone.tril(1)}


# 4.2.5 ------------------------------------------------------------------------------------------


def attend_by_einsum(self, x, memory, waves, u, v, mask):
    source = torch.cat([memory, x], 1)
    new = x.shape[1]
    q, k, w = (part.unflatten(-1, u.shape) for part in self.qkv(source).chunk(3, -1))
    q = q[:, -new:]
    r = self.distance(waves).unflatten(-1, u.shape)
    content = torch.einsum("bihd,bjhd->bhij", q + u, k)
    distance = torch.einsum("bihd,jhd->bhij", q + v, r)
    scores = self.scale * (content + transformer_xl.relative_shift(distance))
    weights = scores.masked_fill(~mask, -math.inf).softmax(-1)
    return self.out(torch.einsum("bhij,bjhd->bihd", weights, w).flatten(2))


@exercise(
    "4.2.5",
    transformer_xl.RelativeAttention.forward,
    core=False,
    points=4,
    difficulty=4,
    minutes=40,
    hints=(
        "Queries, keys and values of memory and x together; then drop the queries of the memory.",
        "`self.qkv(source).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)` is three "
        "times [B, h, J, d]. u and v are [h, d]: u[:, None] fits.",
        "The score of content may be left to F.scaled_dot_product_attention(query + u[:, None], "
        "key, value, attn_mask=bias, scale=self.scale): it adds the bias, which is the score of "
        "distance times the scale, -inf where the mask is False.",
    ),
    mistakes=(
        Mistake(
            "the scores of distance are not shifted: row i reads those of row I - 1",
            "relative_shift((query + v[:, None]) @ far.mT)",
            "((query + v[:, None]) @ far.mT)",
        ),
        Mistake(
            "the scores of distance are not scaled",
            "far.mT) * self.scale",
            "far.mT)",
        ),
        Mistake("u and v are swapped", "query + u[:, None], key", "query + v[:, None], key"),
        Mistake(
            "the mask is turned around: it is True where a token may be seen",
            "masked_fill(~mask",
            "masked_fill(mask",
        ),
        Mistake(
            "the memory asks too, and the newest tokens do not: the last I queries are theirs",
            "query[:, :, -x.shape[1] :]",
            "query[:, :, : x.shape[1]]",
        ),
        Mistake(
            "memory and new tokens stand in the wrong order",
            "torch.cat([memory, x], 1)",
            "torch.cat([x, memory], 1)",
        ),
        Mistake(
            "the last map is left out",
            "self.out(found.transpose(1, 2).flatten(2))",
            "found.transpose(1, 2).flatten(2)",
        ),
    ),
    alternatives=(attend_by_einsum,),
    equivalents={
        "far = self.distance(waves).unflatten(-1, (self.heads, -1)).transpose(0, 1) -> far = "
        "self.distance(waves).unflatten(-1, (self.heads, -1)).transpose(1, 0)": "the order of the "
        "two axes to swap does not matter",
        "far = self.distance(waves).unflatten(-1, (self.heads, -1)).transpose(0, 1) -> far = "
        "self.distance(waves).unflatten(1, (self.heads, -1)).transpose(0, 1)": "waves have two "
        "axes, so that axis 1 is the last",
        "return self.out(found.transpose(1, 2).flatten(2)) -> return "
        "self.out(found.transpose(2, 1).flatten(2))": "the order of the two axes to swap does not "
        "matter",
    },
)
def _(Kind, rng):
    found = {}
    for new, old in ((4, 0), (2, 3)):
        attention = spread(Kind(8, 2, 4, 0.3), rng)
        u, v = normal(rng, 2, 2, 4)
        x, memory, waves = normal(rng, 2, new, 8), normal(rng, 2, old, 8), normal(rng, new + old, 8)
        mask = torch.ones(new, new + old).tril(old).bool().expand(2, 1, -1, -1).clone()
        mask[1, 0, -1, 0] = False
        found[f"{new} tokens, {old} in memory"] = attention(x, memory, waves, u, v, mask)
    return found


# 4.2.6 ------------------------------------------------------------------------------------------


def words_into_place(self, rows):
    code, act, pay = rows.split(self.sizes, -1)
    steps = rows.shape[1] - 1
    sentence = self.from_z(code).new_zeros(len(rows), 3 * steps, self.config.width)
    sentence[:, 0::3] = self.from_z(code)[:, :steps]
    sentence[:, 1::3] = self.from_action(act)[:, 1:]
    sentence[:, 2::3] = self.config.rewards * self.from_reward(pay)[:, 1:]
    return sentence[:, : 3 * steps - 1]


@exercise(
    "4.2.6",
    twm.TWM.words,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "A step of the sentence is z_t, a_{t+1}, r_{t+1}: z of all rows but the last, actions and "
        "rewards of all rows but the first.",
        "torch.stack([...], 2) is [B, T - 1, 3, D]; flatten(1, 2) reads it word by word.",
        "What is too much at the end is one word, the last reward.",
    ),
    mistakes=(
        Mistake(
            "the actions are those that led to z; behind z_t stands what is done there, a_{t+1}",
            "action[:, 1:]",
            "action[:, :-1]",
        ),
        Mistake(
            "the rewards are one step late",
            "reward[:, 1:]",
            "reward[:, :-1]",
        ),
        Mistake(
            "the sentence ends with the last reward, which the model shall foretell",
            ".flatten(1, 2)[:, :-1]",
            ".flatten(1, 2)",
        ),
        Mistake(
            "reward and action are swapped: what comes of an action is read at its own word, and "
            "would see the reward",
            "action[:, 1:], reward[:, 1:]]",
            "reward[:, 1:], action[:, 1:]]",
        ),
        Mistake(
            "all codes come first, then all actions, then all rewards",
            "], 2)\n",
            "], 1)\n",
        ),
        Mistake(
            "config.rewards is not heeded",
            "self.from_reward(reward) * self.config.rewards",
            "self.from_reward(reward)",
        ),
    ),
    alternatives=(words_into_place,),
)
def _(Kind, rng):
    rows = normal(rng, B, T, sum(world(Kind, rng).sizes))
    return {
        "sentence": world(Kind, rng).words(rows),
        "without rewards": world(Kind, rng, rewards=False).words(rows),
    }


# 4.2.7 ------------------------------------------------------------------------------------------


def missing_by_distribution(logits, threshold, weight=None):
    entropy = torch.distributions.Categorical(logits=logits).entropy() / np.log(logits.shape[-1])
    mean = (entropy if weight is None else entropy * weight).mean()
    return torch.relu(threshold - mean)


@exercise(
    "4.2.7",
    entropy.missing_entropy,
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "log_softmax gives ln p; H = -(p * ln p).sum(-1). The largest H is ln K.",
        "(threshold - mean).clamp(min=0.0), where the mean is over everything at once.",
    ),
    mistakes=(
        Mistake(
            "the entropy is in nats; the threshold is a share of the largest, ln K",
            " / math.log(logits.shape[-1])",
            "",
        ),
        Mistake(
            "each distribution is held above the threshold by itself; the mean of all is",
            "(threshold - entropy.mean() / math.log(logits.shape[-1])).clamp(min=0.0)",
            "(threshold - entropy / math.log(logits.shape[-1])).clamp(min=0.0).mean()",
        ),
        Mistake(
            "there is a pull above the threshold as well; it must be 0 there",
            ".clamp(min=0.0)",
            "",
        ),
        Mistake(
            "the sign is turned around: entropy above the threshold costs",
            "(threshold - entropy.mean() / math.log(logits.shape[-1]))",
            "(entropy.mean() / math.log(logits.shape[-1]) - threshold)",
        ),
        Mistake("the weight is not heeded", "entropy = weight * entropy", "entropy = entropy"),
        Mistake(
            "the gradient is lost",
            "logits.log_softmax(-1)",
            "logits.detach().log_softmax(-1)",
        ),
    ),
    alternatives=(missing_by_distribution,),
)
def _(missing_entropy, rng):
    found = {}
    for name, size, threshold in (("much missing", 9.0, 0.7), ("nothing missing", 0.3, 0.5)):
        for weighed in (False, True):
            logits = size * normal(rng, 4, 3, 5)
            logits[0] *= 0.05  # some have more than enough
            logits.requires_grad_()
            weight = 0.6 + 0.4 * uniform(rng, 4, 3) if weighed else None
            missing = missing_entropy(logits, threshold, weight)
            key = f"{name}{', weighed' * weighed}"
            found[key] = missing
            found |= {f"{k}, {key}": v for k, v in gradients(missing, logits=[logits]).items()}
    return found


# 4.2.8 ------------------------------------------------------------------------------------------


def balanced_by_masks(self, posterior, prior, first):
    shape, config = self.latent.shape, self.config
    q, p = posterior.unflatten(-1, shape), prior.unflatten(-1, shape)
    counts = (~first[:, 1:]).double()

    def cross(target, logits):
        inner = (target.softmax(-1).detach() * logits.log_softmax(-1)).sum((-1, -2))
        return -(inner * counts).sum() / max(1, counts.sum())

    return {
        "entropy": config.entropy_scale * entropy.missing_entropy(q, config.entropy_threshold),
        "latent": cross(q[:, 1:], p),
        "consistency": cross(p, q[:, 1:]) * config.consistency_scale,
    }


@exercise(
    "4.2.8",
    twm.TWM.balanced,
    points=4,
    difficulty=3,
    minutes=30,
    gradients=True,
    rtol=1e-3,
    hints=(
        "q[:, 1:] are the codes of rows 1 to T - 1: these were predicted, column by column of p.",
        "H(sg q, p) = -(q.exp().detach() * p).sum((-2, -1)) for logarithms q and p. The other one "
        "has their roles swapped.",
        "counts = ~first[:, 1:]; the mean over what counts is (value * counts).sum() / "
        "counts.sum().clamp(min=1).",
    ),
    mistakes=(
        Mistake(
            "the latent loss moves the codes too: easy codes would be the best codes",
            "q[:, 1:].exp().detach() * p",
            "q[:, 1:].exp() * p",
        ),
        Mistake(
            "the consistency moves the prediction too",
            "p.exp().detach() * q[:, 1:]",
            "p.exp() * q[:, 1:]",
        ),
        Mistake(
            "consistency is H(q, p), not H(p, q): it drives every code to the one likeliest class",
            "-(p.exp().detach() * q[:, 1:])",
            "-(q[:, 1:].exp() * p.detach())",
        ),
        Mistake(
            "codes and predictions are one row apart: column t of the prior is about row t + 1",
            "-(q[:, 1:].exp().detach() * p)",
            "-(q[:, :-1].exp().detach() * p)",
        ),
        Mistake(
            "arrivals in first rows count, though nothing led there",
            "counts = self.config, ~first[:, 1:]",
            "counts = self.config, first[:, 1:] | True",
        ),
        Mistake(
            "the mean is over all columns, not over those that count",
            "columns = counts.sum().clamp(min=1)",
            "columns = counts.numel()",
        ),
        Mistake(
            "the scale of the consistency is left out",
            "config.consistency_scale * (consistency * counts)",
            "(consistency * counts)",
        ),
        Mistake(
            "the scale of the entropy is left out",
            "config.entropy_scale * missing_entropy",
            "missing_entropy",
        ),
    ),
    alternatives=(balanced_by_masks,),
    equivalents={
        "latent = -(q[:, 1:].exp().detach() * p).sum((-2, -1)) -> latent = -(q[:, "
        "1:].exp().detach() * p).sum((2, -1))": "of four axes, the second from the end is axis 2",
        "consistency = -(p.exp().detach() * q[:, 1:]).sum((-2, -1)) -> consistency = "
        "-(p.exp().detach() * q[:, 1:]).sum((2, -1))": "of four axes, the second from the end is "
        "axis 2",
        "columns = counts.sum().clamp(min=1) -> columns = counts.sum().clamp(min=1).detach()": "a "
        "number of columns has no gradient",
    },
)
def _(Kind, rng):
    found = {}
    for name, size in (("sure codes", 30.0), ("unsure codes", 1.0)):
        model = world(Kind, rng, entropy_threshold=0.2)
        posterior = (size * normal(rng, B, T, 6)).requires_grad_()
        prior = normal(rng, B, T - 1, 6).requires_grad_()
        parts = model.balanced(posterior, prior, borders(rng))
        for part in ("latent", "consistency", "entropy"):
            found[f"{part}, {name}"] = parts[part]
            back = gradients(parts[part], codes=[posterior], prediction=[prior])
            found |= {f"{k}, of {part}, {name}": v for k, v in back.items()}
    for name, begins in (("one column counts", False), ("no column counts", True)):
        first = torch.tensor([[False, begins]])
        parts = model.balanced(normal(rng, 1, 2, 6), normal(rng, 1, 1, 6), first)
        found |= {f"{k}, {name}": parts[k] for k in ("latent", "consistency")}
    return found


# 4.2.9 ------------------------------------------------------------------------------------------


class VisitsOneByOne(visits.Visits):
    def probability(self, rows):
        likely = torch.exp(-(self.counts[:rows] - self.counts[:rows].min()) / self.temperature)
        return likely / likely.sum()

    def draw(self, rows, batch, generator=None):
        drawn = self.probability(rows).multinomial(batch, False, generator=generator)
        for row in drawn.tolist():
            self.counts[row] = self.counts[row] + 1
        return drawn


@exercise(
    "4.2.9",
    visits.Visits,
    blank=("probability", "draw"),
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "A softmax of what? Proportional to exp(- visits / temperature).",
        "torch.multinomial(self.probability(rows), batch, generator=generator) draws without "
        "replacement; self.counts[index] += 1, because no row is drawn twice.",
    ),
    mistakes=(
        Mistake("rows with many visits are drawn more", "-self.counts", "self.counts"),
        Mistake(
            "the temperature multiplies; it divides", " / self.temperature", " * self.temperature"
        ),
        Mistake(
            "rows that do not exist yet are drawn too",
            "self.counts[:rows]",
            "self.counts",
        ),
        Mistake("visits are not counted", "self.counts[index] += 1", "self.counts[index] += 0"),
        Mistake(
            "rows are drawn with replacement",
            "batch, generator",
            "batch, True, generator",
        ),
    ),
    alternatives=(VisitsOneByOne,),
    equivalents={
        "return (-self.counts[:rows].float() / self.temperature).softmax(0) -> return "
        "(-self.counts[:rows].float() / self.temperature).softmax(-1)": "counts have one axis",
    },
)
def _(Visits, rng):
    memory = Visits(12, float(rng.uniform(1, 3)))
    memory.counts[:9] = torch.as_tensor(rng.integers(6, size=9))
    found = {"probability of 9 rows": memory.probability(9), "rows before any draw": memory.counts}
    generator = seeded(rng)
    draws = [memory.draw(9, 6, generator) for _ in range(4)]
    return found | {"what is drawn": torch.stack(draws), "visits after 4 draws": memory.counts}


# 4.2.10 -----------------------------------------------------------------------------------------


def outcome_of_those_that_count(self, said, batch):
    counts = ~batch.first[:, 1:].flatten()
    reward, cont = (v.flatten()[counts] for v in (said.reward, said.cont))
    paid, over = (v[:, 1:].flatten()[counts] for v in (batch.reward, batch.terminated))
    ends = F.softplus(torch.where(over, cont, -cont))
    columns = max(1, len(cont))
    return {
        "continuation": ends.sum() / columns * self.config.cont_scale,
        "reward": (reward - paid).pow(2).sum() / columns * self.config.reward_scale / 2,
    }


@exercise(
    "4.2.10",
    twm.TWM.outcome,
    core=False,
    bug="ends",
    points=2,
    difficulty=3,
    minutes=15,
    gradients=True,
    hints=(
        "Which rows are left out of the means? Which of them would have had something to say?",
        "Only a row that is `first` does not count. In a row that is `terminated` the episode "
        "ends: there is nothing else that teaches the continuation when to say 0.",
    ),
    mistakes=(
        Mistake(
            "rows in which an episode terminates are left out, so no end is ever learned",
            "~batch.first[:, 1:]",
            "~(batch.first | batch.terminated)[:, 1:]",
            "ends",
        ),
        Mistake(
            "rows that begin an episode count, though nothing led to them",
            "~batch.first[:, 1:]",
            "batch.first[:, 1:] | True",
        ),
        Mistake(
            "what was said of row t + 1 is compared with row t",
            "said.reward - batch.reward[:, 1:]",
            "said.reward - batch.reward[:, :-1]",
        ),
        Mistake(
            "continuation learns the ends; its target is 1 where the episode goes on",
            "(~batch.terminated[:, 1:])",
            "batch.terminated[:, 1:]",
        ),
        Mistake("the scale of the reward is left out", "config.reward_scale * (error", "(error"),
        Mistake("the half is left out", "0.5 * (said.reward", "(said.reward"),
    ),
    alternatives=(outcome_of_those_that_count,),
    equivalents={
        "goes_on = (~batch.terminated[:, 1:]).to(said.cont.dtype) -> goes_on = "
        "(~batch.terminated[:, 1:]).to(said.cont.dtype).detach()": "yes and no have no gradient",
        "columns = counts.sum().clamp(min=1) -> columns = counts.sum().clamp(min=1).detach()": "a "
        "number of columns has no gradient",
    },
)
def _(Kind, rng):
    model, batch = world(Kind, rng), steps(rng)
    said = twm.Prediction(
        normal(rng, B, T - 1, 6),
        normal(rng, B, T - 1).requires_grad_(),
        normal(rng, B, T - 1).requires_grad_(),
    )
    parts = model.outcome(said, batch)
    found = {name: parts[name] for name in ("reward", "continuation")}
    back = gradients(sum(found.values()), rewards=[said.reward], continuations=[said.cont])
    for name, begins in (("one row counts", False), ("no row counts", True)):
        pair = Step(*(v[2:, :2] for v in batch))._replace(first=torch.tensor([[False, begins]]))
        parts = model.outcome(twm.Prediction(*(v[:1, :1] for v in said)), pair)
        found |= {f"{k}, {name}": parts[k] for k in ("reward", "continuation")}
    return found | back


# 4.2.11 -----------------------------------------------------------------------------------------


def observe_by_product(self, state, step, *, generator=None, mode=False):
    kept = ~step.first
    state = {name: part * kept.view(-1, *[1] * (part.ndim - 1)) for name, part in state.items()}
    noise = self.noise(len(step.reward), generator=generator) if not mode else None
    code = self.encode(step.observation, noise)[0]
    return self.push(state, code, step.action * kept[:, None], step.reward * kept)


@exercise(
    "4.2.11",
    twm.TWM.observe,
    core=False,
    bug="stale",
    points=2,
    difficulty=3,
    minutes=15,
    hints=(
        "What should a new episode know of the last one? Follow what happens to `state` where "
        "`step.first`.",
        "`where(mask, a, b)` takes a where the mask is True. The forgotten state is "
        "self.initial(B), rows and length and all.",
    ),
    mistakes=(
        Mistake(
            "the rows of the last episode are kept where a new one begins: only its code goes",
            "state = where(step.first, self.initial(len(step.first)), state)",
            'state = state | {"stoch": state["stoch"] * ~step.first[:, None, None]}',
            "stale",
        ),
        Mistake(
            "everything is forgotten but where an episode begins",
            "where(step.first, self.initial(len(step.first)), state)",
            "where(step.first, state, self.initial(len(step.first)))",
        ),
        Mistake(
            "a first row keeps the action that came with it",
            "step.action.masked_fill(step.first[:, None], 0.0)",
            "step.action",
        ),
        Mistake(
            "a first row keeps the reward that came with it",
            "step.reward.masked_fill(step.first, 0.0)",
            "step.reward",
        ),
        Mistake(
            "mode does not matter: the code is always drawn",
            "None if mode else self.noise",
            "self.noise",
        ),
    ),
    alternatives=(observe_by_product,),
)
def _(Kind, rng):
    model, batch, found = world(Kind, rng), steps(rng), {}
    loud = batch._replace(action=batch.action + 0.3, reward=batch.reward + 0.2)
    for name, how in (("mode", {"mode": True}), ("drawn", {"generator": seeded(rng)})):
        state = model.initial(B)
        for t in range(T):
            state = model.observe(state, Step(*(v[:, t] for v in loud)), **how)
            found |= {f"{k} after row {t}, {name}": v for k, v in state.items()}
    return found
