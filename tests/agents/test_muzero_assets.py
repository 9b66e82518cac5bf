"""What makes the checkpoints of lesson 3.1: its parts, and that a killed run goes on."""

import dataclasses

import numpy as np
import pytest
import torch

from assets import muzero_breakout, muzero_connect_four
from assets.muzero_connect_four import Mind, Size, match, mirrored, openings
from utils.agents.mcts import simulate
from utils.data import connect_four as game
from utils.worlds.muzero import Played

torch.set_num_threads(1)
TINY = Size(
    4,
    1,
    games=4,
    simulations=3,
    moves=90,
    updates=1,
    batch=4,
    falling=90,
    copies=(0, 1),
    openings=2,
)


@pytest.fixture(autouse=True)
def aside(tmp_path, monkeypatch):
    """Nothing is written into the repository, and nothing is compiled."""
    for module in (muzero_breakout, muzero_connect_four):
        monkeypatch.setattr(module, "RUNS", tmp_path)
        monkeypatch.setattr(module, "compiled", lambda: simulate)
    monkeypatch.setattr(muzero_connect_four, "DEVICE", "cpu")


def first_column(board, generator):
    return game.legal(board).float().argmax(-1)


def last_column(board, generator):
    columns = torch.arange(game.COLUMNS)
    return (game.legal(board) * (columns + 1)).argmax(-1)


def test_a_match_counts_every_game_from_both_sides():
    """On an empty board both pile up their column: who begins has four first."""
    g, board = torch.Generator().manual_seed(0), game.empty(1)
    assert match(first_column, last_column, board, g).tolist() == [1, 0, 1]
    ahead = game.moved(game.moved(board, torch.tensor([0])), torch.tensor([3]))
    # Whoever moves first from here has a stone in the first column already.
    assert match(first_column, last_column, ahead, g).tolist() == [1, 0, 1]
    assert match(first_column, game.at_random, openings(8, g), g).sum() == 16


def test_openings_differ_and_are_open():
    boards = openings(12, torch.Generator().manual_seed(0))
    assert boards.shape == (12, game.CELLS)
    assert len(boards.unique(dim=0)) == 12
    assert ((boards != 0).sum(1) == muzero_connect_four.OPENING).all()
    assert not game.over(boards).any()


def test_a_mirrored_window_is_the_mirrored_game():
    g, games, twins = torch.Generator().manual_seed(0), *(game.ConnectFour(5) for _ in range(2))
    rows, others = [games.reset()], [twins.reset()]
    for _ in range(12):
        action = torch.nn.functional.one_hot(game.at_random(games.board, g), 7).float()
        rows.append(games.step(action))
        others.append(twins.step(action.flip(-1)))
    seen, twin = (
        Played(*(torch.stack(v, 1) for v in zip(*some, strict=True)), policy, torch.zeros(5, 13))
        for some, policy in (
            (rows, torch.arange(7.0).expand(5, 13, 7)),
            (others, torch.arange(7.0).flip(0).expand(5, 13, 7)),
        )
    )
    which = torch.tensor([True, False, True, True, False])
    found = mirrored(seen, which)
    for a, b, c in zip(found, twin, seen, strict=True):
        assert torch.equal(a[which], b[which])
        assert torch.equal(a[~which], c[~which])


def test_a_mind_plays_only_into_columns_with_room():
    torch.manual_seed(0)
    g, mind = torch.Generator().manual_seed(0), Mind(TINY)
    torch.nn.init.normal_(mind.world.to_policy.weight)
    board = game.empty(40)
    for _ in range(30):
        for play in (mind.play, mind.play_by_policy):
            column = play(board, g)
            assert game.legal(board).gather(1, column[:, None]).all()
        board = game.moved(board, game.at_random(board, g))
        board = board[~game.over(board)]
    noisy = mind.think(board, g)
    assert (noisy.policy[~game.legal(board)] == 0).all()


def test_a_killed_game_of_connect_four_goes_on_bit_by_bit(monkeypatch):
    about = dataclasses.asdict(TINY)

    def end():
        players, made = muzero_connect_four.copies(TINY, about)
        assert len(players) == 3
        run = muzero_connect_four.store.Run(muzero_connect_four.RUNS, "connect_four_90", about)
        assert [one["moves"] for one in made] == [0, 90]
        return run.load()["world"]

    muzero_connect_four.train(TINY, about)
    whole = end()
    for file in muzero_connect_four.RUNS.glob("*"):
        file.unlink()
    learned = muzero_connect_four.learn
    calls = []

    def killed(*given):
        calls.append(None)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return learned(*given)

    monkeypatch.setattr(muzero_connect_four, "learn", killed)
    monkeypatch.setattr(muzero_connect_four.store.Run, "due", lambda *_: len(calls) == 2)
    with pytest.raises(KeyboardInterrupt):
        muzero_connect_four.train(TINY, about)
    muzero_connect_four.train(TINY, about)
    assert len(calls) > 6
    for name, value in end().items():
        assert torch.equal(value, whole[name]), name


def test_round_robin_skips_what_is_saved(monkeypatch):
    about = dataclasses.asdict(TINY)
    players = {"random": game.at_random, "left": first_column, "right": last_column}
    table = muzero_connect_four.round_robin(players, TINY, about)
    assert (table.sum(-1) == 4 * np.tri(3, k=-1)).all()
    monkeypatch.setattr(muzero_connect_four, "match", None)
    assert np.array_equal(muzero_connect_four.round_robin(players, TINY, about), table)


def test_breakout_trains_goes_on_and_is_measured(monkeypatch):
    few = {"games": 2, "steps": 48, "simulations": 2, "batch": 4}
    monkeypatch.setattr(muzero_breakout, "SETTINGS", muzero_breakout.SETTINGS | few)
    agent, seconds = muzero_breakout.train(0)
    again, same = muzero_breakout.train(0)  # finished: only loaded
    assert same == seconds
    for a, b in zip(agent.world.parameters(), again.world.parameters(), strict=True):
        assert torch.equal(a, b)
    for policy in (agent.greedy, agent.explore, agent.by_policy, muzero_breakout.at_random):
        assert muzero_breakout.returns(agent, policy, 0, games=2) >= 0
