"""Play inside any world, real or learned: one picture, keys and buttons, in any notebook.

The kernel's part is one function, `step(action) -> (frame, text)`. The browser asks for each frame
and keeps at most two requests on the way (play.js): no cell runs meanwhile, nothing queues up, and
a slow world or a slow link costs frames per second and nothing else.

JupyterLab from 4.4 with ipykernel 7 answers widgets in a thread of their own, so a step may run
beside a running cell: give it its own generator, and its own `no_grad`, which is one per thread.
"""

import base64
import io
import traceback
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from utils.course.show import in_notebook, quiet

SIGNS = {"ArrowLeft": "←", "ArrowUp": "↑", "ArrowRight": "→", "ArrowDown": "↓", " ": "space"}


class Player:
    """A world with a memory of its last answer; knows nothing of widgets.

    Args:
        step: action -> (frame, text); frame uint8 [H, W, 3], text one short line.
        keys: the browser's name of a key ("ArrowLeft", "a", " ") -> action, of any type.
        idle: the action while no key is held.
    """

    def __init__(self, step, keys: dict, idle=None):
        self.step, self.keys, self.idle, self.error = step, keys, idle, None
        self.answer = self._step(
            idle
        )  # a step that cannot work fails in the cell, where it is seen

    def press(self, key: str | None) -> dict:
        """One step; an error in it becomes the answer from then on, for the reader to see."""
        if self.error is None:
            try:
                self.answer = self._step(self.keys.get(key, self.idle))
            except (
                BaseException
            ) as error:  # an interrupt as well: unanswered, the browser would wait
                self.error = error
                self.answer = {"error": self._sentence(error)}
        return self.answer

    def _step(self, action) -> dict:
        frame, text = self.step(action)
        frame = np.asarray(frame)
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            what = f"{frame.dtype} {list(frame.shape)}"
            raise TypeError(f"step must return a uint8 frame [H, W, 3], not {what}")
        png = io.BytesIO()
        Image.fromarray(frame).save(png, "PNG", compress_level=1)
        # Text, not a binary buffer: the one form that every front end is known to pass on.
        return {"png": base64.b64encode(png.getvalue()).decode(), "text": str(text)}

    def _sentence(self, error: BaseException) -> str:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        # The first two frames are press and _step; the third is where the reader can look.
        for frame in traceback.extract_tb(error.__traceback__)[2:3]:
            what += f" ({frame.name}, line {frame.lineno}: {frame.line})"
        return f"Stopped. {what}. Mend it and run the cell again."


def play(step, keys: dict, *, idle=None, paced=True, fps=20, scale=None, text="", plain=False):
    """A player for `step(action) -> (frame, text)`, to stand on a cell's last line.

    Args:
        step: see Player. It is called once at once, with `idle`, for the first picture.
        keys: key -> action; each gets a button as well, because Colab passes no keys on.
        idle: the action while no key is held.
        paced: True, a world that goes on by itself, `fps` steps a second while the player has the
            focus; False, a world that waits: one step for each press, repeated while it is held.
        scale: screen pixels per pixel, by default such that the picture is about 320 wide.
        text: a line above the picture.
        plain: core ipywidgets only, one step a click; used by itself where anywidget is missing.
    """
    if not in_notebook():
        print("The player needs a notebook: open this lesson in JupyterLab, VS Code or Colab.")
        return None
    player = Player(step, keys, idle)
    if quiet():  # a stored widget is an empty box: a sentence is better
        print("Run this cell to play: the player is live and is not stored in the notebook.")
        return None
    with Image.open(io.BytesIO(base64.b64decode(player.answer["png"]))) as image:
        scale = scale or max(1, round(320 / max(image.size)))
    buttons = [[key, SIGNS.get(key, key)] for key in keys]
    try:
        if plain:
            raise ImportError
        return _play()(player, buttons=buttons, paced=paced, fps=fps, scale=scale, text=text)
    except ImportError:
        pass
    try:
        return _clicks(player, ([[None, "wait"]] if paced else []) + buttons, scale, text)
    except ImportError:
        print("The player needs ipywidgets and anywidget: pip install anywidget, then run again.")
        return None


@cache
def _play():
    """The anywidget, made when it is first needed: a lesson runs without anywidget too."""
    import anywidget
    import traitlets

    class Play(anywidget.AnyWidget):
        _esm = Path(__file__).with_name("play.js").read_text("utf-8")
        buttons = traitlets.List().tag(sync=True)  # not "keys": ipywidgets keeps that name
        paced = traitlets.Bool().tag(sync=True)
        fps = traitlets.Float().tag(sync=True)
        scale = traitlets.Int().tag(sync=True)
        text = traitlets.Unicode().tag(sync=True)

        def __init__(self, player: Player, **traits):
            super().__init__(**traits)
            self.player = player
            self.on_msg(self._answer)

        def _answer(self, _, asked: dict, __) -> None:
            # A view that has just opened wants to see where we are; any other asks for a step.
            new = asked.get("open")
            answer = self.player.answer if new else self.player.press(asked.get("key"))
            self.send({**answer, "view": asked.get("view")})

        def __repr__(self) -> str:
            return "A player: run this cell to play."  # shown where the widget cannot be

    return Play


def _clicks(player: Player, buttons: list, scale: int, text: str):
    """The same from core ipywidgets: one step and one picture a click."""
    import ipywidgets

    image, label = ipywidgets.Image(format="png"), ipywidgets.Label()
    column = {"align_items": "flex-start"}  # or the picture is stretched to the page
    row = [ipywidgets.Button(description=sign, layout={"width": "auto"}) for _, sign in buttons]

    def show(answer: dict) -> None:
        label.value = answer.get("error", answer.get("text"))
        if "png" in answer:
            small = np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["png"]))))
            png = io.BytesIO()  # enlarged here, since this widget would blur the pixels
            Image.fromarray(small.repeat(scale, 0).repeat(scale, 1)).save(png, "PNG")
            image.value = png.getvalue()
        for button in row:
            button.disabled = "error" in answer

    for button, (key, _) in zip(row, buttons, strict=True):
        button.on_click(lambda _, key=key: show(player.press(key)))
    show(player.answer)
    above = [ipywidgets.Label(text)] if text else []
    return ipywidgets.VBox([*above, image, ipywidgets.HBox(row), label], layout=column)
