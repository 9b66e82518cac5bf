import json

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env

from utils.data import minatar
from utils.data.minatar import Data, MinAtar, digest, load, vector
from utils.data.minatar_players import Wanderer, landing, scatter
from utils.world import interact

torch.set_num_threads(1)
PADDLE, BALL, TRAIL, BRICKS = range(4)


@pytest.fixture(scope="module")
def breakout():
    return load("breakout")


# ---- the environment


@pytest.mark.parametrize(("game", "actions"), [("breakout", 3), ("asterix", 5)])
@pytest.mark.filterwarnings("error")
def test_a_gymnasium_environment_with_the_actions_that_matter(game, actions):
    env = MinAtar(game)
    assert env.action_space.n == actions
    check_env(env, skip_render_check=True)


def test_actions_stay_left_right():
    env = MinAtar()
    env.reset(seed=0)
    column = [env.step(action)[0][9, :, PADDLE].argmax() for action in (0, 1, 1, 2)]
    assert column == [4, 3, 2, 3]


def test_without_sticky_actions_breakout_is_deterministic_and_asterix_is_not():
    assert minatar.stochastic_share("breakout", 300) == 0
    assert 0.05 < minatar.stochastic_share("asterix", 600) < 0.14  # 9.4 % were measured


def test_sticky_actions_repeat_the_last_but_not_over_a_reset():
    env = MinAtar(sticky=1.0)
    env.reset(seed=0)
    env.game.last_action = 1
    assert env.step(2)[0][9, :, PADDLE].argmax() == 3
    env.reset()
    assert env.step(1)[0][9, :, PADDLE].argmax() == 4  # the action before the first is "stay"


def test_games_side_by_side_are_cut_at_the_limit():
    envs = vector("asterix", 3, limit=4)
    first, _ = envs.reset(seed=5)
    assert first.shape == (3, 10, 10, 4)
    cut = [envs.step(np.zeros(3, int))[3].tolist() for _ in range(4)]
    assert cut == [[False] * 3] * 3 + [[True] * 3]


# ---- random states and players


def test_asterix_has_no_random_states():
    with pytest.raises(ValueError, match="Only Breakout"):
        MinAtar("asterix").reset(options={"scattered": True})


def test_scattered_states_keep_the_rules_they_promise():
    env, random = MinAtar(), np.random.RandomState(0)
    seen = set()
    for _ in range(2000):
        env.reset()
        scatter(env.game.env, random)
        frame, game = env.frame(), env.game.env
        assert frame[..., :BRICKS].sum((0, 1)).tolist() == [1, 1, 1]
        assert not frame[[0, 4, 5, 6, 7, 8, 9], :, BRICKS].any()
        (row, column), (last_row, last_column) = (
            np.argwhere(frame[..., c])[0] for c in (BALL, TRAIL)
        )
        assert max(row, last_row) <= 8
        way = (row - last_row, column - last_column)
        assert way == [(-1, -1), (-1, 1), (1, 1), (1, -1)][game.ball_dir]
        assert not frame[[row, last_row], [column, last_column], BRICKS].any()
        seen.add((game.ball_dir, frame[1:4, :, BRICKS].sum() // 6, game.pos, row))
    directions, bricks, paddles, rows = (set(values) for values in zip(*seen, strict=True))
    assert (directions, paddles, rows) == (set(range(4)), set(range(10)), set(range(9)))
    assert bricks >= {0, 1, 2, 3, 4}


def test_a_scattered_ball_that_falls_can_be_returned():
    """Going straight to its landing cell does it, if no brick changes its way: from row 4 on."""
    env, random = MinAtar(), np.random.RandomState(1)
    returned = 0
    while returned < 200:
        env.reset()
        game = env.game.env
        scatter(game, random)
        if game.ball_dir in (0, 1) or game.ball_y < 4:
            continue
        column = min(landing(game)[0], key=lambda x: abs(x - game.pos))
        while game.ball_dir in (2, 3):
            assert not env.step(0 if game.pos == column else 1 if column < game.pos else 2)[2]
        returned += 1


def test_landing_names_both_columns_and_the_moves():
    game = MinAtar().game.env
    game.ball_x, game.ball_y, game.ball_dir = 7, 4, 2  # 7, 8, 9, then off the wall: 9, 8
    assert landing(game) == ((8, 7), 5)


def test_the_wanderer_lives_long_and_wanders():
    episodes = minatar.collect("breakout", 6000, 1)
    lengths = {
        player: np.mean([len(e.actions) for e in episodes if e.player == player])
        for player in ("random", "wanderer")
    }
    assert lengths["wanderer"] > 3 * lengths["random"]
    actions = np.concatenate([e.actions for e in episodes if e.player == Wanderer.__name__.lower()])
    assert np.bincount(actions).min() > 0.2 * len(actions)


# ---- the data set


def test_the_card_is_what_is_made_here(breakout):
    card = json.loads((minatar.ASSETS / "minatar_breakout.json").read_text())
    assert digest(breakout) == card["sha256"]
    train, test = ((~part.first).sum().item() for part in (breakout.train, breakout.test))
    assert {"train": train, "test": test} == card["transitions"]
    assert train + test == minatar.TRANSITIONS
    seen = 1 - breakout.unseen.double().mean().item()
    assert seen == pytest.approx(card["test frames seen in training"], abs=1e-4)


def test_asterix_is_made_by_the_same_function():
    data = load("asterix")
    assert data.train.action.shape[1] == 5
    assert not (data.train.observation[..., 0].flatten(1).sum(1) != 1).any()


def test_other_data_than_the_card_s_is_refused(monkeypatch, tmp_path):
    card = json.loads((minatar.ASSETS / "minatar_breakout.json").read_text())
    (tmp_path / "minatar_breakout.json").write_text(json.dumps(card | {"sha256": "0" * 64}))
    monkeypatch.setattr(minatar, "ASSETS", tmp_path)
    with pytest.raises(RuntimeError, match=r"hash 42d0995d6e74, the card says 000000000000"):
        load()


def test_the_hash_sees_a_single_cell_and_where_it_is(breakout):
    small, _ = minatar.make("breakout", 200, 40)
    flipped = small.train.observation.clone()
    flipped[3, 0, 0, BRICKS] ^= 1
    other = Data(small.train._replace(observation=flipped), small.test, small.unseen)
    codes = {digest(small), digest(other), digest(Data(small.test, small.train, small.unseen))}
    assert len(codes) == 3
    assert digest(small) == digest(minatar.make("breakout", 200, 40)[0])
    assert digest(small) != digest(minatar.make("breakout", 200, 40, seed=1)[0])


def test_streams_are_whole_episodes_in_the_arrival_convention(breakout):
    for step in (breakout.train, breakout.test):
        assert step.first[0]
        assert torch.equal(step.action.sum(1) == 0, step.first)
        assert ((step.action == 0) | (step.action == 1)).all()
        assert (step.reward[step.first] == 0).all()
        assert not step.terminated[step.first].any()
        assert not (step.terminated[:-1] & ~step.first[1:]).any()  # after an end comes a beginning
        # The paddle of a row is where the row's action moved it.
        column = step.observation[:, 9, :, PADDLE].int().argmax(1)
        move = step.action @ torch.tensor([0.0, -1.0, 1.0])
        moved = (column[:-1] + move[1:]).clamp(0, 9)
        assert torch.equal(column[1:][~step.first[1:]], moved[~step.first[1:]].long())
        # A reward is a brick less in the same row.
        bricks = step.observation[..., BRICKS].flatten(1).sum(1)
        fewer = (bricks[1:] < bricks[:-1]) & ~step.first[1:]
        assert torch.equal(fewer, step.reward[1:] == 1)
        # The ball is at the bottom in terminal rows and nowhere else.
        assert torch.equal(step.observation[:, 9, :, BALL].any(1), step.terminated)


def test_cut_episodes_are_not_terminated(breakout):
    step = breakout.train
    begins = step.first.nonzero()[:, 0]
    lengths = begins.diff() - 1
    ends = begins[1:] - 1
    cut = ~step.terminated[ends]
    assert cut.sum() > 5
    assert (lengths[cut] == minatar.LIMIT).sum() >= cut.sum() - 2  # and the last of each player
    assert lengths.max() == minatar.LIMIT


def test_half_random_half_wanderer_a_third_scattered():
    data, episodes = minatar.make("breakout", 4000, 800, seed=3)
    for player in ("random", "wanderer"):
        assert sum(len(e.actions) for e in episodes if e.player == player) == 2000
    assert [e.scattered for e in episodes] == [i % 3 == 0 for i in range(len(episodes))]
    test = {f.numpy().tobytes() for f in data.test.observation}
    kept = [e for e in episodes if e.frames[-1].tobytes() in test and e.frames[1].tobytes() in test]
    for player in ("random", "wanderer"):
        assert sum(len(e.actions) for e in kept if e.player == player) >= 400
    assert 800 <= (~data.test.first).sum() < 800 + 2 * minatar.LIMIT


def test_unseen_frames_are_those_that_training_lacks(breakout):
    train = {frame.numpy().tobytes() for frame in breakout.train.observation}
    for row in range(0, len(breakout.unseen), 37):
        frame = breakout.test.observation[row].numpy().tobytes()
        assert breakout.unseen[row].item() == (frame not in train)


def test_the_environment_records_the_same_kind_of_rows(breakout):
    """`interact` gives windows that `minatar.load`'s can be joined with."""
    from utils.evaluate.ladder import Persistence
    from utils.world import Spec, to_tensor

    env = MinAtar()
    world = Persistence(Spec(env.observation_space, env.action_space))
    seen = interact(
        env,
        world,
        lambda state, _: to_tensor(env.action_space, torch.zeros(1, dtype=torch.long)),
        steps=30,
        seed=0,
    ).step
    for mine, stored in zip(seen, breakout.train, strict=True):
        assert mine.dtype == stored.dtype
        assert mine.shape[2:] == stored.shape[1:]
