"""MuZero for board games: the three networks as convolutions over the board.

What wins on a board is local and may stand anywhere on it. A dense network learns every place by
itself; a convolution learns it once. The latent state is a board too, of C planes, kept flat as in
`MuZero`; everything else is MuZero's. The official networks are residual towers of 3 x 3
convolutions with 256 planes (Schrittwieser et al. 2020, Methods); these are small ones, with a
layer norm over the whole board where those have a batch norm.

Shape key: B batch, C planes, R rows and L columns of the board, A actions, D = C R L.
"""

from __future__ import annotations

from dataclasses import replace

import gymnasium as gym
import torch
from gymnasium.spaces import Discrete
from jaxtyping import Float
from torch import Tensor, nn

from utils.nn.mlp import Linear
from utils.worlds.muzero import Config, MuZero


class BoardMuZero(MuZero):
    """MuZero with `config.units` planes and `config.layers` convolutions in each network.

    Args:
        observation_space: of planes times rows times columns numbers, plane by plane.
        touched: the cells that an action concerns, 1 there and 0 elsewhere; they are the plane
            that tells the dynamics of the action.
    """

    touched: Float[Tensor, "A R L"]

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: Discrete,
        touched: Float[Tensor, "A R L"],
        config: Config,
    ) -> None:
        _, rows, columns = touched.shape
        board, c = (config.units, rows, columns), config
        latent, seen = c.units * rows * columns, gym.spaces.flatdim(observation_space)
        super().__init__(observation_space, action_space, replace(config, latent=latent, units=1))
        self.config, values = replace(config, latent=latent), 2 * c.support + 1
        self.representation = nn.Sequential(
            nn.Unflatten(1, (seen // (rows * columns), rows, columns)),
            *convolutions(seen // (rows * columns), board, c.layers),
            nn.Conv2d(c.units, c.units, 3, padding=1),
            nn.Flatten(),
        )
        self.dynamics = nn.Sequential(
            WithAction(touched, c.units), *convolutions(c.units + 1, board, c.layers), nn.Flatten()
        )
        self.to_latent = nn.Sequential(
            nn.Unflatten(1, board), nn.Conv2d(c.units, c.units, 3, padding=1), nn.Flatten()
        )
        # A line of four is worth the same anywhere: the strongest place on the board decides.
        self.to_reward = nn.Sequential(
            *(nn.Unflatten(1, board), nn.Conv2d(c.units, c.units, 3, padding=1), nn.ReLU()),
            *(nn.AdaptiveMaxPool2d(1), nn.Flatten(), Linear(c.units, values, scale=0.0)),
        )
        self.prediction = nn.Sequential(
            nn.Unflatten(-1, board), Frames(*convolutions(c.units, board, c.layers)), nn.Flatten(-3)
        )
        self.to_policy = Linear(latent, int(action_space.n), scale=0.0)
        self.to_value = Linear(latent, values, scale=0.0)


class Frames(nn.Sequential):
    """Layers for boards `[B, C, R, L]`, used on boards with any leading shape."""

    def forward(self, boards: Float[Tensor, "*B C R L"]) -> Float[Tensor, "*B C R L"]:
        return super().forward(boards.flatten(0, -4)).unflatten(0, boards.shape[:-3])


class WithAction(nn.Module):
    """From a flat latent state and an action `[B, D + A]` to planes `[B, C + 1, R, L]`."""

    touched: Float[Tensor, "A R L"]

    def __init__(self, touched: Float[Tensor, "A R L"], planes: int) -> None:
        super().__init__()
        self.planes = planes
        self.register_buffer("touched", touched, persistent=False)

    def forward(self, given: Float[Tensor, "B D+A"]) -> Float[Tensor, "B C+1 R L"]:
        actions, *board = self.touched.shape
        latent, action = given.split([given.shape[-1] - actions, actions], -1)
        where = (action @ self.touched.flatten(1)).unflatten(-1, (1, *board))
        return torch.cat([latent.unflatten(-1, (self.planes, *board)), where], 1)


def convolutions(inputs: int, board: tuple[int, int, int], layers: int) -> list[nn.Module]:
    """3 x 3 convolutions, each with a layer norm and a ReLU, from `inputs` planes to board[0]."""
    made: list[nn.Module] = []
    for planes in [inputs, *[board[0]] * (layers - 1)]:
        made += [nn.Conv2d(planes, board[0], 3, padding=1), nn.GroupNorm(1, board[0]), nn.ReLU()]
    return made
