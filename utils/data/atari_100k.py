"""What was published about 26 Atari games at 100,000 interactions, game by game.

The scores, and where each set is from, stand in `assets/atari_100k.json`. Some authors published
every run, others one mean for a game: an interval over runs exists only for the former.

Shape key: R runs, G games.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

PATH = Path(__file__).parents[2] / "assets/atari_100k.json"


class Scores(NamedTuple):
    """Scores of one agent, 0 where random play stands and 1 where the human tester does."""

    games: tuple[str, ...]
    normalised: Float[np.ndarray, "R G"]
    source: str


def normalised(
    score: Float[np.ndarray, "*R G"],
    random: Float[np.ndarray, " G"],
    human: Float[np.ndarray, " G"],
) -> Float[np.ndarray, "*R G"]:
    """`(score - random) / (human - random)`, game by game: not bounded by 1."""
    return (score - random) / (human - random)


def load() -> dict[str, Scores]:
    """Agent -> its scores, human-normalised."""
    stored = json.loads(PATH.read_text())
    games = tuple(stored["human"])
    human, random = (np.array([stored[who][game] for game in games]) for who in ("human", "random"))
    found = {}
    for name, scores in stored["agents"].items():
        runs = np.array([scores[game] for game in games]).T
        found[name] = Scores(games, normalised(runs, random, human), stored["sources"][name])
    return found
