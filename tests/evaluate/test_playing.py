import numpy as np
import pytest
import torch

from tests.counter import Counter, bank
from utils.course.play import Player
from utils.data.exact_breakout import ExactBreakout
from utils.evaluate.breakout import draw_breakout
from utils.evaluate.playing import DreamGame
from utils.world import repeat

torch.set_num_threads(1)


def bar(frames):
    """A number as one pixel's brightness."""
    return frames.byte()[..., None, None].expand(-1, 1, 4, 3).numpy()


def test_a_dream_under_keys():
    game = DreamGame(Counter(end=3.0), bank(0.0), bar, hold=2)
    seen = [game.step(action) for action in (1, 1, 0, 1, 1, 0, 0, 0, 0, 1)]
    assert [int(frame[0, 0, 0]) for frame, _ in seen] == [0, 1, 1, 2, 3, 3, 3, 0, 0, 1]
    assert [text for _, text in seen] == [
        "step 0, reward 0",  # the start is shown, no step is made
        "step 1, reward 1",
        "step 2, reward 2",
        "step 3, reward 4",
        "step 4, reward 7; the dream has ended",
        "step 4, reward 7; the dream has ended",  # the last picture stays
        "step 4, reward 7; the dream has ended",
        "step 0, reward 0",
        "step 1, reward 0",
        "step 2, reward 1",
    ]


def test_the_time_limit_and_a_world_without_rewards():
    game = DreamGame(Counter(parts=("observation",)), bank(0.0), bar, limit=2, hold=0)
    texts = [game.step(1)[1] for _ in range(4)]
    assert texts == ["step 0", "step 1", "step 2; the time is up", "step 0"]


def test_starts_come_from_the_whole_bank():
    game = DreamGame(Counter(end=0.0), bank(0.0, 1.0, 2.0), bar, hold=0)
    starts = [int(game.step(0)[0][0, 0, 0]) for _ in range(60)][::2]
    assert set(starts) == {0, 1, 2}


def test_the_truth_stands_beside_the_dream_under_the_same_keys():
    world, truth = Counter(end=9.0), Counter(end=9.0)
    game = DreamGame(world, bank(3.0, 4.0), bar, truth=(truth, bank(13.0, 14.0)))
    for expected in range(3):
        frame, _ = game.step(1)
        assert frame.shape == (1, 9, 3)
        dreamt, gap, real = frame[0, [0, 4, 5], 0]
        assert (int(real) - int(dreamt), int(gap)) == (10, 128)
        assert int(dreamt) in (3 + expected, 4 + expected)


def test_no_gradient_is_recorded():
    class Heavy(Counter):
        def imagine(self, state, action, **options):
            assert not torch.is_grad_enabled()
            return super().imagine(state, action, **options)

    DreamGame(Heavy(), bank(0.0), bar).step(1)


def test_breakout_in_the_player():
    """As a lesson has it: the keys move the paddle that the player sees."""
    world = ExactBreakout()
    game = DreamGame(world, world.initial(1), draw_breakout, truth=(world, world.initial(1)))
    player = Player(game.step, {"ArrowLeft": 1, "ArrowRight": 2}, idle=0)
    for key in ("ArrowLeft", "ArrowLeft", None, "ArrowRight"):
        answer = player.press(key)
        assert "error" not in answer
    assert answer["text"] == "step 4, reward 0"
    assert game.shown["paddle"].tolist() == game.real["paddle"].tolist() == [3]


def test_pictures_of_breakout_tell_the_channels_apart():
    world = ExactBreakout()
    state = repeat(world.initial(1), 2)
    state["ball"] = torch.tensor([[6, 5], [7, 6]])
    frames = world.decode(state)
    picture = draw_breakout(frames)
    assert picture.shape == (2, 10, 10, 3)
    assert picture.dtype == np.uint8
    night, brick, trail, paddle, ball = (
        picture[0, row, column].tolist() for row, column in [(5, 5), (1, 1), (3, 0), (9, 4), (6, 5)]
    )
    # In grey as well, for those who see no colours: a tenth of the scale apart.
    grey = np.sort(np.array([night, brick, trail, paddle, ball]) @ [0.299, 0.587, 0.114])
    assert np.diff(grey).min() > 25
    half = draw_breakout(frames * 0.5)[0, 6, 5].tolist()
    assert night < half < ball
    assert draw_breakout(frames[:1] * 0)[0].reshape(-1, 3).std(0).max() == 0


@pytest.mark.parametrize("action", [3, -1])
def test_an_action_outside_the_space_is_an_error(action):
    world = ExactBreakout()
    game = DreamGame(world, world.initial(1), draw_breakout)
    game.step(0)
    with pytest.raises(ValueError, match="outside"):
        game.step(action)
