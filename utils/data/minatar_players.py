"""Who plays MinAtar for the data set, and where Breakout starts when it does not start plainly.

All of them read the game's own state (`minatar`'s `Env`), not frames.
"""

from __future__ import annotations

from typing import Any

from numpy.random import RandomState


def scatter(game: Any, random: RandomState) -> None:
    """Puts Breakout into a random state that the game can go on from by its own rules.

    - Each brick is there with a probability that is itself drawn for the state: any mask of rows 1
      to 3, from none (the game lays new ones when the ball next reaches the bottom) to all.
    - The ball has just flown freely in one of the four directions: it is in rows 0 to 8, and its
      trail one cell behind it, on the board and above the paddle's row. Neither is in a brick.
    - The paddle is anywhere, but never so far that a ball that falls freely is already lost.
    """
    game.ball_dir = random.randint(4)
    right, down = game.ball_dir in (1, 2), game.ball_dir in (2, 3)
    game.ball_x = random.randint(1, 10) if right else random.randint(0, 9)
    game.ball_y = random.randint(1, 9) if down else random.randint(0, 8)
    game.last_x = game.ball_x + (-1 if right else 1)
    game.last_y = game.ball_y + (-1 if down else 1)
    game.brick_map[1:4] = random.random_sample((3, 10)) < random.random_sample()
    game.brick_map[game.ball_y, game.ball_x] = game.brick_map[game.last_y, game.last_x] = 0
    columns, steps = landing(game) if down else ((game.ball_x,), 10)
    near = [x for x in range(10) if min(abs(x - column) for column in columns) <= steps]
    game.pos = near[random.randint(len(near))]


def landing(game: Any) -> tuple[tuple[int, int], int]:
    """The two paddle columns that return a ball that falls freely, and the moves left until then.

    The first is the ball's column in row 8 (it bounces straight on), the second where it would
    enter row 9 (it bounces back the way it came).
    """
    x, way, steps = game.ball_x, 1 if game.ball_dir in (1, 2) else -1, 8 - game.ball_y
    for _ in range(steps):
        x, way = (x + way, way) if 0 <= x + way <= 9 else (x, -way)
    return (x, min(max(x + way, 0), 9)), steps + 1


class Randomly:
    """Any action with the same probability."""

    def __init__(self, random: RandomState) -> None:
        self.random = random

    def __call__(self, game: Any) -> int:
        return self.random.randint(len(game.minimal_action_set()))


class Wanderer:
    """Breakout: wanders about while the ball's landing cell stays in reach, then goes there.

    It reads the game's own state. Its episodes are long and its actions diverse: what a data set
    for a world model needs. `noise` is the share of actions that are random whatever they cost.
    """

    noise = 0.02

    def __init__(self, random: RandomState) -> None:
        self.random, self.side = random, None

    def __call__(self, game: Any) -> int:
        random = self.random
        if random.random_sample() < self.noise:
            return random.randint(3)
        if game.ball_dir in (0, 1):  # the ball rises: follow it, not too closely
            self.side = None
            return random.randint(3) if random.random_sample() < 0.3 else self.to(game, game.ball_x)
        if self.side is None:  # once for each fall: the two columns bounce it different ways
            self.side = random.randint(2)
        columns, steps = landing(game)
        column = columns[self.side]
        if abs(game.pos - column) < steps - 2 and random.random_sample() < 0.5:
            return random.randint(3)
        return self.to(game, column)

    def to(self, game: Any, column: int) -> int:
        return 0 if game.pos == column else 1 if column < game.pos else 2


class Collector:
    """Asterix: leaves the row of an enemy within two cells, else goes for the nearest gold."""

    noise = 0.2

    def __init__(self, random: RandomState) -> None:
        self.random = random

    def __call__(self, game: Any) -> int:
        random, x, y = self.random, game.player_x, game.player_y
        if random.random_sample() < self.noise:
            return random.randint(5)
        things = [thing for thing in game.entities if thing is not None]
        near = sorted((abs(t[0] - x) + abs(t[1] - y), t[0], t[1], t[3]) for t in things)
        if any(distance <= 2 and not gold for distance, _, _, gold in near):
            return 2 if random.random_sample() < 0.5 else 4
        for _, gold_x, gold_y, gold in near:
            if gold and gold_y != y:
                return 2 if gold_y < y else 4
            if gold:
                return 1 if gold_x < x else 3
        return random.randint(5)


PLAYERS = {"breakout": Wanderer, "asterix": Collector}
