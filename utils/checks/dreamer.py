"""Lesson 2.3: probes, named mistakes, right answers written differently, hints."""

from dataclasses import replace

import numpy as np
import torch
from gymnasium.spaces import Box, Discrete
from torch import nn
from torch.nn import functional as F

from utils.agents import mixed_actor_critic, pathwise_actor_critic
from utils.course.exercise import Mistake, exercise
from utils.course.probes import gradients, normal, seeded, uniform
from utils.nn import one_hot
from utils.nn.random import normal as draw_normal
from utils.world import Dreamt, Spec, detach, frozen
from utils.worlds import dreamer_v2

LESSON = "2.3"
B, T, N, H, X, A, K = 3, 4, 4, 5, 3, 2, 3  # rows, time, dreams, steps, features, actions, classes
PLACE, MOVES, CHOICE = Box(-2, 2, (X,), np.float32), Box(-1, 1, (A,), np.float32), Discrete(A)
TINY = dreamer_v2.Config(deter=5, hidden=5, stoch=2, classes=K, units=5, layers=1)


def leaf(tensor):
    return tensor.clone().requires_grad_()


def spread(module, rng):
    """The module with weights of a size at which everything in it matters."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.5 * normal(rng, *parameter.shape))
    return module


class Slope(nn.Module):
    """A small world with weights and luck: x' = tanh(x W + a V) + noise, r = x' w."""

    def __init__(self, rng):
        super().__init__()
        self.spec = Spec(PLACE, MOVES, cont=False)
        self.inner, self.push = nn.Linear(X, X), nn.Linear(A, X)
        self.worth = nn.Parameter(normal(rng, X))
        spread(self, rng)

    def features(self, state):
        return state["x"]

    def imagine(self, state, action, *, generator=None, mode=False):
        x = torch.tanh(self.inner(state["x"]) + self.push(action))
        x = x if mode else draw_normal(x, 0.1, generator)
        return Dreamt({"x": x}, x @ self.worth, None)


def pathwise(Kind, rng, **config):
    """Dreamer's actor and critic with random weights."""
    options = {"units": 4, "actor_layers": 1, "critic_layers": 1, "horizon": H, "init_std": 0.7}
    options |= {"discount": 0.8, "lam": 0.6}
    return spread(Kind(X, MOVES, pathwise_actor_critic.Config(**options | config)), rng)


def mixed(Kind, rng, features, **config):
    """DreamerV2's actor and critics with random weights."""
    options = {"units": 4, "layers": 1, "horizon": H, "lam": 0.6, "mix": 0.4, "entropy": 0.3}
    config = mixed_actor_critic.Config(**options | {"slow_update": 3} | config)
    return spread(Kind(features, CHOICE, config), rng)


# 2.3.1 ------------------------------------------------------------------------------------------


def lambda_return_by_weights(reward, discount, value, lam):
    """The weighted mean of n-step returns, written out."""
    steps, columns = reward.shape[1] - 1, []
    for t in range(steps):
        total, earned, scale, share = 0.0, 0.0, 1.0, 1.0
        for k in range(t, steps):
            earned = earned + scale * reward[:, k]
            scale = scale * discount[:, k]
            weight = share if k == steps - 1 else share * (1 - lam)
            total = total + weight * (earned + scale * value[:, k + 1])
            share = share * lam
        columns.append(total)
    return torch.stack(columns, dim=1)


@exercise(
    "2.3.1",
    pathwise_actor_critic.lambda_return,
    points=3,
    difficulty=2,
    minutes=20,
    gradients=True,
    hints=(
        "Begin at the end: R_{H-1} is v_{H-1}. Each earlier return needs the one after it. There "
        "are H - 1 returns to give back, R_0 to R_{H-2}.",
        "for t in reversed(range(H - 1)): R_t = r_t + d_t * ((1 - lam) * v_{t+1} + lam * R_{t+1}). "
        "Collect them in a list, turn it around, torch.stack(..., 1).",
        "A list that begins with value[:, -1] ends with R_0; returns[:0:-1] is all of it but that "
        "first value, in order of time.",
    ),
    mistakes=(
        Mistake(
            "the value of the state itself is mixed in; it is the value of the next one",
            "value[:, t + 1]",
            "value[:, t]",
        ),
        Mistake(
            "the reward of the next row is taken; here r_t came with state t itself",
            "reward[:, t]",
            "reward[:, t + 1]",
        ),
        Mistake(
            "the discount of the next row is taken; d_t is that of what follows state t",
            "discount[:, t]",
            "discount[:, t + 1]",
        ),
        Mistake(
            "the last return is zero; it bootstraps from the last value",
            "[value[:, -1]]",
            "[0 * value[:, -1]]",
        ),
        Mistake(
            "λ and 1 - λ are swapped: λ = 0 must give one-step returns",
            "(1 - lam) * value[:, t + 1] + lam * returns[-1]",
            "lam * value[:, t + 1] + (1 - lam) * returns[-1]",
        ),
        Mistake("the discount is left out", "discount[:, t] * later", "later"),
        Mistake(
            "the returns stand in the wrong order: row 0 is the first state",
            "returns[:0:-1]",
            "returns[1:]",
        ),
        Mistake(
            "values are cut off from their gradient; the actor climbs through them",
            "(1 - lam) * value[:, t + 1]",
            "(1 - lam) * value[:, t + 1].detach()",
        ),
    ),
    alternatives=(lambda_return_by_weights,),
)
def _(lambda_return, rng):
    found = {}
    for name, lam in (("between", float(rng.uniform(0.3, 0.9))), ("0", 0.0), ("1", 1.0)):
        given = leaf(normal(rng, N, H)), leaf(uniform(rng, N, H)), leaf(normal(rng, N, H))
        returns = lambda_return(*given, lam)
        found[f"returns, λ: {name}"] = returns
        parts = dict(zip(("rewards", "discounts", "values"), ([v] for v in given), strict=True))
        total = (normal(rng, N, H - 1) * returns).sum()
        found |= {f"{k}, λ: {name}": v for k, v in gradients(total, **parts).items()}
    return found


# 2.3.2 ------------------------------------------------------------------------------------------


def sample_by_slices(self, outputs, noise):
    mean = torch.tanh(outputs[..., : self.actions] * 0.2) * 5.0
    if noise is None:
        return mean.tanh()
    raw = outputs[..., self.actions :] + self.raw_init_std
    std = torch.logaddexp(raw, torch.zeros_like(raw)) + 1e-4
    return (mean + noise * std).tanh()


@exercise(
    "2.3.2",
    pathwise_actor_critic.TanhNormal.sample,
    core=False,
    points=1,
    difficulty=1,
    minutes=10,
    gradients=True,
    rtol=1e-5,
    hints=(
        "outputs.chunk(2, -1) gives the two halves. Five lines: mean, perhaps return, std, sample.",
        "mean = 5 * torch.tanh(m / 5); std = F.softplus(s + self.raw_init_std) + 1e-4; the tanh "
        "stands outside of mean + std * noise.",
    ),
    mistakes=(
        Mistake(
            "the mean is not kept within 5: far out, the outer tanh has no slope left",
            "5 * torch.tanh(m / 5)",
            "m",
        ),
        Mistake(
            "the noise is added outside the tanh: such actions leave (-1, 1)",
            "return torch.tanh(mean + std * noise)",
            "return torch.tanh(mean) + std * noise",
        ),
        Mistake(
            "raw_init_std is left out: where s is 0 the deviation must be init_std",
            "s + self.raw_init_std",
            "s",
        ),
        Mistake(
            "raw_init_std is added after softplus, not before",
            "F.softplus(s + self.raw_init_std)",
            "F.softplus(s) + self.raw_init_std",
        ),
        Mistake(
            "without noise the mean is given as it is; an action is its tanh",
            "return torch.tanh(mean)\n",
            "return mean\n",
        ),
        Mistake(
            "the two halves are swapped: the mean comes first",
            "m, s = outputs",
            "s, m = outputs",
        ),
        Mistake(
            "the gradient cannot pass through the sample to the outputs",
            "torch.tanh(mean + std * noise)",
            "torch.tanh(mean + std * noise).detach()",
        ),
    ),
    alternatives=(sample_by_slices,),
)
def _(TanhNormal, rng):
    choice, found = TanhNormal(3, float(rng.uniform(0.2, 0.6))), {}
    outputs, noise = leaf(2 * normal(rng, 2, N, 6).double()), normal(rng, 2, N, 3).double()
    outputs.data[0, 0, 3:] = -12.0  # a deviation near the smallest
    weight = normal(rng, 2, N, 3).double()
    for name, given in (("with noise", noise), ("without noise", None)):
        action = choice.sample(outputs, given)
        found[f"action, {name}"] = action
        back = gradients((weight * action).sum(), outputs=[outputs])
        found |= {f"{k}, {name}": v for k, v in back.items()}
    return found


# 2.3.3 ------------------------------------------------------------------------------------------


def imagine_in_steps(self, world, starts, generator=None):
    state, kept, actions, rewards = starts, [], [], []
    for _ in range(self.config.horizon):
        outputs = self.actor(world.features(detach(state)))
        action = self.choice.sample(outputs, self.noise(outputs, generator))
        state, reward, _ = world.imagine(state, action, generator=generator)
        kept.append(world.features(state))
        actions.append(action)
        rewards.append(reward)
    columns = (torch.stack(column, 1) for column in (kept, actions, rewards))
    return pathwise_actor_critic.Rollout(*columns, None)


@exercise(
    "2.3.3",
    pathwise_actor_critic.PathwiseActorCritic.imagine,
    points=3,
    difficulty=3,
    minutes=25,
    gradients=True,
    hints=(
        "Write a policy `act(state, generator)` inside, and give it to `rollout`, which does the "
        "loop.",
        "outputs = self.actor(world.features(state).detach()). The detach belongs there and "
        "nowhere else: the state goes on into the world with its gradient.",
        "rollout(world, starts, act, self.config.horizon, generator=generator, "
        "read=world.features)",
    ),
    mistakes=(
        Mistake(
            "the actor is differentiated through what it looks at; its features must be detached",
            "world.features(state).detach()",
            "world.features(state)",
        ),
        Mistake(
            "the action is cut off from its gradient: then no return can reach the actor",
            "return self.choice.sample(outputs, self.noise(outputs, generator))",
            "return self.choice.sample(outputs, self.noise(outputs, generator)).detach()",
        ),
        Mistake(
            "the actor takes its mean; in a dream it samples",
            "return self.choice.sample(outputs, self.noise(outputs, generator))",
            "return self.choice.sample(outputs, None)",
        ),
        Mistake(
            "the world takes its mode; in a dream it samples too",
            "generator=generator, read",
            "mode=True, read",
        ),
        Mistake(
            "whole states are kept; the critic reads their features",
            ", read=world.features",
            "",
        ),
        Mistake(
            "the dream is one step too long",
            "horizon = self.config.horizon",
            "horizon = self.config.horizon + 1",
        ),
    ),
    alternatives=(imagine_in_steps,),
)
def _(PathwiseActorCritic, rng):
    world, behaviour = Slope(rng), pathwise(PathwiseActorCritic, rng)
    starts = {"x": leaf(normal(rng, N, X))}
    dream = behaviour.imagine(world, starts, seeded(rng))
    state = dream.state if isinstance(dream.state, torch.Tensor) else dream.state["x"][..., :1]
    found = {"features": state, "actions": dream.action, "rewards": dream.reward}
    groups = {"actor": list(behaviour.actor.parameters()), "starts": list(starts.values())}
    for h in (1, -1):
        back = gradients(dream.reward[:, h].sum(), **groups, world=list(world.parameters()))
        found |= {f"{k}, of reward {h}": v for k, v in back.items()}
    return found


# 2.3.4 ------------------------------------------------------------------------------------------


def loss_in_two_parts(self, world, starts, generator=None):
    with frozen(world), frozen(self.critic):
        features, _, reward, _ = self.imagine(world, starts, generator)
        value = self.critic(features)[..., 0]
    discount = self.config.discount + torch.zeros_like(reward)
    target = self.returns(reward, discount, value, self.config.lam)
    weight = self.config.discount ** torch.arange(target.shape[1]) + 0 * target.detach()
    actor = self.actor_loss(target, weight)
    critic = self.critic_loss(features[:, :-1].detach(), target.detach(), weight)
    found = {"critic": critic.detach(), "actor": actor.detach(), "return": target.mean().detach()}
    return actor + critic, found


@exercise(
    "2.3.4",
    pathwise_actor_critic.PathwiseActorCritic.loss,
    points=4,
    difficulty=4,
    minutes=35,
    gradients=True,
    hints=(
        "Dream and values inside `with frozen(world, self.critic):`, all else after it.",
        "dream.state holds the features [N, H, F]. There are H - 1 returns, so the critic is "
        "judged on features[:, :-1], and the weights lose their last column.",
        "discount = torch.full_like(dream.reward, self.config.discount); the loss is the sum of "
        "self.actor_loss(returns, weight) and self.critic_loss(dream.state[:, :-1], returns, "
        "weight).",
    ),
    mistakes=(
        Mistake(
            "the world learns from the actor's loss: it would become what pleases the actor",
            "with frozen(world, self.critic):",
            "with frozen(self.critic):",
        ),
        Mistake(
            "the critic learns from the actor's loss: it would promise more and more",
            "with frozen(world, self.critic):",
            "with frozen(world):",
        ),
        Mistake(
            "no gradient is made at all inside; `frozen` turns off parameters and leaves the path "
            "open",
            "with frozen(world, self.critic):",
            "with torch.no_grad():",
        ),
        Mistake(
            "features and returns are one step apart: return t belongs to state t",
            "dream.state[:, :-1]",
            "dream.state[:, 1:]",
        ),
        Mistake(
            "the first step is already discounted: its weight is 1",
            "weight = dream_weights(discount)[:, :-1]",
            "weight = dream_weights(discount)[:, 1:]",
        ),
        Mistake("the weights are left out", "(returns, weight)", "(returns, 1 + 0 * weight)"),
        Mistake(
            "the critic's loss is missing from the sum",
            "return sum(parts.values()),",
            'return parts["actor"],',
        ),
    ),
    alternatives=(loss_in_two_parts,),
    equivalents={
        "with frozen(world, self.critic): -> with frozen(self.critic, world):": "frozen takes its "
        "modules in any order",
        "discount = torch.full_like(dream.reward, self.config.discount) -> discount = "
        "torch.full_like(dream.reward, self.config.discount).detach()": "a constant has no "
        "gradient to lose",
        "weight = dream_weights(discount)[:, :-1] -> weight = dream_weights(discount)[:, "
        ":-1].detach()": "dream_weights has detached them",
    },
)
def _(PathwiseActorCritic, rng):
    world, behaviour, paid = Slope(rng), pathwise(PathwiseActorCritic, rng), []
    starts, plain = {"x": normal(rng, N, X)}, behaviour.actor_loss
    behaviour.actor_loss = lambda *given: paid.append(given) or plain(*given)
    loss, metrics = behaviour.loss(world, starts, seeded(rng))
    parts = {part: list(getattr(behaviour, part).parameters()) for part in ("actor", "critic")}
    found = {"loss": loss, **{name: metrics[name] for name in ("actor", "critic", "return")}}
    found |= gradients(loss, **parts, world=list(world.parameters()))
    found |= {"what the actor is paid": paid[-1][0], "its weights": paid[-1][1]}
    found["metrics that hang on the graph"] = sum(v.requires_grad for v in metrics.values())
    found["parameters that learn"] = sum(p.requires_grad for p in world.parameters())
    return found


# 2.3.5 ------------------------------------------------------------------------------------------


def critic_loss_by_numpy(self, features, returns, weight):
    with torch.no_grad():
        target, looked = returns.clone(), features.clone()
    error = target - self.critic(looked)[..., 0]
    return (weight * error * error).sum() / (2 * error.numel())


@exercise(
    "2.3.5",
    pathwise_actor_critic.PathwiseActorCritic.critic_loss,
    core=False,
    bug="target",
    points=2,
    difficulty=2,
    minutes=15,
    gradients=True,
    hints=(
        "The number that it returns is right. Ask where its gradient goes.",
        "The returns are a function of the actor. Who can make the error small, besides the "
        "critic?",
    ),
    mistakes=(
        Mistake(
            "the actor learns from the critic's error: it would seek what is easy to foresee",
            "returns.detach()",
            "returns",
            "target",
        ),
        Mistake(
            "the critic's gradient reaches the actor and the world through the features",
            "features.detach()",
            "features",
        ),
        Mistake(
            "the critic does not learn: its own value is detached",
            "self.value(features.detach())",
            "self.value(features).detach()",
        ),
        Mistake("the weights are left out", "weight * error.square()", "error.square()"),
        Mistake("the factor of one half is missing", "0.5 * ", ""),
        Mistake(
            "errors of opposite sign cancel: they have to be squared",
            "error.square()",
            "error",
        ),
    ),
    alternatives=(critic_loss_by_numpy,),
)
def _(PathwiseActorCritic, rng):
    behaviour = pathwise(PathwiseActorCritic, rng)
    given = leaf(normal(rng, N, H, X)), leaf(normal(rng, N, H))
    loss = behaviour.critic_loss(*given, uniform(rng, N, H))
    groups = {"critic": list(behaviour.critic.parameters())}
    return {"loss": loss, **gradients(loss, features=given[:1], returns=given[1:], **groups)}


# 2.3.6 ------------------------------------------------------------------------------------------


def straight_through_by_eye(probability, index):
    hot = torch.eye(probability.shape[-1], dtype=probability.dtype)[index]
    return probability - (probability - hot).detach()


@exercise(
    "2.3.6",
    one_hot.straight_through,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "What does x - x.detach() give forwards, and what backwards?",
        "hot + (probability - probability.detach()), where hot is one-hot at index, in the dtype "
        "of probability, and has no gradient.",
    ),
    mistakes=(
        Mistake(
            "no gradient comes back: forwards one-hot, backwards nothing",
            "hot + (probability - probability.detach())",
            "hot",
        ),
        Mistake(
            "the probabilities are given; forwards the value is one-hot",
            "hot + (probability - probability.detach())",
            "probability",
        ),
        Mistake(
            "the gradient has the wrong sign",
            "(probability - probability.detach())",
            "(probability.detach() - probability)",
        ),
        Mistake(
            "only the drawn class gets a gradient; all of them do",
            "hot + (probability - probability.detach())",
            "hot + hot * (probability - probability.detach())",
        ),
        Mistake(
            "the gradient is that of log-probabilities",
            "(probability - probability.detach())",
            "(probability.log() - probability.log().detach())",
        ),
    ),
    alternatives=(straight_through_by_eye,),
)
def _(straight_through, rng):
    found = {}
    for shape in ((N,), (2, 3)):
        logits = leaf(normal(rng, *shape, K))
        index = torch.as_tensor(rng.integers(0, K, shape))
        value = straight_through(logits.softmax(-1), index)
        found[f"value {list(shape)}"] = value
        back = gradients((normal(rng, *shape, K) * value).sum(), logits=[logits])
        found |= {f"{k} {list(shape)}": v for k, v in back.items()}
        found[f"value without gradient {list(shape)}"] = straight_through(
            logits.detach().softmax(-1), index
        )
    return found


# 2.3.7 ------------------------------------------------------------------------------------------


def kl_by_lerp(self, posterior, prior):
    free = torch.tensor(self.config.free_nats)
    learns = self.rssm.latent.kl(posterior.detach(), prior).mean()  # the prior
    explains = self.rssm.latent.kl(posterior, prior.detach()).mean()  # the posterior
    return torch.lerp(
        torch.maximum(explains, free), torch.maximum(learns, free), self.config.balance
    )


@exercise(
    "2.3.7",
    dreamer_v2.DreamerV2.kl,
    points=3,
    difficulty=3,
    minutes=20,
    gradients=True,
    hints=(
        "Twice the same divergence. In one of them the posterior is a number, in the other the "
        "prior.",
        "The prior learns where the posterior is detached: that term has the weight "
        "self.config.balance.",
        "latent.kl(posterior.detach(), prior).mean().clamp(min=free) is the first, "
        "latent.kl(posterior, prior.detach()).mean().clamp(min=free) the second.",
    ),
    mistakes=(
        Mistake(
            "the stops are on the wrong sides: the posterior gets the prior's share",
            "self.config.balance * dyn + (1 - self.config.balance) * rep",
            "self.config.balance * rep + (1 - self.config.balance) * dyn",
        ),
        Mistake(
            "nothing is stopped: both get the whole gradient",
            "latent.kl(posterior.detach(), prior)",
            "latent.kl(posterior, prior)",
        ),
        Mistake(
            "both are stopped in one term: the posterior learns nothing",
            "latent.kl(posterior, prior.detach())",
            "latent.kl(posterior.detach(), prior.detach())",
        ),
        Mistake(
            "the divergence is that of the prior from the posterior; it is the other way round",
            "latent.kl(posterior, prior.detach())",
            "latent.kl(prior.detach(), posterior)",
        ),
        Mistake(
            "the free nats clip every step; in DreamerV2 they clip the mean",
            "latent.kl(posterior.detach(), prior).mean().clamp(min=free)",
            "latent.kl(posterior.detach(), prior).clamp(min=free).mean()",
        ),
        Mistake(
            "the free nats are subtracted; they are the least that is paid",
            "latent.kl(posterior, prior.detach()).mean().clamp(min=free)",
            "(latent.kl(posterior, prior.detach()).mean() - free).clamp(min=0)",
        ),
    ),
    alternatives=(kl_by_lerp,),
)
def _(DreamerV2, rng):
    found = {}
    for name, far, free in (("few free nats", 3.0, 0.1), ("many", 0.1, 3.0)):
        config = replace(TINY, balance=float(rng.uniform(0.6, 0.9)), free_nats=free)
        world = DreamerV2(PLACE, CHOICE, config)
        prior = normal(rng, B, T, 2 * K)
        posterior = leaf(prior + far * normal(rng, B, T, 2 * K))
        prior.requires_grad_()
        if name == "few free nats":
            with torch.no_grad():
                posterior[0] = prior[0]  # steps without a surprise, which the mean pays for
        loss = world.kl(posterior, prior)
        found[f"loss, {name}"] = loss
        back = gradients(loss, posterior=[posterior], prior=[prior])
        found |= {f"{k}, {name}": v for k, v in back.items()}
    return found


# 2.3.8 ------------------------------------------------------------------------------------------


def actor_loss_by_distribution(self, logits, action, returns, baseline, weight):
    choice = torch.distributions.Categorical(logits=logits)
    advantage = returns.detach() - baseline.detach()
    score = advantage * choice.log_prob(action.argmax(-1))
    share = self.config.mix
    gained = share * returns + (1 - share) * score + self.config.entropy * choice.entropy()
    return -(gained * weight).sum() / weight.numel()


@exercise(
    "2.3.8",
    mixed_actor_critic.MixedActorCritic.actor_loss,
    core=False,
    points=3,
    difficulty=3,
    minutes=25,
    gradients=True,
    hints=(
        "Three terms, each [N, H-1]: the return itself, log-probability times advantage, entropy. "
        "Then weigh, average, change the sign.",
        "log_probs = logits.log_softmax(-1); that of the chosen action is (action * log_probs)"
        ".sum(-1); the entropy is -(log_probs.exp() * log_probs).sum(-1).",
        "The advantage is (returns - baseline).detach(), the action action.detach(); the return in "
        "the first term keeps its gradient.",
    ),
    mistakes=(
        Mistake(
            "the advantage is differentiated: REINFORCE takes it for a number",
            "(returns - baseline).detach()",
            "(returns - baseline)",
        ),
        Mistake(
            "the returns are detached in the first term, too: nothing comes through the dream",
            "self.config.mix * returns",
            "self.config.mix * returns.detach()",
        ),
        Mistake(
            "the two shares are swapped: ρ is that of the gradient through the dream",
            "self.config.mix * returns + (1 - self.config.mix) * reinforce",
            "(1 - self.config.mix) * returns + self.config.mix * reinforce",
        ),
        Mistake(
            "the action is differentiated: straight-through gradients leak into log π",
            "action.detach()",
            "action",
        ),
        Mistake("the sign is wrong: this would make returns small", "return -(", "return ("),
        Mistake(
            "entropy is punished; a bonus is added to what shall increase",
            "mixed + self.config.entropy * entropy",
            "mixed - self.config.entropy * entropy",
        ),
        Mistake("the baseline is left out", "(returns - baseline)", "(returns)"),
        Mistake("the weights are left out", "(weight * (", "(1.0 * ("),
    ),
    alternatives=(actor_loss_by_distribution,),
)
def _(MixedActorCritic, rng):
    found = {}
    for name, mix in (("between", float(rng.uniform(0.2, 0.4))), ("0", 0.0), ("1", 1.0)):
        behaviour = mixed(MixedActorCritic, rng, X, mix=mix, entropy=float(rng.uniform(0.1, 0.3)))
        action = F.one_hot(torch.as_tensor(rng.integers(0, A, (N, H))), A).float()
        given = normal(rng, N, H, A), action, normal(rng, N, H), normal(rng, N, H)
        given = [leaf(v) for v in given]
        loss = behaviour.actor_loss(*given, uniform(rng, N, H))
        names = "logits", "action", "returns", "baseline"
        groups = {part: [value] for part, value in zip(names, given, strict=True)}
        found[f"loss, ρ: {name}"] = loss
        found |= {f"{k}, ρ: {name}": v for k, v in gradients(loss, **groups).items()}
    return found


# 2.3.9 ------------------------------------------------------------------------------------------


def follow_by_loading(self):
    if self.updates.item() % self.config.slow_update == 0:
        self.slow.load_state_dict(self.critic.state_dict())
    self.updates.add_(1)


@exercise(
    "2.3.9",
    mixed_actor_critic.MixedActorCritic.follow,
    core=False,
    points=2,
    difficulty=2,
    minutes=15,
    hints=(
        "Count first in your head: which calls copy, if slow_update is 3? Calls 0, 3, 6.",
        "for slow, fast in zip(self.slow.parameters(), self.critic.parameters()): "
        "slow.copy_(fast), under torch.no_grad(); and self.updates += 1 every time.",
        "Without an `if`, which would wait for a GPU: slow.lerp_(fast, share), where share is 1.0 "
        "or 0.0, made from (self.updates % self.config.slow_update == 0).float().",
    ),
    mistakes=(
        Mistake(
            "the first call does not copy",
            "(self.updates % self.config.slow_update == 0)",
            "((self.updates + 1) % self.config.slow_update == 0)",
        ),
        Mistake(
            "every call copies: then it is no slow critic",
            "(self.updates % self.config.slow_update == 0)",
            "(self.updates >= 0)",
        ),
        Mistake(
            "it moves a part of the way, as in DreamerV3; here it is a copy",
            "slow.lerp_(fast, share)",
            "slow.lerp_(fast, 0.5 * share)",
        ),
        Mistake(
            "the critic is overwritten by its slow copy",
            "slow.lerp_(fast, share)",
            "fast.lerp_(slow, share)",
        ),
        Mistake("the calls are not counted", "self.updates += 1", "self.updates += 0"),
    ),
    alternatives=(follow_by_loading,),
    equivalents={
        "for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=True): -> "
        "for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=False):": (
            "a copy has as many parameters as its original"
        ),
    },
)
def _(MixedActorCritic, rng):
    behaviour, found = mixed(MixedActorCritic, rng, X), {}
    for call in range(8):
        spread(behaviour.critic, rng)
        behaviour.follow()
        parts = {"critic": behaviour.critic, "slow critic": behaviour.slow}
        found |= {
            f"{name} after call {call}": torch.cat([p.flatten() for p in part.parameters()])
            for name, part in parts.items()
        }
    return found | {"calls": behaviour.updates}


# 2.3.10 -----------------------------------------------------------------------------------------


def parts_by_number(self, features, action, returns, value, weight):
    steps = returns.shape[1] - 1
    critic = self.critic_loss(features[:, : steps + 1], returns, weight[:, : steps + 1])
    spoken, paid = self.actor(features)[:, :steps], returns[:, 1 : steps + 1]
    actor = self.actor_loss(spoken, action[:, :steps], paid, value[:, :steps], weight[:, :steps])
    return {"critic": critic, "actor": actor}


@exercise(
    "2.3.10",
    mixed_actor_critic.MixedActorCritic.parts,
    core=False,
    bug="shift",
    points=3,
    difficulty=3,
    minutes=20,
    gradients=True,
    hints=(
        "It runs, its losses look fine, and the actor learns little. Write down for H = 3 what "
        "stands in column 0 of each of the five tensors in `chosen`.",
        "returns[:, t] counts the reward that came with state t. Which return does the action "
        "chosen in state t earn?",
    ),
    mistakes=(
        Mistake(
            "every action is paid with the return of the state it was chosen in; it earns that of "
            "the next one",
            "returns[:, 1:]",
            "returns[:, :-1]",
            "shift",
        ),
        Mistake(
            "the actor's log-probabilities are those of the next state",
            "self.actor(features[:, :-2])",
            "self.actor(features[:, 1:-1])",
        ),
        Mistake(
            "the action of the next state is taken",
            "action[:, :-1]",
            "action[:, 1:]",
        ),
        Mistake(
            "the baseline is the value of the next state, which already knows the action",
            "value[:, :-2]",
            "value[:, 1:-1]",
        ),
        Mistake(
            "the weight is that of the next state: a dream that has ended there still counts here",
            "weight[:, :-2]",
            "weight[:, 1:-1]",
        ),
        Mistake(
            "the critic learns the return of the state before",
            "features[:, :-1], returns",
            "features[:, 1:], returns",
        ),
    ),
    alternatives=(parts_by_number,),
)
def _(MixedActorCritic, rng):
    behaviour, found = mixed(MixedActorCritic, rng, X), {}
    features, value, weight = (
        normal(rng, N, H + 1, X),
        normal(rng, N, H + 1),
        uniform(rng, N, H + 1),
    )
    action = F.one_hot(torch.as_tensor(rng.integers(0, A, (N, H))), A).float()
    returns = leaf(normal(rng, N, H))
    parts = behaviour.parts(features, action, returns, value, weight)
    groups = {part: list(getattr(behaviour, part).parameters()) for part in ("actor", "critic")}
    for name in ("actor", "critic"):
        found[f"{name} loss"] = parts[name]
        back = gradients(parts[name], **groups, returns=[returns])
        found |= {f"{k}, {name} loss": v for k, v in back.items()}
    return found
