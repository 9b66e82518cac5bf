"""`begin` and `claim`: what a lesson runs on, and how its numbers compare with the evidence."""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from utils.course.exercise import ROOT, CourseError, load
from utils.course.show import style
from utils.course.store import Run, write_text
from utils.evaluate.statistics import bootstrap_interval, curve_interval, ratio_interval

PROFILES = ("smoke", "quick", "full", "evidence")
_current: "Lesson | None" = None


@dataclass(frozen=True)
class Lesson:
    """What `begin` decided. `seeds` are those of this run; `total` those of the evidence."""

    id: str
    profile: str
    device: torch.device
    seeds: tuple[int, ...]
    total: int
    together: bool  # all seeds in one run, as tensors
    folder: Path
    claims: dict[str, dict] = field(default_factory=dict)

    def pick(self, **sizes: object) -> object:
        """The size for this profile: `lesson.pick(smoke=2, quick=50, full=500)`.

        `smoke`, `full` and `evidence` fall back on `quick`.
        """
        if unknown := set(sizes) - set(PROFILES):
            raise CourseError(f"pick() knows {', '.join(PROFILES)}, not {unknown.pop()}.")
        if self.profile not in sizes and "quick" not in sizes:
            raise CourseError("pick() needs at least quick=...")
        return sizes.get(self.profile, sizes.get("quick"))

    def records(self, other: str) -> list[Path]:
        """Where the claims of another lesson are: one's own runs of it, full before quick, then
        the stored evidence. A build or a test has no runs of its own."""
        own = [] if "WM_RUNS" in os.environ else [self.folder.parents[1], ROOT / "runs"]
        places = [p / other / profile / "claims.json" for p in own for profile in ("full", "quick")]
        return [*dict.fromkeys(places), ROOT / f"assets/evidence/{other}.json"]

    def resume(self, name: str, config: dict) -> Run:
        """Where a training loop saves itself and goes on from; see `utils.course.store.Run`."""
        return Run(self.folder, name, config)


def begin(
    id: str,
    profile: str | None = None,
    *,
    seeds: int = 5,
    batch: int | None = None,
    folder: str | Path | None = None,
) -> Lesson:
    """Starts a lesson: decides device, profile and seeds, and says so in one line.

    Args:
        id: stage and section, such as "2.4".
        profile: smoke, quick or full; None asks the environment variable WM_PROFILE, else quick.
        seeds: how many seeds the evidence has, one a run. batch: seeds run at once, as tensors:
            so many of them here, and all of them in the evidence's one run.
        folder: where checkpoints go; on Colab a Drive folder survives a lost runtime.
    Raises:
        CourseError: an unknown profile or lesson.
    """
    global _current
    profile = profile or os.environ.get("WM_PROFILE") or "quick"
    if profile not in PROFILES:
        raise CourseError(
            f'There is no profile "{profile}"; use smoke (plumbing), quick (a laptop) '
            "or full (a GPU)."
        )
    style()
    load(id)  # seals the references before any exercise cell runs
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mine = [int(os.environ.get("WM_RUN_SEED", 0))]
    if batch:
        mine = range({"smoke": 3, "evidence": seeds}.get(profile, batch))
    # A build or a test sets WM_RUNS: it must not go on from a checkpoint of an older text.
    place = Path(os.environ.get("WM_RUNS") or folder or ROOT / "runs" / id / profile)
    _current = Lesson(id, profile, device, tuple(mine), seeds, bool(batch), place)
    said = f"seeds 0 to {mine[-1]} at once" if batch else f"seed {mine[0]}"
    print(f"Lesson {id}: profile {profile}, device {device.type}, {said}{_minutes(id, profile)}.")
    return _current


def _minutes(id: str, profile: str) -> str:
    measured = _stored(id).get("run_all", {}).get(profile)
    return f"; Run All took {measured['seconds']:.0f} s on {measured['device']}" if measured else ""


def _stored(id: str) -> dict:
    path = ROOT / f"assets/evidence/{id}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def claim(
    name: str,
    values: object,
    op: str,
    bound: float,
    *,
    relative_to: object = None,
    statistic: Callable[[np.ndarray], float] | None = None,
    unit: str = "",
) -> None:
    """States a claim, and shows this run's number beside the evidence.

    It holds if the 90 % bootstrap interval over seeds is on the right side of the bound: of the
    mean, of the ratio of means to `relative_to` (the same seeds), or of `statistic`. Yes or no
    per seed holds if the share of yes is.

    Args:
        values: [S], or [S, T] with a statistic: one row per seed.
        op: "<=" or ">=". bound: what theory or the paper promises.
        relative_to: the other arm, [S]. statistic: mean curve [T] -> a number.
        unit: printed behind the numbers.
    """
    if _current is None:
        raise CourseError('claim() needs a lesson: run lesson = begin("...") first.')
    if op not in ("<=", ">="):
        raise CourseError(f'A claim compares with "<=" or ">=", not {op!r}.')
    if statistic is not None and not _current.together:
        raise CourseError(
            "A claim with a statistic needs all seeds in one run: begin(..., batch=...)."
        )
    arm, base = _rows(name, values), None if relative_to is None else _rows(name, relative_to)
    if _current.profile == "smoke":
        print(f"CLAIM {name}: not judged in smoke")
        return
    made = judge(name, arm, op, bound, base, statistic) | {"unit": unit}
    _current.claims[name] = made
    _keep(_current)
    if out := os.environ.get("WM_CLAIMS"):
        about = {
            "seeds": _current.total,
            "together": _current.together,
            "device": _current.device.type,
        }
        write_text(Path(out), json.dumps(about | {"claims": list(_current.claims.values())}))
    print(_line(made, _current))


def _keep(lesson: Lesson) -> None:
    """Leaves this run's claims beside its checkpoints, for lessons that look back (3.3)."""
    held = {"lesson": lesson.id, "profile": lesson.profile, "device": lesson.device.type}
    held |= {"seeds": list(lesson.seeds), "claims": list(lesson.claims.values())}
    with contextlib.suppress(OSError, CourseError):  # a full disk must not cost the lesson
        write_text(lesson.folder / "claims.json", json.dumps(held, indent=1) + "\n")


def _rows(name: str, values: object) -> np.ndarray:
    rows = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if rows.ndim == 0 or len(rows) != len(_current.seeds):
        raise CourseError(
            f"Claim {name!r} needs one row per seed: {len(_current.seeds)} rows, not shape "
            f"{list(rows.shape)}. Without batch=, begin() runs one seed at a time: give [value]."
        )
    return rows


def judge(
    name: str,
    values: np.ndarray,
    op: str,
    bound: float,
    base: np.ndarray | None = None,
    statistic: Callable | None = None,
) -> dict:
    """Estimate, interval and verdict of a claim, as it is stored."""
    yes_no = values.dtype.kind == "b"
    if len(values) == 1 or yes_no:  # one seed has no interval, and a count needs none
        curve = values.mean(0) if base is None else values.mean(0) / base.mean(0)
        estimate = low = high = float(statistic(curve) if statistic else curve)
    elif base is not None:
        estimate, low, high = ratio_interval(values, base)
    elif statistic is not None:
        estimate, low, high = curve_interval(values, statistic)
    else:
        estimate, low, high = bootstrap_interval(values)
    holds = high <= bound if op == "<=" else low >= bound
    stored = {"values": values.tolist()} if values.ndim == 1 and statistic is None else {}
    stored |= {} if base is None else {"relative_to": base.tolist()}
    kind = (
        "share" if yes_no else "ratio" if base is not None else "mean" if not statistic else "curve"
    )
    numbers = {"estimate": float(estimate), "low": float(low), "high": float(high)}
    return (
        {"name": name, "op": op, "bound": bound, "kind": kind, "seeds": len(values)}
        | numbers
        | {"holds": bool(holds)}
        | stored
    )


def _line(made: dict, lesson: Lesson) -> str:
    """One line: here, the evidence, the bound; and a word if this run is far off."""
    known = next(
        (c for c in _stored(lesson.id).get("claims", []) if c["name"] == made["name"]), None
    )
    unit = f" {made['unit']}" if made["unit"] else ""
    head = f"CLAIM {made['name']}\n      claimed {made['op']} {made['bound']:.3g}{unit}"
    here = f"{made['estimate']:.3g} here"
    if known is None:
        return f"{head}; {here}; no evidence is stored yet"
    verdict = "holds" if known["holds"] else "FAILS"
    band = f"{known['estimate']:.3g} [{known['low']:.3g}, {known['high']:.3g}]"
    line = f"{head}; {here}; evidence {band} over {known['seeds']} seeds: {verdict}"
    spread = known.get("values") or [known["low"], known["high"]]
    low, high = min(*spread, known["low"]), max(*spread, known["high"])
    slack = max(high - low, 0.1 * abs(known["estimate"]))
    if not low - slack <= made["estimate"] <= high + slack:
        line += "\n      This run is far outside the evidence: look at your answers above."
    return line
