"""Thresholded entropy against jrobine/twm at e6a8e59."""

import pytest
import torch

from tests.official import close, official
from utils.nn.entropy import missing_entropy


def test_the_actor_loss_with_it_is_the_official_one():
    given, expected = official("twm_entropy_threshold_losses")
    logits = given["logits"].requires_grad_()
    chosen = logits.log_softmax(-1).gather(-1, given["a"][..., None]).squeeze(-1)
    reinforce = -(given["weights"] * chosen * given["advantages"]).mean()
    loss = reinforce + 0.01 * missing_entropy(logits, 0.1, given["weights"])
    close(loss, expected["loss"])
    close(torch.autograd.grad(loss, logits)[0], expected["dlogits"])
    close(0.1 - missing_entropy(logits, 0.1, given["weights"]), expected["norm_ent"])


@pytest.mark.parametrize(("threshold", "missing"), [(0.6, 0.1), (0.4, 0.0), (0.1, 0.0)])
def test_a_certain_and_an_even_one_have_half_of_it(threshold, missing):
    logits = torch.tensor([[0.0, 0.0], [80.0, 0.0]], requires_grad=True)
    loss = missing_entropy(logits, threshold)
    close(loss, torch.tensor(missing))
    if not missing:
        assert (torch.autograd.grad(loss, logits)[0] == 0).all()
