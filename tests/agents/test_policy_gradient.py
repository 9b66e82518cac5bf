"""REINFORCE by exact enumeration: unbiased whatever the baseline, and its causes in order."""

import itertools

import pytest
import torch

from utils.agents.policy_gradient import leave_one_out, reinforce_loss, rewards_to_go

torch.set_num_threads(1)


def test_rewards_to_go_are_what_came_after_within_the_episode():
    generator = torch.Generator().manual_seed(0)
    reward, first = torch.randn(3, 9, generator=generator), torch.zeros(3, 9, dtype=torch.bool)
    first[:, 0] = first[1, 4] = first[2, 8] = True
    reward[first] = 0
    found = rewards_to_go(reward, first, 0.9)
    for i in range(3):
        for t in range(9):
            total, weight = 0.0, 1.0
            for k in range(t + 1, 9):
                if first[i, k]:
                    break
                total += weight * reward[i, k].item()
                weight *= 0.9
            assert found[i, t].item() == pytest.approx(total, abs=1e-5)


def test_a_row_s_baseline_does_not_hear_of_the_row():
    value = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    before = leave_one_out(value)
    value[2] += 100.0
    after = leave_one_out(value)
    assert torch.allclose(before[2], after[2], atol=1e-4)
    assert torch.allclose(after[0] - before[0], torch.full((3,), 100 / 3), atol=1e-4)


def expected_gradient(rows, baseline_of):
    """The gradient of `rows` tries of a bandit with three arms, over all joint actions."""
    logits = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64)
    pays = torch.tensor([3.0, 5.0, 4.0], dtype=torch.float64)
    total, chance = torch.zeros(3, dtype=torch.float64), logits.softmax(-1)
    for actions in itertools.product(range(3), repeat=rows):
        free = logits.clone().requires_grad_()
        paid = pays[list(actions)][:, None]
        loss = reinforce_loss(
            free.log_softmax(-1)[list(actions)][:, None],
            paid,
            baseline_of(paid),
            torch.ones(rows, 1, dtype=torch.bool),
        )
        total -= chance[list(actions)].prod() * torch.autograd.grad(loss, free)[0]
    free = logits.clone().requires_grad_()
    truth = torch.autograd.grad(free.softmax(-1) @ pays, free)[0]
    return total, truth


@pytest.mark.parametrize("level", [0.0, 4.0, 100.0])
def test_a_constant_baseline_moves_no_mean(level):
    found, truth = expected_gradient(1, lambda paid: torch.full_like(paid, level))
    assert torch.allclose(found, truth, atol=1e-12)


def test_the_mean_of_the_others_moves_no_mean_and_the_mean_of_all_does():
    found, truth = expected_gradient(3, leave_one_out)
    assert torch.allclose(found, truth, atol=1e-12)
    biased, _ = expected_gradient(3, lambda paid: paid.mean(0, keepdim=True).expand_as(paid))
    assert not torch.allclose(biased, truth, atol=1e-3)


def test_rows_that_did_not_act_do_not_count():
    log_prob = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    value, zero = torch.ones(2, 4), torch.zeros(2, 4)
    acted = torch.tensor([[True, True, False, False], [True, False, False, False]])
    loss = reinforce_loss(log_prob.masked_fill(~acted, 1e6), value, zero, acted)
    assert loss.item() == pytest.approx(-log_prob[acted].mean().item())
