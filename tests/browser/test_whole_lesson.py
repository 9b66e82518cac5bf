"""A whole lesson in the browser, as a learner meets it: unsolved and solved, light and dark."""

import json
import re

import pytest

from utils.course.exercise import ROOT, load

pytestmark = pytest.mark.browser
NAME = "1.1_dyna_q.ipynb"


@pytest.mark.parametrize(
    ("folder", "status", "theme"), [("notebooks", "TODO", "Light"), ("solutions", "PASS", "Dark")]
)
def test_a_lesson_runs_to_its_end(notebook, shots, folder, status, theme):
    from playwright.sync_api import expect

    page = notebook(ROOT / folder / NAME, theme=theme, seconds=180)
    shots(page, f"{folder}_{theme}")

    assert verdicts(page) == [[status, exercise.id] for exercise in load("1.1")]
    read(page, expect)
    play(page, expect)
    shots(page.locator(".wm-play"), f"{folder}_{theme}_player")


@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_a_solved_lesson_is_read_without_running(notebook, shots, theme):
    """As on a page of a repository: what the file has stored is all there is."""
    from playwright.sync_api import expect

    page = notebook(ROOT / "solutions" / NAME, theme=theme, run=False)
    assert verdicts(page) == [["PASS", exercise.id] for exercise in load("1.1")]
    read(page, expect)
    expect(page.get_by_text("Run this cell to play")).to_be_attached()
    shots(page, f"stored_{theme}")


def verdicts(page):
    """What the checks say, in the order of the page."""
    said = page.locator(".jp-OutputArea-output").all_inner_texts()
    lines = [line.split()[:2] for text in said for line in text.splitlines()]
    return [line for line in lines if line and line[0] in ("PASS", "FAIL", "TODO")]


def read(page, expect):
    """Figures are there, and the text is what its source means."""
    stored = json.loads((ROOT / "solutions" / NAME).read_text())
    outputs = [o for c in stored["cells"] for o in c.get("outputs", [])]
    figures = page.locator(".jp-OutputArea-output img")
    expect(figures).to_have_count(sum("image/png" in o.get("data", {}) for o in outputs))
    widths = figures.evaluate_all("all => all.map(i => i.complete ? i.naturalWidth : 0)")
    assert min(widths) > 250

    prose = page.locator(".jp-RenderedMarkdown")
    assert prose.locator("mjx-container").count() > 20
    assert prose.locator("mjx-merror").count() == 0
    texts = [c["source"] for c in stored["cells"] if c["cell_type"] == "markdown"]
    texts += [o["data"]["text/markdown"] for o in outputs if "text/markdown" in o.get("data", {})]
    rules = re.findall(r"^\|(?: ?-+:? ?\|)+$", "\n".join(map("".join, texts)), re.M)
    assert prose.locator("table").count() == len(rules) > 0
    left_over = re.findall(r".{20}(?:\$|\*\*|\|-|\\[a-z]).{20}", " ".join(prose.all_inner_texts()))
    assert left_over == []


def play(page, expect):
    """The player at the end: two pictures side by side that keys and buttons move."""
    player = page.locator(".wm-play")
    canvas, said = player.locator("canvas"), player.locator(".wm-info")
    seen = "c => c.toDataURL()"
    expect(said).to_have_text("both at the start")
    pictures = [canvas.evaluate(seen)]
    canvas.click()
    for press in ("ArrowDown", "ArrowDown", "right", "up"):
        frames = int(player.get_attribute("data-frames"))
        if press.startswith("Arrow"):
            page.keyboard.press(press)
        else:
            player.get_by_role("button", name=press).click()
        expect(player).to_have_attribute("data-frames", str(frames + 1))
        pictures.append(canvas.evaluate(seen))
    assert len(set(pictures)) == 5
    expect(said).to_contain_text("the model")
    page.keyboard.press("r")
    expect(said).to_have_text("both at the start")
    assert canvas.evaluate(seen) == pictures[0]
