"""Tic-tac-toe: small enough to be solved, so that a player can be judged without error.

Boards are those of `utils.data.board_game`. Cells are numbered row by row.

Shape key: B games side by side, N boards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from gymnasium.spaces import Discrete, MultiBinary
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import one_hot

from utils.data import board_game
from utils.data.board_game import Rules, observation
from utils.world import Spec, State, Step

CELLS = 9
ROWS = [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
LINES = torch.tensor([*ROWS, *zip(*ROWS, strict=True), [0, 4, 8], [2, 4, 6]])
OBSERVATION, ACTIONS = MultiBinary(2 * CELLS), Discrete(CELLS)
PLACES = 3 ** torch.arange(CELLS)  # a board as a number in base 3
POSITIONS = 3**CELLS

Move = Callable[[Int[Tensor, "N 9"]], Int[Tensor, " N"]]  # boards -> a legal cell of each


# ---- rules


def lost(board: Int[Tensor, "N 9"]) -> Bool[Tensor, " N"]:
    """The opponent, who has just moved, has three in a row."""
    return (board[:, LINES] == -1).all(-1).any(-1)


def over(board: Int[Tensor, "N 9"]) -> Bool[Tensor, " N"]:
    """The game has ended: somebody won, or no cell is empty."""
    return lost(board) | (board != 0).all(-1)


def legal(board: Int[Tensor, "N 9"]) -> Bool[Tensor, "N 9"]:
    """Empty cells; none once the game is over."""
    return (board == 0) & ~over(board)[:, None]


def moved(board: Int[Tensor, "N 9"], cell: Int[Tensor, " N"]) -> Int[Tensor, "N 9"]:
    """The board after a stone was set in an empty cell, as the opponent sees it."""
    return -(board + one_hot(cell, CELLS))


class TicTacToe:
    """B games side by side, each played by one player against themselves.

    Rows are in the arrival convention; a game that has ended starts anew in the next row. The
    reward is that of the player who moved: 1 for three in a row. The action must be legal.

    About half of the games begin from the empty board, the others after 1 to `openings` random
    moves, so that a player who always moves alike meets other positions too.
    """

    def __init__(
        self, batch: int, openings: int = 0, generator: torch.Generator | None = None
    ) -> None:
        self.batch, self.openings, self.generator = batch, openings, generator

    def reset(self) -> Step:
        """New games on all boards."""
        self.board = self._begun()
        return self._row(torch.zeros(self.batch, CELLS), torch.ones(self.batch, dtype=torch.bool))

    def step(self, action: Float[Tensor, "B 9"]) -> Step:
        """Sets stones; where the game was over, a new one begins and the action is ignored.

        Raises:
            ValueError: a stone is set where one stands.
        """
        first, cell = over(self.board), action.argmax(-1)
        if (taken := ~first & (self.board.gather(1, cell[:, None])[:, 0] != 0)).any():
            raise ValueError(
                f"Cells that are not empty were taken in games {taken.nonzero()[:, 0]}"
            )
        begun = self._begun() if first.any() else 0
        self.board = torch.where(first[:, None], begun, moved(self.board, cell))
        return self._row(action * ~first[:, None], first)

    def _begun(self) -> Int[Tensor, "B 9"]:
        """The boards of new games, none of which is over."""
        board = torch.zeros(self.batch, CELLS, dtype=torch.long)
        moves = torch.randint(
            -self.openings, self.openings + 1, (self.batch,), generator=self.generator
        )
        for made in range(self.openings):
            luck = torch.rand(board.shape, generator=self.generator)
            after = moved(board, (luck * legal(board)).argmax(-1))
            board = torch.where(((made < moves) & ~over(after))[:, None], after, board)
        return board

    def _row(self, action: Tensor, first: Tensor) -> Step:
        won = lost(self.board)
        return Step(observation(self.board), action, won.float(), first, over(self.board))


class Exact(board_game.Exact):
    """The game as a world: what a search has if it knows the rules."""

    def __init__(self) -> None:
        super().__init__(
            Spec(OBSERVATION, ACTIONS, differentiable=False), Rules(lost, legal, moved)
        )


# ---- the solution


def key(board: Int[Tensor, "N 9"]) -> Int[Tensor, " N"]:
    """The number of a board in tables."""
    return ((board + 1) * PLACES.to(board.device)).sum(-1)


def children(board: Int[Tensor, "N 9"]) -> tuple[Int[Tensor, " M"], Int[Tensor, "M 9"]]:
    """All boards that a legal move leads to, and the row of the board each comes from."""
    row, cell = legal(board).nonzero(as_tuple=True)
    return row, moved(board[row], cell)


def positions() -> list[Int[Tensor, "N 9"]]:
    """All boards that can occur, once each, by the number of stones."""
    layers = [torch.zeros(1, CELLS, dtype=torch.long)]
    for _ in range(CELLS):
        layers.append(children(layers[-1])[1].unique(dim=0))
    return layers


def solve() -> Float[Tensor, " 19683"]:
    """The value of every board for the player who moves, by `key`: 1 won, 0 drawn, -1 lost, under
    perfect play; nan where a board cannot occur. Backwards from the full boards, by minimax."""
    value = torch.full((POSITIONS,), torch.nan)
    for board in reversed(positions()):
        row, child = children(board)
        best = torch.full((len(board),), -torch.inf)
        best.scatter_reduce_(0, row, -value[key(child)], "amax")
        value[key(board)] = torch.where(over(board), -lost(board).float(), best)
    return value


def optimal(board: Int[Tensor, "N 9"], value: Float[Tensor, " 19683"]) -> Bool[Tensor, "N 9"]:
    """The moves that keep the value of a board; `value` is what `solve` gave."""
    good = torch.zeros(board.shape, dtype=torch.bool)
    row, cell = legal(board).nonzero(as_tuple=True)
    good[row, cell] = value[key(moved(board[row], cell))] == -value[key(board[row])]
    return good


class Games(NamedTuple):
    """How the games ended, for the player who was judged."""

    won: int
    drawn: int
    lost: int


def judge(
    move: Move, replies: Callable[[Int[Tensor, "N 9"]], Bool[Tensor, "N 9"]], *, first: bool = True
) -> Games:
    """Every game that can come about between a player and an opponent, counted.

    Args:
        move: the player, who plays one move in each position, always the same.
        replies: all the moves that the opponent may choose from: `legal`, or the optimal ones.
        first: the player begins.
    """
    board, turn, counts = torch.zeros(1, CELLS, dtype=torch.long), first, torch.zeros(3, dtype=int)
    while len(board):
        if turn:
            board = moved(board, move(board))
        else:
            row, cell = replies(board).nonzero(as_tuple=True)
            board = moved(board[row], cell)
        ended, beaten = over(board), lost(board)
        won, other = (beaten.sum(), 0) if turn else (0, beaten.sum())
        counts += torch.tensor([won, (ended & ~beaten).sum(), other])
        board, turn = board[~ended], not turn
    return Games(*counts.tolist())


# ---- pictures and play

PAPER, INK, BLUE, ORANGE = (252, 252, 250), (34, 34, 34), (0, 114, 178), (213, 94, 0)
SIDE = 16  # pixels of a cell


def picture(board: Int[Tensor, " 9"]) -> UInt8[np.ndarray, "48 48 3"]:
    """Blue crosses for 1, orange rings for -1."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    ring = np.abs(np.hypot(x, y) - 5) < 1.2
    cross = (np.minimum(np.abs(x - y), np.abs(x + y)) < 1.5) & (np.abs(x) < 5.6)
    frame = np.full((3 * SIDE, 3 * SIDE, 3), PAPER, np.uint8)
    frame[[SIDE, 2 * SIDE]] = frame[:, [SIDE, 2 * SIDE]] = INK
    for cell, stone in enumerate(board.tolist()):
        top, left = SIDE * (cell // 3), SIDE * (cell % 3)
        part = frame[top : top + SIDE, left : left + SIDE]
        if stone:
            part[cross if stone == 1 else ring] = BLUE if stone == 1 else ORANGE
    return frame


class Match:
    """Somebody plays against a player; `step` is what `utils.course.play.play` calls.

    The human's stones are blue crosses. Whoever did not begin the last game begins the next.
    """

    def __init__(self, move: Move) -> None:
        self.move, self.human_begins = move, False
        self.begin()

    def begin(self) -> None:
        self.human_begins = not self.human_begins
        self.board = torch.zeros(1, CELLS, dtype=torch.long)  # as the human sees it
        self.text, self.ended = "your move", False
        if not self.human_begins:
            self._answer()

    @torch.no_grad()
    def step(self, cell: int | None) -> tuple[UInt8[np.ndarray, "48 48 3"], str]:
        """The human's stone in a cell (None: only look), and the answer to it."""
        if cell is not None:
            if self.ended:
                self.begin()
            elif not legal(self.board)[0, cell]:
                self.text = "that cell is taken"
            else:
                self.text = "your move"
                # `moved` turns the board to the opponent's view.
                theirs = moved(self.board, torch.tensor([cell]))
                self.board = -theirs
                if over(theirs)[0]:
                    self._end("you win" if lost(theirs)[0] else "a draw")
                else:
                    self._answer()
        return picture(self.board[0]), self.text

    def _answer(self) -> None:
        self.board = moved(-self.board, self.move(-self.board))
        if over(self.board)[0]:
            self._end("you lose" if lost(self.board)[0] else "a draw")

    def _end(self, how: str) -> None:
        self.text, self.ended = f"{how}; any cell starts the next game", True


def uniform_prediction(state: State) -> tuple[Float[Tensor, "B 9"], Float[Tensor, " B"]]:
    """The heads of one who knows the rules of `Exact` and nothing else: every legal move alike, and
    no idea who wins."""
    board = state["board"]
    return torch.where(legal(board), 0.0, -torch.inf), torch.zeros(len(board))
