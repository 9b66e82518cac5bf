"""MinAtar (Young & Tian 2019): the environment, and the fixed data set of the pixel ladder.

`python -m utils.data.minatar [breakout|asterix]` makes the data set (about a second), prints what
is in it and writes its card, `assets/minatar_<game>.json`. `load` makes it again and compares its
hash with the card's: every world of the course learns from the same frames.

Frames are binary, `[10, 10, 4]`. Breakout's channels are paddle, ball, trail (where the ball was)
and bricks; Asterix' are player, enemy, trail and gold.

Shape key: T rows of a stream, A actions.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import minatar
import numpy as np
import torch
from gymnasium.spaces import Discrete, MultiBinary
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from jaxtyping import Bool, Int
from numpy.random import RandomState  # its streams are frozen: the same in every numpy release
from torch import Tensor
from torch.nn.functional import one_hot

from utils.world import Step

ASSETS = Path(__file__).parents[2] / "assets"
SHAPE = (10, 10, 4)
TRANSITIONS, TEST = 50_000, 5_000  # of the data set; of its test split
LIMIT = 300  # steps after which a recorded episode is cut
SCATTERED = 3  # every third episode starts from a random state


# ---- the environment


class MinAtar(gym.Env):
    """A MinAtar game with the actions that matter in it.

    Breakout: stay, left, right. Asterix: stay, left, up, right, down. Without a limit, a good
    player's episode need not end: wrap it in TimeLimit, or take `vector`.

    Args:
        sticky: probability that the game repeats the last action instead.
    `reset(options={"scattered": True})` starts Breakout from a random state, see `scatter`.
    """

    def __init__(self, game: str = "breakout", sticky: float = 0.0) -> None:
        self.game = minatar.Environment(game, sticky_action_prob=sticky)
        self.actions = self.game.minimal_action_set()
        self.action_space = Discrete(len(self.actions))
        self.observation_space = MultiBinary(SHAPE)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Int[np.ndarray, "10 10 4"], dict]:
        super().reset(seed=seed)
        self.game.seed(seed)
        self.game.reset()
        self.game.last_action = 0  # a sticky action does not reach over the end of an episode
        if (options or {}).get("scattered"):
            scatter(self.game.env, self.game.env.random)
        return self.frame(), {}

    def step(self, action: int) -> tuple[Int[np.ndarray, "10 10 4"], float, bool, bool, dict]:
        reward, terminated = self.game.act(self.actions[action])
        return self.frame(), float(reward), bool(terminated), False, {}

    def frame(self) -> Int[np.ndarray, "10 10 4"]:
        return self.game.state().view(np.int8)


def vector(game: str, batch: int, limit: int, sticky: float = 0.0) -> SyncVectorEnv:
    """`batch` games side by side, each episode cut after `limit` steps."""
    return SyncVectorEnv([lambda: TimeLimit(MinAtar(game, sticky), limit)] * batch)


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


# ---- players


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


# ---- the data set


class Episode(NamedTuple):
    """T steps of a game and the T + 1 frames around them."""

    frames: Int[np.ndarray, "T+1 10 10 4"]
    actions: Int[np.ndarray, " T"]
    rewards: Int[np.ndarray, " T"]
    terminated: bool  # else it was cut
    player: str
    scattered: bool


class Data(NamedTuple):
    """Two streams of whole episodes, one after the other, in the arrival convention."""

    train: Step  # [T, ...], observation int8 [T, 10, 10, 4]
    test: Step
    unseen: Bool[Tensor, " T"]  # rows of test whose frame is nowhere in train


def collect(game: str, transitions: int, seed: int) -> list[Episode]:
    """Half of the transitions by random actions, half by the game's player."""
    env, random = MinAtar(game), RandomState(seed + 1)
    env.reset(seed=seed)
    players = {"random": Randomly, PLAYERS[game].__name__.lower(): PLAYERS[game]}
    episodes = []
    for name, player in players.items():
        left = transitions // 2
        while left:
            scattered = game == "breakout" and len(episodes) % SCATTERED == 0
            env.reset(options={"scattered": scattered})
            episodes.append(_episode(env, player(random), min(LIMIT, left), name, scattered))
            left -= len(episodes[-1].actions)
    return episodes


def _episode(
    env: MinAtar, player: Callable[[Any], int], limit: int, name: str, scattered: bool
) -> Episode:
    frames, actions, rewards, terminated = [env.frame()], [], [], False
    while not terminated and len(actions) < limit:
        actions.append(player(env.game.env))
        frame, reward, terminated, _, _ = env.step(actions[-1])
        frames.append(frame)
        rewards.append(reward)
    return Episode(
        np.stack(frames), np.array(actions), np.array(rewards), terminated, name, scattered
    )


def split(episodes: list[Episode], test: int, seed: int) -> tuple[list[Episode], list[Episode]]:
    """Episodes in random order, as (train, test). Each player gives half of the test's steps, and
    the episode that reaches them is the last."""
    random, parts = RandomState(seed + 2), ([], [])
    room = {episode.player: test // 2 for episode in episodes}
    for i in random.permutation(len(episodes)):
        episode = episodes[i]
        parts[room[episode.player] > 0].append(episode)
        room[episode.player] -= len(episode.actions)
    return parts


def stream(episodes: list[Episode], actions: int) -> Step:
    """Episodes one after the other: an episode of T steps has T + 1 rows, the first without an
    action. A cut episode differs from a terminated one in its last row only."""
    pad = [np.concatenate([[0], e.actions + 1]) for e in episodes]
    index = torch.from_numpy(np.concatenate(pad))
    reward = np.concatenate([np.concatenate([[0], e.rewards]) for e in episodes])
    rows = torch.tensor([len(e.frames) for e in episodes])
    first, terminated = torch.zeros(2, len(index), dtype=torch.bool)
    first[rows.cumsum(0) - rows] = True
    terminated[rows.cumsum(0) - 1] = torch.tensor([e.terminated for e in episodes])
    frames = torch.from_numpy(np.concatenate([e.frames for e in episodes]))
    action = one_hot(index, actions + 1)[:, 1:].float()  # 0 stands for "none"
    return Step(frames, action, torch.from_numpy(reward).float(), first, terminated)


def unseen(train: Tensor, test: Tensor) -> Bool[Tensor, " T"]:
    """Rows of `test` whose frame, `[T, 10, 10, 4]`, is nowhere in `train`."""
    return torch.from_numpy(~np.isin(_keys(test), _keys(train)))


def _keys(frames: Tensor) -> np.ndarray:
    """One value per frame: its bits."""
    bits = np.packbits(frames.numpy().reshape(len(frames), -1).astype(bool), axis=1)
    return np.ascontiguousarray(bits).view(f"V{bits.shape[1]}")[:, 0]


def make(game: str, transitions: int, test: int, seed: int = 0) -> tuple[Data, list[Episode]]:
    """A data set of any size, and its episodes."""
    episodes = collect(game, transitions, seed)
    actions = len(MinAtar(game).actions)
    train, test = (stream(part, actions) for part in split(episodes, test, seed))
    return Data(train, test, unseen(train.observation, test.observation)), episodes


def digest(data: Data) -> str:
    """SHA-256 of all that a world can learn from or be tested on. All of it is whole numbers."""
    code = hashlib.sha256()
    for values in (*data.train, *data.test, data.unseen):
        code.update(str(tuple(values.shape)).encode())
        code.update(values.to(torch.int8).numpy().tobytes())
    return code.hexdigest()


def load(game: str = "breakout") -> Data:
    """The data set of the ladder, made anew (about a second).

    50,000 transitions without sticky actions: half by random actions, half by the game's player; in
    Breakout a third of the episodes start from random states (`scatter`); episodes are cut after
    300 steps; a tenth is kept for tests, whole episodes.

    Raises:
        RuntimeError: what was made here is not what the card in `assets` describes.
    """
    data, _ = make(game, TRANSITIONS, TEST)
    card = json.loads((ASSETS / f"minatar_{game}.json").read_text("utf-8"))
    if (here := digest(data)) != card["sha256"]:
        raise RuntimeError(
            f"The {game} data made here has hash {here[:12]}, the card says "
            f"{card['sha256'][:12]}: measured rows would not compare. The card was made with "
            f"{card['versions']}, here are {_versions()}: install the card's MinAtar."
        )
    return data


# ---- the card


def _versions() -> dict[str, str]:
    return {name: version(name) for name in ("minatar", "numpy", "torch")}


def statistics(data: Data, episodes: list[Episode]) -> dict[str, Any]:
    """What a reader of the card wants to know."""
    train, test = len(np.unique(_keys(data.train.observation))), _keys(data.test.observation)
    told = {
        "transitions": {p: int((~getattr(data, p).first).sum()) for p in ("train", "test")},
        "distinct frames": {"train": train, "test": len(np.unique(test))},
        "test frames seen in training": round(1 - data.unseen.double().mean().item(), 4),
    }
    for player in dict.fromkeys(episode.player for episode in episodes):
        for where in ("plain", "scattered"):
            some = [e for e in episodes if (e.player, e.scattered) == (player, where != "plain")]
            if some:
                told[f"{player}, {where} starts"] = _summary(some)
    return told


def _summary(episodes: list[Episode]) -> dict[str, float]:
    steps = np.array([len(episode.actions) for episode in episodes])
    gain = np.array([episode.rewards.sum() for episode in episodes])
    return {
        "episodes": len(episodes),
        "steps": int(steps.sum()),
        "mean length": round(float(steps.mean()), 1),
        "longest": int(steps.max()),
        "cut": sum(not e.terminated for e in episodes),
        "mean return": round(float(gain.mean()), 2),
        "rewards per step": round(float(gain.sum() / steps.sum()), 4),
    }


def stochastic_share(game: str, probes: int = 3000, seed: int = 0) -> float:
    """Share of steps whose outcome differs between three random streams of the game, with the same
    state and action: what no world can know."""
    env, random = MinAtar(game), RandomState(seed + 1)
    player, differ = PLAYERS[game](random), 0
    env.reset(seed=seed)
    for probe in range(probes):
        action = player(env.game.env)
        outcomes = set()
        for fork in range(3):
            twin = copy.deepcopy(env.game)
            twin.seed(3 * probe + fork)
            reward, terminated = twin.act(env.actions[action])
            outcomes.add((twin.state().tobytes(), reward, terminated))
        differ += len(outcomes) > 1
        if env.step(action)[2]:
            env.reset()
    return differ / probes


def main(game: str = "breakout") -> None:
    """Makes the data set and writes its card."""
    begun = time.process_time()
    data, episodes = make(game, TRANSITIONS, TEST)
    seconds = time.process_time() - begun
    card = {
        "command": f"python -m utils.data.minatar {game}",
        "CPU seconds": round(seconds, 2),
        "sha256": digest(data),
        "versions": _versions(),
        "stochastic steps": round(stochastic_share(game), 4),
        **statistics(data, episodes),
    }
    text = json.dumps(card, indent=1) + "\n"
    (ASSETS / f"minatar_{game}.json").write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
