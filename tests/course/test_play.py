import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from utils.course import play as module
from utils.course.play import Player, play

ARROWS = {"ArrowLeft": "left", "ArrowRight": "right"}


@pytest.fixture
def walk():
    """A row of four pixels to walk on; remembers the actions it was given."""

    def step(action):
        step.actions.append(action)
        step.at += {"left": -1, "right": 1}.get(action, 0)
        frame = np.zeros((1, 4, 3), np.uint8)
        frame[0, step.at] = 255  # beyond the edge it fails
        return frame, f"at {step.at}"

    step.actions, step.at = [], 1
    return step


@pytest.fixture
def learner(monkeypatch):
    monkeypatch.setattr(module, "in_notebook", lambda: True)
    monkeypatch.setattr(module, "quiet", lambda: False)


def pixels(png):
    return np.asarray(Image.open(io.BytesIO(png)))


def test_keys_become_actions(walk):
    player = Player(walk, ARROWS, idle="wait")
    answers = [player.press(key) for key in ("ArrowRight", None, "x", "ArrowLeft")]
    assert walk.actions == ["wait", "right", "wait", "wait", "left"]
    assert [a["text"] for a in answers] == ["at 2", "at 2", "at 2", "at 1"]
    assert pixels(base64.b64decode(answers[0]["png"]))[0, :, 0].tolist() == [0, 0, 255, 0]
    json.dumps(answers)  # as a message carries it


def test_an_error_is_said_and_stops(walk):
    player = Player(walk, ARROWS)
    for _ in range(2):
        player.press("ArrowRight")
    said = player.press("ArrowRight")["error"]
    assert "IndexError: index 4 is out of bounds" in said
    assert "(step, line" in said
    assert "frame[0, step.at] = 255" in said
    seen = len(walk.actions)
    assert player.press("ArrowLeft") == {"error": said}
    assert len(walk.actions) == seen
    assert isinstance(player.error, IndexError)


def test_an_interrupt_is_answered(walk):
    player = Player(walk, ARROWS)
    player.step = lambda action: (_ for _ in ()).throw(KeyboardInterrupt)
    assert "KeyboardInterrupt" in player.press(None)["error"]


@pytest.mark.parametrize(
    "frame", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((3, 4, 4), np.uint8)]
)
def test_a_frame_of_another_kind_fails_in_the_cell(frame):
    with pytest.raises(TypeError, match=r"uint8 frame \[H, W, 3\]"):
        Player(lambda action: (frame, ""), ARROWS)


def test_widget_answers_its_views(learner, walk, monkeypatch):
    widget = play(walk, ARROWS, paced=False, text="Walk.")
    sent = []
    monkeypatch.setattr(widget, "send", sent.append)
    widget._answer(widget, {"view": "a", "open": True}, [])
    widget._answer(widget, {"view": "b", "key": "ArrowRight"}, [])
    assert walk.actions == [None, "right"]  # opening a view is no step
    assert [(m["view"], m["text"]) for m in sent] == [("a", "at 1"), ("b", "at 2")]
    state = widget.get_state()
    assert state["buttons"] == [["ArrowLeft", "←"], ["ArrowRight", "→"]]
    assert (state["paced"], state["scale"], state["text"]) == (False, 80, "Walk.")
    # What a notebook may store: no frame.
    assert all(name.startswith("_") or len(str(value)) < 500 for name, value in state.items())


@pytest.mark.parametrize("missing", [False, True])
def test_core_widgets(learner, walk, monkeypatch, missing):
    if missing:
        module._play.cache_clear()
        monkeypatch.setitem(__import__("sys").modules, "anywidget", None)
    box = play(walk, ARROWS, scale=2, plain=not missing)
    image, row, label = box.children
    assert [b.description for b in row.children] == ["wait", "←", "→"]
    assert pixels(image.value).shape == (2, 8, 3)
    row.children[2].click()
    assert label.value == "at 2"
    assert pixels(image.value)[0, :, 0].tolist() == [0, 0, 0, 0, 255, 255, 0, 0]
    for _ in range(2):
        row.children[2].click()
    assert "Stopped. IndexError" in label.value
    assert all(b.disabled for b in row.children)


def test_one_sentence_where_nobody_can_play(walk, capsys, monkeypatch):
    assert play(walk, ARROWS) is None
    assert "needs a notebook" in capsys.readouterr().out
    monkeypatch.setattr(module, "in_notebook", lambda: True)  # built or graded
    assert play(walk, ARROWS) is None
    assert capsys.readouterr().out.startswith("Run this cell to play")
    assert walk.actions == [None]  # but the step itself was tried
    monkeypatch.setattr(module, "quiet", lambda: False)
    module._play.cache_clear()
    for name in ("anywidget", "ipywidgets"):
        monkeypatch.setitem(__import__("sys").modules, name, None)
    assert play(walk, ARROWS) is None
    assert "pip install anywidget" in capsys.readouterr().out
