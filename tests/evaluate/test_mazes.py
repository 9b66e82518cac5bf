"""Pictures of mazes: what a side, a cell and a legend show."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from utils.data import tables
from utils.evaluate.mazes import CELL, COLOURS, draw_arrows, draw_legend, draw_maze, frame
from utils.evaluate.mazes import model_frame as picture_of
from utils.worlds.tabular import Tabular

MAZE = tables.maze("S.#\n..G")  # cells 0 1 2 over 3 4 5
UP, DOWN, LEFT, RIGHT = range(4)


@pytest.fixture
def figure():
    made = plt.figure(figsize=(3, 2), layout="constrained")
    yield made
    plt.close(made)


def colour(picture: np.ndarray, cell: int, down: float = 0.25, right: float = 0.25) -> str:
    """The name of the colour at a place in a cell, as shares of its size from above and left."""
    row, column = divmod(cell, 3)
    pixel = tuple(picture[int((row + down) * CELL), int((column + right) * CELL)])
    return next((name for name, value in COLOURS.items() if value == pixel), str(pixel))


def test_the_maze_as_it_is():
    picture = frame(MAZE, 3)
    assert picture.shape == (2 * CELL, 3 * CELL, 3)
    seen = [colour(picture, cell, 0.5, 0.5) for cell in range(6)]
    assert seen == ["free", "free", "wall", "agent", "free", "goal"]


def test_the_maze_as_a_model_knows_it():
    model, one = Tabular(1, MAZE.states, MAZE.actions), torch.ones(1, dtype=torch.long)
    for cell, action in ((1, RIGHT), (1, DOWN), (4, RIGHT)):
        reward, after, ended = MAZE.step(cell * one, action * one, torch.zeros(1))
        model.learn(cell * one, action * one, reward, after, ended)
    picture = picture_of(model, 0, 3, 0)
    sides = {UP: (0.05, 0.5), DOWN: (0.93, 0.5), LEFT: (0.5, 0.05), RIGHT: (0.5, 0.93)}
    assert colour(picture, 1, *sides[RIGHT]) == "wall"  # it leads nowhere
    assert colour(picture, 1, *sides[DOWN]) == "free"
    assert colour(picture, 1, *sides[LEFT]) == colour(picture, 1, *sides[UP]) == "unknown"
    assert colour(picture, 2) == colour(picture, 3) == "unseen"
    assert colour(picture, 5) == "goal"
    assert colour(picture, 0, 0.5, 0.5) == "agent"


def test_the_legend_names_each_colour_and_makes_room_for_itself(figure):
    figure.subplots().imshow(frame(MAZE, 0))
    draw_legend(figure)
    (legend,) = figure.legends
    shown = {tuple(round(255 * c) for c in box.get_facecolor()[:3]) for box in legend.get_patches()}
    assert shown == set(COLOURS.values()) - {COLOURS["free"], COLOURS["edge"]}
    assert figure.get_figheight() > 2
    figure.canvas.draw()
    below = legend.get_window_extent()
    assert below.y1 <= figure.axes[0].get_window_extent().y0
    assert below.y0 >= 0


def test_arrows_stand_where_values_differ_and_point_to_the_best(figure):
    ax, q = figure.subplots(), torch.zeros(6, 4)
    q[0, RIGHT] = q[4, UP] = q[4, RIGHT] = 1.0
    draw_maze(ax, MAZE, q.amax(-1), "values")
    draw_arrows(ax, MAZE, q)
    arrows = set()
    for quiver in ax.collections:
        u, v = (np.broadcast_to(part, len(quiver.XY)) for part in (quiver.U, quiver.V))
        arrows |= {*zip(*quiver.XY.T, u, v, strict=True)}
    assert arrows == {(0, 0, 0.42, 0.0), (1, 1, 0.0, -0.42), (1, 1, 0.42, 0.0)}
    assert ax.get_title() == "values"
    assert sorted(text.get_text() for text in ax.texts) == ["G", "S"]
