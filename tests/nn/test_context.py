"""What may be looked at, and what is taken along."""

import torch

from utils.nn.context import age, attendable, begins, history


def test_a_row_sees_the_earlier_rows_of_its_own_episode():
    first = torch.tensor([[0, 0, 1, 0], [1, 1, 0, 0]]).bool()
    assert age(first).tolist() == [[0, 1, 0, 1], [0, 0, 1, 2]]
    assert attendable(first).long().tolist() == [
        [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 1, 1]],
        [[1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 1, 1]],
    ]


def test_history_holds_the_newest_rows_of_the_episode():
    rows = torch.arange(1.0, 5.0).view(1, 4, 1)
    first = torch.tensor([[0, 0, 1, 0]]).bool()
    found = history(rows, age(first), 3)[0, ..., 0]
    assert found.tolist() == [[0, 0, 1], [0, 1, 2], [0, 0, 3], [0, 3, 4]]


def test_slots_begin_where_they_are_filled():
    found = begins(torch.tensor([0, 1, 3]), 3)
    assert found.long().tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0]]
