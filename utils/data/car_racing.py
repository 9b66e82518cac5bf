"""CarRacing-v3 as data: a car seen from above, recorded as frames of 64 x 64 pixels.

The road of `World Models` (Ha & Schmidhuber 2018), with what is done to it here:

- As in the official code (carracing/env.py) the bar of indicators below the picture is cut off, 84
  of 96 rows stay, and the rest is squeezed to 64 x 64. The colours stay; the official code
  inverts them.
- An action is held for `REPEAT` = 3 of the game's frames, and every third frame is recorded: 16.7 a
  second. The paper records all 50.
- The first second of a track, in which the camera zooms in, is not recorded; the car stands.
- The driver holds random actions for a while, as the official code's random controllers do
  (carracing/extract.py). Three drivers of four look at the road as well: one that never does spends
  two thirds of its time on the grass.

Only frames that are kept are drawn, and of the track only what is near: four times as fast.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from threading import Thread

import numpy as np
import torch
from gymnasium.spaces import Box
from jaxtyping import Float, UInt8
from PIL import Image

from utils.world import Step

os.environ.setdefault("SDL_VIDEODRIVER", "dummy")  # no window, and none is needed
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")

REPEAT = 3  # frames of the game that an action is held
GAME_FPS = 50
FPS = GAME_FPS / REPEAT  # recorded frames a second
ZOOM_FRAMES = 50  # how long the camera zooms in
# What is farther from the car than this is not in the picture: 48 of the game's units are from the
# car to the farthest corner, and 24 across a square of grass.
REACH = 75.0
ACTIONS = Box(np.array([-1, 0, 0], np.float32), np.array([1, 1, 1], np.float32))
# (steering, gas, brake), steering -1 left to 1 right; what a player's keys mean.
KEYS = {
    "ArrowLeft": (-0.6, 0.1, 0.0),
    "ArrowUp": (0.0, 0.6, 0.0),
    "ArrowRight": (0.6, 0.1, 0.0),
    "ArrowDown": (0.0, 0.0, 0.6),
}


def make():
    """CarRacing-v3, which draws a frame only when `look` asks for it.

    Its `step` and `reset` return no picture. Raises ImportError with what to install.
    """
    try:
        from gymnasium.envs.box2d.car_racing import CarRacing
    except Exception as error:  # gymnasium's own error class is no ImportError
        raise ImportError(
            "CarRacing needs Box2D and pygame: pip install 'gymnasium[box2d]', "
            "then restart the kernel."
        ) from error

    class Road(CarRacing):
        near = None  # where the car is while a picture is drawn

        def _render(self, mode):
            return None if self.near is None else super()._render(mode)

        def _draw_colored_polygon(self, surface, poly, color, zoom, translation, angle, clip=True):
            (x, y), (car_x, car_y) = poly[0], self.near
            if not clip or (abs(x - car_x) < REACH and abs(y - car_y) < REACH):
                super()._draw_colored_polygon(surface, poly, color, zoom, translation, angle, clip)

        def look(self) -> UInt8[np.ndarray, "96 96 3"]:
            """The picture of CarRacing-v3 as it is now."""
            self.near = tuple(self.car.hull.position)
            picture = self._render("state_pixels")
            self.near = None
            return picture

    return Road()


def shrink(picture: UInt8[np.ndarray, "96 96 3"]) -> UInt8[np.ndarray, "64 64 3"]:
    """Without the bar of indicators, as 64 x 64 pixels."""
    small = Image.fromarray(picture[:84]).resize((64, 64), Image.Resampling.BILINEAR)
    return np.asarray(small)


class Driver:
    """Acts at random, and persistently: steering drifts, the foot stays on a pedal for a while.

    Args:
        rng: of all that it draws.
        looks: whether it also steers to where the road goes, or else drives blind.
    """

    def __init__(self, rng: np.random.Generator, looks: bool):
        self.rng, self.looks = rng, looks
        self.drift, self.aim, self.pedals, self.left = 0.0, 0.0, (0.0, 0.0), 0

    def act(self, frame: UInt8[np.ndarray, "64 64 3"]) -> Float[np.ndarray, " A"]:
        """(steering, gas, brake) for the next `REPEAT` frames of the game."""
        # Half of a drift is forgotten in half a second; in the long run its deviation is 0.35.
        keep = 0.5 ** (2 / FPS)
        self.drift = keep * self.drift + 0.35 * np.sqrt(1 - keep**2) * self.rng.normal()
        if self.left == 0:
            self.left = int(self.rng.integers(4, 20))
            gas, brake = self.rng.uniform(0.05, 0.5), self.rng.uniform(0.05, 0.4)
            kind = self.rng.choice(3, p=(0.6, 0.25, 0.15))
            self.pedals = ((gas, 0.0), (0.0, 0.0), (0.0, brake))[kind]
        self.left -= 1
        if self.looks:
            self.aim = road_ahead(frame, self.aim)
        return np.array([np.clip(self.drift + 2 * self.aim, -1, 1), *self.pedals], np.float32)


def road_ahead(frame: UInt8[np.ndarray, "64 64 3"], last: float) -> float:
    """Where the road is in the lines before the car, -1 left to 1 right; `last` if it is not."""
    ahead = frame[32:48].astype(int)
    grey = abs(ahead[..., 1] - ahead[..., 0]) < 30  # grass is green
    columns = np.nonzero(grey)[1]
    return float(columns.mean() - 31.5) / 31.5 if len(columns) else last


def drive(seed: int, steps: int) -> Step:
    """One stream of `steps` rows `[T, ...]` in the arrival convention: frames uint8 `[T, 64, 64,
    3]`, actions `[T, 3]` in the units of CarRacing-v3, rewards summed over `REPEAT` frames.

    The same seed gives the same rows. Where the seed is a multiple of 4 the driver is blind. A car
    that leaves the field (-100) or finishes its lap goes on in the next row, on a new track.
    """
    road, rng = make(), np.random.default_rng([2018, seed])
    driver = Driver(rng, looks=seed % 4 != 0)
    stand = np.zeros(3, np.float32)
    rows, terminated = [], True
    while len(rows) < steps:
        first, action, reward = terminated, stand, 0.0
        if first:
            road.reset(seed=int(rng.integers(2**31)))
            for _ in range(ZOOM_FRAMES):
                road.step(stand)
            terminated = False
        else:
            action = driver.act(rows[-1][0])
            for _ in range(REPEAT):
                _, gained, terminated, _, _ = road.step(action)
                reward += gained
                if terminated:
                    break
        rows.append((shrink(road.look()), action, reward, first, terminated))
    road.close()
    frames, actions, rewards, firsts, ends = zip(*rows, strict=True)
    return Step(
        torch.from_numpy(np.stack(frames)),
        torch.from_numpy(np.stack(actions)),
        torch.tensor(rewards, dtype=torch.float32),
        torch.tensor(firsts),
        torch.tensor(ends),
    )


def record(
    folder: str | Path, seeds: Iterable[int], steps: int, workers: int = 2
) -> Iterator[Step]:
    """`drive` for each seed, in their order, as it becomes ready; kept in `folder`.

    A stream is a file, written aside and renamed: one that is there is not driven again, and a
    killed recording loses only the streams in flight.

    Args:
        workers: processes that drive; with 1 it is this one, which spares their start (seconds).
    """
    folder, seeds = Path(folder), list(seeds)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{seed:06d}_{steps}.npz" for seed in seeds]
    missing = [(path, seed) for path, seed in zip(paths, seeds, strict=True) if not path.exists()]
    work = partial(_drive_to_file, steps)
    if workers == 1 or len(missing) < 2:
        made = map(work, missing)
        pool = nullcontext()
    else:
        # Spawned: a fork of a process with threads, as a kernel is, may hang.
        pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_leave_with_parent)
        made = pool.map(work, missing)
    driven = {path for path, _ in missing}
    with pool:
        for path in paths:
            if path in driven:
                next(made)
            with np.load(path) as file:
                yield Step(*(torch.from_numpy(file[name]) for name in Step._fields))


def _drive_to_file(steps: int, job: tuple[Path, int]) -> None:
    path, seed = job
    rows = drive(seed, steps)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    with open(part, "wb") as file:
        np.savez_compressed(file, **{name: x.numpy() for name, x in rows._asdict().items()})
    os.replace(part, path)


def _leave_with_parent() -> None:
    """Ends this process when the one that started it is gone: killed, it could not say so."""

    def watch(parent: int = os.getppid()) -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def together(streams: Iterable[Step]) -> Step:
    """Streams `[T, ...]` of one length as data `[B, T, ...]`."""
    return Step(*(torch.stack(column) for column in zip(*streams, strict=True)))


def mirrored(data: Step) -> Step:
    """The same drives seen in a mirror: left is right. Tracks are driven counter-clockwise, so that
    without them right turns are rare; the game's rules are the same on both sides."""
    turn = torch.tensor([-1.0, 1.0, 1.0])
    return data._replace(observation=data.observation.flip(-2), action=data.action * turn)
