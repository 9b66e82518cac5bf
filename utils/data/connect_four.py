"""Connect Four: seven columns, six rows, four in a row win. Too large to be solved here.

Boards are those of `utils.data.board_game`. Cells are numbered row by row from the bottom; an
action is a column, and a stone falls to its lowest empty cell.

Shape key: B games side by side, N boards.
"""

from __future__ import annotations

import torch
from gymnasium.spaces import Discrete, MultiBinary
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import one_hot

from utils.data import board_game
from utils.data.board_game import Rules, observation
from utils.nn.random import categorical
from utils.world import Spec, Step

ROWS, COLUMNS = 6, 7
CELLS = ROWS * COLUMNS
OBSERVATION, ACTIONS = MultiBinary(2 * CELLS), Discrete(COLUMNS)
SOONER = 0.99  # what a win counts if it comes one move later, in `minimax`


def _lines() -> Int[Tensor, "69 4"]:
    """The cells of every four in a row."""
    cells = torch.arange(CELLS).view(ROWS, COLUMNS)
    upright = cells.unfold(0, 4, 1).reshape(-1, 4)
    level = cells.unfold(1, 4, 1).reshape(-1, 4)
    squares = cells.unfold(0, 4, 1).unfold(1, 4, 1).reshape(-1, 4, 4)
    rising = squares.diagonal(0, 1, 2)
    falling = squares.flip(2).diagonal(0, 1, 2)
    return torch.cat([upright, level, rising, falling])


LINES = _lines()
# [42, 69]: 1 where a cell lies on a line. One product with it sums the stones of all lines.
ON_LINE = one_hot(LINES, CELLS).sum(1).T.float()


# ---- rules


def lost(board: Int[Tensor, "N 42"]) -> Bool[Tensor, " N"]:
    """The opponent, who has just moved, has four in a row."""
    return (board.float() @ ON_LINE.to(board.device)).amin(-1) == -4


def over(board: Int[Tensor, "N 42"]) -> Bool[Tensor, " N"]:
    """The game has ended: somebody won, or no cell is empty."""
    return lost(board) | (board != 0).all(-1)


def legal(board: Int[Tensor, "N 42"]) -> Bool[Tensor, "N 7"]:
    """Columns with room; none once the game is over."""
    return (board[:, -COLUMNS:] == 0) & ~over(board)[:, None]


def moved(board: Int[Tensor, "N 42"], column: Int[Tensor, " N"]) -> Int[Tensor, "N 42"]:
    """The board after a stone fell into a column, as the opponent sees it. A full column takes
    none."""
    stones = (board.view(-1, ROWS, COLUMNS) != 0).sum(1)
    cell = stones.gather(1, column[:, None]) * COLUMNS + column[:, None]
    return -(board + (torch.arange(CELLS, device=board.device) == cell).long())


def empty(batch: int, device: torch.device | str = "cpu") -> Int[Tensor, "B 42"]:
    return torch.zeros(batch, CELLS, dtype=torch.long, device=device)


class ConnectFour:
    """B games side by side, each played by one player against themselves.

    Rows are in the arrival convention; a game that has ended starts anew in the next row. The
    reward is that of the player who moved: 1 for four in a row. The action must be legal.
    """

    def __init__(self, batch: int, device: torch.device | str = "cpu") -> None:
        self.batch, self.device = batch, device

    def reset(self) -> Step:
        """Empty boards."""
        self.board = empty(self.batch, self.device)
        first = torch.ones(self.batch, dtype=torch.bool, device=self.device)
        return self._row(torch.zeros(self.batch, COLUMNS, device=self.device), first)

    def step(self, action: Float[Tensor, "B 7"]) -> Step:
        """Drops stones; where the game was over, a new one begins and the action is ignored.

        Raises:
            ValueError: a stone is dropped into a full column.
        """
        first, column = over(self.board), action.argmax(-1)
        full = ~first & (self.board[:, -COLUMNS:].gather(1, column[:, None])[:, 0] != 0)
        if full.any():
            raise ValueError(f"Full columns were chosen in games {full.nonzero()[:, 0].tolist()}")
        self.board = torch.where(first[:, None], 0, moved(self.board, column))
        return self._row(action * ~first[:, None], first)

    def _row(self, action: Tensor, first: Tensor) -> Step:
        won = lost(self.board)
        return Step(observation(self.board), action, won.float(), first, over(self.board))


class Exact(board_game.Exact):
    """The game as a world: what a search has if it knows the rules."""

    def __init__(self) -> None:
        super().__init__(
            Spec(OBSERVATION, ACTIONS, differentiable=False), Rules(lost, legal, moved)
        )


# ---- opponents that need no learning


def at_random(
    board: Int[Tensor, "N 42"], generator: torch.Generator | None = None
) -> Int[Tensor, " N"]:
    """A column with room, all alike."""
    return categorical(torch.where(board[:, -COLUMNS:] == 0, 0.0, -torch.inf), generator)


def best(
    score: Float[Tensor, "N 7"],
    board: Int[Tensor, "N 42"],
    generator: torch.Generator | None = None,
) -> Int[Tensor, " N"]:
    """The legal column with the highest score; of several such, each is equally likely."""
    score = torch.where(legal(board), score, -torch.inf)
    highest = score == score.amax(-1, keepdim=True)
    return categorical(torch.where(highest, 0.0, -torch.inf), generator)


def minimax(board: Int[Tensor, "N 42"], depth: int) -> Float[Tensor, "N 7"]:
    """What every column is worth if both players see `depth` moves ahead, the first among them.

    1 for a win with this move, `SOONER` times less for every move that it comes later, negative
    for a loss, 0 where nothing is decided; -inf for a full column. Depth 1 finds a win at once,
    depth 2 also sees what the opponent threatens. All 7^depth lines are walked at once.
    """
    row, column = legal(board).nonzero(as_tuple=True)
    after = moved(board[row], column)
    value = torch.where(lost(after), 1.0, 0.0)  # for the one who moved
    if depth > 1 and len(after):
        open_ = ~over(after)
        reply = minimax(after[open_], depth - 1).amax(-1)
        value[open_] = -SOONER * reply
    scores = torch.full((len(board), COLUMNS), -torch.inf, device=board.device)
    scores[row, column] = value
    return scores


def playout(
    board: Int[Tensor, "N 42"], generator: torch.Generator | None = None
) -> Float[Tensor, " N"]:
    """One game to the end by random moves from each board: 1 if the player who moves there wins, -1
    if they lose, 0 for a draw."""
    sign = torch.ones(len(board), device=board.device)
    result = torch.zeros_like(sign)
    ended = over(board)
    result[lost(board)] = -1.0
    while not ended.all():
        going = torch.where(ended[:, None], 0, board)
        board = torch.where(ended[:, None], board, moved(going, at_random(going, generator)))
        sign = -sign
        now = over(board) & ~ended
        result = torch.where(now & lost(board), -sign, result)
        ended = ended | now
    return result


def picture(board: Int[Tensor, " 42"]) -> str:
    """The board as text, the top row first: X is the player who moves, O the opponent."""
    signs = ["O.X"[stone + 1] for stone in board.tolist()]
    rows = [" ".join(signs[i : i + COLUMNS]) for i in range(0, CELLS, COLUMNS)]
    return "\n".join(reversed(rows))
