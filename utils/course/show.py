"""What a lesson shows: progress bar, live plot, bands, diagrams and film strips, in one style."""

import io
import os
import sys
import time
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.textpath import TextPath
from tqdm.std import tqdm

# Okabe & Ito's colours, told apart by colour-blind readers; not their yellow, lost on light paper.
# The paper is opaque: a transparent figure on a dark page is dark on dark.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, GREY, INK, PAPER = "#E69F00", "#56B4E9", "#8A8A8A", "#222222", "#FCFCFA"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, INK)
PAPERS = ("figure.facecolor", "savefig.facecolor", "axes.facecolor", "legend.facecolor")
INKS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
STYLE = dict.fromkeys(PAPERS, PAPER) | dict.fromkeys(INKS, INK)
STYLE |= {"figure.figsize": (7, 3), "figure.dpi": 110, "savefig.dpi": 110}  # a notebook's column
STYLE |= {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 10.5,
}  # the same anywhere
STYLE |= {"legend.fontsize": 9, "legend.edgecolor": "none", "legend.framealpha": 0.85}
STYLE |= {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}
STYLE |= {"axes.grid": True, "axes.axisbelow": True, "grid.color": "#DDDDD8", "grid.linewidth": 0.6}
STYLE |= {"axes.prop_cycle": plt.cycler(color=COLOURS), "lines.linewidth": 1.6}
STYLE |= {"image.cmap": "viridis", "image.interpolation": "nearest"}


def style() -> None:
    """Makes every figure that follows look like the course's own."""
    plt.rcParams.update(STYLE)


def quiet() -> bool:
    """True while a notebook is built or graded: nothing moves, only the end is drawn."""
    return os.environ.get("WM_QUIET") == "1" or "PYTEST_VERSION" in os.environ  # nbval is pytest


def in_notebook() -> bool:
    """True if a front end listens: JupyterLab, Colab, VS Code, papermill, nbval."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return hasattr(shell, "kernel")


class _NotebookBar(tqdm):
    """tqdm's text bar as an output that is updated.

    tqdm's own notebook bar is a widget: without ipywidgets it warns and writes to stderr, and in a
    saved notebook that is opened again it says "model not found". Text stays.
    """

    monitor_interval = 0  # no thread: its output could land below another cell

    @staticmethod
    def status_printer(file):
        from IPython.display import display

        handle = display({"text/plain": ""}, raw=True, display_id=True)
        return lambda text: handle.update({"text/plain": text}, raw=True)


def progress(iterable, label: str = "", total: int | None = None):
    """Walks through `iterable` with a bar where someone watches, and with nothing elsewhere."""
    if quiet():
        return iterable
    if in_notebook():  # the line ends that tqdm writes beside its bar go nowhere
        options = {"file": io.StringIO(), "ncols": 80, "ascii": False, "mininterval": 0.25}
        return _NotebookBar(iterable, desc=label or None, total=total, **options)
    return tqdm(iterable, label or None, total, file=sys.stdout, disable=None)  # off in a log file


class LivePlot:
    """A figure that is redrawn about once a second while a loop runs.

        with LivePlot("step", loss=["kl", "reward"], score=["return"]) as plot:
            for step in progress(range(1000), "train"):
                plot.add(step, kl=kl, reward=reward)

    Keywords name the panels and the series in each; without any, one panel shows every series. A
    value is a number, a tensor (read when it is drawn: no training step waits for the device), or
    one value per seed, drawn as mean and band. Built or graded, only the end is drawn; in a
    terminal it is one line of text per series.
    """

    def __init__(self, x: str = "step", *, log=(), **panels):
        self.x, self.log, self.panels = x, log, panels
        self.points, self.bands, self.handle = {}, [], None
        self.next_draw = time.monotonic() + 0.5 if in_notebook() and not quiet() else float("inf")

    def band(self, series: str, x, values, label: str = "evidence") -> None:
        """Draws stored seeds, `values[seeds, points]`, behind `series`."""
        self.bands.append((self._panel(series), x, values, label))

    def add(self, x: float, **series) -> None:
        for name, value in series.items():
            self.points.setdefault(name, (self._panel(name), [], []))
            self.points[name][1].append(x)
            self.points[name][2].append(
                value.detach().clone() if hasattr(value, "detach") else value
            )
        if (now := time.monotonic()) >= self.next_draw:
            self._display()
            # A plot may cost a twentieth of the time, however many points it has.
            self.next_draw = time.monotonic() + max(1.0, 20 * (time.monotonic() - now))

    def figure(self) -> Figure:
        with plt.rc_context(STYLE):
            names = list(self.panels) or [""]
            figure = Figure()  # not pyplot's, which the cell would show a second time
            axes = dict(zip(names, figure.subplots(1, len(names), squeeze=False)[0], strict=True))
            colours = {name: cycle(COLOURS) for name in names}
            for panel, x, values, label in self.bands:
                band(axes[panel], x, values, label, GREY)
            for name, (panel, x, y) in self.points.items():
                y = np.stack([_array(value) for value in y])
                band(axes[panel], x, y[None] if y.ndim == 1 else y.T, name, next(colours[panel]))
            for name, ax in axes.items():
                title, scale = name.replace("_", " "), "log" if name in self.log else "linear"
                ax.set(title=title, xlabel=self.x, yscale=scale)
                if ax.get_legend_handles_labels()[0]:
                    ax.legend(loc="best")
        return figure

    def close(self) -> None:
        """Draws for the last time."""
        if in_notebook():
            self._display()
        else:
            for name, (_, x, y) in self.points.items():
                print(f"{name} {_array(y[-1]).mean():.4g} at {self.x} {x[-1]}")

    def __enter__(self) -> "LivePlot":
        return self

    def __exit__(self, *error) -> None:  # after an interrupt too: what was reached stays visible
        self.close()

    def _panel(self, series: str) -> str:
        if self.panels and not any(series in names for names in self.panels.values()):
            raise KeyError(f"no panel shows {series!r}: the panels are {self.panels}")
        return next((panel for panel, names in self.panels.items() if series in names), "")

    def _display(self) -> None:
        from IPython.display import Image, display

        self.figure().savefig(png := io.BytesIO(), format="png", dpi=STYLE["savefig.dpi"])
        if self.handle:
            self.handle.update(Image(png.getvalue()))
        else:
            self.handle = display(Image(png.getvalue()), display_id=True)


def band(ax, x, values, label: str | None = None, color=None, level: float = 0.9) -> None:
    """Mean of `values[seeds, points]` over `x[points]`, and the bootstrap interval of the mean."""
    values = np.asarray(values, float)
    seeds = len(values)
    (line,) = ax.plot(x, values.mean(0), label=label, color=color)
    if seeds > 1:  # to draw seeds again is to weigh them: one product, no copies
        weights = np.random.default_rng(0).multinomial(seeds, np.full(seeds, 1 / seeds), 1000)
        tails = (1 - level) / 2, (1 + level) / 2
        low, high = np.quantile(weights @ values / seeds, tails, axis=0)
        ax.fill_between(x, low, high, color=line.get_color(), alpha=0.25, linewidth=0)


def diagram(nodes: dict, edges: list, spacing: tuple[float, float] = (2.4, 1.1)) -> None:
    """Draws a mechanism as boxes and arrows.

    Args:
        nodes: name -> (column, row, text, colour), row 0 on top, halves allowed; text (the name if
            left out) may have several lines, a box without a colour is plain.
        edges: (from, to, label, bend), the last two optional; bend in -1..1 curves the arrow to
            its left if positive, so that an arrow there and one back do not meet.
        spacing: inches from column to column and from row to row.
    """
    nodes = {name: (*node, *(0, 0, name, INK)[len(node) :]) for name, node in nodes.items()}
    edges = [(*edge, *("", "", "", 0.0)[len(edge) :]) for edge in edges]
    place = {name: np.array([node[0], -node[1]]) * spacing for name, node in nodes.items()}
    size = {name: np.add(_text_size(node[2]), (0.3, 0.24)) for name, node in nodes.items()}

    def middle(start, end, bend):
        dx, dy = place[end] - place[start]
        return (place[start] + place[end] + np.array([-dy, dx]) * bend) / 2

    reach = [place[name] + sign * size[name] / 2 for name in nodes for sign in (-1, 1)]
    reach += [middle(start, end, bend) for start, end, _, bend in edges]
    low, high = np.min(reach, 0) - 0.25, np.max(reach, 0) + 0.25
    centre = {"ha": "center", "va": "center", "linespacing": 1.25}
    patch = {}
    with plt.rc_context(STYLE):  # one unit is one inch, so that a box fits its text
        ax = plt.figure(figsize=high - low, layout="none").add_axes((0, 0, 1, 1))
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        ax.axis("off")
        for name, (_, _, text, colour) in nodes.items():
            fill = "white" if colour == INK else 0.15 * np.array(to_rgb(colour)) + 0.85
            box = (place[name] - size[name] / 2, *size[name], "round,pad=0,rounding_size=.08")
            patch[name] = FancyBboxPatch(*box, facecolor=fill, edgecolor=colour, lw=1.4, zorder=2)
            ax.add_patch(patch[name])
            ax.text(*place[name], text, zorder=4, **centre)
        for start, end, label, bend in edges:
            ends = {"patchA": patch[start], "patchB": patch[end], "shrinkA": 1, "shrinkB": 2}
            look = {"arrowstyle": "-|>,head_width=3,head_length=6", "color": INK, "lw": 1.3}
            curve = {"connectionstyle": f"arc3,rad={-bend}", "zorder": 1}
            ax.add_patch(FancyArrowPatch(place[start], place[end], **ends, **look, **curve))
            paper = {"facecolor": PAPER, "edgecolor": "none", "pad": 1.5}
            words = {"fontsize": 9, "style": "italic", "bbox": paper, "zorder": 3}
            ax.text(*middle(start, end, bend), label, **words, **centre)


def film_strip(rows: dict, times=None, start: int = 0) -> None:
    """Draws films above each other, the truth first: `film_strip({"truth": a, "dream": b})`.

    Args:
        rows: name -> frames [T, H, W], [T, H, W, C] or [T, C, H, W] with C = 1 or 3; uint8, or
            floats in 0..1.
        times: the frames to show, ten spread evenly if not given.
        start: the first dreamt frame; what was given before it is set apart by a line.
    """
    films = [_rgb(frames) for frames in rows.values()]
    last = min(map(len, films)) - 1
    times = np.linspace(0, last, min(10, last + 1)).round().astype(int) if times is None else times
    height, width = films[0].shape[1:3]
    gap = max(1, width // 10)
    edge, paper = ((0, gap), (0, gap), (0, 0)), np.array(to_rgb(PAPER))
    strip = np.vstack([np.hstack([np.pad(film[t] - paper, edge) for t in times]) for film in films])
    strip = strip[:-gap, :-gap] + paper
    inches = min(6.2, 1.1 * len(times))  # of the strip; the rest is for the labels
    size = inches + 0.1 * max(map(len, rows)) + 0.2, inches * len(strip) / len(strip[0]) + 0.35
    with plt.rc_context(STYLE):
        _, ax = plt.subplots(figsize=size)
        ax.imshow(strip)
        ax.set_xticks(np.arange(len(times)) * (width + gap) + (width - 1) / 2, map(str, times))
        ax.set_yticks(np.arange(len(films)) * (height + gap) + (height - 1) / 2, rows)
        ax.tick_params(length=0, labeltop=True, labelbottom=False)
        ax.grid(False)
        ax.spines[:].set_visible(False)
        if 0 < (given := int(np.sum(np.asarray(times) < start))) < len(times):
            ax.axvline(given * (width + gap) - (gap + 1) / 2, color=VERMILION)


def _text_size(text: str, points: float = 10.0) -> tuple[float, float]:
    """Width and height in inches, known without drawing."""
    lines = text.split("\n")
    width = max(TextPath((0, 0), line or " ", size=points).get_extents().width for line in lines)
    return width / 72, 1.3 * points * len(lines) / 72


def _array(value) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _rgb(frames) -> np.ndarray:
    """Any film as floats [T, H, W, 3] in 0..1."""
    frames = _array(frames)
    frames = frames / 255 if frames.dtype == np.uint8 else frames.astype(float)
    if frames.ndim == 3:
        frames = frames[..., None]
    elif frames.shape[-1] not in (1, 3):
        frames = np.moveaxis(frames, 1, -1)
    return np.broadcast_to(frames.clip(0, 1), (*frames.shape[:3], 3))
