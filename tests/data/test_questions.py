"""The cue, the coin and the questions."""

import torch

from utils.data.questions import ACTION, LENGTH, OBSERVATION, PAY, questions, recall
from utils.world import Dreamt, Spec


def test_the_cue_is_seen_once_and_paid_when_asked_for():
    steps = questions(200, torch.Generator().manual_seed(0))
    cue = steps.observation[:, 0, 0]
    assert steps.observation.shape == (200, LENGTH, 2)
    assert set(cue.tolist()) == {-1.0, 1.0}
    assert (steps.observation[:, 1:, 0] == 0).all()
    assert (steps.observation[..., 1].abs() == 1).all()
    assert (steps.reward == PAY * cue[:, None] * steps.action[..., 0]).all()
    assert (steps.action[:, 0] == 0).all()
    assert 0.4 < steps.action[:, 1:].mean() < 0.6
    assert steps.first.sum(1).tolist() == [1] * 200


class Oracle:
    """Knows the cue, and says a share of what it pays."""

    spec = Spec(OBSERVATION, ACTION)

    def __init__(self, share):
        self.share = share

    def filter(self, steps, generator):
        cue = steps.observation[:, :1, 0].expand(steps.reward.shape)
        return {"cue": cue}, None

    def imagine(self, state, action, *, mode):
        return Dreamt(state, self.share * PAY * state["cue"] * action[:, 0], None)


def test_recall_asks_for_the_sign_and_half_of_the_pay():
    found = {s: recall(Oracle(s), 8, torch.Generator().manual_seed(0)) for s in (1, 0.6, 0.4, -1)}
    assert found == {1: 1.0, 0.6: 1.0, 0.4: 0.0, -1: 0.0}
