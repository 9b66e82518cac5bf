"""Connect Four against known counts of positions, and against the same rules written plainly."""

import pytest
import torch
from torch.nn.functional import one_hot

from utils.data import board_game
from utils.data import connect_four as game
from utils.data.connect_four import CELLS, COLUMNS, ROWS, ConnectFour, Exact

torch.set_num_threads(1)


def board(*rows):
    """From the top row down: X is the player who moves."""
    rows = [["."] * COLUMNS] * (ROWS - len(rows)) + [row.split() for row in rows]
    return torch.tensor([["O.X".index(cell) - 1 for row in reversed(rows) for cell in row]])


def lost_plainly(cells):
    """Walks every direction from every cell."""
    for y in range(ROWS):
        for x in range(COLUMNS):
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                line = [(y + i * dy, x + i * dx) for i in range(4)]
                if all(
                    0 <= r < ROWS and 0 <= c < COLUMNS and cells[r * COLUMNS + c] == -1
                    for r, c in line
                ):
                    return True
    return False


def random_boards(number, seed=0):
    """Every position of some random games."""
    g, boards = torch.Generator().manual_seed(seed), [game.empty(number)]
    while not game.over(boards[-1]).all():
        now = boards[-1][~game.over(boards[-1])]
        boards.append(game.moved(now, game.at_random(now, g)))
    return torch.cat(boards)


def test_positions_after_each_move_are_as_many_as_known():
    """OEIS A212693: legal positions of 7 x 6 Connect Four after n plies."""
    boards = game.empty(1)
    for number in (7, 49, 238, 1120, 4263, 16422, 54859):
        row, column = game.legal(boards).nonzero(as_tuple=True)
        boards = game.moved(boards[row], column).unique(dim=0)
        assert len(boards) == number


def test_ends_are_found_as_by_a_plain_walk():
    boards = random_boards(60)
    plain = torch.tensor([lost_plainly(cells) for cells in boards.tolist()])
    assert plain.sum() == 60 - (game.over(boards) & ~plain).sum()
    assert torch.equal(game.lost(boards), plain)
    assert len(game.LINES) == 69
    assert len(game.LINES.sort(1).values.unique(dim=0)) == 69


def test_a_stone_falls():
    boards = random_boards(20, seed=1)
    boards = boards[~game.over(boards)]
    column = game.at_random(boards, torch.Generator().manual_seed(2))
    after = -game.moved(boards, column)
    changed = after != boards
    assert (changed.sum(1) == 1).all()
    cell = changed.float().argmax(1)
    assert torch.equal(cell % COLUMNS, column)
    assert (after[changed] == 1).all()
    below = cell - COLUMNS
    supported = (below < 0) | (boards.gather(1, below.clamp(min=0)[:, None])[:, 0] != 0)
    assert supported.all()
    assert torch.equal(board_game.board_of(game.observation(boards)), boards)


def test_full_columns_and_ended_games_are_closed():
    full = torch.zeros(1, ROWS, COLUMNS, dtype=torch.long)
    full[0, :, 3] = torch.tensor([1, -1] * 3)
    assert game.legal(full.view(1, CELLS)).tolist() == [[True] * 3 + [False] + [True] * 3]
    won = board("O O O O . . .")
    assert game.lost(won)
    assert not game.lost(-won)
    assert not game.legal(won).any()


def test_rows_of_games():
    """Left columns: a game that the first player wins upright; the other goes on."""
    games = ConnectFour(2)
    row = games.reset()
    assert row.first.all()
    for t, (a, b) in enumerate([(0, 0), (1, 0), (0, 0), (1, 0), (0, 0), (1, 0), (0, 1)]):
        action = one_hot(torch.tensor([a, b]), COLUMNS).float()
        row = games.step(action)
        assert torch.equal(row.action, action)
        assert not row.first.any()
        assert row.reward.tolist() == row.terminated.tolist() == [t == 6, False]
    row = games.step(one_hot(torch.tensor([5, 2]), COLUMNS).float())
    assert row.first.tolist() == [True, False]
    assert not row.observation[0].any()
    assert not row.action[0].any()
    assert row.action[1, 2] == 1
    with pytest.raises(ValueError, match=r"\[1\]"):
        games.step(one_hot(torch.tensor([0, 0]), COLUMNS).float())


def test_exact_world_is_the_game():
    g, games, world = torch.Generator().manual_seed(0), ConnectFour(30), Exact()
    row = games.reset()
    for _ in range(60):
        state = world.observe(world.initial(30), row)
        action = one_hot(game.at_random(games.board, g), COLUMNS).float()
        row = games.step(action)
        dreamt, same = world.imagine(state, action), ~row.first
        assert torch.equal(world.decode(dreamt.state)[same], row.observation[same])
        assert torch.equal(dreamt.reward[same], row.reward[same])
        assert torch.equal(1 - dreamt.cont[same], row.terminated[same].float())


def minimax_plainly(one, depth):
    values = [-torch.inf] * COLUMNS
    for column in game.legal(one)[0].nonzero()[:, 0].tolist():
        after = game.moved(one, torch.tensor([column]))
        if game.lost(after):
            values[column] = 1.0
        elif depth == 1 or game.over(after):
            values[column] = 0.0
        else:
            values[column] = -game.SOONER * max(minimax_plainly(after, depth - 1))
    return values


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_minimax_by_recursion(depth):
    boards = random_boards(3, seed=3)[::4]
    found = game.minimax(boards, depth)
    expected = torch.tensor([minimax_plainly(one[None], depth) for one in boards])
    torch.testing.assert_close(found, expected)
    assert found.abs().gt(0).logical_and(found.isfinite()).any()


def test_minimax_wins_and_blocks():
    wins, threatened = board("X X X . . . ."), board("O O O . . . .")
    assert game.minimax(wins, 1)[0].tolist() == [0, 0, 0, 1, 0, 0, 0]
    assert game.best(game.minimax(threatened, 2), threatened).item() == 3
    assert (game.minimax(threatened, 1) == 0).all()


def test_best_is_drawn_among_the_best():
    boards = game.empty(3000)
    score = torch.tensor([0.0, 1, 1, 0, -2, 1, 0]).expand(3000, 7)
    share = game.best(score, boards, torch.Generator().manual_seed(0)).bincount(minlength=7) / 3000
    torch.testing.assert_close(share, (score[0] == 1) / 3, rtol=0, atol=0.05)


def test_playouts_end_as_seen_by_the_player_who_moves():
    """One open column left: the outcome is that of the only line."""
    g, boards = torch.Generator().manual_seed(0), random_boards(3000, seed=4)
    boards = boards[game.legal(boards).sum(1) == 1]
    expected = torch.zeros(len(boards))
    for i, now in enumerate(boards.split(1)):
        sign = 1.0
        while not game.over(now):
            now, sign = game.moved(now, game.legal(now).float().argmax(-1)), -sign
        expected[i] = -sign * game.lost(now).float()
    assert set(expected.tolist()) == {-1.0, 0.0, 1.0}
    assert torch.equal(game.playout(boards, g), expected)
    lost = -board("X X X X . . .").expand(3, CELLS)
    assert game.playout(lost, g).tolist() == [-1, -1, -1]
    results = game.playout(game.empty(4000), g)
    assert set(results.tolist()) == {-1.0, 0.0, 1.0}
    assert results.mean().item() == pytest.approx(0.11, abs=0.05)  # the gain of who begins
