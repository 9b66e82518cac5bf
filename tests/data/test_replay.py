"""The replay memory: order of time, borders of episodes, growth, and going on after a stop."""

import pytest
import torch

from utils.data.replay import Replay
from utils.world import Step


def row(t, n=2):
    """Row t of n environments: everything in it says which environment and when."""
    number = 10_000.0 * torch.arange(n) + t
    frame = torch.full((n, 4, 4, 3), t % 256, dtype=torch.uint8)
    flags = torch.full((n,), t % 7 == 0), torch.full((n,), t % 14 == 6)
    return Step(frame, number[:, None].expand(n, 2), number, *flags)


def filled(capacity, rows):
    replay = Replay(capacity)
    for t in range(rows):
        replay.add(row(t))
    return replay


def test_windows_are_rows_in_order_of_time():
    for capacity, rows in ((100, 40), (100, 100), (100, 257), (5000, 2500), (1500, 4000)):
        replay = filled(capacity, rows)
        assert replay.rows == min(capacity, rows)
        batch = replay.sample(500, 9, torch.Generator().manual_seed(0))
        environment, time = batch.reward // 10_000, batch.reward % 10_000
        assert (environment == environment[:, :1]).all()
        assert (time.diff(dim=1) == 1).all()
        assert time.min() >= rows - replay.rows
        assert time.max() < rows
        assert (batch.observation.float().mean((2, 3, 4)) == time % 256).all()
        assert (batch.action[..., 1] == batch.reward).all()
        assert torch.equal(batch.first, time % 7 == 0)
        assert torch.equal(batch.terminated, time % 14 == 6)


def test_every_start_is_equally_likely():
    replay = filled(20, 33)  # rows 13 to 32 are kept; windows of 5 begin at 13 to 28
    batch = replay.sample(32_000, 5, torch.Generator().manual_seed(0))
    start = batch.reward[:, 0].long()
    start = start % 10_000 - 13 + 16 * (start // 10_000)
    count = torch.bincount(start, minlength=32)
    assert count.shape == (32,)
    assert (count - 1000).abs().max() < 5 * 1000**0.5


def test_frames_stay_bytes_and_memory_grows_as_needed():
    replay = Replay(1_000_000)
    for t in range(3000):
        replay.add(row(t))
    assert replay.data().observation.dtype == torch.uint8
    assert replay.data().observation.shape == (2, 3000, 4, 4, 3)
    assert replay.data().observation.untyped_storage().nbytes() <= 2 * 4096 * 48


def test_what_was_given_may_change_afterwards():
    replay, step = Replay(10), row(3)
    replay.add(step)
    step.observation.zero_()
    assert replay.data().observation.max() == 3


@pytest.mark.parametrize("rows", [0, 30, 150])
def test_a_stored_memory_goes_on_bit_for_bit(rows):
    replay, again = filled(100, rows), Replay(100)
    again.load_state_dict(replay.state_dict())
    for t in range(rows, rows + 80):
        replay.add(row(t))
        again.add(row(t))
    one, two = (r.sample(64, 8, torch.Generator().manual_seed(1)) for r in (replay, again))
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_what_cannot_be_is_said():
    with pytest.raises(ValueError, match="holds nothing"):
        Replay(0)
    with pytest.raises(ValueError, match="empty"):
        Replay(5).sample(1, 1)
    with pytest.raises(ValueError, match="no window of 9"):
        filled(100, 8).sample(1, 9)
