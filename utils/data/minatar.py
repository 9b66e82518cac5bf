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

from utils.data.minatar_players import PLAYERS, Randomly, scatter
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
            if self.game.game_name() != "breakout":
                raise ValueError("Only Breakout starts from random states: leave out scattered.")
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
