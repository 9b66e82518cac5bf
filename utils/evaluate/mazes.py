"""Pictures of mazes: values and greedy moves, visits, and what a learned model knows.

Shape key: S states, A actions; a maze has rows x columns = S cells, and `MOVES` as its actions.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from utils.data.tables import MOVES, Table
from utils.worlds.tabular import Tabular

CELL = 24  # pixels of a cell in a frame
COLOURS = {
    "free": (255, 255, 255),
    "wall": (70, 70, 70),
    "goal": (0, 158, 115),
    "agent": (0, 114, 178),
    "edge": (225, 225, 225),
    "blocked": (70, 70, 70),
    "unknown": (230, 159, 0),
    "unseen": (200, 200, 200),
}


def draw_maze(ax: Axes, table: Table, numbers: Float[Tensor, " S"], title: str = "") -> None:
    """Draws one number per cell as shades of blue, the darkest for the largest; walls are grey."""
    rows, columns = table.walls.shape
    shape, walls = table.walls.shape, table.walls.numpy()
    shown = np.ma.masked_array(numbers.reshape(shape).numpy(), walls)
    ax.imshow(
        shown, cmap="Blues", vmin=0, vmax=max(1.8 * float(shown.max()), 1e-9)
    )  # arrows stay readable
    ax.imshow(np.ma.masked_array(np.ones(shape), ~walls), cmap="gray", vmin=0, vmax=4)
    start = divmod(int(table.start.argmax()), shape[1])
    goals = zip(*np.nonzero(table.goals.numpy()), strict=True)
    for mark, (row, column) in [("S", start), *(("G", goal) for goal in goals)]:
        paper = {"facecolor": "white", "edgecolor": "none", "boxstyle": "circle,pad=0.1"}
        look = {"ha": "center", "va": "center", "weight": "bold", "color": "#d55e00", "zorder": 9}
        ax.text(column, row, mark, bbox=paper, **look)
    ax.set(xticks=[], yticks=[], title=title)
    ax.set_xticks(np.arange(0.5, columns - 1), minor=True)
    ax.set_yticks(np.arange(0.5, rows - 1), minor=True)
    ax.grid(False)
    ax.grid(which="minor", color="#CCCCC8", linewidth=0.5)
    ax.tick_params(which="minor", length=0)
    ax.spines[:].set_visible(True)


def draw_arrows(ax: Axes, table: Table, q: Float[Tensor, "S A"]) -> None:
    """Draws the greedy moves of every cell whose values are not all the same."""
    columns = table.walls.shape[1]
    drawn = (q.amax(-1) > q.amin(-1)) & ~table.walls.flatten()
    best = (q == q.amax(-1, keepdim=True)) & drawn[:, None]
    for (row, column), action in zip(MOVES.values(), range(len(MOVES)), strict=True):
        cells = best[:, action].nonzero()[:, 0].numpy()
        x, y = cells % columns, cells // columns
        if len(cells):
            arrow = {"angles": "xy", "scale_units": "xy", "scale": 1, "headwidth": 4}
            ax.quiver(x, y, 0.42 * column, 0.42 * row, **arrow, width=0.008, color="#222222")


def draw_legend(figure: Figure) -> None:
    """Says below a figure what the colours of `frame` and `model_frame` mean."""
    means = {
        "agent": "agent",
        "goal": "goal",
        "wall": "wall, or a move that leads nowhere",
        "unknown": "a move never tried",
        "unseen": "no move tried",
    }
    boxes = [Patch(color=np.divide(COLOURS[k], 255), label=words) for k, words in means.items()]
    look = {"fontsize": 8, "handlelength": 1, "handleheight": 1, "columnspacing": 1.2}
    figure.set_figheight(figure.get_figheight() + 0.35)
    figure.legend(handles=boxes, loc="outside lower center", ncols=len(boxes), **look)


def frame(table: Table, cell: int) -> UInt8[np.ndarray, "H W 3"]:
    """The maze as it is, with the agent in a cell."""
    rows, columns = table.walls.shape
    picture = np.full((rows, columns, 3), COLOURS["free"], np.uint8)
    picture[table.walls.numpy()] = COLOURS["wall"]
    picture[table.goals.numpy()] = COLOURS["goal"]
    picture = _edges(_enlarged(picture))
    picture[:2] = picture[-2:] = picture[:, :2] = picture[:, -2:] = COLOURS["wall"]
    return _agent(picture, cell, columns)


def model_frame(model: Tabular, seed: int, columns: int, cell: int) -> UInt8[np.ndarray, "H W 3"]:
    """The maze as one seed's model knows it, with the agent in a cell.

    A side of a cell is dark where the model says that the move leads nowhere, orange where the
    move was never tried, and open where it leads on. A cell that no move is known of is grey; one
    that a known move ends the episode in is green.
    """
    after, tried = model.next[seed].cpu().numpy(), model.tried[seed].cpu().numpy()
    ended = model.terminated[seed].cpu().numpy()
    states = len(after)
    picture = np.full((states, 3), COLOURS["free"], np.uint8)
    picture[~tried.any(1)] = COLOURS["unseen"]
    picture[after[ended & tried]] = COLOURS["goal"]
    picture = _edges(_enlarged(picture.reshape(-1, columns, 3)))
    for action, (down, right) in enumerate(MOVES.values()):
        for state in range(states):
            if tried[state].any() and (not tried[state, action] or after[state, action] == state):
                kind = "blocked" if tried[state, action] else "unknown"
                top, left = CELL * (state // columns), CELL * (state % columns)
                ys = slice(top, top + CELL)
                xs = slice(left, left + CELL)
                if down:
                    ys = slice(top, top + 4) if down < 0 else slice(top + CELL - 4, top + CELL)
                else:
                    xs = slice(left, left + 4) if right < 0 else slice(left + CELL - 4, left + CELL)
                picture[ys, xs] = COLOURS[kind]
    return _agent(picture, cell, columns)


def _enlarged(picture: UInt8[np.ndarray, "r c 3"]) -> UInt8[np.ndarray, "H W 3"]:
    return picture.repeat(CELL, 0).repeat(CELL, 1)


def _edges(picture: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
    picture[::CELL] = picture[:, ::CELL] = COLOURS["edge"]
    return picture


def _agent(
    picture: UInt8[np.ndarray, "H W 3"], cell: int, columns: int
) -> UInt8[np.ndarray, "H W 3"]:
    top, left = CELL * (cell // columns), CELL * (cell % columns)
    y, x = np.mgrid[:CELL, :CELL] - (CELL - 1) / 2
    here = picture[top : top + CELL, left : left + CELL]
    here[y**2 + x**2 < (CELL / 2.3) ** 2] = COLOURS["free"]  # a ring, to be seen on any ground
    here[y**2 + x**2 < (CELL / 3) ** 2] = COLOURS["agent"]
    return picture
