"""The player, the bar and the live plot as a learner meets them."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.browser

MAZE = """
import numpy as np
from utils.course.play import play
walls = np.zeros((9, 9), bool)
walls[[0, -1]] = walls[:, [0, -1]] = True
walls[2:6, 4] = True
cell, steps = [4, 2], 0
def step(move):
    global cell, steps
    if move is not None:
        steps += 1
        new = [cell[0] + move[0], cell[1] + move[1]]
        cell = cell if walls[tuple(new)] else new
    frame = np.where(walls[..., None], np.uint8([60, 60, 60]), np.uint8([240, 240, 235]))
    frame[7, 7], frame[tuple(cell)] = (0, 158, 115), (213, 94, 0)
    return frame.astype(np.uint8), f"cell {cell[0]},{cell[1]} after {steps} steps"
moves = {"ArrowLeft": (0, -1), "ArrowUp": (-1, 0), "ArrowRight": (0, 1), "ArrowDown": (1, 0)}
play(step, moves, paced=False, text="Walk to the green cell.")
"""
PIXELS = """
import numpy as np
from utils.course.play import play
x, t, yy, xx = 32.0, 0, *np.mgrid[:64, :64]
def pixels(action):
    global x, t
    x, t = (x + {1: -2, 3: 2}.get(action, 0)) % 64, t + 1
    frame = np.stack([yy * 2, xx * 2, (xx + yy + t) % 64 * 2], -1).astype(np.uint8)
    frame[(yy - 40) ** 2 + (xx - x) ** 2 < 30] = 255
    return frame, f"t {t} action {action}"
arrows = {"ArrowLeft": 1, "ArrowUp": 2, "ArrowRight": 3, "ArrowDown": 4, " ": 5}
play(pixels, arrows, idle=0)
"""
SHOWN = """
import time
from utils.course.show import LivePlot, progress, style, diagram
style()
with LivePlot("step", loss=["kl", "image"], score=["return"]) as plot:
    plot.band("return", np.arange(30), np.arange(30) / 10 + np.random.randn(20, 30))
    for i in progress(range(30), "train"):
        time.sleep(0.1)
        plot.add(i, kl=1 / (i + 1), image=2 / (i + 1), **{"return": i / 10})
"""
# Milliseconds from a key to the first picture that this key made.
LATENCY = """([selector, key, seen]) => new Promise(done => {
    const box = document.querySelector(selector), info = box.querySelector('.wm-info');
    const start = performance.now();
    new MutationObserver((_, observer) => {
        if (info.textContent.includes(seen)) {
            observer.disconnect(); done(performance.now() - start);
        }
    }).observe(info, {childList: true, characterData: true, subtree: true});
    box.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true}));
    setTimeout(() => box.dispatchEvent(new KeyboardEvent('keyup', {key, bubbles: true})), 30);
})"""


@pytest.fixture
def load():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield
    busy.kill()
    busy.wait()


def cell_of(page):
    return page.evaluate("window.jupyterapp.shell.currentWidget.content.activeCellIndex")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_a_learner_plays(notebook, shot, theme):
    from playwright.sync_api import expect

    page = notebook([MAZE, PIXELS, SHOWN, "'LAST CELL', 6 * 7"], theme=theme)
    expect(page.get_by_text("('LAST CELL', 42)")).to_be_attached()
    maze, pixels = page.locator(".wm-play").nth(0), page.locator(".wm-play").nth(1)

    # A world that waits: nothing moves by itself, a press is a step, arrows stay in the box.
    expect(maze).to_contain_text("cell 4,2 after 0 steps")
    maze.locator("canvas").click()
    page.wait_for_timeout(300)
    expect(maze).to_contain_text("after 0 steps")
    active = cell_of(page)
    page.keyboard.press("ArrowRight")
    expect(maze).to_contain_text("cell 4,3 after 1 steps")
    page.keyboard.press("ArrowRight")  # the wall
    expect(maze).to_contain_text("cell 4,3 after 2 steps")
    page.keyboard.press("ArrowDown")
    expect(maze).to_contain_text("cell 5,3 after 3 steps")
    assert cell_of(page) == active, "JupyterLab took the key"
    up = maze.get_by_role("button", name="up")
    expect(up).to_have_text("↑")
    up.click()
    expect(maze).to_contain_text("cell 4,3 after 4 steps")
    page.keyboard.down("ArrowUp")
    expect(maze).to_contain_text("cell 1,3")
    page.keyboard.up("ArrowUp")
    page.wait_for_timeout(300)
    settled = maze.inner_text()
    page.wait_for_timeout(300)
    assert maze.inner_text() == settled
    shot(page, f"maze_{theme}")

    # A world that goes on: paused until clicked, then it runs, keys and held buttons act.
    expect(pixels).to_contain_text("t 1 action 0")
    expect(pixels).to_contain_text("paused")
    before = pixels.locator("canvas").evaluate("c => c.toDataURL()")
    pixels.locator("canvas").click()
    expect(pixels).to_contain_text("fps")
    assert pixels.locator("canvas").evaluate("c => c.toDataURL()") != before
    page.keyboard.down("ArrowRight")
    expect(pixels).to_contain_text("action 3")
    shot(page, f"pixels_{theme}")
    page.keyboard.up("ArrowRight")
    expect(pixels).to_contain_text("action 0")
    left = pixels.get_by_role("button", name="left")
    left.hover()
    page.mouse.down()
    expect(pixels).to_contain_text("action 1")
    page.mouse.move(5, 5)  # a finger that slips off is still a finger that is lifted
    page.mouse.up()
    expect(pixels).to_contain_text("action 0")
    page.evaluate("document.activeElement.blur()")
    expect(pixels).to_contain_text("paused")

    # The bar has become text, the plot one picture.
    outputs = page.locator(".jp-CodeCell").nth(2).locator(".jp-OutputArea-output")
    expect(outputs.filter(has_text="100%")).to_have_count(1)
    expect(page.locator(".jp-CodeCell").nth(2).locator("img")).to_have_count(1)
    outputs.last.scroll_into_view_if_needed()
    shot(page, f"show_{theme}")

    # Nothing that was played is in the file.
    size = page.evaluate(
        "JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"
        ".slice(0, 2)).length"
    )
    assert size < 6000


def test_pace_under_load(notebook, load, capsys):
    page = notebook([MAZE, PIXELS])
    page.locator(".wm-play").nth(1).locator("canvas").click()
    page.wait_for_timeout(1000)
    count = "Number(document.querySelectorAll('.wm-play')[1].dataset.frames)"
    start = page.evaluate(f"[performance.now(), {count}]")
    page.wait_for_timeout(5000)
    end = page.evaluate(f"[performance.now(), {count}]")
    fps = 1000 * (end[1] - start[1]) / (end[0] - start[0])
    page.evaluate("document.querySelectorAll('.wm-play')[1].id = 'pixels'")
    page.evaluate("document.querySelectorAll('.wm-play')[0].id = 'maze'")
    keys = ["ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown"]
    delays = []
    for i in range(12):
        page.wait_for_timeout(250)
        asked = ["#pixels", keys[i % 4], f"action {i % 4 + 1}"]
        delays.append(page.evaluate(LATENCY, asked))
    page.locator("#maze canvas").click()
    steps = []
    for i in range(12):
        page.wait_for_timeout(250)
        steps.append(page.evaluate(LATENCY, ["#maze", keys[i % 4], f"after {i + 1} steps"]))
    # Other cells run while the pixels move.
    page.locator("#pixels canvas").click()
    page.evaluate(
        "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({code: 'assert sum(range(10)) == 45'}).done.then(m => m.content.status)"
    )
    with capsys.disabled():
        for name, ms in (("paced", delays), ("waiting", steps)):
            print(
                f"\n{name}: key to picture {sorted(ms)[6]:.0f} ms, worst {max(ms):.0f} ms", end=""
            )
        print(f"\npaced under load: {fps:.1f} frames a second")
    assert fps >= 15
    assert sorted(delays)[6] < 300
    assert sorted(steps)[6] < 300


def test_an_error_is_a_sentence(notebook, shot):
    from playwright.sync_api import expect

    broken = PIXELS.replace(
        "    return frame", "    if t > 3: raise ValueError('no such state')\n    return frame"
    )
    page = notebook([broken])
    box = page.locator(".wm-play")
    box.locator("canvas").click()
    expect(box.locator(".wm-error")).to_contain_text("ValueError: no such state (pixels, line 9")
    expect(box.get_by_role("button", name="left")).to_be_disabled()
    frames = box.get_attribute("data-frames")
    page.wait_for_timeout(300)
    assert box.get_attribute("data-frames") == frames
    shot(page, "error")


def test_core_widgets_alone(notebook, shot):
    from playwright.sync_api import expect

    page = notebook([MAZE.replace("paced=False", "paced=False, plain=True")])
    output = page.locator(".jp-OutputArea")
    expect(output).to_contain_text("after 0 steps")
    before = output.locator("img").get_attribute("src")
    output.get_by_role("button", name="→").click()
    expect(output).to_contain_text("cell 4,3 after 1 steps")
    # The words and the picture are two messages: the picture may come a little later.
    expect(output.locator("img")).not_to_have_attribute("src", before)
    shot(page, "plain")
