"""Dreams of Atari's Breakout are judged by ball and paddle."""

import pytest
import torch
from torch.nn.functional import one_hot

from utils.data import atari
from utils.evaluate import atari_film
from utils.world import Step


def film(columns, balls):
    """Frames [1, H, 64, 64, 3] with a paddle and a ball (row, column from the wall), or None."""
    frames = torch.zeros(1, len(columns), 64, 64, 3, dtype=torch.uint8)
    for frame, column, ball in zip(frames[0], columns, balls, strict=True):
        frame[atari.FLOOR, 4 + column : 4 + column + 8] = 200
        if ball is not None:
            frame[30 + ball[0], 4 + ball[1]] = 200
    return frames


def step(frames, moves):
    rows = torch.zeros(frames.shape[:2])
    return Step(frames, one_hot(torch.tensor([moves]), 4).float(), rows, rows > 0, rows > 0)


def test_a_recording_is_split_by_time():
    train, held_out = atari_film.record(60)
    again, _ = atari_film.record(60)
    other, _ = atari_film.record(60, seed=1)
    assert train.observation.shape == (2, 54, 64, 64, 3)
    assert held_out.reward.shape == (2, 6)
    assert not held_out.first[:, 0].any()  # the same games go on
    assert torch.equal(train.action, again.action)
    assert not torch.equal(train.action, other.action)


def test_moves_are_obeyed_in_the_game_and_not_in_a_film_of_other_moves():
    seen, _ = atari_film.record(400)
    inside = ~seen.first
    yes, told = atari_film.obeyed(seen.observation, seen.action, inside)
    assert told > 50
    assert yes > 0.9 * told
    mirrored = seen.action[..., [atari.WAIT, atari.FIRE, atari.LEFT, atari.RIGHT]]
    yes, told = atari_film.obeyed(seen.observation, mirrored, inside)
    assert yes < 0.1 * told


def test_only_moves_that_were_asked_twice_inside_an_episode_and_with_room_count():
    right, left, wait = atari.RIGHT, atari.LEFT, atari.WAIT
    frames = film([20, 23, 26, 26, 23, 20], [None] * 6)
    moves = one_hot(torch.tensor([[wait, right, right, wait, left, left]]), 4).float()
    inside = torch.ones(1, 6, dtype=torch.bool)
    assert atari_film.obeyed(frames, moves, inside) == (2, 2)
    inside[0, 5] = False
    assert atari_film.obeyed(frames, moves, inside) == (1, 1)
    at_the_wall = film([0, 0, 0, 0, 0, 0], [None] * 6)
    assert atari_film.obeyed(at_the_wall, moves, inside) == (0, 1)  # left has no room


def test_scores_of_a_film_beside_the_game():
    game = film([20] * 5, [(5, 10), (7, 12), (9, 14), (11, 16), None])
    dream = film([20] * 5, [(5, 10), (7, 12), None, (11, 19), (2, 2)])
    windows, inside = step(game, [atari.WAIT] * 5), torch.ones(1, 5, dtype=torch.bool)
    found = atari_film.scores(dream, windows, inside)
    assert found["ball"] == pytest.approx(4 / 5)
    assert found["ball right@1"] == 1
    assert found["ball right@5"] != found["ball right@5"]  # the game has no ball there: nan
    assert atari_film.scores(game, windows, inside)["ball"] == pytest.approx(4 / 5)
    inside[0, 2:] = False
    assert atari_film.scores(dream, windows, inside)["ball"] == 1
    late = step(game.flip(1), [atari.WAIT] * 5)
    off = atari_film.scores(dream.flip(1), late, torch.ones(1, 5, dtype=torch.bool))
    assert off["ball right@5"] == 1
    off = atari_film.scores(film([20] * 5, [(5, 13)] * 5), late, torch.ones(1, 5, dtype=torch.bool))
    assert off["ball right@5"] == 0  # three pixels aside
