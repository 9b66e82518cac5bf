"""CarRacing as data: the game's own frames, the arrival convention, files that survive a kill."""

import sys

import gymnasium as gym
import numpy as np
import pytest
import torch

from utils.data import car_racing
from utils.data.car_racing import REPEAT, ZOOM_FRAMES, drive, record, together
from utils.world import Step


def same(a: Step, b: Step) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_frames_are_those_of_the_game():
    ours, rng = car_racing.make(), np.random.default_rng(0)
    game = gym.make("CarRacing-v3")
    game.reset(seed=3)
    ours.reset(seed=3)
    for i in range(200):
        action = np.array([rng.uniform(-0.3, 0.5), 0.4, 0.0], np.float32)
        theirs, reward, *_ = game.step(action)
        picture, own_reward, *_ = ours.step(action)
        assert picture is None  # nothing was drawn
        assert reward == own_reward
        if i >= ZOOM_FRAMES and i % 25 == 0:
            np.testing.assert_array_equal(ours.look(), theirs)


def test_the_indicators_are_cut_off():
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[84:] = 255
    assert car_racing.shrink(picture).shape == (64, 64, 3)
    assert not car_racing.shrink(picture).any()
    picture[:84, 48:] = 255
    np.testing.assert_array_equal(car_racing.shrink(picture)[:, 33:], 255)


def test_rows_arrive_with_what_led_to_them():
    steps = 12
    rows = drive(5, steps)
    assert rows.observation.shape == (steps, 64, 64, 3)
    assert rows.observation.dtype == torch.uint8
    assert rows.first.tolist() == [True] + [False] * (steps - 1)
    assert not rows.action[0].any()
    assert rows.reward[0] == 0
    assert not rows.terminated.any()
    # The game, driven by the recorded actions, gives the recorded frames and rewards.
    game = gym.make("CarRacing-v3")
    game.reset(seed=int(np.random.default_rng([2018, 5]).integers(2**31)))
    for _ in range(ZOOM_FRAMES):
        picture, *_ = game.step(np.zeros(3, np.float32))
    np.testing.assert_array_equal(rows.observation[0], car_racing.shrink(picture))
    for t in range(1, steps):
        total = 0.0
        for _ in range(REPEAT):
            picture, reward, *_ = game.step(rows.action[t].numpy())
            total += reward
        np.testing.assert_array_equal(rows.observation[t], car_racing.shrink(picture))
        assert total == pytest.approx(rows.reward[t].item(), rel=1e-6)


def test_a_car_that_leaves_the_field_goes_on_elsewhere(monkeypatch):
    monkeypatch.setattr("gymnasium.envs.box2d.car_racing.PLAYFIELD", 1.0)  # every car is outside
    rows = drive(1, 4)
    assert rows.first.tolist() == [True, False, True, False]
    assert rows.terminated.tolist() == [False, True, False, True]
    assert rows.reward.tolist() == [0, -100, 0, -100]
    assert not rows.action[2].any()
    assert not torch.equal(rows.observation[0], rows.observation[2])


def test_a_seed_is_a_stream():
    assert same(drive(1, 10), drive(1, 10))
    assert not torch.equal(drive(1, 10).action, drive(2, 10).action)
    assert same(Step(*(x[:6] for x in drive(1, 10))), drive(1, 6))


def test_who_looks_stays_on_the_road():
    def on_road(seed: int) -> float:  # share of frames with less grass than road around the car
        around = drive(seed, 100).observation[:, 52:60, 28:36].int()
        grass = around[..., 1] - around[..., 0] > 60
        return (grass.float().mean((1, 2)) < 0.5).float().mean().item()

    looks, blind = [on_road(seed) for seed in (1, 2, 3)], [on_road(seed) for seed in (4, 8)]
    assert np.mean(looks) > 0.65 > 0.5 > np.mean(blind)


def test_road_ahead():
    grass = np.full((64, 64, 3), (100, 230, 100), np.uint8)
    assert car_racing.road_ahead(grass, last=0.25) == 0.25
    for columns, where in ((slice(0, 64), 0), (slice(0, 1), -1), (slice(63, 64), 1)):
        frame = grass.copy()
        frame[:, columns] = 105
        assert car_racing.road_ahead(frame, last=0.25) == where


def test_a_finished_stream_is_not_driven_again(tmp_path, monkeypatch):
    driven = []

    def fails_at_2(seed, steps):
        driven.append(seed)
        if seed == 2:
            raise KeyboardInterrupt
        return drive(seed, steps)

    monkeypatch.setattr(car_racing, "drive", fails_at_2)
    with pytest.raises(KeyboardInterrupt):
        list(record(tmp_path, range(4), steps=3, workers=1))
    assert driven == [0, 1, 2]
    (tmp_path / "000003_3.npz.1.part").write_bytes(b"half a file")
    driven.clear()
    monkeypatch.setattr(car_racing, "drive", lambda *job: driven.append(job[0]) or drive(*job))
    data = together(record(tmp_path, range(4), steps=3, workers=1))
    assert driven == [2, 3]
    assert data.observation.shape == (4, 3, 64, 64, 3)
    assert same(Step(*(x[3] for x in data)), drive(3, 3))
    driven.clear()
    assert same(data, together(record(tmp_path, range(4), steps=3, workers=1)))
    assert driven == []


def test_two_processes_record_the_same(tmp_path):
    two = together(record(tmp_path / "two", (1, 2), steps=4, workers=2))
    assert same(two, together(record(tmp_path / "one", (1, 2), steps=4, workers=1)))


def test_without_box2d_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium.envs.box2d.car_racing", None)
    with pytest.raises(ImportError, match=r"pip install 'gymnasium\[box2d\]'"):
        drive(0, 1)


def test_the_mirror_swaps_left_and_right():
    data = drive(1, 8)
    mirror = car_racing.mirrored(data)
    assert torch.equal(mirror.observation[:, :, 0], data.observation[:, :, -1])
    assert torch.equal(mirror.action[:, 0], -data.action[:, 0])
    assert torch.equal(mirror.action[:, 1:], data.action[:, 1:])
    assert same(car_racing.mirrored(mirror), data)
