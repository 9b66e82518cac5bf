"""The transformer is the official one of IRIS weight for weight, and its memory changes nothing."""

import pytest
import torch

from tests.official import close, official
from utils.nn.transformer import Memory, Transformer, visible

torch.set_num_threads(1)
CHUNKS = [(0, 4), (4, 5), (5, 8), (8, 12)]  # as the official code was fed


def renamed(given: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The official parameters under our names; three products there are one here."""
    theirs = {k.removeprefix("param:"): v for k, v in given.items() if k.startswith("param:")}
    ours = {"norm.weight": theirs["ln_f.weight"], "norm.bias": theirs["ln_f.bias"]}
    for i in range(2):
        old = new = f"blocks.{i}."
        for part in ("weight", "bias"):
            qkv = [theirs[f"{old}attn.{name}.{part}"] for name in ("query", "key", "value")]
            ours[f"{new}attention.qkv.{part}"] = torch.cat(qkv)
            ours[f"{new}attention.out.{part}"] = theirs[f"{old}attn.proj.{part}"]
            for here, there in (("norm1", "ln1"), ("norm2", "ln2")):
                ours[f"{new}{here}.{part}"] = theirs[f"{old}{there}.{part}"]
            for layer in (0, 2):
                ours[f"{new}mlp.{layer}.{part}"] = theirs[f"{old}mlp.{layer}.{part}"]
    return ours


def in_chunks(net: Transformer, x: torch.Tensor, chunks) -> tuple[torch.Tensor, Memory]:
    memory = net.empty(len(x), x.shape[1])
    outputs = [
        net.extend(x[:, a:b], memory, torch.full((len(x),), a, dtype=torch.long)) for a, b in chunks
    ]
    return torch.cat(outputs, 1), memory


def test_full_and_cached_passes_are_the_official_ones_with_their_weights():
    given, expected = official("iris_transformer_kv_cache")
    net = Transformer(8, layers=2, heads=2, block=4)
    net.load_state_dict(renamed(given))
    full, memory = net(given["x"])
    close(full, expected["full"], rtol=1e-4, atol=1e-5)
    cached, filled = in_chunks(net, given["x"], CHUNKS)
    close(cached, expected["cached"], rtol=1e-4, atol=1e-5)
    close(filled.keys[:, 0], expected["layer0_keys"], rtol=1e-4, atol=1e-5)
    close(filled.values[:, 0], expected["layer0_values"], rtol=1e-4, atol=1e-5)
    close(memory.keys[:, 0], expected["layer0_keys"], rtol=1e-4, atol=1e-5)


def random_net(block: int = 1) -> Transformer:
    torch.manual_seed(0)
    net = Transformer(16, layers=3, heads=4, block=block).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return net


@pytest.mark.parametrize("chunks", [[(i, i + 1) for i in range(12)], CHUNKS])
def test_any_split_gives_what_one_causal_pass_gives(chunks):
    net, x = random_net(), torch.randn(5, 12, 16, dtype=torch.float64)
    full, after = net(x)
    pieces, memory = in_chunks(net, x, chunks)
    close(pieces, full, rtol=0, atol=1e-12)
    close(memory.keys, after.keys, rtol=0, atol=1e-12)
    close(memory.values, after.values, rtol=0, atol=1e-12)


def test_whole_blocks_may_be_fed_one_by_one_but_a_part_of_a_block_changes_the_result():
    net, x = random_net(block=4), torch.randn(2, 12, 16, dtype=torch.float64)
    full, _ = net(x)
    whole, _ = in_chunks(net, x, [(0, 4), (4, 8), (8, 12)])
    close(whole, full, rtol=0, atol=1e-12)
    torn, _ = in_chunks(net, x, CHUNKS)
    assert (torn[:, :4] - full[:, :4]).abs().max() < 1e-12
    assert (torn[:, 4] - full[:, 4]).abs().max() > 0.01


def test_a_causal_output_depends_on_no_later_token():
    net, x = random_net(), torch.randn(2, 6, 16, dtype=torch.float64)
    poisoned = x.clone()
    poisoned[:, 4:] = 1e3
    close(net(poisoned)[0][:, :4], net(x)[0][:, :4], rtol=0, atol=1e-12)


def test_rows_of_different_length_extend_side_by_side():
    net, x = random_net(), torch.randn(3, 9, 16, dtype=torch.float64)
    length = torch.tensor([2, 5, 7])
    _, after = net(x)
    memory = Memory(*(v.clone() for v in after))
    new = torch.randn(3, 2, 16, dtype=torch.float64)
    out = net.extend(new, memory, length)
    for row, n in enumerate(length.tolist()):
        alone = net(torch.cat([x[row : row + 1, :n], new[row : row + 1]], 1))[0][:, n:]
        close(out[row : row + 1], alone, rtol=0, atol=1e-12)


def test_stale_slots_behind_the_newest_token_are_not_seen():
    assert visible(torch.tensor([[2, 3]]), 6).int().tolist() == [
        [[[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]]]
    ]
    # The block of tokens 2 and 3 is open, but token 3 has not come yet.
    assert visible(torch.tensor([[2]]), 6, block=2).int().tolist() == [[[[1, 1, 1, 0, 0, 0]]]]


def test_gradients_flow_in_training_and_never_out_of_the_memory():
    net, x = random_net(), torch.randn(2, 4, 16, dtype=torch.float64, requires_grad=True)
    out, memory = net(x)
    assert not memory.keys.requires_grad
    (out * torch.randn_like(out)).sum().backward()
    assert x.grad.abs().min() > 0
    assert all(p.grad is not None for p in net.parameters())


def test_a_width_that_heads_do_not_divide_is_refused():
    with pytest.raises(ValueError, match="3 heads"):
        Transformer(16, layers=1, heads=3)
