"""Tic-tac-toe: rules, the exact solution, and the judge."""

import pytest
import torch

from utils.data import board_game
from utils.data import tic_tac_toe as game
from utils.data.tic_tac_toe import CELLS, Exact, Games, Match, TicTacToe
from utils.nn.random import categorical

torch.set_num_threads(1)
VALUE = game.solve()


def boards(*rows):
    """'XO.' from the view of the player to move, X."""
    stones = {"X": 1, "O": -1, ".": 0}
    return torch.tensor([[stones[c] for c in row.replace(" ", "")] for row in rows])


def minimax(board):
    """The textbook's, on a tuple."""
    theirs = [i for i, stone in enumerate(board) if stone == -1]
    if any(set(line) <= set(theirs) for line in game.LINES.tolist()):
        return -1
    empty = [i for i, stone in enumerate(board) if not stone]
    if not empty:
        return 0
    after = ([-s if j != i else -1 for j, s in enumerate(board)] for i in empty)
    return max(-minimax(tuple(b)) for b in after)


def test_there_are_5478_positions_and_the_game_is_a_draw():
    assert sum(map(len, game.positions())) == 5478 == VALUE.isfinite().sum()
    assert VALUE[game.key(boards("... ... ..."))] == 0


def test_solution_is_that_of_minimax():
    g = torch.Generator().manual_seed(0)
    late = torch.cat(game.positions()[3:])
    for board in late[torch.randperm(len(late), generator=g)[:60]]:
        assert VALUE[game.key(board[None])] == minimax(tuple(board.tolist()))


def test_optimal_moves():
    board = boards("XX. OO. ...", "OO. X.. ..X", "O.. .X. ..O", "X.. .O. ...")
    best = [row.nonzero()[:, 0].tolist() for row in game.optimal(board, VALUE)]
    assert best[:2] == [[2], [2]]  # wins; prevents a loss
    assert best[2] == [1, 3, 5, 7]  # a corner would lose to a fork
    assert 8 in best[3]


def test_rows_are_in_the_arrival_convention():
    games = TicTacToe(2)
    row = games.reset()
    assert row.first.all()
    assert not row.terminated.any()
    assert not row.observation.any()
    for t, (a, b) in enumerate([(0, 4), (3, 0), (1, 8), (4, 1), (2, 7)]):
        action = torch.nn.functional.one_hot(torch.tensor([a, b]), CELLS).float()
        row = games.step(action)
        assert torch.equal(row.action, action)
        assert not row.first.any()
        assert row.reward.tolist() == row.terminated.tolist() == [t == 4, False]
    # Seen by the one who lost: the other's three stones in the upper row.
    assert row.observation[0].tolist() == [0, 0, 0, 1, 1, 0, 0, 0, 0, 1, 1, 1] + 6 * [0]
    row = games.step(torch.nn.functional.one_hot(torch.tensor([0, 6]), CELLS).float())
    assert row.first.tolist() == [True, False]
    assert not row.observation[0].any()
    assert not row.action[0].any()
    assert row.action[1, 6] == 1


def test_a_taken_cell_is_refused():
    games = TicTacToe(3)
    games.reset()
    stone = torch.nn.functional.one_hot(torch.tensor([0, 1, 2]), CELLS).float()
    games.step(stone)
    with pytest.raises(ValueError, match=r"\[1\]"):
        games.step(stone[[1, 1, 1]])


def test_openings_are_random_and_playable():
    generator = torch.Generator().manual_seed(0)
    games = TicTacToe(4000, openings=5, generator=generator)
    row = games.reset()
    stones = (games.board != 0).sum(-1)
    share = torch.bincount(stones, minlength=6) / len(stones)
    # 6 of 11 draws are empty boards; from five stones on some games would be over, and are not.
    torch.testing.assert_close(share[:5], torch.tensor([6 / 11, *[1 / 11] * 4]), rtol=0, atol=0.03)
    assert len(share) == 6
    assert not game.over(games.board).any()
    own, other = (games.board == 1).sum(-1), (games.board == -1).sum(-1)
    assert ((other - own == 0) | (other - own == 1)).all()
    assert torch.equal(board_game.board_of(row.observation), games.board)
    assert len(games.board.unique(dim=0)) > 500
    cell = game.legal(games.board).float().argmax(-1)
    row = games.step(torch.nn.functional.one_hot(cell, 9).float())
    assert not row.first.any()


def test_exact_world_is_the_game():
    g, games, world = torch.Generator().manual_seed(0), TicTacToe(50), Exact()
    row = games.reset()
    for _ in range(40):
        state = world.observe(world.initial(50), row)
        logits = torch.where(game.legal(games.board), 0.0, torch.finfo(torch.float32).min)
        action = torch.nn.functional.one_hot(categorical(logits, g), CELLS).float()
        row = games.step(action)
        dreamt = world.imagine(state, action)
        same = ~row.first
        assert torch.equal(world.decode(dreamt.state)[same], row.observation[same])
        assert torch.equal(dreamt.reward[same], row.reward[same])
        assert torch.equal(1 - dreamt.cont[same], row.terminated[same].float())


def perfect(board):
    return game.optimal(board, VALUE).float().argmax(-1)


def first_cell(board):
    return game.legal(board).float().argmax(-1)


def replies(board):
    return game.optimal(board, VALUE)


@pytest.mark.parametrize("first", [True, False])
def test_judge_never_sees_perfect_play_lose(first):
    assert game.judge(perfect, replies, first=first).lost == 0
    anything = game.judge(perfect, game.legal, first=first)
    assert anything.lost == 0 < anything.won
    assert game.judge(first_cell, game.legal, first=first).lost > 0


def test_judge_counts_every_game():
    """Against all replies: as many games as a recursion over single boards finds."""

    def count(board, turn):
        if game.over(board)[0]:
            beaten = bool(game.lost(board)[0])
            return torch.tensor([beaten and not turn, not beaten, beaten and turn]).long()
        cells = [first_cell(board).item()] if turn else game.legal(board)[0].nonzero()[:, 0]
        return sum(count(game.moved(board, torch.tensor([int(c)])), not turn) for c in cells)

    for first in (True, False):
        whole = count(torch.zeros(1, CELLS, dtype=torch.long), first)
        assert game.judge(first_cell, game.legal, first=first) == Games(*whole.tolist())


def test_match_against_somebody():
    match = Match(first_cell)
    frame, text = match.step(None)
    assert frame.shape == (48, 48, 3)
    assert text == "your move"
    assert not match.board.any()
    match.step(4)
    assert match.board[0].tolist() == [-1, 0, 0, 0, 1, 0, 0, 0, 0]
    _, text = match.step(0)
    assert text == "that cell is taken"
    assert match.board.abs().sum() == 2
    match.step(2)
    _, text = match.step(6)  # the diagonal 2, 4, 6
    assert text.startswith("you win")
    match.step(0)  # the next game, which the player begins
    assert match.board[0].tolist() == [-1] + 8 * [0]
    for cell in (8, 7):
        _, text = match.step(cell)
    assert match.board[0, 0] == match.board[0, 1] == match.board[0, 2] == -1
    assert text.startswith("you lose")


def test_picture_shows_both_players():
    frame = game.picture(boards("X.. ... ..O")[0])
    assert (frame[:16, :16] == game.BLUE).all(-1).any()
    assert (frame[32:, 32:] == game.ORANGE).all(-1).any()
    assert not (frame[16:32, :16] == game.BLUE).all(-1).any()
