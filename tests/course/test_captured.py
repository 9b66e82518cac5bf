"""A recorded training step computes what a plain one does."""

import copy

import pytest
import torch
from gymnasium.spaces import Box, Discrete

from utils.agents.actor_critic import ActorCritic
from utils.agents.actor_critic import Config as Behaviour
from utils.course.captured import Captured
from utils.nn.laprop import LaProp
from utils.world import Step
from utils.worlds.dreamer_v3 import Config, DreamerV3

SIZES = Config(deter=16, hidden=8, stoch=2, classes=4, units=8, bins=21)
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


def batch(seed: int, device: str) -> Step:
    g = torch.Generator().manual_seed(seed)
    first = torch.zeros(3, 5, dtype=torch.bool)
    first[:, 0] = True
    action = torch.eye(2)[torch.randint(0, 2, (3, 5), generator=g)]
    numbers = torch.randn(3, 5, 4, generator=g), action, torch.randn(3, 5, generator=g)
    return Step(*(v.to(device) for v in (*numbers, first, torch.zeros_like(first))))


class Training:
    def __init__(self, device: str, recorded: bool) -> None:
        torch.manual_seed(0)
        self.world = DreamerV3(Box(-9, 9, (4,)), Discrete(2), SIZES).to(device)
        sizes = Behaviour(units=8, layers=1, bins=21, horizon=3)
        self.behaviour = ActorCritic(self.world.size, Discrete(2), sizes).to(device)
        self.parameters = [
            p for part in (self.world, self.behaviour) for p in part.parameters() if p.requires_grad
        ]
        self.optimiser = LaProp(self.parameters, 1e-2, warmup=1)
        self.generator = torch.Generator(device).manual_seed(0)
        self.captured = Captured(self.loss, self.parameters, self.generator)
        self.device, self.recorded = device, recorded

    def loss(self, data: Step):
        states, posterior = self.world.filter(data, self.generator)
        model, metrics = self.world.objective(data, states, posterior)
        play, more = self.behaviour.loss(self.world, states, data, self.generator)
        return model + play, metrics | more

    def step(self, seed: int) -> float:
        data = batch(seed, self.device)
        if self.recorded:
            loss, _ = self.captured(data)
        else:
            self.optimiser.zero_grad()
            loss, _ = self.loss(data)
            loss.backward()
        self.optimiser.step()
        return loss.item()


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=GPU)])
def test_a_recorded_step_trains_like_a_plain_one(device: str) -> None:
    plain, recorded = Training(device, False), Training(device, True)
    if device == "cuda":  # what the recording does, undone in both
        kept = copy.deepcopy(recorded.behaviour.state_dict())
        recorded.captured(batch(0, device))
        recorded.behaviour.load_state_dict(kept)
        for training in (plain, recorded):
            training.generator.manual_seed(1)
    losses = [(plain.step(seed), recorded.step(seed)) for seed in range(6)]
    assert len({round(a, 6) for a, _ in losses}) == 6
    for a, b in losses:
        assert a == pytest.approx(b, rel=1e-4)
    for p, q in zip(plain.parameters, recorded.parameters, strict=True):
        torch.testing.assert_close(p, q, rtol=1e-3, atol=1e-5)


def test_gradients_are_set_and_not_added() -> None:
    training = Training("cpu", True)
    grads = []
    for _ in range(2):
        training.generator.manual_seed(0)
        training.captured(batch(0, "cpu"))
        grads.append([p.grad.clone() for p in training.world.parameters() if p.grad is not None])
    assert any(g.abs().sum() > 0 for g in grads[0])
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=1e-3)  # the slow critic has moved
