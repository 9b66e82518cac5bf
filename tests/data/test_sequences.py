import pytest
import torch

from utils.data.sequences import same_episode, sample_windows
from utils.world import Step

torch.set_num_threads(1)


def recording(*lengths, cut=()):
    """Episodes of so many rows; an observation is its row number, an action too (0 where first)."""
    total = sum(lengths)
    first, terminated = torch.zeros(2, total, dtype=torch.bool)
    ends = torch.tensor(lengths).cumsum(0)
    first[ends - torch.tensor(lengths)] = True
    for i, end in enumerate(ends):
        terminated[end - 1] = i not in cut
    row = torch.arange(total)
    action = (row * ~first).float()[:, None]
    return Step(row.to(torch.uint8)[:, None], action, row * 1.0 * ~first, first, terminated)


def side_by_side(*recordings):
    return Step(*(torch.stack(v) for v in zip(*recordings, strict=True)))


def draw(data, batch, length, seed=0):
    return sample_windows(data, batch, length, torch.Generator().manual_seed(seed))


def test_a_window_is_rows_in_a_row():
    data = recording(7, 2, 11, cut=(1,))
    window = draw(data, 200, 5)
    rows = window.observation[..., 0].long()
    assert (rows.diff(dim=1) == 1).all()
    for whole, drawn in zip(data, window, strict=True):
        assert drawn.dtype == whole.dtype
        assert torch.equal(drawn, whole[rows])
    # Every start comes up, the last as well, about equally often.
    counts = draw(data, 16_000, 5).observation[:, 0, 0].long().bincount(minlength=16)
    assert counts.min() > 850
    assert counts.max() < 1150


def test_no_window_runs_from_one_recording_into_another():
    base = recording(4, 4)
    other = base._replace(observation=base.observation + 100)
    window = draw(side_by_side(base, other, base), 3000, 6)
    value = window.observation[..., 0].long()
    assert (value.diff(dim=1) == 1).all()
    starts, counts = value[:, 0].unique(return_counts=True)
    assert starts.tolist() == [0, 1, 2, 100, 101, 102]
    assert torch.allclose(counts / 3000, torch.tensor([2, 2, 2, 1, 1, 1]) / 9, atol=0.03)


def test_ends_stand_anywhere_in_a_window_and_short_episodes_are_there():
    """The trap: windows chosen to lie inside one episode have their ends in the last row, and miss
    episodes that are shorter than they are."""
    data, length = recording(3, 20, 3, 20), 6
    window = draw(data, 4000, length)
    where = window.terminated.float().mean(0)
    assert where.min() > 0.5 * where.max()
    short = window.terminated[:, 2:].any(1) & window.first[:, 0]
    assert short.any()
    inside = ~window.first[:, 1:].any(1)
    assert window.terminated[inside, :-1].sum() == 0  # what the trap shows of ends
    assert (window.terminated[inside].sum() / window.terminated.sum()) < 0.3


def test_the_action_that_led_to_the_first_row_is_there():
    window = draw(recording(5, 9), 500, 4)
    inside = ~window.first[:, 0]
    assert inside.any()
    assert (window.action[inside, 0, 0] == window.observation[inside, 0, 0]).all()
    assert (window.action[~inside, 0] == 0).all()


def test_same_episode_ends_with_the_terminal_row():
    first = torch.tensor([[1, 0, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0]]).bool()
    before = first.clone()
    assert same_episode(first).int().tolist() == [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [1, 0, 0, 0, 0, 0],
    ]
    assert torch.equal(first, before)


def test_the_generator_decides_and_goes_on():
    data, generator = recording(30), torch.Generator().manual_seed(0)
    one, two = (sample_windows(data, 8, 4, generator).observation for _ in range(2))
    assert not torch.equal(one, two)
    assert torch.equal(one, draw(data, 8, 4).observation)


def test_only_what_is_drawn_is_copied():
    """A recording in strides of something larger is drawn from where it lies."""
    data = side_by_side(*[recording(4, 60) for _ in range(50)])
    turned = Step(*(v.transpose(0, 1).contiguous().transpose(0, 1) for v in data))
    for a, b in zip(draw(data, 8, 5), draw(turned, 8, 5), strict=True):
        assert torch.equal(a, b)
    window = draw(data, 2, 5)
    before = data.observation.clone()
    window.observation.fill_(7)
    assert torch.equal(data.observation, before)


def test_a_window_longer_than_the_recording():
    assert draw(recording(3, 3), 2, 6).observation[:, 0].tolist() == [[0], [0]]
    with pytest.raises(ValueError, match="6 rows hold no window of 7"):
        draw(recording(3, 3), 2, 7)


def test_on_meta():
    """No host sync, no index on another device."""
    data = Step(*(v.to("meta") for v in recording(9)))
    window = sample_windows(data, 4, 3)
    assert window.observation.shape == (4, 3, 1)
