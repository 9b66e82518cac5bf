"""The tokenizers: against the official code's numbers, exact patches, and codes that come back."""

import pytest
import torch

from tests.official import close, official
from utils.data import minatar
from utils.worlds.iris_tokenizer import (
    Patches,
    Tokenizer,
    VectorQuantizer,
    from_patches,
    nearest,
    perplexity,
    to_patches,
)

torch.set_num_threads(1)


def test_codes_losses_and_gradients_are_the_official_ones():
    """There the networks around the quantizer are 1 x 1 convolutions: matrices."""
    given, expected = official("iris_tokenizer")
    weight, bias = (given[f"param:pre_quant_conv.{p}"] for p in ("weight", "bias"))
    into = (weight[:, :, 0, 0].clone().requires_grad_(), bias.clone().requires_grad_())
    weight, bias = (given[f"param:post_quant_conv.{p}"] for p in ("weight", "bias"))
    out = (weight[:, :, 0, 0].clone().requires_grad_(), bias.clone().requires_grad_())
    quantizer = VectorQuantizer(16, 4)
    with torch.no_grad():
        quantizer.codes.copy_(given["param:embedding.weight"])
    pixels = given["obs"].movedim(2, -1).flatten(2, 3) * 2 - 1  # [B, T, h w, C]
    z = pixels @ into[0].T + into[1]
    rounded, tokens = quantizer.quantise(z)
    assert torch.equal(tokens, expected["tokens"])
    close(z, expected["z"].movedim(2, -1).flatten(2, 3), rtol=1e-4, atol=1e-5)
    close(rounded, expected["z_quantized"].movedim(2, -1).flatten(2, 3), rtol=1e-4, atol=1e-5)
    painted = rounded @ out[0].T + out[1]
    close((painted + 1) / 2, half(expected["reconstruction"]), rtol=1e-4, atol=1e-5)
    reconstruction = (painted - pixels).abs().mean()
    loss = quantizer.loss(z, tokens)
    close(loss, expected["commitment_loss"], rtol=1e-4, atol=1e-5)
    close(reconstruction, expected["reconstruction_loss"], rtol=1e-4, atol=1e-5)
    (loss + reconstruction).backward()
    found = dict(zip(("pre", "post"), (into, out), strict=True))
    for name, (weight, bias) in found.items():
        theirs = expected[f"grad:{name}_quant_conv.weight"][:, :, 0, 0]
        close(weight.grad, theirs, rtol=1e-4, atol=1e-5)
        close(bias.grad, expected[f"grad:{name}_quant_conv.bias"], rtol=1e-4, atol=1e-5)
    close(quantizer.codes.grad, expected["grad:embedding.weight"], rtol=1e-4, atol=1e-5)


def half(pictures):
    """The official reconstruction, as pixels from 0 to 1 with channels last."""
    pictures = pictures.movedim(2, -1).flatten(2, 3)
    return (pictures + 1) / 2


def test_the_nearest_code_is_that_of_all_distances():
    z, codes = torch.randn(5, 7, 3), torch.randn(11, 3)
    codes[4] = codes[2]
    distance = (z[..., None, :] - codes).square().sum(-1)
    assert torch.equal(nearest(z, codes), distance.argmin(-1))
    assert (nearest(codes, codes) == torch.tensor([0, 1, 2, 3, 2, 5, 6, 7, 8, 9, 10])).all()


def test_perplexity_counts_codes_in_use():
    assert perplexity(torch.full((4, 5), 3), 9).item() == pytest.approx(1)
    assert perplexity(torch.arange(9).view(3, 3), 9).item() == pytest.approx(9, rel=1e-5)
    assert perplexity(torch.tensor([0, 0, 0, 1]), 2).item() == pytest.approx(1.7548, rel=1e-4)


def test_a_dead_code_comes_back_and_a_living_one_stays():
    quantizer = VectorQuantizer(6, 2)
    z = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        quantizer.codes.copy_(100.0)
        quantizer.codes[1], quantizer.codes[4] = torch.tensor([0.5, 0.0]), torch.tensor([-0.5, 0.0])
    before = quantizer.codes.clone()
    index = torch.tensor([3, 9, 30, 41, 7, 12])
    assert quantizer.revive(z, index) == 4
    alive = torch.tensor([1, 4])
    assert torch.equal(quantizer.codes[alive], before[alive])
    moved = quantizer.codes[torch.tensor([0, 2, 3, 5])]
    assert torch.equal(moved, z[torch.tensor([3, 30, 41, 12])])
    assert quantizer.revive(z, index) == 0


def test_patches_go_and_come_back():
    frames = torch.randn(2, 3, 4, 6, 5)
    pieces = to_patches(frames, 2)
    assert pieces.shape == (2, 3, 6, 20)
    assert torch.equal(pieces[0, 0, 1].view(2, 2, 5), frames[0, 0, :2, 2:4])
    assert torch.equal(from_patches(pieces, (4, 6, 5), 2), frames)


def test_patches_are_exact_on_what_was_seen_and_near_on_what_was_not():
    data, _ = minatar.make("breakout", 3000, 500)
    tokenizer = Patches(data.train.observation, 2)
    tokens = tokenizer.encode(data.train.observation)
    assert tokens.shape == (len(data.train.reward), 25)
    assert tokens.max() + 1 == tokenizer.vocabulary
    assert torch.equal(tokenizer.decode(tokens), data.train.observation.float())
    odd = torch.ones(1, 10, 10, 4)
    assert (tokenizer.decode(tokenizer.encode(odd)) != odd).any()


def test_a_code_for_each_piece_that_occurs():
    frames = torch.rand(300, 4, 4, 2) < 0.2
    pieces = to_patches(frames, 2).flatten(0, 1).unique(dim=0)
    with pytest.raises(ValueError, match="53 cells"):
        Patches(torch.zeros(1, 1, 1, 53), 1)
    assert Patches(frames, 2).codes.unique(dim=0).tolist() == pieces.float().tolist()


def test_a_learned_tokenizer_learns_frames():
    torch.manual_seed(0)
    data, _ = minatar.make("breakout", 2000, 200)
    tokenizer, frames = Tokenizer(minatar.SHAPE, 32, 8, 16), data.train.observation
    adam = torch.optim.Adam(tokenizer.parameters(), 3e-3)
    losses = []
    for step in range(120):
        loss, metrics = tokenizer.loss(frames[torch.randint(len(frames), (32,))])
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(metrics["reconstruction"].item())
        if step % 20 == 0:
            z = tokenizer.embed(frames[:64]).flatten(0, 1)
            tokenizer.quantizer.revive(z, torch.randint(len(z), (32,)))
    assert losses[-1] < losses[0] / 4
    assert tokenizer.decode(tokenizer.encode(frames[:2])).shape == (2, 10, 10, 4)
    assert 1 < metrics["perplexity"] <= 32
