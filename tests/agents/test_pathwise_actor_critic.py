"""The first Dreamer's actor and critic against danijar/dreamer at 56d4d44 and by definition."""

import math

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Discrete

from tests.conformance import random_steps
from tests.official import close, official
from utils.agents import actor_critic
from utils.agents.pathwise_actor_critic import (
    Config,
    PathwiseActorCritic,
    TanhNormal,
    dream_weights,
    lambda_return,
)
from utils.data.pendulum import ExactPendulum
from utils.world import rollout
from utils.worlds import dreamer_v1

torch.set_num_threads(1)
BALL = Box(-1, 1, (3,), np.float32)
TINY = dreamer_v1.Config(deter=12, stoch=5, hidden=10, units=10)


def pair(**changes):
    torch.manual_seed(0)
    world = dreamer_v1.DreamerV1(BALL, BALL, TINY)
    config = Config(units=10, actor_layers=1, critic_layers=1, horizon=5, **changes)
    return world, PathwiseActorCritic(17, BALL, config)


def starts_of(world):
    batch = random_steps(world.spec)
    return world.loss(batch, torch.Generator().manual_seed(0))[2]


@pytest.mark.parametrize("version", [1, 2])
def test_lambda_returns_are_the_official_ones(version):
    given, expected = official(f"dreamerv{version}_lambda_return")
    reward, discount, value = (given[k].T for k in ("reward", "pcont", "value"))
    last = torch.zeros_like(given["bootstrap"][:, None])
    reward, discount = torch.cat([reward, last], 1), torch.cat([discount, last], 1)
    value = torch.cat([value, given["bootstrap"][:, None]], 1)
    close(lambda_return(reward, discount, value, 0.95), expected["returns"].T)


def test_lambda_return_is_the_mean_of_all_n_step_returns():
    generator = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 3, 7, generator=generator, dtype=torch.float64)
    discount = torch.rand(3, 7, generator=generator, dtype=torch.float64)

    def n_step(t, n):
        total, scale = 0, 1
        for k in range(t, t + n):
            total = total + scale * reward[:, k]
            scale = scale * discount[:, k]
        return total + scale * value[:, t + n]

    for lam in (0.0, 0.6, 1.0):
        returns = lambda_return(reward, discount, value, lam)
        for t in range(6):
            most = 6 - t
            weights = [(1 - lam) * lam ** (n - 1) for n in range(1, most)] + [lam ** (most - 1)]
            brute = sum(w * n_step(t, n) for n, w in enumerate(weights, 1))
            assert torch.allclose(returns[:, t], brute)


def test_dreamer_v3_counts_the_same_returns_one_row_later():
    reward, discount, value = torch.rand(3, 4, 6)
    later = [torch.cat([torch.zeros(4, 1), part[:, :-1]], 1) for part in (reward, discount)]
    theirs = actor_critic.lambda_return(*later, value, 0.9)
    close(lambda_return(reward, discount, value, 0.9), theirs)


def test_weights_are_the_discounts_before_a_step():
    weight = dream_weights(torch.tensor([[0.5, 0.9, 0.0, 0.3]], requires_grad=True))
    close(weight, torch.tensor([[1.0, 0.5, 0.45, 0.0]]))
    assert not weight.requires_grad


def test_actions_are_tanh_of_a_gaussian_as_torch_has_it():
    """The official shape: mean 5 tanh(m / 5), deviation softplus(s + log(e^5 - 1)) + 1e-4."""
    choice, outputs, noise = TanhNormal(3, 5.0), torch.randn(7, 6), torch.randn(7, 3)
    mean = 5 * (outputs[:, :3] / 5).tanh()
    std = torch.nn.functional.softplus(outputs[:, 3:] + math.log(math.exp(5) - 1)) + 1e-4
    close(choice.sample(outputs, noise), (mean + std * noise).tanh())
    close(choice.sample(outputs, None), mean.tanh())
    std = torch.atanh(choice.sample(torch.zeros(1, 6).double(), 0.5 * torch.ones(1, 3).double()))
    close(std, torch.full((1, 3), 0.5 * (5 + 1e-4)))


def test_a_return_reaches_an_action_through_the_world_only():
    """Forward differences of the same dream with the later actions held fixed."""
    world, behaviour = pair()
    starts = {k: v[:2].double() for k, v in starts_of(world).items()}
    world, behaviour = world.double(), behaviour.double()
    chosen, sample = [], behaviour.choice.sample
    behaviour.choice.sample = lambda *given: chosen.append(sample(*given)) or chosen[-1]
    dream = behaviour.imagine(world, starts, torch.Generator().manual_seed(1))
    gradient = torch.stack(torch.autograd.grad(dream.reward[:, -1].sum(), chosen), 1)

    def replayed(actions):
        class Recorded:
            """Draws as the dream drew: first the action's noise, then the world's."""

            def __init__(self):
                self.t = -1

            def __call__(self, state, generator):
                self.t += 1
                torch.randn(2, 3, generator=generator, dtype=torch.float64)
                return actions[:, self.t]

        again = torch.Generator().manual_seed(1)
        return rollout(world, starts, Recorded(), 5, generator=again).reward[:, -1].sum()

    actions = dream.action.detach()
    with torch.no_grad():
        for h in range(5):
            moved = actions.clone()
            moved[0, h, 1] += 1e-6
            slope = (replayed(moved) - replayed(actions)) / 1e-6
            assert slope.item() == pytest.approx(gradient[0, h, 1].item(), rel=1e-3, abs=1e-7)


def test_the_actor_is_not_differentiated_through_what_it_looks_at():
    world, behaviour = pair()
    seen = []
    behaviour.actor.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    behaviour.imagine(world, starts_of(world), torch.Generator().manual_seed(1))
    assert len(seen) == 5
    assert not any(features.requires_grad for features in seen)


def test_losses_train_the_actor_and_the_critic_and_nothing_else():
    world, behaviour = pair()
    starts = starts_of(world)
    loss, metrics = behaviour.loss(world, starts, torch.Generator().manual_seed(1))
    loss.backward()
    assert all(p.grad is None for p in world.parameters())
    assert all(p.requires_grad for p in world.parameters())
    for part in (behaviour.actor, behaviour.critic):
        assert all(p.grad.abs().sum() > 0 for p in part.parameters())
    close(metrics["actor"] + metrics["critic"], loss.detach())


def test_the_critic_learns_from_its_own_loss_alone():
    """The actor's loss passes through the critic; it must not raise the values it is paid in."""
    world, behaviour = pair()
    starts = starts_of(world)
    behaviour.loss(world, starts, torch.Generator().manual_seed(1))[0].backward()
    both = [p.grad.clone() for p in behaviour.critic.parameters()]
    behaviour.zero_grad()
    behaviour.actor_loss = lambda returns, weight: torch.zeros(())
    behaviour.loss(world, starts, torch.Generator().manual_seed(1))[0].backward()
    for ours, alone in zip(both, behaviour.critic.parameters(), strict=True):
        close(ours, alone.grad)


def test_losses_are_those_of_the_official_lines():
    """actor: minus the mean of cumulated discount times return; critic: the log density of a unit
    Gaussian but for its constant."""
    _, behaviour = pair()
    features, returns, weight = torch.randn(4, 6, 17), torch.randn(4, 6), torch.rand(4, 6)
    close(behaviour.actor_loss(returns, weight), -(weight * returns).mean())
    value = behaviour.critic(features)[..., 0]
    density = torch.distributions.Normal(value, 1.0).log_prob(returns)
    constant = -0.5 * math.log(2 * math.pi)
    loss = behaviour.critic_loss(features, returns, weight)
    close(loss, -(weight * (density - constant)).mean())


def test_it_climbs_in_an_exact_world():
    """Some updates in the equations of a pendulum near its top make it stay there longer."""

    class Seen(ExactPendulum):
        def features(self, state):
            return self.decode(state)

    torch.manual_seed(0)
    world = Seen()
    config = Config(units=32, actor_layers=1, critic_layers=1, horizon=10, init_std=0.3)
    behaviour = PathwiseActorCritic(3, world.spec.action_space, config)
    adam = torch.optim.Adam(behaviour.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(0)
    starts = {"angle": 0.3 * torch.randn(64, generator=generator), "velocity": torch.zeros(64)}
    earned = []
    for _ in range(60):
        loss, _ = behaviour.loss(world, starts, generator)
        adam.zero_grad()
        loss.backward()
        adam.step()
        earned.append(behaviour.imagine(world, starts, generator).reward.sum(1).mean().item())
    assert earned[-1] > 0.5 * earned[0]  # both are negative


def test_exploring_adds_noise_and_judging_takes_the_mean():
    world, behaviour = pair(action_noise=0.0)
    state = {k: v[:4] for k, v in starts_of(world).items()}
    mean = behaviour.policy(world, explore=False)(state, None)
    close(mean, behaviour.choice.sample(behaviour.actor(world.features(state)), None))
    a, b = (behaviour.policy(world)(state, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(a, b)
    assert (a - mean).abs().max() > 0.1
    noisy = PathwiseActorCritic(17, BALL, Config(units=10, action_noise=9.0)).policy(world)
    assert noisy(state, torch.Generator().manual_seed(2)).abs().max() == 1


def test_it_needs_a_range_of_actions():
    with pytest.raises(TypeError, match="differentiates"):
        PathwiseActorCritic(17, Discrete(2), Config())
