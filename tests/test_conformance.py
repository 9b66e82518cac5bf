"""The conformance suite accepts right worlds, and each rule rejects a world that breaks it."""

import numpy as np
import pytest
import torch
from gymnasium.spaces import Box

from tests import conformance
from tests.conformance import RULES, Case
from tests.gaussian import CARTPOLE, TWO, Gaussian
from utils.world import Spec, detach, where

torch.set_num_threads(1)
IMAGE = Box(0, 255, (4, 4, 1), np.uint8)
WORTHY = {
    "cartpole": Case(Gaussian, parallel=Gaussian.parallel),
    "continuous": Case(lambda: Gaussian(action=Box(-1, 1, (2,))), parallel=Gaussian.parallel),
    "pixels": Case(lambda: Gaussian(observation=IMAGE, parts=())),
}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("name", WORTHY)
def test_a_right_world_passes(rule, name):
    rule(WORTHY[name])


class Mutates(Gaussian):
    def imagine(self, state, action, **kwargs):
        dreamt = super().imagine(state, action, **kwargs)
        state["deter"].copy_(dreamt.state["deter"])
        return dreamt


class MutatesStep(Gaussian):
    def observe(self, state, step, **kwargs):
        step.action.mul_(0.5)
        return super().observe(state, step, **kwargs)


class Learns(Gaussian):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def observe(self, state, step, **kwargs):
        self.seen += len(step.reward)
        return super().observe(state, step, **kwargs)


class Leaks(Gaussian):
    def imagine(self, state, action, **kwargs):
        state = {**state, "deter": state["deter"] - state["deter"].mean(0)}
        return super().imagine(state, action, **kwargs)


class LeaksInObserve(Gaussian):
    def embed(self, observation):
        embed = super().embed(observation)
        return embed - embed.mean(0)


class ResetsAll(Gaussian):
    def observe(self, state, step, **kwargs):
        step = step._replace(first=step.first.any().expand_as(step.first))
        return super().observe(state, step, **kwargs)


class Remembers(Gaussian):
    def observe(self, state, step, **kwargs):
        return super().observe(state, step._replace(first=torch.zeros_like(step.first)), **kwargs)


class RemembersHalf(Remembers):
    def observe(self, state, step, **kwargs):
        wiped = where(step.first, {"stoch": torch.zeros_like(state["stoch"])}, state)
        return super().observe({**state, **wiped}, step, **kwargs)


class GlobalNoise(Gaussian):
    def sample(self, stats, generator, mode):
        return super().sample(stats, None, mode)


class NumpyNoise(Gaussian):
    def sample(self, stats, generator, mode):
        return stats[..., :4] + (0 if mode else np.random.randn())  # noqa: NPY002


class SamplesInMode(Gaussian):
    def sample(self, stats, generator, mode):
        return super().sample(stats, generator, False)


class DrawsInMode(Gaussian):
    def sample(self, stats, generator, mode):
        drawn = super().sample(stats, generator, False)
        return super().sample(stats, generator, mode) if mode else drawn


class OtherParallel(Gaussian):
    def parallel(self, batch, generator=None, mode=True):
        first = torch.zeros_like(batch.first)
        return super().parallel(batch._replace(first=first), generator, mode)


class ShiftsActions(Gaussian):
    def parallel(self, batch, generator=None, mode=True):
        return super().parallel(batch._replace(action=batch.action.roll(-1, 1)), generator, mode)


class DetachesAction(Gaussian):
    def imagine(self, state, action, **kwargs):
        return super().imagine(state, action.detach(), **kwargs)


class DetachesState(Gaussian):
    def imagine(self, state, action, **kwargs):
        return super().imagine(detach(state), action, **kwargs)


class NoGrad(Gaussian):
    @torch.no_grad()
    def imagine(self, state, action, **kwargs):
        return super().imagine(state, action, **kwargs)


class ClaimsNoGradient(Gaussian):
    def __init__(self):
        super().__init__()
        self.spec = Spec(CARTPOLE, TWO, differentiable=False)


class ItemInLoss(Gaussian):
    def loss(self, batch, generator=None):
        loss, metrics, starts = super().loss(batch, generator)
        return loss, {"loss": loss.item(), **metrics}, starts


class MixesDevices(Gaussian):
    def initial(self, batch):
        return {k: torch.zeros(v.shape) for k, v in super().initial(batch).items()}


class AttachedStarts(Gaussian):
    def loss(self, batch, generator=None):
        loss, metrics, _ = super().loss(batch, generator)
        states = self.parallel(batch, generator)
        return loss, metrics, {k: v.flatten(0, 1) for k, v in states.items()}


class LossOfRows(Gaussian):
    def loss(self, batch, generator=None):
        loss, metrics, starts = super().loss(batch, generator)
        return loss.expand(3), metrics, starts


class ZeroReward(Gaussian):
    def __init__(self):
        super().__init__(parts=("cont",))

    def predict(self, state):
        return torch.zeros(len(state["deter"])), super().predict(state)[1]


class LogitCont(Gaussian):
    def predict(self, state):
        return super().predict(state)[0], self.heads(self.features(state))[..., 1] - 5


class RewardColumn(Gaussian):
    def predict(self, state):
        reward, cont = super().predict(state)
        return reward[..., None], cont


class FlatFrames(Gaussian):
    def __init__(self):
        super().__init__(observation=IMAGE)

    def decode(self, state):
        return super().decode(state).flatten(1)


class DropsState(Gaussian):
    def imagine(self, state, action, **kwargs):
        dreamt = super().imagine(state, action, **kwargs)
        return dreamt._replace(state={"deter": dreamt.state["deter"]})


class InferenceMode(Gaussian):
    @torch.inference_mode()
    def observe(self, state, step, **kwargs):
        return super().observe(state, step, **kwargs)


BROKEN = [
    (Mutates, conformance.arguments_keep_their_bits),
    (MutatesStep, conformance.arguments_keep_their_bits),
    (Learns, conformance.arguments_keep_their_bits),
    (Leaks, conformance.a_batch_is_its_rows),
    (LeaksInObserve, conformance.a_batch_is_its_rows),
    (ResetsAll, conformance.a_reset_touches_its_row_only),
    (Remembers, conformance.first_forgets),
    (RemembersHalf, conformance.first_forgets),
    (GlobalNoise, conformance.the_same_generator_gives_the_same_dream),
    (NumpyNoise, conformance.the_same_generator_gives_the_same_dream),
    (SamplesInMode, conformance.mode_draws_nothing),
    (DrawsInMode, conformance.mode_draws_nothing),
    (OtherParallel, conformance.step_by_step_is_the_parallel_form),
    (ShiftsActions, conformance.step_by_step_is_the_parallel_form),
    (DetachesAction, conformance.gradients_reach_the_action_as_spec_says),
    (DetachesState, conformance.gradients_reach_the_action_as_spec_says),
    (NoGrad, conformance.gradients_reach_the_action_as_spec_says),
    (ClaimsNoGradient, conformance.gradients_reach_the_action_as_spec_says),
    (ItemInLoss, conformance.a_train_step_runs_on_meta),
    (MixesDevices, conformance.a_train_step_runs_on_meta),
    (AttachedStarts, conformance.loss_is_finite_and_gives_starts),
    (LossOfRows, conformance.loss_is_finite_and_gives_starts),
    (ZeroReward, conformance.shapes_and_parts_are_those_of_spec),
    (LogitCont, conformance.shapes_and_parts_are_those_of_spec),
    (RewardColumn, conformance.shapes_and_parts_are_those_of_spec),
    (FlatFrames, conformance.shapes_and_parts_are_those_of_spec),
    (DropsState, conformance.shapes_and_parts_are_those_of_spec),
    (InferenceMode, conformance.shapes_and_parts_are_those_of_spec),
]


@pytest.mark.parametrize(("world", "rule"), BROKEN, ids=lambda part: part.__name__)
def test_the_rule_rejects_a_broken_world(world, rule):
    with pytest.raises(AssertionError):
        rule(Case(world, parallel=world.parallel))


def test_every_rule_that_runs_here_can_fail():
    needs_gpu = {conformance.a_train_step_never_waits_for_the_gpu}
    assert {rule for _, rule in BROKEN} | needs_gpu == set(RULES)
