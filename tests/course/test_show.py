import io
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import Image

from utils.course import show


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def kernel():
    """`kernel(code)` runs code in a learner's kernel and gives the messages a front end gets."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3")

    def run(code):
        messages = []
        client.execute_interactive(code, output_hook=messages.append, timeout=60)
        kinds = [m["msg_type"] for m in messages]
        assert "error" not in kinds, messages[kinds.index("error")]["content"]["traceback"]
        return [m for m in messages if m["msg_type"] not in ("status", "execute_input")]

    run(f"import os, sys; sys.path.insert(0, {str(show.__file__).rsplit('/utils/', 1)[0]!r})")
    run("os.environ.pop('PYTEST_VERSION', None); os.environ.pop('WM_QUIET', None)")
    run("from utils.course.show import *; style()")
    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


LOOP = """
import time
with LivePlot("step", loss=["kl"]) as plot:
    for i in progress(range(20), "train"):
        plot.add(i, kl=1 / (1 + i))
        time.sleep(0.08)
"""


def test_bar_and_plot_move_in_a_notebook(kernel):
    messages = kernel(LOOP)
    kinds = {m["msg_type"] for m in messages}
    assert kinds == {"display_data", "update_display_data"}, kinds  # no stream: nothing on stderr
    new = [m["content"]["data"] for m in messages if m["msg_type"] == "display_data"]
    assert sorted("image/png" in data for data in new) == [False, True]  # one bar, one picture
    bar = [m["content"]["data"] for m in messages if "image/png" not in m["content"]["data"]]
    assert "20/20" in bar[-1]["text/plain"]
    assert "█" in bar[-1]["text/plain"]
    ids = {m["content"]["transient"]["display_id"] for m in messages}
    assert len(ids) == 2
    pictures = [m for m in messages if "image/png" in m["content"]["data"]]
    assert 2 <= len(pictures) <= 4  # about one a second, and the end


@pytest.mark.parametrize("name", ["WM_QUIET", "PYTEST_VERSION"])
def test_built_or_graded_only_the_end_is_drawn(kernel, name):
    kernel(f"os.environ[{name!r}] = '1'")
    try:
        messages = kernel(LOOP)
    finally:
        kernel(f"del os.environ[{name!r}]")
    assert [m["msg_type"] for m in messages] == ["display_data"]
    assert "image/png" in messages[0]["content"]["data"]


def test_an_interrupted_plot_keeps_what_was_reached(kernel):
    messages = kernel("""
try:
    with LivePlot() as plot:
        plot.add(0, loss=1.0)
        raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
""")
    assert [m["msg_type"] for m in messages] == ["display_data"]


def test_diagram_is_shown_once(kernel):
    messages = kernel("diagram({'a': (0, 0), 'b': (1, 0)}, [('a', 'b', 'acts')])")
    shown = [m["content"]["data"] for m in messages]
    assert len(shown) == 1
    assert "image/png" in shown[0]


def test_terminal(capsys, monkeypatch):
    monkeypatch.delenv("PYTEST_VERSION", raising=False)
    monkeypatch.delenv("WM_QUIET", raising=False)
    assert list(show.progress(range(3), "train")) == [0, 1, 2]
    with show.LivePlot("episode") as plot:
        plot.add(1, steps=torch.tensor([2.0, 4.0], requires_grad=True))
    assert capsys.readouterr() == ("steps 3 at episode 1\n", "")


def test_bar_shows_in_a_terminal_only_where_someone_watches(monkeypatch):
    monkeypatch.delenv("PYTEST_VERSION", raising=False)
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stdout", terminal)
    list(show.progress(iter(range(3)), "train", total=3))
    assert "train: 100%" in terminal.getvalue()
    monkeypatch.setenv("WM_QUIET", "1")
    todo = range(3)
    assert show.progress(todo, "train") is todo


def test_plot_keeps_the_value_and_not_the_tensor():
    loss = torch.ones(())
    plot = show.LivePlot()
    plot.add(0, loss=loss)
    loss += 1  # a running sum, changed in place
    plot.add(1, loss=loss)
    (line,) = plot.figure().axes[0].lines
    assert line.get_ydata().tolist() == [1, 2]


def test_plot_panels():
    plot = show.LivePlot("step", log=["loss"], loss=["kl", "image"], score=["return"])
    plot.band("return", [0, 1], np.ones((5, 2)))
    plot.add(0, kl=1.0, image=2.0)
    loss, score = plot.figure().axes
    assert [line.get_label() for line in loss.lines] == ["kl", "image"]
    assert (loss.get_yscale(), score.get_yscale()) == ("log", "linear")
    assert score.lines[0].get_label() == "evidence"
    with pytest.raises(KeyError, match="no panel shows 'klx'"):
        plot.add(0, klx=1.0)


def test_band_is_the_interval_of_the_mean():
    values = np.random.default_rng(1).normal(3, 1, (400, 2))
    _, ax = plt.subplots()
    show.band(ax, [0, 1], values)
    low, high = (f(ax.collections[0].get_paths()[0].vertices[:, 1]) for f in (np.min, np.max))
    # 1.645 standard errors on each side of the mean
    assert low == pytest.approx(values.mean(0).min() - 1.645 / 20, abs=0.02)
    assert high == pytest.approx(values.mean(0).max() + 1.645 / 20, abs=0.02)
    show.band(ax, [0, 1], values[:1])
    assert len(ax.collections) == 1  # one seed has no band


def test_figures_are_opaque_and_light():
    with plt.rc_context():
        show.style()
        figure, ax = plt.subplots()
        ax.plot([0, 1])
        figure.savefig(png := io.BytesIO())
    pixels = np.asarray(Image.open(png).convert("RGBA"))
    assert (pixels[..., 3] == 255).all()
    assert pixels[0, 0, :3].min() > 240
    assert len(png.getvalue()) < 40_000


def test_colours_differ_for_the_colour_blind():
    """Seen with no green cones (Machado 2009, deuteranopia 1.0) and in grey, each pair differs."""
    matrix = [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    seen = np.array([show.to_rgb(c) for c in show.COLOURS]) @ np.array(matrix).T
    pairs = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[np.triu_indices(len(seen), 1)]
    assert pairs.min() > 0.1


def test_diagram_boxes_hold_their_text():
    show.diagram(
        {"world": (0, 0), "agent": (1, 0, "agent\nπ(a | s), a long line", show.BLUE)},
        [("world", "agent", "reward", 0.3), ("agent", "world", "action", 0.3), ("world", "agent")],
    )
    figure = plt.gcf()
    figure.canvas.draw()
    words = {t.get_text(): t.get_window_extent() for t in figure.axes[0].texts}
    boxes = [p for p in figure.axes[0].patches if hasattr(p, "get_boxstyle")]
    for text, box in zip(["world", "agent\nπ(a | s), a long line"], boxes, strict=True):
        inside, outside = words[text], box.get_window_extent()
        assert outside.x0 < inside.x0 < inside.x1 < outside.x1
        assert outside.y0 < inside.y0 < inside.y1 < outside.y1
    assert not words["reward"].overlaps(words["action"])
    frame = figure.bbox
    assert all(frame.x0 <= w.x0 and w.x1 <= frame.x1 for w in words.values())


@pytest.mark.parametrize("layout", ["HW", "HWC", "CHW"])
def test_film_strip_shows_the_frames_asked_for(layout):
    frames = np.zeros((20, 8, 8), np.uint8) + np.arange(20, dtype=np.uint8)[:, None, None] * 10
    truth = {
        "HW": frames,
        "HWC": np.stack([frames] * 3, -1),
        "CHW": torch.tensor(np.stack([frames] * 3, 1)),
    }[layout]
    show.film_strip({"truth": truth, "dream": frames / 255.0}, times=[1, 5, 15], start=5)
    ax = plt.gca()
    image = ax.get_images()[0].get_array()
    assert image.shape == (8 + 1 + 8, 3 * 8 + 2, 3)
    for column, t in enumerate([1, 5, 15]):
        for row in (0, 9):
            assert np.allclose(image[row : row + 8, column * 9 : column * 9 + 8], t * 10 / 255)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["truth", "dream"]
    assert ax.lines[0].get_xdata()[0] == 8  # between the given frame and the first dreamt one
