"""What the ladder says on Breakout is known for an exact world, and for worlds made to deceive."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from utils.data import minatar
from utils.data.exact_breakout import ExactBreakout
from utils.evaluate import breakout, ladder
from utils.evaluate.breakout import (
    BALL,
    BREAKOUT,
    BRICKS,
    CONTEXT,
    HORIZON,
    PADDLE,
    not_one_ball,
    windows,
    wrong_ball,
    wrong_bricks,
    wrong_paddle,
)
from utils.nn.random import bernoulli
from utils.world import Dreamt, Spec, to_tensor

torch.set_num_threads(1)
ERRORS = tuple(BREAKOUT.errors)


@pytest.fixture(scope="module")
def data():
    return minatar.load()


@pytest.fixture(scope="module")
def test(data):
    return windows(data, 128)


def measured(world, test, subsets=None):
    subsets = test.subsets if subsets is None else subsets
    return ladder.measure(world, test.steps, CONTEXT, BREAKOUT, "x", subsets=subsets)


# ---- errors and windows


def frame(ball=(5, 5), paddle=4, bricks=((1, 1), (2, 2))):
    picture = torch.zeros(1, 1, 10, 10, 4)
    picture[..., 9, paddle, PADDLE] = 1
    picture[..., ball[0], ball[1], BALL] = 1
    for row, column in bricks:
        picture[..., row, column, BRICKS] = 1
    return picture


def test_each_error_sees_its_own_channel():
    base = frame()
    errors = (wrong_ball, wrong_paddle, wrong_bricks)
    for other, expected in (
        (frame(), [0, 0, 0]),
        (frame(ball=(5, 6)), [1, 0, 0]),
        (frame(paddle=5), [0, 1, 0]),
        (frame(bricks=((1, 1), (3, 3), (3, 4))), [0, 0, 3]),  # one missing, two invented
    ):
        assert [error(other, base).item() for error in errors] == expected
        assert [error(base, other).item() for error in errors] == expected
        assert BREAKOUT.wrong(other, base).item() == bool(expected[0] or expected[1])


def test_probabilities_count_by_their_largest_and_by_a_half():
    base, unsure = frame(), frame() * 0.4
    assert wrong_ball(unsure, base).item() == wrong_paddle(unsure, base).item() == 0
    assert wrong_bricks(unsure, base).item() == 2
    assert not_one_ball(unsure, base).item() == 1
    two = frame() + frame(ball=(0, 0)) * 0.6
    assert not_one_ball(two, base).item() == 1
    assert not_one_ball(frame(ball=(0, 0)), base).item() == 0  # in a wrong cell, but one
    assert BREAKOUT.heeds == "wrong paddle"


def test_windows_lie_in_an_episode_and_half_of_them_to_the_end(data):
    test = windows(data, 200, seed=4)
    step, new = test.steps, test.subsets["new"]
    assert step.observation.shape == (200, CONTEXT + HORIZON, 10, 10, 4)
    inside = ladder.counted(step, CONTEXT)
    assert inside[:100].all()
    assert inside[:, 0].all()
    assert not inside[100:].all()
    assert not step.first[:, 1:CONTEXT].any()  # one episode in the context
    middle = ~step.first[:, 0]
    assert 0.8 < middle.float().mean() < 1
    assert (step.action[middle, 0].sum(1) == 1).all()  # the recorded action, not a start token
    # They are rows of the test stream, and "new" is what the data set says of their frames.
    bits = {frame.numpy().tobytes() for frame in data.train.observation}
    for b in range(0, 200, 20):
        for h in range(0, HORIZON, 7):
            target = step.observation[b, CONTEXT + h].numpy().tobytes()
            assert new[b, h].item() == (target not in bits)
    assert not torch.equal(step.observation, windows(data, 200, seed=5).steps.observation)
    assert torch.equal(step.observation, windows(data, 200, seed=4).steps.observation)


def test_too_few_windows_are_refused():
    small, _ = minatar.make("breakout", 300, 100)
    with pytest.raises(ValueError, match="not 512"):
        windows(small)


# ---- known answers


def test_an_exact_world_makes_no_mistake(test):
    row = measured(ExactBreakout(), test)
    for subset in ("", " (new)"):
        assert [row[f"{e}@{k}{subset}"] for e in ERRORS for k in ladder.STEPS] == [0] * 16
        assert row[f"valid{subset}"] == HORIZON
        assert row[f"calibration@5{subset}"] == 0
        assert row[f"shuffled@5{subset}"] > 0.75
        for event in ("reward", "end"):
            assert row[f"{event} precision{subset}"] == row[f"{event} recall{subset}"] == 1
    assert row["parameters"] == 0
    assert row["seconds"] > 0


def test_persistence_is_wrong_about_what_moves(test):
    still = measured(ladder.Persistence(ExactBreakout().spec), test)
    for k in ladder.STEPS:
        assert still[f"wrong ball@{k}"] > 0.9
        assert still[f"not one ball@{k}"] == 0
    assert 0.6 < still["wrong paddle@1"] < 0.8  # a player stays every third time, or at the wall
    bricks = [still[f"wrong bricks@{k}"] for k in ladder.STEPS]
    assert bricks == sorted(bricks)
    rewards = test.steps.reward[:, CONTEXT].mean().item()  # a brick goes with each reward
    assert bricks[0] == pytest.approx(rewards, abs=1e-6)
    assert still["valid"] == 0
    assert still["shuffled@5"] == still["wrong paddle@5"]


def follow(state, generator):
    """Under the ball, so far as one cell a step allows."""
    side = (state["ball"][:, 1] - state["paddle"]).sign()
    return to_tensor(ExactBreakout().spec.action_space, -side % 3)  # stay 0, left 1, right 2


def stay(state, generator):
    return to_tensor(ExactBreakout().spec.action_space, torch.zeros_like(state["paddle"]))


class Immortal(ExactBreakout):
    """Throws a lost ball back up."""

    def imagine(self, state, action, **options):
        state, reward, cont = ExactBreakout.imagine(self, state, action, **options)
        lost = (cont == 0)[:, None]
        ball = torch.where(lost, state["ball"].new_tensor([4, 5]), state["ball"])
        way = torch.where(lost, state["way"].new_tensor([-1, 1]), state["way"])
        return Dreamt({**state, "ball": ball, "way": way}, reward, torch.ones_like(cont))


@pytest.mark.parametrize("policy", [follow, stay])
def test_dream_and_game_pay_the_same_if_the_world_is_exact(policy):
    envs = minatar.vector("breakout", 1, limit=60)  # one game: the dreams start as its episodes
    gap = ladder.dream_real_gap(envs, ExactBreakout(), policy, episodes=8, limit=60, seed=1)
    assert gap["dream-real gap"] == 0
    assert (gap["real return"] > 3) == (policy is follow)


def test_a_world_without_death_pays_too_much():
    envs = minatar.vector("breakout", 4, limit=60)
    gap = ladder.dream_real_gap(envs, Immortal(), stay, episodes=3, limit=60, seed=1)
    assert gap["real return"] < 1
    assert gap["dream-real gap"] > 1


# ---- attacks


class Playback:
    """Plays stored frames, rewards and continuations `[B, H, ...]`, whatever the actions say."""

    def __init__(self, frames, reward, cont):
        spec = ExactBreakout().spec
        self.spec = Spec(spec.observation_space, spec.action_space, differentiable=False)
        self.frames, self.reward, self.cont = frames, reward, cont

    def initial(self, batch):
        return {"row": torch.arange(batch), "time": torch.full((batch,), -1)}

    def observe(self, state, step, *, generator=None, mode=False):
        return state

    def imagine(self, state, action, *, generator=None, mode=False):
        row, time = state["row"], state["time"] + 1
        return Dreamt({"row": row, "time": time}, self.reward[row, time], self.cont[row, time])

    def decode(self, state):
        return self.frames[state["row"], state["time"]]


class Spoilt:
    """The exact game inside, which heeds actions; a subclass spoils what it says of it."""

    def __init__(self):
        self.game = ExactBreakout()
        self.spec = self.game.spec

    def own(self, batch):
        """State that the game does not have."""
        return {}

    def inner(self, state):
        return {k: state[k] for k in self.game.initial(1)}

    def initial(self, batch):
        return {**self.game.initial(batch), **self.own(batch)}

    def observe(self, state, step, *, generator=None, mode=False):
        seen = self.game.observe(self.inner(state), step)
        return {**seen, **self.own(len(step.first))}

    def imagine(self, state, action, *, generator=None, mode=False):
        return self.game.imagine(self.inner(state), action)

    def decode(self, state):
        return self.game.decode(state)


class Late(Spoilt):
    """One step late: every frame is a copy of the one before."""

    def own(self, batch):
        zeros = torch.zeros(batch)
        return {"shown": torch.zeros(batch, *minatar.SHAPE), "reward": zeros, "cont": zeros + 1}

    def imagine(self, state, action, *, generator=None, mode=False):
        after, reward, cont = self.game.imagine(self.inner(state), action)
        after = {**after, "shown": self.game.decode(state), "reward": reward, "cont": cont}
        return Dreamt(after, state["reward"], state["cont"])

    def decode(self, state):
        return state["shown"]


class Blur(Spoilt):
    """Each cell's value spread over its neighbours; the middle of a spot stays its maximum."""

    def decode(self, state):
        frame = self.game.decode(state).permute(0, 3, 1, 2)
        kernel = torch.tensor([1.0, 2.0, 1.0]).outer(torch.tensor([1.0, 2.0, 1.0])) / 16
        return F.conv2d(frame, kernel.expand(4, 1, 3, 3), padding=1, groups=4).permute(0, 2, 3, 1)


class Coin(Spoilt):
    """Does not know on which side the ball is. Honest, it draws it by a fair coin when the dream
    begins; else it is always sure of the same."""

    def __init__(self, honest):
        super().__init__()
        self.honest = honest

    def own(self, batch):
        no = torch.zeros(batch, dtype=torch.bool)
        return {"begun": no, "mirrored": no}

    def imagine(self, state, action, *, generator=None, mode=False):
        after, reward, cont = self.game.imagine(self.inner(state), action)
        flip = state["mirrored"]
        if self.honest and not mode:
            coin = bernoulli(torch.full(flip.shape, 0.5), generator)
            flip = torch.where(state["begun"], flip, coin)
        return Dreamt({**after, "begun": torch.ones_like(flip), "mirrored": flip}, reward, cont)

    def decode(self, state):
        frame = self.game.decode(state)
        return torch.where(state["mirrored"][:, None, None, None], mirrored(frame), frame)


def mirrored(frames):
    """The ball is on the other side."""
    ball = frames[..., BALL : BALL + 1].flip(-2)
    return torch.cat([frames[..., :BALL], ball, frames[..., BALL + 1 :]], -1)


class End(Spoilt):
    """Right frames, a continuation that is always the same."""

    def __init__(self, cont):
        super().__init__()
        self.cont = cont

    def imagine(self, state, action, *, generator=None, mode=False):
        after = self.game.imagine(state, action)
        return after._replace(cont=torch.full_like(after.cont, self.cont))


class LookUp(Spoilt):
    """Right about frames of the training data; else it shows the start of a game."""

    def __init__(self, train):
        super().__init__()
        self.known = {frame.numpy().tobytes() for frame in train.observation}

    def decode(self, state):
        frame = self.game.decode(state)
        known = torch.tensor([f.to(torch.int8).numpy().tobytes() in self.known for f in frame])
        start = self.game.decode(self.game.initial(len(frame)))
        return torch.where(known[:, None, None, None], frame, start)


def attacks(data, test):
    """name -> (world, test windows, the world without that fault)."""
    step = test.steps
    truth, last = step.observation[:, CONTEXT:].float(), step.observation[:, CONTEXT - 1].float()
    reward, cont = step.reward[:, CONTEXT:], 1 - step.terminated[:, CONTEXT:].float()
    exact, order = ExactBreakout(), torch.from_numpy(np.random.RandomState(0).permutation(HORIZON))
    nothing = torch.zeros_like(reward)

    # The truth of the coin: half of the balls fly to the other side.
    coin = torch.from_numpy(np.random.RandomState(0).randint(2, size=len(truth))).bool()
    tossed = torch.where(coin[:, None, None, None, None], mirrored(truth), truth)
    frames = torch.cat([step.observation[:, :CONTEXT].float(), tossed], 1)
    toss = test._replace(steps=step._replace(observation=frames))
    return {
        "frozen frame": (
            Playback(last[:, None].expand_as(truth), nothing, nothing + 1),
            test,
            exact,
        ),
        "copy of the last frame": (Late(), test, exact),
        "shuffled time": (
            Playback(truth[:, order], reward[:, order], cont[:, order]),
            test,
            exact,
        ),
        "blur": (Blur(), test, exact),
        "ignored actions": (Playback(truth, reward, cont), test, exact),
        "over-confident sampler": (Coin(honest=False), toss, Coin(honest=True)),
        "always ending": (End(0.0), test, exact),
        "never ending": (End(1.0), test, exact),
        "frames looked up": (LookUp(data.train), test, exact),
    }


COLUMNS = {
    "ball": "wrong ball@",
    "paddle": "wrong paddle@",
    "bricks": "wrong bricks@",
    "1 ball": "not one ball@",
    "valid": "valid",
    "calib.": "calibration@",
    "reward": "reward ",
    "end": "end ",
}


def noticed(row, base):
    """Columns in which an attack differs from the world without its fault."""

    def differ(key):
        a, b = row[key], base[key]
        return (a is None) != (b is None) or (a is not None and abs(a - b) > 0.05)

    keys = [k for k in row if not k.endswith(")")]
    marks = {
        column: any(differ(k) for k in keys if k.startswith(start))
        for column, start in COLUMNS.items()
    }
    deaf = row["shuffled@5"] <= row["wrong paddle@5"] + 0.05
    return {**marks, "deaf": deaf}


@pytest.fixture(scope="module")
def rows(data, test):
    return {
        name: (measured(world, some), measured(base, some))
        for name, (world, some, base) in attacks(data, test).items()
    }


def table(rows):
    lines = []
    for name, pair in rows.items():
        marks = noticed(*pair)
        cells = [
            ("x" if mark else "").center(max(len(column), 3)) for column, mark in marks.items()
        ]
        lines.append(f"| {name:<22} | {' | '.join(cells)} |")
    return lines


def test_the_table_of_attacks_is_what_is_measured(rows):
    for line in table(rows):
        assert line in breakout.__doc__, "\n".join(table(rows))
    for pair in rows.values():
        assert any(noticed(*pair).values())  # no attack survives the whole table


def test_only_unseen_frames_tell_a_look_up_from_a_world(rows, test):
    row = rows["frames looked up"][0]
    inside = ladder.counted(test.steps, CONTEXT)
    for k in ladder.STEPS:
        new = test.subsets["new"][:, k - 1][inside[:, k - 1]].float().mean().item()
        assert row[f"wrong ball@{k}"] == pytest.approx(new * row[f"wrong ball@{k} (new)"], abs=1e-5)
        assert row[f"wrong ball@{k} (new)"] > 0.9


def test_calibration_is_zero_for_the_honest_sampler_and_a_half_for_the_sure_one(rows):
    """The truth is one of two futures by a fair coin: wrong half of the time, both of them."""
    sure, honest = rows["over-confident sampler"]
    assert sure["calibration@5"] == sure["wrong ball@5"] == pytest.approx(0.5, abs=0.1)
    assert honest["wrong ball@5"] == sure["wrong ball@5"]  # by mode they are the same world
    assert abs(honest["calibration@5"]) < 0.05


def test_ends_that_always_or_never_come(rows, test):
    always, never = (rows[f"{name} ending"][0] for name in ("always", "never"))
    inside = ladder.counted(test.steps, CONTEXT)[:, : ladder.LONG]
    ends = test.steps.terminated[:, CONTEXT : CONTEXT + ladder.LONG] & inside
    assert always["end recall"] == 1
    assert always["end precision"] == pytest.approx((ends.sum() / inside.sum()).item())
    assert (never["end precision"], never["end recall"]) == (None, 0)


def test_blur_keeps_every_arg_max_and_no_ball(rows):
    row = rows["blur"][0]
    assert [row[f"wrong ball@{k}"] for k in ladder.STEPS] == [0] * 4
    assert [row[f"not one ball@{k}"] for k in ladder.STEPS] == [1] * 4
    assert row["valid"] == HORIZON


def test_ignored_actions_show_in_the_shuffle_alone(rows):
    row, exact = rows["ignored actions"]
    assert row["shuffled@5"] == row["wrong paddle@5"] == exact["wrong paddle@5"] == 0
    assert exact["shuffled@5"] > 0.75
