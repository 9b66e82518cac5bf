"""The cells are PyTorch's, weight for weight, in values and in gradients."""

import pytest
import torch
from torch import nn

from utils.nn.recurrent import GRU, LSTM

torch.set_num_threads(1)
KINDS = [(LSTM, nn.LSTMCell, 2), (GRU, nn.GRUCell, 1)]


def run(cell, x, memories):
    """The memory after every step; PyTorch's cells take theirs as one argument."""
    memory, seen = memories, []
    for now in x:
        if isinstance(cell, LSTM | GRU):
            after = cell(now, *memory)
        else:
            after = cell(now, memory if len(memory) == 2 else memory[0])
        memory = after if isinstance(after, tuple) else (after,)
        seen.append(torch.cat(memory, -1))
    return torch.stack(seen)


@pytest.mark.parametrize(("ours", "theirs", "parts"), KINDS)
def test_values_and_gradients_are_torch_s_with_the_same_weights(ours, theirs, parts):
    torch.manual_seed(0)
    mine, other = ours(3, 5).double(), theirs(3, 5).double()
    other.load_state_dict(mine.state_dict())
    x = torch.randn(7, 4, 3, dtype=torch.float64, requires_grad=True)
    memory = tuple(torch.randn(parts, 4, 5, dtype=torch.float64))
    a, b = run(mine, x, memory), run(other, x, memory)
    assert torch.allclose(a, b, rtol=0, atol=1e-14)
    weights = torch.randn_like(a)
    to_mine = torch.autograd.grad((a * weights).sum(), [x, *mine.parameters()])
    to_other = torch.autograd.grad((b * weights).sum(), [x, *other.parameters()])
    for one, two in zip(to_mine, to_other, strict=True):
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ours", "theirs", "parts"), KINDS)
def test_weights_begin_in_torch_s_range(ours, theirs, parts):
    torch.manual_seed(0)
    weights = torch.cat([p.flatten() for p in ours(30, 16).parameters()])
    assert weights.abs().max() <= 0.25
    assert abs(weights.std() - 0.25 / 3**0.5) < 0.01


def test_an_open_forget_gate_keeps_a_cell_and_its_gradient():
    cell = LSTM(1, 1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[1] = 50.0
    start = torch.full((1, 1), 0.7, requires_grad=True)
    hidden, kept = torch.zeros(1, 1), start
    for _ in range(200):
        hidden, kept = cell(torch.zeros(1, 1), hidden, kept)
    assert kept.item() == pytest.approx(0.7)
    assert torch.autograd.grad(kept, start)[0].item() == pytest.approx(1.0)
