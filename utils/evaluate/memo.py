"""A memo and its evidence: where each number was measured, and whether the memo cites it rightly.

Records are what `claim` leaves behind: `runs/<lesson>/<profile>/claims.json` for a run of one's
own, `assets/evidence/<lesson>.json` for the stored one. A *measurement* is named "topic: arm", such
as "return, planning: MuZero", so that arms of one topic can be told from each other.

Shape key: S seeds, R resamples, K steps ahead, B rows, D features.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

Values = dict[int, float]  # one number for each seed
Record = dict[str, Values]  # of each claim
ONE_PAGE = 450  # words
PLACE = re.compile(r"\{([^{}]*)\}")  # where a memo's text cites a measurement
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?!\w)")
LESSONS = re.compile(r"[Ll]essons? \d\.\d(?:(?:, and |, | and )\d\.\d)*")  # no numbers of a memo


# ---- where numbers come from


def read_record(path: Path) -> Record:
    """The claims of a file with their values by seed; nothing where there is no such file.

    Raises:
        ValueError: a sentence, where the file is cut off or is something else.
    """
    if not path.exists():
        return {}
    try:
        held = json.loads(path.read_text("utf-8"))
        seeds = held["seeds"] if isinstance(held["seeds"], list) else range(held["seeds"])
        claims = [c for c in held["claims"] if "values" in c]
        return {
            claim["name"]: {
                int(seed): float(value) for seed, value in zip(seeds, claim["values"], strict=False)
            }
            for claim in claims
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} is not a whole record of claims ({type(error).__name__}: {error}); it was "
            "left as it is. Run that lesson again, or move the file away."
        ) from None


def read_records(paths: list[Path]) -> dict[str, Record]:
    """All records that can be read, by path; of the others it says why, and goes on."""
    records = {}
    for path in paths:
        try:
            records[str(path)] = read_record(path)
        except ValueError as error:
            print(f"NOTE {error}")
    return records


def gather(name: str, records: dict[str, Record]) -> tuple[Values, str]:
    """The values of one claim, by seed, and the source that they are from.

    `records` are in order of preference: source -> claims -> values by seed. The first source that
    holds the claim is taken, whole: values of two sources are never mixed. A source does not hold
    it if the claim is missing, has no values, or has one that is not a finite number (nan,
    infinity): such a run broke off.

    Raises:
        KeyError: no source holds the claim.
    """
    for source, claims in records.items():
        values = claims.get(name, {})
        if values and all(math.isfinite(value) for value in values.values()):
            return values, source
    raise KeyError(f"no source holds {name!r}")


# ---- measuring


def paired_difference(
    a: Values, b: Values, noise: Float[np.ndarray, "R S"]
) -> tuple[float, float, float]:
    """Mean of a - b over the seeds that both arms have, and its 90 % bootstrap interval.

    A seed is one pair: both arms had the same games with it, and pairs are drawn, never single
    values. Resample r takes the pairs number `floor(noise[r, i] n)` for i < n, where n is the
    number of common seeds, in order (S may be larger than n: the rest of the noise is not used).
    The interval is from the 5th to the 95th percentile of the resamples' means. One common seed has
    no interval: nan, nan. Efron 1979.

    Args:
        noise: uniform in [0, 1).
    Raises:
        ValueError: no seed in common.
    """
    common = sorted(set(a) & set(b))
    if not common:
        raise ValueError("The two arms have no seed in common: there is nothing to compare.")
    gaps = np.array([a[seed] - b[seed] for seed in common])
    if len(common) == 1:
        return float(gaps.mean()), math.nan, math.nan
    drawn = (noise[:, : len(common)] * len(common)).astype(int)
    low, high = np.quantile(gaps[drawn].mean(-1), (0.05, 0.95))
    return float(gaps.mean()), float(low), float(high)


def forward_passes(parts: dict[str, nn.Module], decide: Callable[[], object]) -> dict[str, int]:
    """How many rows went through each network while `decide()` ran, counted by forward hooks
    (`register_forward_hook`).

    A call on a batch of 16 counts 16, one on [4, 5, D] counts 20: what is counted is the work, not
    the calls. Networks that were not called have 0. The hooks are gone afterwards, also where
    `decide` raises, and what it raises is passed on.
    """
    counts = dict.fromkeys(parts, 0)

    def counted(name: str) -> Callable:
        def hook(module: nn.Module, given: tuple, result: object) -> None:
            counts[name] += given[0].numel() // given[0].shape[-1]

        return hook

    hooks = [part.register_forward_hook(counted(name)) for name, part in parts.items()]
    try:
        decide()
    finally:
        for hook in hooks:
            hook.remove()
    return counts


def probe_r2(
    states: Float[Tensor, "B K D"],
    truth: Float[Tensor, "B K"],
    test_states: Float[Tensor, "B2 K D"],
    test_truth: Float[Tensor, "B2 K"],
    ridge: float = 1.0,
) -> Float[Tensor, " K"]:
    """How much of the truth a linear probe reads off imagined states, for each step ahead.

    For each k a probe of its own: weights and an offset that minimise the squared error on `states`
    plus `ridge` times the squared weights (the offset goes free). Then, on the test rows,

        R2 = 1 - mean squared error / variance of the truth         (variance: mean of squares)

    1 is all of it; 0 is what a constant knows.
    """
    mean, offset = states.mean(0), truth.mean(0)
    # Centred states: a constant in the truth then moves no weight, and is the offset.
    x, y = (states - mean).transpose(0, 1), truth.T[..., None]  # [K, B, D], [K, B, 1]
    square = x.mT @ x + ridge * torch.eye(x.shape[-1])
    weights = torch.linalg.solve(square, x.mT @ y)
    guess = ((test_states - mean).transpose(0, 1) @ weights)[..., 0].T + offset
    error = (guess - test_truth).square().mean(0)
    return 1 - error / test_truth.var(0, correction=0)


# ---- what is measured, and what is cited


class Measured(NamedTuple):
    """A number of the evidence."""

    value: float
    unit: str
    source: str  # where it was measured: "here", or the file
    elsewhere: float | None = None  # the same of the source that was not taken, if there is one
    low: float = math.nan  # its interval, where there are several seeds
    high: float = math.nan


class Cited(NamedTuple):
    """A number as a memo gives it."""

    value: float
    unit: str


FAULTS = {
    "": "is the one measured",
    "unsourced": "is cited, and nobody measured it",
    "unit": "is cited in another unit than it was measured in",
    "swapped": "is the number of another arm",
    "stale": "was measured, but by the other source: it is not of the run that the table shows",
    "wrong": "is not what was measured",
}


def alike(a: float, b: float) -> bool:
    """Whether two numbers are the same but for rounding: 3 %, or 0.005 near zero."""
    return abs(a - b) <= max(0.03 * abs(b), 0.005)


def fault(name: str, cited: Cited, evidence: dict[str, Measured]) -> str:
    """What is wrong with a cited number: a key of `FAULTS`, "" if nothing is.

    The first that applies:
    - "unsourced": the evidence has no measurement of that name.
    - "unit": another unit than the measurement's.
    - "": `alike(cited, measured)`, with nan never alike.
    - "swapped": alike to another measurement of the same topic (what stands before ": ").
    - "stale": alike to `elsewhere`, the value of the source that was not taken.
    - "unit": alike after a factor of 1000 or 100, up or down (seconds, milliseconds, per cent).
    - "wrong": none of these.
    """
    if name not in evidence:
        return "unsourced"
    measured = evidence[name]
    if cited.unit != measured.unit:
        return "unit"
    if alike(cited.value, measured.value):
        return ""
    topic = name.partition(": ")[0]
    others = [m for n, m in evidence.items() if n != name and n.partition(": ")[0] == topic]
    if any(alike(cited.value, other.value) for other in others):
        return "swapped"
    if measured.elsewhere is not None and alike(cited.value, measured.elsewhere):
        return "stale"
    if any(alike(cited.value * scale, measured.value) for scale in (1000, 100, 0.01, 0.001)):
        return "unit"
    return "wrong"


# ---- the memo as a page

ARMS = {  # what a memo has to cite: topic -> arms
    "return, planning": ("MuZero", "DreamerV3"),
    "return, reactive": ("MuZero", "DreamerV3"),
    "forward passes": ("MuZero", "DreamerV3"),
    "time of a decision": ("MuZero", "DreamerV3"),
    "distractors": ("MuZero", "DreamerV3"),
    "chance": ("deterministic model", "with chance nodes"),
    "new reward": ("MuZero", "DreamerV3"),
}
REQUIRED = [f"{topic}: {arm}" for topic, arms in ARMS.items() for arm in arms]
MORE = [  # what the evidence holds besides
    "policy alone, planning: MuZero",
    "policy alone, reactive: MuZero",
    "simulations: MuZero",
    "real steps: planning",
    "real steps: reactive",
]


class Review(NamedTuple):
    """What can be said of a memo without understanding it. Each list is empty where all is well."""

    faults: dict[str, str]  # of cited numbers that are not right: name -> key of `FAULTS`
    missing: list[str]  # measurements that a memo must cite, and this one does not
    unknown: list[str]  # cited in the text, and not among its numbers
    unused: list[str]  # among its numbers, and not cited in the text
    naked: list[str]  # numbers in the text that cite nothing
    words: int


def review(
    numbers: dict[str, Cited],
    text: str,
    evidence: dict[str, Measured],
    fault: Callable[..., str] = fault,
) -> Review:
    """Holds a memo against the evidence.

    Raises:
        ValueError: a sentence, where it is no memo at all.
    """
    if not isinstance(numbers, dict) or not isinstance(text, str):
        raise ValueError(
            "A memo is a dict of numbers and a text: "
            f"this one is {type(numbers).__name__} and {type(text).__name__}."
        )
    for name, cited in numbers.items():
        if not isinstance(cited, tuple) or len(cited) != 2:
            raise ValueError(f"{name!r} must be Cited(value, unit), and is {cited!r}.")
    cites = [" ".join(name.split()) for name in PLACE.findall(text)]  # lines may break in a name
    found = {name: fault(name, Cited(*cited), evidence) for name, cited in numbers.items()}
    return Review(
        {name: what for name, what in found.items() if what},
        [name for name in REQUIRED if name not in numbers],
        [name for name in dict.fromkeys(cites) if name not in numbers],
        [name for name in numbers if name not in cites],
        NUMBER.findall(PLACE.sub("", re.sub(LESSONS, "", text))),
        len(text.split()),
    )


def sentences(found: Review, numbers: dict[str, Cited], evidence: dict[str, Measured]) -> list[str]:
    """A review in words, worst first; one line that says so where nothing is wrong."""
    lines = []
    for name, what in found.faults.items():
        value, unit = numbers[name]
        line = f"{name}: {shown(value)} {unit} {FAULTS[what]}"
        if name in evidence:
            real = evidence[name]
            line += f"; that is {shown(real.value)} {real.unit} ({real.source})"
        lines.append(line + ".")
    lines += [f"{name} is missing: a memo has to cite it." for name in found.missing]
    lines += [f"The text cites {{{name}}}, and its numbers lack it." for name in found.unknown]
    lines += [
        f"{name} is among its numbers, and the text does not cite it." for name in found.unused
    ]
    lines += [f"The text says {number} and cites nothing for it." for number in found.naked]
    if found.words > ONE_PAGE:
        lines.append(f"It has {found.words} words; a page holds {ONE_PAGE}.")
    count = len(numbers)
    return lines or [f"All {count} numbers are the ones measured; {found.words} words, one page."]


def shown(value: float) -> str:
    """A number for reading: three digits, or whole with commas."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def page(numbers: dict[str, Cited], text: str) -> str:
    """The text with its numbers filled in, for Markdown."""

    def filled(found: re.Match) -> str:
        name = " ".join(found[1].split())
        if name not in numbers:
            return f"**?{name}?**"
        value, unit = numbers[name]
        return f"{shown(value)} {unit}".strip()

    return PLACE.sub(filled, text)


def table(evidence: dict[str, Measured]) -> str:
    """All measurements, for Markdown: the number, its interval, and where it was measured."""
    lines = ["| measurement | value | 90 % interval | measured in |", "|---|---:|---|---|"]
    for name, one in evidence.items():
        band = "-" if math.isnan(one.low) else f"{shown(one.low)} to {shown(one.high)}"
        lines.append(f"| {name} | {shown(one.value)} {one.unit} | {band} | {one.source} |")
    return "\n".join(lines)
