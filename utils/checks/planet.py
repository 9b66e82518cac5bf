"""Lesson 2.2: probes, named mistakes, right answers written differently, hints."""

import numpy as np
import torch
from gymnasium.spaces import Box
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from utils.agents import cem as planning
from utils.course.exercise import Mistake, exercise
from utils.course.probes import normal
from utils.nn.random import normal as draw
from utils.world import Dreamt, Spec, Step, repeat, rollout
from utils.worlds import planet, rssm

LESSON = "2.2"
B, T, D, Z, U, A = 4, 5, 6, 3, 7, 2  # rows, time, deterministic, stochastic, hidden, actions
SPACE, ACTIONS = Box(-2, 2, (3,), np.float32), Box(-1, 1, (A,), np.float32)
CONFIG = planet.Config(deter=D, stoch=Z, hidden=U, units=U, layers=1, free_nats=1.0)


def spread(module, rng):
    """The module with weights of a size at which everything in it matters."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.7 * normal(rng, *parameter.shape))
    return module


def core(kind, rng):
    """A recurrence of the given class, with random weights."""
    parts = {"prior": planet.dense(D, U, 1, 2 * Z), "posterior": planet.Posterior(D, U, U, 2 * Z)}
    latent = planet.Gaussians(Z, float(rng.uniform(0.05, 0.5)))
    return spread(kind(planet.Cell(D, Z, A, U), **parts, latent=latent), rng)


def state_of(rng, *batch):
    return {"deter": normal(rng, *batch, D), "stoch": normal(rng, *batch, Z)}


def windows(rng, time=T):
    """Random rows [B, time, ...]; every window starts an episode, one runs into the next."""
    first = torch.zeros(B, time, dtype=torch.bool)
    first[:, 0] = True
    first[1, time // 2] = True
    action = normal(rng, B, time, A).clamp(-1, 1) * ~first[..., None]
    reward = normal(rng, B, time) * ~first
    return Step(normal(rng, B, time, 3), action, reward, first, torch.zeros_like(first))


# 2.2.1 ------------------------------------------------------------------------------------------


def sample_by_distribution(self, stats, noise):
    mean, raw = stats[..., : self.size], stats[..., self.size :]
    std = torch.logaddexp(raw, torch.zeros_like(raw)) + self.min_std
    return mean if noise is None else mean.addcmul(std, noise)


@exercise(
    "2.2.1",
    planet.Gaussians.sample,
    points=1,
    difficulty=1,
    minutes=5,
    gradients=True,
    hints=(
        "stats.chunk(2, -1) gives the two halves. The second may be negative, a standard "
        "deviation may not.",
        "std = F.softplus(raw) + self.min_std. With noise the sample is mean + std * noise; "
        "without (None) it is the mean.",
    ),
    mistakes=(
        Mistake(
            "the smallest standard deviation is left out, so that a latent can become certain",
            "(F.softplus(raw) + self.min_std)",
            "F.softplus(raw)",
        ),
        Mistake(
            "the smallest standard deviation is added before softplus",
            "F.softplus(raw) + self.min_std",
            "F.softplus(raw + self.min_std)",
        ),
        Mistake(
            "the raw number is taken for a logarithm; softplus makes it positive",
            "F.softplus(raw)",
            "torch.exp(raw)",
        ),
        Mistake(
            "the two halves are swapped: the means come first",
            "mean, raw = stats.chunk(2, -1)",
            "raw, mean = stats.chunk(2, -1)",
        ),
        Mistake(
            "means and raw numbers are taken in turns; the Z means come first, then the Z others",
            "mean, raw = stats.chunk(2, -1)",
            "mean, raw = stats[..., ::2], stats[..., 1::2]",
        ),
        Mistake(
            "the noise is left out: this is the mean, not a sample",
            "self.min_std) * noise",
            "self.min_std) * 0 * noise",
        ),
        Mistake(
            "the gradient cannot pass through the sample to the stats",
            "return mean + (",
            "return mean.detach() + (",
        ),
    ),
    alternatives=(sample_by_distribution,),
)
def _(Gaussians, rng):
    latent = Gaussians(Z, float(rng.uniform(0.05, 0.5)))
    stats, noise = normal(rng, B, T, 2 * Z).requires_grad_(), normal(rng, B, T, Z)
    weight = normal(rng, B, T, Z)
    z = latent.sample(stats, noise)
    found = {"z": z, "gradient of z": torch.autograd.grad((weight * z).sum(), stats)[0]}
    z = latent.sample(stats, None)
    gradient = torch.autograd.grad((weight * z).sum(), stats)[0]
    return found | {"z without noise": z, "gradient of z without noise": gradient}


# 2.2.2 ------------------------------------------------------------------------------------------


def kl_by_distributions(self, p, q):
    normals = [
        Normal(s[..., : self.size], F.softplus(s[..., self.size :]) + self.min_std) for s in (p, q)
    ]
    return kl_divergence(*normals).sum(dim=-1)


@exercise(
    "2.2.2",
    planet.Gaussians.kl,
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "Four tensors [..., Z]: mean and standard deviation of p, and of q. Then the formula, term "
        "by term, and a sum over the last axis.",
        "The standard deviation in the numerator and inside the square is p's, the one in the "
        "denominator q's: the divergence is measured in units of q.",
        "((std_q / std_p).log() + (std_p**2 + (mean_p - mean_q)**2) / (2 * std_q**2) - 0.5), "
        "and .sum(-1) of it.",
    ),
    mistakes=(
        Mistake(
            "p and q have changed places: the posterior comes first, and the divergence is "
            "measured in units of the prior",
            "    mean_p, raw_p = p.chunk(2, -1)\n    mean_q, raw_q = q.chunk(2, -1)",
            "    mean_p, raw_p = q.chunk(2, -1)\n    mean_q, raw_q = p.chunk(2, -1)",
        ),
        Mistake(
            "the average over latents is taken; independent latents add up",
            ".sum(-1)",
            ".mean(-1)",
        ),
        Mistake(
            "the constant 1/2 is left out: the divergence of p from itself would not be 0",
            " - 0.5",
            "",
        ),
        Mistake(
            "the logarithm is upside down",
            "(std_q / std_p).log()",
            "(std_p / std_q).log()",
        ),
        Mistake(
            "the spread of p is left out of the second term",
            "(std_p.square() + (mean_p - mean_q).square())",
            "(mean_p - mean_q).square()",
        ),
        Mistake(
            "the prior is cut off from its gradient; here both sides learn",
            "q.chunk(2, -1)",
            "q.detach().chunk(2, -1)",
        ),
        Mistake(
            "the smallest standard deviation is left out of both",
            "F.softplus(raw_p) + self.min_std, F.softplus(raw_q) + self.min_std",
            "F.softplus(raw_p), F.softplus(raw_q)",
        ),
    ),
    alternatives=(kl_by_distributions,),
)
def _(Gaussians, rng):
    latent = Gaussians(Z, float(rng.uniform(0.05, 0.5)))
    p, q = (normal(rng, B, T, 2 * Z).requires_grad_() for _ in range(2))
    kl, weight = latent.kl(p, q), normal(rng, B, T)
    gradients = torch.autograd.grad((weight * kl).sum(), (p, q), allow_unused=True)
    found = {"KL(p || p)": latent.kl(p, p), "KL(p || q)": kl}
    return found | {
        f"gradient of {name}": torch.zeros(1) if g is None else g
        for name, g in zip("pq", gradients, strict=True)
    }


# 2.2.3 ------------------------------------------------------------------------------------------


def recur_by_mask(self, state, embed, action, first, noise):
    keep = (~first).to(action.dtype)[:, None]
    deter = self.cell(keep * state["deter"], keep * state["stoch"], action)
    stats = self.posterior(deter, embed)
    return {"stoch": self.latent.sample(stats, noise), "deter": deter}, stats


@exercise(
    "2.2.3",
    rssm.RSSM.recur,
    points=3,
    difficulty=2,
    minutes=20,
    gradients=True,
    hints=(
        "Four lines, in this order: forget, remember, look, draw.",
        "where(first, self.initial(len(first)), state) puts zeros into rows where `first`. Use "
        "what it returns, not `state`, from then on.",
        "deter = self.cell(state['deter'], state['stoch'], action); the posterior reads this new "
        "deter and embed; self.latent.sample(logits, noise) is the new stoch.",
    ),
    mistakes=(
        Mistake(
            "the state is not reset where a new episode begins",
            "where(first, self.initial(len(first)), state)",
            "state",
        ),
        Mistake(
            "the reset is upside down: what goes on is forgotten, and what begins is kept",
            "where(first, self.initial(len(first)), state)",
            "where(first, state, self.initial(len(first)))",
        ),
        Mistake(
            "all rows are reset as soon as one begins anew",
            "where(first, self.initial(len(first)), state)",
            "self.initial(len(first)) if first.any() else state",
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
            "no sample is drawn: stoch is the mean, whatever the noise",
            "self.latent.sample(logits, noise)",
            "self.latent.sample(logits, None)",
        ),
        Mistake(
            "the deterministic state stays as it was",
            '{"deter": deter, ',
            '{"deter": state["deter"], ',
        ),
    ),
    alternatives=(recur_by_mask,),
)
def _(RSSM, rng):
    model, state, found = core(RSSM, rng), state_of(rng, B), {}
    state = {k: v.requires_grad_() for k, v in state.items()}
    for i, first in enumerate(([0, 1, 0, 0], [0, 0, 0, 0])):
        first = torch.tensor(first, dtype=torch.bool)
        noise = normal(rng, B, Z) if i == 0 else None
        action = model.cell.inputs(normal(rng, B, A) * ~first[:, None])
        embed = model.posterior.inputs(normal(rng, B, U))
        after, logits = model.recur(state, embed, action, first, noise)
        found |= {f"deter, call {i}": after["deter"], f"logits, call {i}": logits}
        found[f"stoch, call {i}"] = after["stoch"]
    back = torch.autograd.grad(after["deter"].sum() + after["stoch"].sum(), list(state.values()))
    return found | {"gradient of deter": back[0], "gradient of stoch": back[1]}


# 2.2.4 ------------------------------------------------------------------------------------------


def imagine_in_steps(self, state, action, noise):
    after = dict(state)
    after["deter"] = self.cell(after["deter"], after["stoch"], self.cell.inputs(action))
    after["stoch"] = self.latent.sample(self.prior(after["deter"]), noise)
    return after


@exercise(
    "2.2.4",
    rssm.RSSM.imagine,
    core=False,
    points=2,
    difficulty=2,
    minutes=10,
    gradients=True,
    hints=(
        "As in `recur`, without what an observation brings: no embed, no reset, no posterior.",
        "deter = self.cell(state['deter'], state['stoch'], self.cell.inputs(action)); then "
        "self.prior(deter) takes the place of the posterior.",
    ),
    mistakes=(
        Mistake(
            "the prior reads the deterministic state before this step; it must read the new one",
            "self.prior(deter)",
            'self.prior(state["deter"])',
        ),
        Mistake(
            "the posterior is asked, with nothing to look at; in a dream the prior takes its place",
            "self.prior(deter)",
            "self.posterior(deter, 0.0)",
        ),
        Mistake(
            "the dream does not draw: it goes on with the mean, whatever the noise",
            "self.latent.sample(self.prior(deter), noise)",
            "self.latent.sample(self.prior(deter), None)",
        ),
        Mistake(
            "the deterministic state stays as it was, so that the dream stands still",
            '{"deter": deter, ',
            '{"deter": state["deter"], ',
        ),
        Mistake(
            "the action is cut off from its gradient; whoever trains an actor needs that path",
            "self.cell.inputs(action)",
            "self.cell.inputs(action.detach())",
        ),
    ),
    alternatives=(imagine_in_steps,),
)
def _(RSSM, rng):
    model, state, found = core(RSSM, rng), state_of(rng, B), {}
    action = normal(rng, B, A).requires_grad_()
    for name, noise in (("with noise", normal(rng, B, Z)), ("without noise", None)):
        after = model.imagine(state, action, noise)
        found |= {f"{part}, {name}": after[part] for part in ("deter", "stoch")}
        total = (after["deter"].sum() + after["stoch"].sum()) * 1.0
        gradient = torch.autograd.grad(total, action, allow_unused=True)[0]
        found[f"gradient of the action, {name}"] = torch.zeros(1) if gradient is None else gradient
    return found


# 2.2.5 ------------------------------------------------------------------------------------------


def objective_by_terms(self, batch, states, posterior):
    features = torch.cat([states["deter"], states["stoch"]], dim=-1)
    seen = self.codec.loss(self.codec.decode(features), batch.observation).mean()
    wrong = (self.predict(features) - batch.reward) ** 2 * (~batch.first)
    paid = 0.5 * self.config.reward_scale * wrong.sum() / wrong.numel()
    kl = self.rssm.latent.kl(posterior, self.rssm.prior(states["deter"]))
    cost = torch.relu(kl - self.config.free_nats).mean()
    parts = {"divergence": cost, "reward": paid, "reconstruction": seen}
    return seen + paid + cost, {k: v.detach() for k, v in parts.items()}


@exercise(
    "2.2.5",
    planet.PlaNet.objective,
    points=4,
    difficulty=3,
    minutes=30,
    gradients=True,
    hints=(
        "features = self.features(states). Three tensors [B, T], one for each part; only then the "
        "means.",
        "The prior of row t is self.rssm.prior(states['deter'])[:, t]: the deterministic state of "
        "that row knows the past, not yet the observation. self.rssm.latent.kl(posterior, prior).",
        "The free nats: (kl - free).clamp(min=0.0), then the mean. The reward: "
        "scale * 0.5 * error.square().masked_fill(batch.first, 0.0), then the mean. Return "
        "(loss, parts), the parts detached.",
    ),
    mistakes=(
        Mistake(
            "the free nats are taken off the average; one surprising step then pays for all others",
            "(kl - self.config.free_nats).clamp(min=0.0)",
            "(kl.mean() - self.config.free_nats).clamp(min=0.0)",
        ),
        Mistake(
            "the divergence is that of the prior from the posterior; it is the other way round",
            'kl(posterior, self.rssm.prior(states["deter"]))',
            'kl(self.rssm.prior(states["deter"]), posterior)',
        ),
        Mistake(
            "the prior gets no gradient, so that the dream never learns",
            'self.rssm.prior(states["deter"])',
            'self.rssm.prior(states["deter"]).detach()',
        ),
        Mistake(
            "the posterior gets no gradient from the divergence, so that it tells all it sees",
            "kl(posterior, ",
            "kl(posterior.detach(), ",
        ),
        Mistake(
            "the first row of an episode counts as if its reward were 0; none came with it",
            ".masked_fill(batch.first, 0.0)",
            "",
        ),
        Mistake(
            "rewards are shifted by one step: in this convention a reward stands in the row of the "
            "state it came with",
            "self.predict(features) - batch.reward",
            "self.predict(features) - batch.reward.roll(-1, 1)",
        ),
        Mistake(
            "below the free nats there is a bonus for less divergence: clip at 0",
            ".clamp(min=0.0)",
            "",
        ),
        Mistake(
            "the reward's scale is left out",
            "self.config.reward_scale * 0.5",
            "0.5",
        ),
    ),
    alternatives=(objective_by_terms,),
)
def _(PlaNet, rng):
    world = spread(PlaNet(SPACE, ACTIONS, CONFIG), rng)
    batch, states = windows(rng), state_of(rng, B, T)
    states = {k: v.requires_grad_() for k, v in states.items()}
    # Some steps are near their prior, some far from it: free, and not free.
    far = torch.linspace(0.0, 1.5, B * T).view(B, T, 1)
    near = world.rssm.prior(states["deter"]).detach() + far * normal(rng, B, T, 2 * Z)
    posterior = near.requires_grad_()
    loss, parts = world.objective(batch, states, posterior)
    names = ("reconstruction", "reward", "divergence")
    found = {f"{name}": parts[name] for name in names} | {"loss": loss}
    found["parts hang on the graph"] = any(parts[name].requires_grad for name in names)
    groups = {
        "the prior": list(world.rssm.prior.parameters()),
        "the reward head": list(world.reward.parameters()),
        "the posterior": [posterior],
        "the states": list(states.values()),
    }
    for name, leaves in groups.items():
        gradients = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
        given = zip(leaves, gradients, strict=True)
        flat = [(torch.zeros_like(v) if g is None else g).flatten() for v, g in given]
        found[f"gradient of {name}"] = torch.cat(flat)
    # Here all steps but one are as expected: the average is far below the free nats.
    posterior = world.rssm.prior(states["deter"]).detach().clone()
    posterior[0, 0, 0] += 3.0
    quiet = world.objective(batch, states, posterior)[1]
    return found | {"divergence with one surprise": quiet["divergence"]}


# 2.2.6 ------------------------------------------------------------------------------------------


def open_loop_by_rollout(world, windows, context, generator=None):
    state, mode = world.initial(windows.reward.shape[0]), generator is None
    for t in range(context):
        row = Step(*(part[:, t] for part in windows))
        state = world.observe(state, row, generator=generator, mode=mode)
    actions = windows.action[:, context:]
    how = {"generator": generator, "mode": mode, "read": world.decode}
    return rollout(world, state, actions, actions.shape[1], **how).state


@exercise(
    "2.2.6",
    planet.open_loop,
    core=False,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "Two loops, or one with an if: `context` times observe, then imagine to the end.",
        "Row t of the windows is Step(*(v[:, t] for v in windows)). The action to imagine with is "
        "windows.action[:, t] of the row that is to be predicted: it led there.",
        "Decode after each imagined step, never after an observed one, and stack along axis 1.",
    ),
    mistakes=(
        Mistake(
            "the dream goes on looking at observations; from the context on only actions are given",
            "if t < context:",
            "if t < context:\n            pass\n        if True:",
        ),
        Mistake("the context is one row too long", "if t < context:", "if t <= context:"),
        Mistake(
            "the context is not used: the dream starts from a state that knows nothing",
            "state = world.observe(state, step",
            "world.observe(state, step",
        ),
        Mistake(
            "actions are late by one: a row holds the action that led to it",
            "action = windows.action[:, t]",
            "action = windows.action[:, t - 1]",
        ),
        Mistake(
            "every step of the dream starts from the same state: keep the one it returns",
            "state = world.imagine(state, action, generator=generator, mode=mode).state\n"
            "            seen.append(world.decode(state))",
            "after = world.imagine(state, action, generator=generator, mode=mode).state\n"
            "            seen.append(world.decode(after))",
        ),
        Mistake(
            "each state is shown before the step that it is the result of",
            "state = world.imagine(state, action, generator=generator, mode=mode).state\n"
            "            seen.append(world.decode(state))",
            "seen.append(world.decode(state))\n"
            "            state = world.imagine(\n"
            "                state, action, generator=generator, mode=mode\n"
            "            ).state",
        ),
    ),
    alternatives=(open_loop_by_rollout,),
)
def _(open_loop, rng):
    world, found = spread(planet.PlaNet(SPACE, ACTIONS, CONFIG), rng), {}
    seed = int(rng.integers(2**31))
    with torch.no_grad():
        for context in (1, 3):
            data = windows(rng, 6)
            data.observation[:, context:] = torch.nan  # nobody may look there
            name = f"after {context} rows"
            found[name] = open_loop(world, data, context)
            generator = torch.Generator().manual_seed(seed)
            found[f"sampled {name}"] = open_loop(world, data, context, generator)
    return found


# 2.2.7 ------------------------------------------------------------------------------------------


def refit_by_sorting(actions, returns, elites):
    means, stds = [], []
    for candidates, value in zip(actions, returns, strict=True):
        best = candidates[value.argsort(descending=True)[:elites]]
        means.append(best.mean(0))
        stds.append((best.var(0, unbiased=False) + 1e-6).sqrt())
    return torch.stack(means), torch.stack(stds)


@exercise(
    "2.2.7",
    planning.refit,
    points=2,
    difficulty=2,
    minutes=20,
    hints=(
        "returns.topk(elites, dim=1).indices says which candidates are the best of each row, "
        "[B, elites].",
        "To fetch them, gather needs an index with as many axes as actions has: "
        "index[..., None, None].expand(-1, -1, H, A).",
        "mean = best.mean(1); variance = (best - mean[:, None]).square().mean(1); the standard "
        "deviation is (variance + 1e-6).sqrt().",
    ),
    mistakes=(
        Mistake(
            "the worst candidates are kept",
            "returns.topk(elites, dim=1)",
            "returns.topk(elites, dim=1, largest=False)",
        ),
        Mistake(
            "all candidates count, not only the elites",
            "index = returns.topk(elites, dim=1).indices",
            "index = returns.argsort(dim=1)",
        ),
        Mistake(
            "the variance is divided by one less than the number of elites",
            ".square().mean(1)",
            ".square().sum(1) / (elites - 1)",
        ),
        Mistake(
            "the variance is returned where the standard deviation is meant",
            "(variance + 1e-6).sqrt()",
            "variance + 1e-6",
        ),
        Mistake(
            "the 1e-6 is left out: once all elites agree, nothing is ever tried again",
            "(variance + 1e-6).sqrt()",
            "variance.sqrt()",
        ),
        Mistake(
            "the best candidate is the mean; the mean is taken over all elites",
            "mean = best.mean(1)",
            "mean = best[:, 0]",
        ),
        Mistake(
            "all environments get the mean of all environments",
            "mean = best.mean(1)",
            "mean = best.mean((0, 1)).expand_as(best[:, 0])",
        ),
    ),
    alternatives=(refit_by_sorting,),
)
def _(refit, rng):
    found = {}
    for elites, J in ((2, 6), (4, 9)):
        actions, returns = normal(rng, B, J, 3, A), normal(rng, B, J)
        mean, std = refit(actions, returns, elites)
        found |= {f"mean of {elites} elites": mean, f"std of {elites} elites": std}
    same = normal(rng, B, 1, 3, A).expand(-1, 9, -1, -1)
    mean, std = refit(same, normal(rng, B, 9), 3)
    return found | {"mean where all agree": mean, "std where all agree": std}


# 2.2.8 ------------------------------------------------------------------------------------------


def cem_by_index(score, noise, elites):
    I, B_, J, H, A_ = noise.shape  # noqa: E741
    mean, std = noise.new_zeros(B_, H, A_), noise.new_ones(B_, H, A_)
    for i in range(I):
        center, width = mean.unsqueeze(1).expand(-1, J, -1, -1), std.unsqueeze(1)
        candidates = torch.clip(center + width * noise[i], min=-1, max=1)
        mean, std = planning.refit(candidates, score(candidates), elites)
    return mean


@exercise(
    "2.2.8",
    planning.cem,
    points=3,
    difficulty=3,
    minutes=25,
    hints=(
        "One loop over noise; its first axis is the iterations. In it: draw, clip, score, refit.",
        "mean and std are [B, H, A], the noise of an iteration is [B, J, H, A]: mean[:, None] "
        "makes room for the candidates.",
        "actions = (mean[:, None] + std[:, None] * draw).clamp(-1, 1); "
        "mean, std = refit(actions, score(actions), elites). After the loop return mean.",
    ),
    mistakes=(
        Mistake("candidates leave [-1, 1]", ".clamp(-1.0, 1.0)", ""),
        Mistake(
            "mean and standard deviation are those of the candidates before they were clipped",
            "refit(actions, score(actions), elites)",
            "refit(mean[:, None] + std[:, None] * draw, score(actions), elites)",
        ),
        Mistake(
            "the standard deviation stays 1, so that the search never narrows",
            "mean, std = refit(",
            "mean, _ = refit(",
        ),
        Mistake(
            "every iteration starts from mean 0 again; it must go on from the last",
            "actions = (mean[:, None] + std",
            "actions = (0 * mean[:, None] + std",
        ),
        Mistake(
            "the best candidate is returned; the plan is the mean of the elites",
            "return mean",
            "best = score(actions).argmax(1)\n    return actions[torch.arange(len(actions)), best]",
        ),
        Mistake("there is one iteration too few", "for draw in noise:", "for draw in noise[:-1]:"),
    ),
    alternatives=(cem_by_index,),
)
def _(cem, rng):
    goal, seen = normal(rng, 3, 1, 4, A), []

    def score(actions):
        seen.append(actions.clone())
        return -(actions - goal).square().sum((-1, -2))

    plan = cem(score, normal(rng, 4, 3, 12, 4, A), 3)
    found = {"iterations": len(seen)}
    seen += [torch.zeros(())] * 4  # so that too few iterations are a difference, not an error
    found |= {f"candidates, iteration {i}": actions for i, actions in enumerate(seen[:4])}
    return found | {"the plan": plan}


# 2.2.9 ------------------------------------------------------------------------------------------


class Walk:
    """A toy world with a state for each environment, and luck: p' = p W + a + noise, r = p' . w."""

    def __init__(self, rng):
        self.weight, self.worth = normal(rng, A, A), normal(rng, A)
        self.spec = Spec(ACTIONS, ACTIONS, cont=False)

    def imagine(self, state, action, *, generator=None, mode=False):
        p = state["p"] @ self.weight + action
        p = p if mode else draw(p, 0.1, generator)
        return Dreamt({"p": p, "tag": state["tag"]}, (p * self.worth).sum(-1) * state["tag"], None)


def returns_by_steps(world, state, actions, generator=None):
    batch, candidates, horizon, _ = actions.shape
    state, total = repeat(state, candidates), 0.0
    for h in range(horizon):
        action = actions[:, :, h].reshape(batch * candidates, -1)
        state, reward, _ = world.imagine(state, action, generator=generator)
        total = total + reward
    return total.unflatten(0, (batch, candidates))


@exercise(
    "2.2.9",
    planning.candidate_returns,
    core=False,
    bug="tile",
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "With one environment all is right. Write down, for B = 2 and J = 3, which state and which "
        "actions meet in each of the six dreams.",
        "actions.flatten(0, 1) has the candidates of row 0 first, then those of row 1. In which "
        "order do the states come?",
        "Each state must stand J times in a row: a, a, a, b, b, b. utils.world has a helper.",
    ),
    mistakes=(
        Mistake(
            "states and candidates of different environments meet in one dream",
            "starts = repeat(state, J)  # every row J times in place: b, b, ..., then the next one",
            "starts = {k: torch.cat([v] * J) for k, v in state.items()}  # every candidate's state",
            "tile",
        ),
        Mistake(
            "only the last reward counts; the sum of all along the way does",
            "dreamt.reward.sum(1)",
            "dreamt.reward[:, -1]",
        ),
        Mistake(
            "the average reward is taken; the return is the sum",
            "dreamt.reward.sum(1)",
            "dreamt.reward.mean(1)",
        ),
        Mistake(
            "the returns are put into the wrong places: row b holds those of its own candidates",
            ".view(B, J)",
            ".view(J, B).T",
        ),
        Mistake(
            "dreams are drawn by mode; latents are to be sampled from the generator",
            "generator=generator, read",
            "mode=True, read",
        ),
    ),
    alternatives=(returns_by_steps,),
)
def _(candidate_returns, rng):
    world, found = Walk(rng), {}
    for batch, candidates in ((1, 5), (3, 4)):
        state = {"p": normal(rng, batch, A), "tag": 1.0 + torch.arange(batch)}
        actions = normal(rng, batch, candidates, 3, A)
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        returns = candidate_returns(world, state, actions, generator)
        found[f"returns of {candidates} candidates in {batch} environments"] = returns
    return found
