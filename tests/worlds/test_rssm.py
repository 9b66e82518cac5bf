"""The recurrence: the fast form equals the plain one, and divergences are the official ones
(danijar/dreamerv3 at e3f0224, dreamerv3/rssm.py)."""

import math

import pytest
import torch

from tests.official import close, official
from utils.nn.mlp import mlp
from utils.world import stack
from utils.worlds.dreamer_v3 import BlockGRU, Posterior
from utils.worlds.rssm import RSSM, Categoricals

torch.set_num_threads(1)
B, T, D, S, K, A, E = 3, 9, 16, 3, 4, 2, 5


def model():
    torch.manual_seed(0)
    return RSSM(
        BlockGRU(D, S * K, A, hidden=8, blocks=4),
        prior=mlp(D, 8, 2, S * K),
        posterior=Posterior(D, E, 8, S * K),
        latent=Categoricals(S, K, 0.01),
    )


def data():
    generator = torch.Generator().manual_seed(1)
    first = torch.zeros(B, T, dtype=torch.bool)
    first[0, 0] = first[0, 4] = first[2, 7] = True
    embed = torch.randn(B, T, E, generator=generator)
    return embed, torch.randn(B, T, A, generator=generator), first


def stepwise(rssm, embed, action, first, noise):
    state, states, logits = rssm.initial(B), [], []
    for t in range(T):
        now = None if noise is None else noise[:, t]
        state, logit = rssm.observe(state, embed[:, t], action[:, t], first[:, t], now)
        states.append(state)
        logits.append(logit)
    return stack(states), torch.stack(logits, 1)


@pytest.mark.parametrize("mode", [True, False])
def test_filter_is_observe_step_by_step_in_values_and_gradients(mode):
    rssm, (embed, action, first) = model().double(), data()
    embed, action = embed.double().requires_grad_(), action.double().requires_grad_()
    noise = None if mode else torch.rand(B, T, S, generator=torch.Generator().manual_seed(2))
    found = []
    for form in (rssm.filter, lambda *given: stepwise(rssm, *given)):
        states, logits = form(embed, action, first, noise)
        weight = torch.linspace(-1, 1, T, dtype=torch.float64)[None, :, None]
        loss = (weight * states["deter"]).sum() + (weight * logits.sin()).sum()
        loss = loss + (weight[..., None] * states["stoch"] * torch.arange(1.0, K + 1)).sum()
        wanted = [embed, action, *rssm.cell.parameters(), *rssm.posterior.parameters()]
        found.append(([*states.values(), logits], torch.autograd.grad(loss, wanted)))
    for fast, plain in zip(
        found[0][0] + list(found[0][1]), found[1][0] + list(found[1][1]), strict=True
    ):
        assert plain.abs().max() > 0
        assert torch.allclose(fast, plain, rtol=1e-10, atol=1e-12)


def test_first_forgets_state_and_action():
    rssm, (embed, action, _) = model(), data()
    first, noise = torch.ones(B, dtype=torch.bool), torch.full((B, S), 0.3)
    poisoned = {k: torch.full_like(v, torch.nan) for k, v in rssm.initial(B).items()}
    nan = torch.full((B, A), torch.nan)
    for state, given in ((poisoned, nan), (rssm.initial(B), torch.zeros(B, A))):
        state, logits = rssm.observe(state, embed[:, 0], given, first, noise)
        assert logits.isfinite().all()
        close(logits, rssm.observe(rssm.initial(B), embed[:, 0], action[:, 0], first, noise)[1])


def test_divergences_and_their_gradients_are_the_official_ones():
    given, expected = official("dreamerv3_kl_balance_freebits")
    latent = Categoricals(4, 5, 0.01)
    post, prior = (given[f"{k}_logits"].flatten(2).requires_grad_() for k in ("post", "prior"))
    for name, a, b in (("dyn", post.detach(), prior), ("rep", post, prior.detach())):
        loss = latent.kl(a, b).clamp(min=1.0)
        close(loss, expected[name])
        flowing, wanted = (prior, "prior") if name == "dyn" else (post, "post")
        (gradient,) = torch.autograd.grad(loss.sum(), flowing)
        close(gradient.unflatten(-1, (4, 5)), expected[f"d{name}_d{wanted}"])
        still = {"prior": "post", "post": "prior"}[wanted]
        assert expected[f"d{name}_d{still}"].abs().max() == 0


def test_divergence_is_bounded_by_the_mixture():
    latent = Categoricals(1, 8, 0.01)
    a = torch.tensor([[300.0, *[0.0] * 7]])
    kl = latent.kl(a, a.roll(1, -1))
    assert 6 < kl.item() < math.log(8 / 0.01)
    assert latent.kl(a, a).item() == 0


def test_samples_follow_the_logits_and_the_mode_is_the_largest():
    latent = Categoricals(2, 3, 0.01)
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0, 0.0, 0.0])
    noise = latent.noise(20000, like=logits, generator=torch.Generator().manual_seed(0))
    sample = latent.sample(logits.expand(20000, 6), noise)
    assert torch.allclose(sample.mean(0), latent.probability(logits), atol=0.015)
    assert (sample.sum(-1) == 1).all()
    assert latent.sample(logits, None).argmax(-1).tolist() == [2, 0]
