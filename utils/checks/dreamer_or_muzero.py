"""Lesson 3.3: probes, named mistakes, right answers written differently, hints."""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn.functional import one_hot

from utils.agents import replan as replanning
from utils.course.exercise import Mistake, exercise
from utils.course.probes import normal
from utils.evaluate import memo, memo_example
from utils.evaluate.memo import FAULTS, MORE, REQUIRED, Cited, Measured
from utils.world import Dreamt, take

LESSON = "3.3"
SAME_SWAP = "to swap two axes is the same either way"


# 3.3.1 ------------------------------------------------------------------------------------------


def gather_by_search(name, records):
    def whole(values):
        return len(values) > 0 and np.isfinite(list(values.values())).all()

    holds = [source for source in records if name in records[source]]
    holds = [source for source in holds if whole(records[source][name])]
    if len(holds) == 0:
        raise KeyError(name)
    return dict(records[holds[0]][name]), holds[0]


@exercise(
    "3.3.1",
    memo.gather,
    points=2,
    difficulty=1,
    minutes=10,
    hints=(
        "Go through records.items() in order. When does a source hold the claim?",
        "claims.get(name, {}) is empty where the claim is missing. math.isfinite(value) is False "
        "for nan and for infinity; all of the values must be finite. Return (values, source) at "
        "once; after the loop, raise KeyError.",
    ),
    mistakes=(
        Mistake(
            "values that are not finite are taken: a run that broke off has no number",
            "if values and all(math.isfinite(value) for value in values.values()):",
            "if values:",
        ),
        Mistake(
            "one finite value is enough for you; a source counts whole or not at all",
            "all(math.isfinite(value)",
            "any(math.isfinite(value)",
        ),
        Mistake(
            "the last source wins; they are in order of preference",
            "in records.items()",
            "in reversed(records.items())",
        ),
        Mistake(
            "a claim without values is taken", "if values and all(", "if name in claims and all("
        ),
        Mistake(
            "the source is not said: the reader must know whose number it is",
            "return values, source",
            'return values, ""',
        ),
    ),
    alternatives=(gather_by_search,),
)
def _(gather, rng):
    found = {}
    for case in range(12):
        sources = [f"runs/{i}" for i in range(4)]
        records = {}
        for source in sources:
            kind = case if case < 3 and source == sources[0] else rng.integers(5)
            values = {int(s): float(v) for s, v in enumerate(rng.normal(size=3))}
            if kind == 0:
                values[int(rng.integers(3))] = float(rng.choice([math.nan, math.inf]))
            record = {"another": {0: float(rng.normal())}}
            if kind == 1:
                values = {}
            if kind != 2:
                record["asked"] = values
            records[source] = record
        records[sources[-1]]["asked"] = {5: float(rng.normal()), 7: float(rng.normal())}
        values, source = gather("asked", records)
        found[f"values of case {case}"] = np.array([*values.keys(), *values.values()], float)
        found[f"source of case {case}"] = float(sources.index(source)) if source else -1.0
        try:
            gather(
                "asked", {sources[0]: {"another": {0: 1.0}}, sources[1]: {"asked": {0: math.nan}}}
            )
            found[f"raises KeyError in case {case}"] = 0.0
        except KeyError:
            found[f"raises KeyError in case {case}"] = 1.0
    return found


# 3.3.2 ------------------------------------------------------------------------------------------


def paired_in_loops(a, b, noise):
    gaps = [a[seed] - b[seed] for seed in sorted(a) if seed in b]
    n = len(gaps)
    if n == 0:
        raise ValueError("no pairs")
    mean = sum(gaps) / n
    if n == 1:
        return mean, math.nan, math.nan
    means = []
    for row in noise:
        means.append(sum(gaps[int(u * n)] for u in row[:n]) / n)
    return mean, float(np.quantile(means, 0.05)), float(np.quantile(means, 0.95))


@exercise(
    "3.3.2",
    memo.paired_difference,
    points=3,
    difficulty=2,
    minutes=20,
    hints=(
        "First the differences: one for each seed that stands in both dicts, sorted.",
        "(noise[:, :n] * n).astype(int) are R x n numbers of pairs; gaps[them].mean(-1) is the "
        "mean of each resample, and np.quantile(means, (0.05, 0.95)) the interval.",
    ),
    mistakes=(
        Mistake(
            "values are paired by their place, not by their seed",
            "np.array([a[seed] - b[seed] for seed in common])",
            "np.array([*a.values()][: len(common)]) - np.array([*b.values()][: len(common)])",
        ),
        Mistake("the arms are swapped: b - a", "a[seed] - b[seed]", "b[seed] - a[seed]"),
        Mistake("the interval is of 95 per cent", "(0.05, 0.95)", "(0.025, 0.975)"),
        Mistake(
            "the interval is that of single differences, not of their mean",
            "gaps[drawn].mean(-1)",
            "gaps[drawn]",
        ),
        Mistake(
            "one pair gets an interval without width; it has none",
            "return float(gaps.mean()), math.nan, math.nan",
            "return float(gaps.mean()), float(gaps.mean()), float(gaps.mean())",
        ),
        Mistake(
            "all columns of the noise are used, and the interval is too narrow",
            "noise[:, : len(common)] * len(common)",
            "noise * len(common)",
        ),
    ),
    alternatives=(paired_in_loops,),
    equivalents={
        "low, high = np.quantile(gaps[drawn].mean(-1), (0.05, 0.95)) -> "
        "low, high = np.quantile(gaps[drawn].mean(1), (0.05, 0.95))": "[R, n] has two axes: axis 1 "
        "is the last",
        "return (float(gaps.mean()), math.nan, math.nan) -> "
        "return (float(gaps.sum()), math.nan, math.nan)": "of one number: the same",
    },
)
def _(paired_difference, rng):
    found = {}
    for case in range(6):
        seeds = rng.permutation(9)
        a = {int(s): float(rng.normal(2, 1)) for s in seeds[: 3 + case % 3]}
        b = {int(s): float(rng.normal(0, 1)) for s in seeds[1 : 6 + case % 2][::-1]}
        noise = rng.random((60, 9))
        found[f"difference and interval of case {case}"] = paired_difference(a, b, noise)
    one = {0: float(rng.normal()), 1: 2.0}
    found["one pair"] = paired_difference(one, {0: 1.0, 4: 3.0}, noise)
    try:
        paired_difference({0: 1.0}, {1: 2.0}, noise)
        found["no pair raises ValueError"] = 0.0
    except ValueError:
        found["no pair raises ValueError"] = 1.0
    return {name: np.array(value, float) for name, value in found.items()}


# 3.3.3 ------------------------------------------------------------------------------------------


class Tally:
    def __init__(self):
        self.rows = 0

    def __call__(self, module, given, result):
        shape = given[0].shape
        self.rows += math.prod(shape[:-1])


def passes_with_objects(parts, decide):
    tallies = {name: Tally() for name in parts}
    handles = []
    for name, module in parts.items():
        handles.append(module.register_forward_hook(tallies[name]))
    try:
        decide()
    finally:
        [handle.remove() for handle in handles]
    return {name: tally.rows for name, tally in tallies.items()}


@exercise(
    "3.3.3",
    memo.forward_passes,
    points=3,
    difficulty=3,
    minutes=20,
    hints=(
        "module.register_forward_hook(hook) calls hook(module, inputs, output) after every pass, "
        "and gives a handle with .remove(). inputs is a tuple; inputs[0] is [..., D].",
        "Each network needs a hook that knows its name: make hooks in a function of the name. Call "
        "decide() in a try, and remove the hooks in its finally.",
    ),
    mistakes=(
        Mistake(
            "calls are counted, not rows",
            "counts[name] += given[0].numel() // given[0].shape[-1]",
            "counts[name] += 1",
        ),
        Mistake(
            "only the first axis is counted: a sequence of 5 steps is 5 rows",
            "given[0].numel() // given[0].shape[-1]",
            "len(given[0])",
        ),
        Mistake(
            "the hooks stay behind, and count what comes later",
            "            hook.remove()",
            "            pass",
        ),
        Mistake("only the last call is counted", "counts[name] += given", "counts[name] = given"),
    ),
    alternatives=(passes_with_objects,),
)
def _(forward_passes, rng):
    torch.manual_seed(int(rng.integers(2**31)))
    first, third = nn.Bilinear(3, 7, 4), nn.Linear(4, 2)
    second = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    sizes = [int(n) for n in rng.integers(2, 9, 4)]

    def decide():
        hidden = first(torch.zeros(sizes[0], 3), torch.zeros(sizes[0], 7))
        for _ in range(sizes[1]):
            hidden = second(hidden)
        second(torch.zeros(sizes[2], sizes[3], 4))

    def fails():
        decide()
        raise ArithmeticError

    parts = {"h": first, "g": second, "f": third}
    counts = forward_passes(parts, decide)
    found = {f"rows through {name}": counts[name] for name in parts}
    try:
        forward_passes(parts, fails)
        found["what decide raises is passed on"] = 0
    except ArithmeticError:
        found["what decide raises is passed on"] = 1
    found["hooks left behind"] = sum(len(m._forward_hooks) for m in (first, second, third))
    decide()
    found["rows counted later"] = counts["g"]
    return found


# 3.3.4 ------------------------------------------------------------------------------------------


def probe_by_columns(states, truth, test_states, test_truth, ridge=1.0):
    scores = []
    for k in range(truth.shape[1]):
        x, y = states[:, k].double(), truth[:, k].double()
        centre = x - x.mean(0)
        penalty = ridge * torch.eye(x.shape[1], dtype=torch.float64)
        weights = torch.linalg.inv(centre.T @ centre + penalty) @ (centre.T @ (y - y.mean()))
        guess = (test_states[:, k].double() - x.mean(0)) @ weights + y.mean()
        target = test_truth[:, k].double()
        scores.append(1 - ((guess - target) ** 2).sum() / ((target - target.mean()) ** 2).sum())
    return torch.stack(scores).float()


@exercise(
    "3.3.4",
    memo.probe_r2,
    points=3,
    difficulty=3,
    minutes=20,
    bug="flatters",
    rtol=2e-3,
    atol=2e-4,
    hints=(
        "States that know nothing get an R² far above 0. On which rows is the error measured?",
        "The weights are found on `states`; guess and error must be those of the test rows.",
    ),
    mistakes=(
        Mistake(
            "the probe is judged on the rows that it was fitted to",
            "guess = ((test_states - mean).transpose(0, 1) @ weights)[..., 0].T + offset\n"
            "    error = (guess - test_truth)",
            "guess = ((states - mean).transpose(0, 1) @ weights)[..., 0].T + offset\n"
            "    error = (guess - truth)",
            "flatters",
        ),
        Mistake(
            "the offset is missing: a probe must be able to say the mean",
            "@ weights)[..., 0].T + offset",
            "@ weights)[..., 0].T",
        ),
        Mistake(
            "one probe serves all steps ahead",
            "weights = torch.linalg.solve(square, x.mT @ y)",
            "weights = torch.linalg.solve(square, x.mT @ y).mean(0, keepdim=True)",
        ),
        Mistake("the ridge is missing", "x.mT @ x + ridge", "x.mT @ x + 0"),
        Mistake(
            "the variance is that of the training rows",
            "test_truth.var(0, correction=0)",
            "truth.var(0, correction=0)",
        ),
        Mistake(
            "all steps ahead are thrown together",
            "(guess - test_truth).square().mean(0)",
            "(guess - test_truth).square().mean()",
        ),
    ),
    alternatives=(probe_by_columns,),
    equivalents={
        "x, y = ((states - mean).transpose(0, 1), truth.T[..., None]) -> "
        "x, y = ((states - mean).transpose(1, 0), truth.T[..., None])": SAME_SWAP,
        "guess = ((test_states - mean).transpose(0, 1) @ weights)[..., 0].T + offset -> "
        "guess = ((test_states - mean).transpose(1, 0) @ weights)[..., 0].T + offset": SAME_SWAP,
        "guess = ((test_states - mean).transpose(0, 1) @ weights)[..., 0].T + offset -> "
        "guess = ((test_states - mean).transpose(0, 1) @ weights)[..., -1].T + offset": "the last "
        "axis has one entry",
    },
)
def _(probe_r2, rng):
    weights, offset = normal(rng, 3, 4), normal(rng, 3) + 2

    def rows(count):
        states = normal(rng, count, 3, 4) + 1
        truth = (states * weights).sum(-1) + offset + normal(rng, count, 3) * 0.7
        return states, truth

    fitted, test = rows(30), rows(21)
    constant = normal(rng, 25, 1, 6), normal(rng, 25, 1), normal(rng, 40, 1, 6), normal(rng, 40, 1)
    return {
        "R² of a state that knows something": probe_r2(*fitted, *test),
        "with a heavy ridge": probe_r2(*fitted, *test, 20.0),
        "of a state that knows nothing": probe_r2(*constant),
    }


# 3.3.5 ------------------------------------------------------------------------------------------


class Maze:
    """A random deterministic table as a world, with or without ends."""

    def __init__(self, rng, ends=True, states=30, actions=3):
        self.spec = SimpleNamespace(action_size=actions)
        self.next = torch.as_tensor(rng.integers(0, states, (states, actions)))
        self.pay = (64 * normal(rng, states)).round() / 64  # sums are exact: ties are ties
        share = rng.random(states) * (rng.random(states) < 0.5)  # half of the states are ends
        self.cont = torch.as_tensor(share, dtype=torch.float32) if ends else None

    def imagine(self, state, action, *, generator=None, mode=False):
        if action.shape[-1] != self.spec.action_size:
            raise ValueError(f"an action is one-hot of {self.spec.action_size}")
        if not mode:
            raise ValueError("a plan needs mode=True: a sample would be taken for certain")
        cell = self.next[state["cell"], action.argmax(-1)]
        cont = None if self.cont is None else self.cont[cell]
        return Dreamt({"cell": cell}, self.pay[cell] * 0 - 1, cont)

    def decode(self, state):
        return torch.stack([self.pay[state["cell"]], -self.pay[state["cell"]]], -1)


def replan_by_recursion(world, state, pays, horizon):
    def best(state, left):
        if left == 0:
            return torch.zeros(len(next(iter(state.values())))), None
        values = []
        for number in range(world.spec.action_size):
            batch = len(next(iter(state.values())))
            action = one_hot(torch.full((batch,), number), world.spec.action_size).float()
            dreamt = world.imagine(state, action, mode=True)
            later = best(dreamt.state, left - 1)[0]
            going = 1 if dreamt.cont is None else dreamt.cont
            values.append(pays(world.decode(dreamt.state)) + going * later)
        values = torch.stack(values, -1)
        return values.amax(-1), values.argmax(-1)

    return best(state, horizon)[1]


@exercise(
    "3.3.5",
    replanning.replan,
    points=4,
    difficulty=3,
    minutes=30,
    hints=(
        "torch.cartesian_prod of `horizon` copies of torch.arange(A) lists all sequences, [A^H, H] "
        "(a view is needed for horizon 1). repeat(state, n) gives every state n rows in place.",
        "Row b n + i of the dreams is plan i of state b: so the actions of one step are "
        "one_hot(plans[:, step], A).float().repeat(B, 1).",
        "total += alive * pays(world.decode(arrived)), and then alive *= cont. At the end "
        "total.view(B, -1).argmax(-1) is the best plan, and plans[best, 0] its first action.",
    ),
    mistakes=(
        Mistake(
            "a step is weighted by its own continuation; it counts from the next step on",
            "        total = total + alive * pays(world.decode(state))\n"
            "        if dreamt.cont is not None:\n"
            "            alive = alive * dreamt.cont",
            "        if dreamt.cont is not None:\n"
            "            alive = alive * dreamt.cont\n"
            "        total = total + alive * pays(world.decode(state))",
        ),
        Mistake(
            "ends are ignored: what comes after one counts in full",
            "alive = alive * dreamt.cont",
            "pass",
        ),
        Mistake(
            "the state is decoded before the action, not after it",
            "        state = dreamt.state\n"
            "        total = total + alive * pays(world.decode(state))",
            "        total = total + alive * pays(world.decode(state))\n"
            "        state = dreamt.state",
        ),
        Mistake(
            "the world's own reward is used; the new one is read off what is decoded",
            "alive * pays(world.decode(state))",
            "alive * dreamt.reward",
        ),
        Mistake(
            "the last action of the best sequence is returned",
            "plans[best, 0]",
            "plans[best, -1]",
        ),
        Mistake(
            "states and plans are crossed: each state gets some other state's plans",
            "repeat(state, len(plans))",
            "{k: v.repeat(len(plans), *[1] * (v.ndim - 1)) for k, v in state.items()}",
        ),
        Mistake("only the last step counts", "total = total + alive *", "total = alive *"),
        Mistake("it looks for the plan that pays least", "argmax(-1)", "argmin(-1)"),
    ),
    alternatives=(replan_by_recursion,),
    equivalents={
        "total, alive = (torch.zeros(batch * len(plans)), torch.ones(batch * len(plans))) -> "
        "total, alive = (torch.ones(batch * len(plans)), torch.ones(batch * len(plans)))": "one "
        "constant in every total changes no arg max",
        "best = total.view(batch, -1).argmax(-1) -> best = total.view(batch, -1).argmax(1)": "[B, "
        "A^H] has two axes: axis 1 is the last",
    },
)
def _(replan, rng):
    found = {}
    state = {"cell": torch.as_tensor(rng.integers(0, 30, 24))}
    for horizon, ends in itertools.product((1, 2, 4), (True, False)):
        world = Maze(rng, ends)
        chosen = replan(world, state, lambda seen: seen[..., 0], horizon)
        found[f"horizon {horizon}, {'with' if ends else 'without'} ends"] = chosen
    world = Maze(rng)
    found["the other reward"] = replan(world, take(state, slice(0, 3)), lambda s: s[..., 1], 3)
    found["nothing pays: the first action"] = replan(world, state, lambda s: 0 * s[..., 0], 2)
    return found


# 3.3.6 ------------------------------------------------------------------------------------------


def fault_by_table(name, cited, evidence):
    if name not in evidence:
        return "unsourced"
    value, unit = cited
    one = evidence[name]

    def near(other):
        return other is not None and memo.alike(value, other)

    topic = name.split(": ")[0] + ": "
    arms = [n for n in evidence if n.startswith(topic) and n != name]
    scaled = [memo.alike(value * scale, one.value) for scale in (1e-3, 1e-2, 1e2, 1e3)]
    rules = {
        "unit": unit != one.unit,
        "": near(one.value),
        "swapped": any(near(evidence[n].value) for n in arms),
        "stale": near(one.elsewhere),
        "unit ": any(scaled),
    }
    return next((what for what, holds in rules.items() if holds), "wrong").strip()


def some_evidence(rng, names=("speed: A", "speed: B", "size: A", "size: B", "speedy: A")):
    """Measurements far from each other, so that a rounded one is no other's."""
    values = rng.permutation(np.arange(1, 2 * len(names) + 1) * 1.37 + rng.random() + 3)
    units = {name: f"unit {int(rng.integers(9))}" for name in names}
    return {
        name: Measured(float(values[2 * i]), units[name], "here", float(values[2 * i + 1]))
        for i, name in enumerate(names)
    }


@exercise(
    "3.3.6",
    memo.fault,
    points=3,
    difficulty=2,
    minutes=20,
    hints=(
        "Go down the list in the docstring, one `if` and `return` for each line.",
        'name.partition(": ")[0] is the topic. Another arm of it is every other name in the '
        "evidence with the same topic. `elsewhere` may be None.",
        "The second unit: any(alike(cited.value * scale, measured.value) for scale in (1000, 100, "
        "0.01, 0.001)).",
    ),
    mistakes=(
        Mistake(
            "every number of the evidence counts as another arm, of whatever topic",
            'if n != name and n.partition(": ")[0] == topic',
            "if n != name",
        ),
        Mistake(
            "the unit is not looked at",
            "if cited.unit != measured.unit:",
            "if False:",
        ),
        Mistake(
            "a factor of 1000 or 100 is not seen",
            "(1000, 100, 0.01, 0.001)",
            "()",
        ),
        Mistake(
            "the factor goes one way only: 0.002 for 2 is seen, 2000 for 2 is not",
            "(1000, 100, 0.01, 0.001)",
            "(1000, 100)",
        ),
        Mistake(
            "a number of the other source passes as right; the memo would mix two runs",
            'return "stale"',
            'return ""',
        ),
        Mistake(
            "numbers must be equal to the last digit; rounding is allowed",
            "    if alike(cited.value, measured.value):",
            "    if cited.value == measured.value:",
        ),
        Mistake(
            "a topic is taken for another one that begins alike",
            'n.partition(": ")[0] == topic',
            "n.startswith(topic)",
        ),
        Mistake(
            "a factor is looked for first: a thousandth of anything is alike to nearly 0",
            '    topic = name.partition(": ")[0]',
            "    if any(alike(cited.value * k, measured.value) for k in (1e3, 1e2, 1e-2, 1e-3)):\n"
            '        return "unit"\n'
            '    topic = name.partition(": ")[0]',
        ),
    ),
    alternatives=(fault_by_table,),
    equivalents={
        "if any((alike(cited.value * scale, measured.value) for scale in (1000, 100, 0.01, "
        "0.001))): -> "
        "if any((alike(cited.value / scale, measured.value) for scale in (1000, 100, 0.01, "
        "0.001))):": "with each factor its inverse is in the list",
    },
)
def _(fault, rng):
    evidence = some_evidence(rng)
    names = list(evidence)
    found, kinds = {}, list(FAULTS)

    def ask(what, name, value, unit=None):
        said = fault(name, Cited(value, unit or evidence[name].unit), evidence)
        if said not in kinds:
            raise TypeError(f"fault must return a key of FAULTS, and returned {said!r}")
        found[f"{what}: number in FAULTS, and what was cited"] = np.array(
            [kinds.index(said), value]
        )

    nearly_nothing = evidence["speed: A"]._replace(value=1e-4 * rng.random(), elsewhere=None)
    other_arm = nearly_nothing._replace(value=0.5 + rng.random())
    evidence["rest: A"], evidence["rest: B"] = nearly_nothing, other_arm
    ask("nearly 0, with the other arm's number", "rest: A", evidence["rest: B"].value)
    ask("nearly 0, with no arm's number", "rest: A", 1.5 + rng.random())

    for name in names:
        one = evidence[name]
        ask(f"{name} as measured", name, one.value)
        for edge in (1.0305, 1.0295, 0.9705, 0.9695):  # alike is 3 % of what was measured
            ask(f"{name} times {edge}", name, one.value * edge)
            ask(f"{name} of the other source, times {edge}", name, one.elsewhere * edge)
            for scale in (1000, 100, 0.01, 0.001):
                ask(f"{name} times {scale * edge}", name, one.value * scale * edge)
            for other in names:
                ask(f"{other} for {name}, times {edge}", name, evidence[other].value * edge)
        ask(f"{name} in another unit", name, one.value, "furlongs")
        for scale in (1000, 100, 0.01, 0.001):
            ask(f"{name} times {scale}", name, one.value * scale)
        ask(f"{name} of the other source", name, one.elsewhere)
        ask(f"{name} made up", name, 1234.5)
        ask(f"{name} not a number", name, math.nan)
        for other in names:
            ask(f"the number of {other} for {name}", name, evidence[other].value)
    only = {"speed: A": evidence["speed: A"]._replace(elsewhere=None)}
    said = fault("speed: A", Cited(99.0, only["speed: A"].unit), only)
    found["nothing elsewhere"] = np.array([kinds.index(said)])
    said = fault("speed: C", Cited(evidence["speed: A"].value, evidence["speed: A"].unit), evidence)
    found["never measured"] = np.array([kinds.index(said)])
    return {name: value.astype(float) for name, value in found.items()}


# 3.3.7 ------------------------------------------------------------------------------------------


def short_memo(evidence):
    numbers = {}
    for name in REQUIRED:
        one = evidence[name]
        numbers[name] = Cited(float(f"{one.value:.3g}"), one.unit)
    return numbers, "\n".join(f"- {name} came to {{{name}}}, see lesson 3.1." for name in numbers)


@exercise(
    "3.3.7",
    memo_example.memo,
    points=4,
    difficulty=3,
    minutes=40,
    rtol=0.03,
    atol=0.005,
    hints=(
        "Begin with the numbers: a dict from each name in REQUIRED to "
        "Cited(evidence[name].value, evidence[name].unit).",
        "Then write the text around {names in braces}; it is a plain string, not an f-string. "
        "Everything that is a number must be a name in braces.",
        "Six short paragraphs do: the two tasks, cost, what the state keeps, chance, limits. The "
        "first sentence is the recommendation.",
    ),
    mistakes=(
        Mistake(
            "a number is typed in the text, and cites nothing",
            "{simulations: MuZero} simulations earns",
            "16 ({simulations: MuZero}) simulations earns",
        ),
        Mistake(
            "a number that the memo has to cite is missing",
            "in REQUIRED + MORE}",
            "in REQUIRED[1:] + MORE}",
        ),
        Mistake(
            "the text cites something that is not among its numbers",
            "in REQUIRED + MORE}",
            "in REQUIRED}",
        ),
        Mistake(
            "a unit is not the one measured",
            "Cited(evidence[name].value, evidence[name].unit)",
            'Cited(evidence[name].value, "units")',
        ),
        Mistake(
            "the numbers are typed by hand and do not follow when they are measured anew",
            "Cited(evidence[name].value, evidence[name].unit)",
            "Cited(2.5, evidence[name].unit)",
        ),
        Mistake(
            "one of its numbers is not cited in the text",
            "{time of a decision: DreamerV3}: it practised before",
            "much less: it practised before",
        ),
    ),
    alternatives=(short_memo,),
)
def _(write, rng):
    evidence = some_evidence(rng, REQUIRED + MORE)
    numbers, text = write(evidence)
    found = memo.review(numbers, text, evidence)

    def cited(name):
        return numbers[name][0] if name in numbers else math.nan

    return {
        "measurements it must cite and does not": float(len(found.missing)),
        "numbers that are not the ones measured": float(len(found.faults)),
        "names in the text that are not among its numbers": float(len(found.unknown)),
        "numbers that the text does not cite": float(len(found.unused)),
        "numbers in the text that cite nothing": float(len(found.naked)),
        "fits on a page": float(20 <= found.words <= memo.ONE_PAGE),
        "what it cites": np.array([cited(name) for name in REQUIRED], float),
    }
