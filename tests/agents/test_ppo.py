"""The control without a model: its loss by hand, what it ignores, and that it learns."""

import torch
from gymnasium.spaces import Box, Discrete

from utils.agents.ppo import PPO, Config
from utils.world import Step


def agent(**changes):
    torch.manual_seed(0)
    return PPO(Box(-1, 1, (3,)), Discrete(2), Config(**changes))


def rows(n=4, t=9, seed=0):
    g = torch.Generator().manual_seed(seed)
    first = torch.rand(n, t, generator=g) < 0.2
    first[:, 0] = True
    action = torch.nn.functional.one_hot(torch.randint(2, (n, t), generator=g), 2).float()
    return Step(
        torch.randn(n, t, 3, generator=g),
        action.masked_fill(first[..., None], 0),
        torch.randn(n, t, generator=g).masked_fill(first, 0),
        first,
        first.roll(-1, 1) & (torch.rand(n, t, generator=g) < 0.5),
    )


def test_loss_is_equation_7_with_a_critic_and_an_entropy():
    ppo = agent(clip=0.2, entropy=0.01)
    seen, action = torch.randn(5, 3), torch.eye(2)[torch.tensor([0, 1, 1, 0, 1])]
    log_prob = ppo.actor(seen).log_softmax(-1)
    chosen = (log_prob * action).sum(-1).detach()
    ratio = torch.tensor([1.0, 1.5, 1.5, 0.5, 0.5])
    advantage = torch.tensor([1.0, 1.0, -1.0, 1.0, -1.0])
    returns = torch.randn(5)
    # A ratio beyond the clip in the direction of its advantage counts as the clip.
    gain = torch.tensor([1.0, 1.2, -1.5, 0.5, -0.8])
    entropy = -(log_prob.exp() * log_prob).sum(-1)
    error = (ppo.critic(seen)[:, 0] - returns).square()
    expected = (0.5 * error - gain - 0.01 * entropy).mean()
    loss = ppo.loss(seen, action, chosen - ratio.log(), returns, advantage)
    torch.testing.assert_close(loss, expected)


def test_no_gradient_pulls_a_clipped_action_further():
    ppo = agent(entropy=0.0)
    seen, action = torch.randn(2, 3), torch.eye(2)
    chosen = (ppo.actor(seen).log_softmax(-1) * action).sum(-1).detach()
    before = chosen - torch.tensor([1.5, 0.5]).log()
    loss = ppo.loss(seen, action, before, torch.zeros(2), torch.tensor([1.0, -1.0]))
    loss.backward()
    assert all(not p.grad.any() for p in ppo.actor.parameters())


def test_what_stands_at_a_border_changes_nothing():
    data, made = rows(), []
    for poison in (False, True):
        ppo, batch = agent(), Step(*(v.clone() for v in data))
        if poison:
            batch.action[batch.first] = torch.tensor([1.0, 0.0])
            batch.reward[batch.first] = 1e3
        ppo.learn(batch, torch.Generator().manual_seed(0))
        made.append([p.detach().clone() for p in ppo.parameters()])
    assert data.first[:, 1:].any()
    for one, other in zip(*made, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_it_learns_which_action_pays():
    ppo, g = agent(), torch.Generator().manual_seed(1)
    act, first = ppo.policy(), torch.zeros(16, 17, dtype=torch.bool)
    first[:, 0] = True
    for _ in range(20):
        seen = torch.randn(16, 17, 3, generator=g).sign()
        state = {"observation": seen.flatten(0, 1)}
        with torch.no_grad():
            chosen = act(state, g).view(16, 17, 2)
        action = torch.cat([torch.zeros(16, 1, 2), chosen[:, :-1]], 1)
        right = (action[..., 1] > 0) == (seen.roll(1, 1)[..., 0] > 0)  # the sign of the first
        reward = right.float().masked_fill(first, 0)
        ppo.learn(Step(seen, action, reward, first, first.roll(-1, 1) & False), g)
    assert reward[:, 1:].mean() > 0.9
