"""Films of a blob: what moves it, and how far a frame is from one."""

import torch

from utils.data import blobs


def test_a_film_is_made_of_blobs():
    frames, push = blobs.films(50, 20, torch.Generator().manual_seed(0))
    assert frames.shape == (50, 20, 8, 8)
    assert blobs.distance(frames).max() < 0.3  # the grid of places is not endlessly fine
    assert (push[:, 0] == 0).all()
    assert push.unique().tolist() == [-1, 0, 1]


def test_other_frames_are_far():
    empty, noise = -torch.ones(1, 8, 8), torch.randn(20, 8, 8, generator=torch.manual_seed(0))
    assert abs(blobs.distance(empty).item() - 3.2) < 0.1
    assert blobs.distance(noise).min() > 5
    two = blobs.render(torch.tensor([[1.5, 1.5], [5.5, 5.5]]))
    assert blobs.distance(two.amax(0)) > 2


def test_a_push_moves_the_blob_its_way():
    frames, push = blobs.films(4000, 2, torch.Generator().manual_seed(1))
    pixel = torch.arange(8.0)
    weight = frames + 1
    row = (weight.sum(-1) * pixel).sum(-1) / weight.sum((-1, -2))
    moved = row.diff(dim=1)[:, 0]
    down, up = (moved[push[:, 1, 0] == way].mean() for way in (1, -1))
    assert down - up > 0.3
