"""The dream of CarRacing, driven in a browser: keys and buttons turn and move the world."""

import numpy as np
import pytest

from tests.browser.test_player import load  # noqa: F401 - a fixture

pytestmark = pytest.mark.browser

DRIVE = """
import torch
from utils.course import store
from utils.course.exercise import ROOT
from utils.course.play import play
from utils.data import car_racing
from utils.evaluate.ladder import filtered
from utils.evaluate.playing import DreamGame
from utils.world import Step, to_numpy
from utils.worlds.vmc import VMC, ConvVAE, VMCConfig

made = store.load(ROOT / "assets/2.1_car_racing.safetensors")
world = VMC(ConvVAE(**made["vision"]), car_racing.ACTIONS, VMCConfig(**made["memory"]))
world.load_state_dict(made["weights"])
world.temperature = 0.3
drive = Step(*(rows[None] for rows in car_racing.drive(5, 1)))  # the car stands at the start
starts = filtered(world, drive, 1)
"""
PLAY = """
game = DreamGame(world, starts, lambda frames: to_numpy(world.spec.observation_space, frames))
play(game.step, car_racing.KEYS, idle=(0.0, 0.0, 0.0), fps=20, scale=6)
"""
PIXELS = """c => [...c.getContext('2d').getImageData(0, 0, 64, 64).data]"""


def frame(box):
    """What the canvas shows, [64, 64, 3]."""
    return np.array(box.locator("canvas").evaluate(PIXELS)).reshape(64, 64, 4)[..., :3]


def change(page, box, milliseconds=600):
    """Mean difference of two pictures so far apart, of 255."""
    before = frame(box).astype(float)
    page.wait_for_timeout(milliseconds)
    return np.abs(frame(box) - before).mean()


def pace(page, box, seconds=5):
    """Frames a second."""
    count = "b => [performance.now(), Number(b.dataset.frames)]"
    start = box.evaluate(count)
    page.wait_for_timeout(1000 * seconds)
    end = box.evaluate(count)
    return 1000 * (end[1] - start[1]) / (end[0] - start[0])


def test_keys_and_buttons_drive_the_dream(notebook, shot, capsys):
    from playwright.sync_api import expect

    page = notebook([DRIVE, PLAY, PLAY])
    changes = {}
    for i, side in enumerate(("left", "right")):
        box = page.locator(".wm-play").nth(i)
        expect(box).to_contain_text("paused")
        box.locator("canvas").click()
        page.wait_for_timeout(500)
        changes["standing"] = still = change(page, box)
        page.keyboard.down("ArrowUp")
        page.wait_for_timeout(1000)
        page.keyboard.up("ArrowUp")
        button = box.get_by_role("button", name=side)
        if side == "left":
            button.hover()
            page.mouse.down()
        else:
            page.keyboard.down("ArrowRight")
        expect(button).to_have_class("wm-held")
        changes[side] = change(page, box)
        shot(page, f"dream_{side}")
        page.mouse.up()
        page.keyboard.up("ArrowRight")
        assert changes[side] > 3 * still
    fps = pace(page, box)
    with capsys.disabled():
        said = ", ".join(f"{name} {value:.1f}" for name, value in changes.items())
        print(f"\ndream: {fps:.1f} frames a second; change: {said}")
    assert fps >= 15


def test_the_pace_holds_under_load(notebook, load, capsys):  # noqa: F811
    page = notebook([DRIVE, PLAY])
    box = page.locator(".wm-play")
    box.locator("canvas").click()
    page.keyboard.down("ArrowUp")
    page.wait_for_timeout(500)
    fps = pace(page, box)
    with capsys.disabled():
        print(f"\ndream under load: {fps:.1f} frames a second")
    assert fps >= 15
