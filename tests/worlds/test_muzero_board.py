"""MuZero with convolutions: the protocol, where an action is seen, and where a reward may lie."""

import pytest
import torch

from tests.conformance import RULES, Case
from tests.worlds.test_muzero import Targeted
from utils.data import connect_four as game
from utils.worlds.muzero import Config
from utils.worlds.muzero_board import BoardMuZero, WithAction

torch.set_num_threads(1)
COLUMNS = torch.eye(game.COLUMNS)[:, None].repeat(1, game.ROWS, 1)
INNER = [(row, column) for row in range(1, 5) for column in range(1, 6)]


class World(Targeted, BoardMuZero):
    """Trainable on steps alone."""


def made(layers=1):
    torch.manual_seed(3)
    config = Config(units=4, layers=layers, support=2)
    made = World(game.OBSERVATION, game.ACTIONS, COLUMNS, config)
    for head in (made.to_reward[-1], made.to_value, made.to_policy):  # they start at zero
        torch.nn.init.normal_(head.weight, std=0.3)
    return made


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@pytest.mark.parametrize("layers", [1, 2])
def test_conformance(layers, rule):
    rule(Case(lambda: made(layers)))


def test_an_action_is_a_plane_with_its_cells():
    latent, action = torch.randn(3, 2 * 42), torch.eye(7)[[0, 3, 6]]
    seen = WithAction(COLUMNS, 2)(torch.cat([latent, action], -1))
    assert torch.equal(seen[:, :2], latent.view(3, 2, 6, 7))
    for row, column in enumerate((0, 3, 6)):
        assert seen[row, 2].sum() == game.ROWS
        assert (seen[row, 2, :, column] == 1).all()


def test_the_reward_does_not_ask_where():
    """One cell that stands out is worth the same wherever it lies, but at the rim."""
    boards = torch.zeros(len(INNER), 4, game.ROWS, game.COLUMNS)
    for board, (row, column) in zip(boards, INNER, strict=True):
        board[:, row, column] = torch.tensor([3.0, -2.0, 1.0, 2.0])
    with torch.no_grad():
        reward = made().to_reward(boards.flatten(1))
    assert reward.std(0).max() < 1e-6
    assert reward.abs().max() > 0.01
