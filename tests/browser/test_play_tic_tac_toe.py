"""Tic-tac-toe in a browser: keys and buttons set stones, and the other side answers."""

import inspect
import json

import numpy as np
import pytest

from utils.course.exercise import ROOT

pytestmark = pytest.mark.browser

MATCH = """
import torch
from utils.agents.mcts import muzero
from utils.agents.mcts_models import WorldModel
from utils.course.play import play
from utils.data import tic_tac_toe
from utils.worlds.muzero import Config, MuZero

torch.manual_seed(0)
world = MuZero(tic_tac_toe.OBSERVATION, tic_tac_toe.ACTIONS, Config(support=3))
model = WorldModel(world, world.predict, 1.0, players=2)

def move(board):
    root = model.root({"latent": world.represent(tic_tac_toe.observation(board))})
    return muzero(root, model, 10, legal=tic_tac_toe.legal(board)).action
"""
PLAY = """
match = tic_tac_toe.Match(move)
keys = {str(cell + 1): cell for cell in range(9)}
play(match.step, keys, paced=False, scale=5, text="against MuZero")
"""
PIXELS = "c => [...c.getContext('2d').getImageData(0, 0, 48, 48).data]"
BLUE, ORANGE = (0, 114, 178), (213, 94, 0)


def stones(box):
    """The cells in which the canvas shows a blue and an orange stone."""
    frame = np.array(box.locator("canvas").evaluate(PIXELS)).reshape(3, 16, 3, 16, 4)[..., :3]
    shown = [(frame == colour).all(-1).any((1, 3)).flatten() for colour in (BLUE, ORANGE)]
    return [set(np.flatnonzero(cells).tolist()) for cells in shown]


def test_keys_and_buttons_set_stones(notebook, shot):
    from playwright.sync_api import expect

    page = notebook([MATCH, PLAY])
    box = page.locator(".wm-play")
    expect(box).to_contain_text("your move")
    assert stones(box) == [set(), set()]
    box.get_by_role("button", name="5").click()
    page.wait_for_timeout(1000)
    mine, theirs = stones(box)
    assert mine == {4}
    assert len(theirs) == 1
    shot(page, "tic_tac_toe")
    free = next(cell for cell in range(9) if cell not in mine | theirs)
    box.locator("canvas").click()
    page.keyboard.press(str(free + 1))
    page.wait_for_timeout(1000)
    mine, theirs = stones(box)
    assert mine == {4, free}
    assert len(theirs) == 2
    page.keyboard.press("5")  # is taken
    expect(box).to_contain_text("taken")


def lesson(profile):
    """The code of the solved lesson up to its match, training included."""
    cells = json.loads((ROOT / "solutions/3.1_muzero.ipynb").read_text())["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    last = next(i for i, source in enumerate(code) if "tic_tac_toe.Match(" in source)
    return [f"import os; os.environ['WM_PROFILE'] = '{profile}'", *code[: last + 1]]


def test_a_learner_plays_against_the_muzero_that_they_trained(notebook, shot):
    """What answers is the search over the network that the cells above have trained."""
    from playwright.sync_api import expect

    says = """
    board = torch.zeros(1, 9, dtype=torch.long)
    board[0, 4] = -1  # as the one who answers sees the stone in the middle
    print("its answer is", think(board, 50).action.item(), "after", len(games.board), "games")
    """
    page = notebook([*lesson("quick"), inspect.cleandoc(says)], seconds=600)
    said = page.locator("pre", has_text="its answer is").inner_text().split()
    box = page.locator(".wm-play")
    expect(box).to_contain_text("your move")
    box.get_by_role("button", name="5").click()
    page.wait_for_timeout(1000)
    mine, theirs = stones(box)
    assert mine == {4}
    assert theirs == {int(said[3])}
    shot(page, "tic_tac_toe_trained")
    for _ in range(4):  # to the end of the game, cell by cell
        taken = set.union(*stones(box))
        if len(taken) == 9 or "your move" not in box.inner_text():
            break
        box.get_by_role("button", name=str(min(set(range(9)) - taken) + 1)).click()
        page.wait_for_timeout(1000)
    mine, theirs = stones(box)
    assert len(mine) + len(theirs) >= 5
