"""The check engine in a real kernel: what a learner can do to it, and what it says."""

import json
import sys

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from utils.course import check as engine
from utils.course import commands
from utils.course.exercise import ROOT, CourseError, Mistake, exercise, get, load

IMPORTS = """
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from utils.agents import q_learning
from utils.course.check import check, hint, mine
from utils.worlds import tabular
class Tabular(tabular.Tabular):
    pass
"""
Q_UPDATE = """
# EXERCISE 1.1.1
def q_update(q, state, action, reward, next_state, terminated, alpha, gamma):
    BODY
    rows = torch.arange(len(q))
    error = reward + gamma * q[rows, next_state].amax(-1) * ~terminated - q[rows, state, action]
    q[rows, state, action] += alpha * error
    return error
"""
LEARN = """
# EXERCISE 1.1.2
def learn(self, state, action, reward, next_state, terminated):
    if not torch.compiler.is_compiling():
        seen.append("NAME")
    torch._dynamo.graph_break()
    tabular.Tabular.learn(self, state, action, reward, next_state, terminated)
"""
CHECK = 'q_update = check("1.1.1")'


def run(*cells: str) -> list[str]:
    """The text that each cell printed, in one fresh kernel."""
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in (IMPORTS, *cells)])
    resources = {"metadata": {"path": str(ROOT)}}
    NotebookClient(notebook, allow_errors=True, resources=resources).execute()
    texts = []
    for cell in notebook.cells[1:]:
        said = [o.get("text") or "\n".join(o.get("traceback", [])) for o in cell.outputs]
        texts.append("".join(said))
    return texts


def right(body: str) -> str:
    return Q_UPDATE.replace("BODY", body)


@pytest.fixture(scope="module")
def said() -> dict[str, str]:
    """One kernel, one scenario after the other; the check's words for each."""
    noisy = 'print("noise"); import warnings, sys; warnings.warn("w"); print("e", file=sys.stderr)'
    scenarios = {
        "right": [right("pass"), CHECK],
        "another device": ['torch.set_default_device("meta")', CHECK],
        "another dtype": [
            'torch.set_default_device("cpu"); torch.set_default_dtype(torch.float64)',
            CHECK,
        ],
        "restored": ["print(torch.get_default_dtype())"],
        "no gradients": [
            "torch.set_default_dtype(torch.float32); torch.set_grad_enabled(False)",
            CHECK,
        ],
        "prints and warns": ["torch.set_grad_enabled(True)", right(noisy), CHECK],
        "draws from global generators": [
            "torch.manual_seed(0); before = torch.rand(1); torch.manual_seed(0)",
            right("torch.rand(3)"),
            CHECK,
            "print(bool(before == torch.rand(1)))",
        ],
        "changes its input": [right("reward += 1; reward -= 1; reward *= 2; reward /= 2"), CHECK],
        "really changes its input": [right("next_state.clamp_(max=1)"), CHECK],
        "does not change q": [right("q = q.clone()"), CHECK],
        "endless": [right("while True: pass"), CHECK],
        "exits": [right("raise SystemExit(3)"), CHECK],
        "raises": [right("return undefined_name"), CHECK],
        "returns nothing": [right("return None"), CHECK],
        "returns a text": [right('return "0.5"'), CHECK],
        "unsolved": [right("raise NotImplementedError"), CHECK],
        "bootstraps at the end": [right("terminated = torch.zeros_like(terminated)"), CHECK],
        "not defined": ["del q_update", CHECK],
        "unknown": ['x = check("1.1.77")', 'hint("9.9.9")'],
        "hints": ['hint("1.1.1"); hint("1.1.1"); hint("1.1.1"); hint("1.1.1")'],
        "again without its check": [right("pass"), CHECK, right("return 1"), "print(2)", CHECK],
        "mine": [right("return 7"), CHECK, 'print(mine("1.1.1")(*[torch.zeros(1)] * 8))'],
        "checked twice": [right("return 7"), CHECK, CHECK],
        "name used for a number": [right("pass"), CHECK, "q_update = 0.5", CHECK],
        "name used for mine": [
            right("raise ValueError"),
            CHECK,
            'import contextlib; q_update = mine("1.1.1")',
            "with contextlib.suppress(Exception): q_update()",
            CHECK,
        ],
        "patched module": [
            "keep = q_learning.plan; q_learning.plan = lambda *a: None",
            right("pass"),
            CHECK,
            "q_learning.plan = keep",
        ],
        "patched class": [
            "keep = tabular.Tabular.learn; tabular.Tabular.learn = lambda *a: None",
            CHECK,
            "tabular.Tabular.learn = keep",
        ],
        "patched code": [
            "keep = q_learning.q_update.__code__",
            "q_learning.q_update.__code__ = (lambda *a: None).__code__",
            CHECK,
            "q_learning.q_update.__code__ = keep",
        ],
        "patched when called": [right("tabular.Tabular.draw = len"), CHECK],
    }
    names, cells = [], []
    for name, some in scenarios.items():
        names += [name] * len(some)
        cells += some
    found: dict[str, str] = {}
    for name, text in zip(names, run(*cells), strict=True):
        found[name] = found.get(name, "") + text
    return found


PASS = "PASS 1.1.1 q_update\n"
EXPECTED = {
    "right": PASS,
    "another device": PASS,
    "another dtype": PASS,
    "restored": "torch.float64\n",
    "no gradients": PASS,
    "prints and warns": PASS,
    "draws from global generators": PASS + "True\n",
    "name used for a number": 2 * PASS,
    "unsolved": "TODO 1.1.1 q_update: not solved yet; later cells use the reference\n",
}
PARTS = {
    "really changes its input": ["FAIL 1.1.1 q_update: ", "the argument next_state is changed in"],
    "does not change q": ["FAIL", "the argument q is to be changed in place"],
    "endless": ["FAIL", "did not end within 10 s", "Later cells use the reference."],
    "exits": ["FAIL", "SystemExit: 3"],
    "raises": ["NameError: name 'undefined_name' is not defined", "return undefined_name"],
    "returns nothing": ["FAIL", "NoneType", "not a number"],
    "returns a text": ["FAIL", "not a number"],
    "bootstraps at the end": ["yours", "target", "It looks as if the update bootstraps past the"],
    "not defined": ["FAIL", "q_update is not defined; run the cell above"],
    "unknown": ["There is no exercise 1.1.77; the lesson has 1.1.1 to", "There is no lesson 9.9"],
    "hints": ["Hint 1 of 3", "Hint 2 of 3", "Hint 3 of 3", "This is the last one."],
    "again without its check": [PASS, 'NOTE 1.1.1: q_update was defined anew; run its check("1.'],
    "mine": ["FAIL", "\n7\n"],
    "checked twice": ["FAIL"],
    "name used for mine": ["FAIL 1.1.1 q_update: ValueError", "the reference goes on"],
    "patched module": ["UNUSABLE 1.1.1 q_update: utils.agents.q_learning.plan was changed by"],
    "patched class": ["UNUSABLE", "utils.worlds.tabular.Tabular.learn was changed"],
    "patched code": ["UNUSABLE", "utils.agents.q_learning.q_update was changed"],
    "patched when called": ["UNUSABLE", "utils.worlds.tabular.Tabular.draw was changed by the ans"],
}


@pytest.mark.parametrize("scenario", EXPECTED)
def test_the_check_says_exactly(said: dict[str, str], scenario: str) -> None:
    assert said[scenario] == EXPECTED[scenario]


@pytest.mark.parametrize("scenario", PARTS)
def test_the_check_says(said: dict[str, str], scenario: str) -> None:
    for part in PARTS[scenario]:
        assert part in said[scenario]
    if "PASS" not in "".join(PARTS[scenario]):
        assert "PASS" not in said[scenario]


def test_the_note_comes_once_and_goes_with_the_check(said: dict[str, str]) -> None:
    assert said["again without its check"].count("NOTE") == 1


def test_a_rebound_compiled_method_runs_the_new_code() -> None:
    """torch.compile keeps the code of the method that a caller had before; the check clears it."""
    step = """
seen = []
model, one = Tabular(1, 3, 2), torch.zeros(1, dtype=torch.long)
caller = torch.compile(lambda m: m.learn(one, one, torch.ones(1), one, one.bool()), backend="eager")
"""
    rebind = 'Tabular.learn = check("1.1.2")\ncaller(model)\nprint(seen[-1])'
    first, second = LEARN.replace("NAME", "first"), LEARN.replace("NAME", "second")
    texts = run(step, first, rebind, second, rebind)
    assert texts[2] == "PASS 1.1.2 learn\nfirst\n"
    assert texts[4] == "PASS 1.1.2 learn\nsecond\n"


def test_a_mistake_must_stand_once_in_the_source() -> None:
    found = get("1.1.1")
    with pytest.raises(CourseError, match="stands 0 times"):
        found.patched(Mistake("", "no such text", ""))


def test_a_replaced_reference_is_refused() -> None:
    def impostor(x: object) -> object:
        return x

    with pytest.raises(CourseError, match="was replaced in this kernel"):
        exercise("1.1.1", impostor, points=1, difficulty=1, minutes=1, hints=(), mistakes=(),
                 alternatives=())  # fmt: skip


def test_evidence_survives_json_and_tells_right_from_wrong() -> None:
    found = load("1.1")[0]
    sent = json.loads(json.dumps(engine.encode(engine.outcome(found, found.reference, 5))))
    assert engine.verify("1.1.1", 5, sent) is None
    assert "differs" in engine.verify("1.1.1", 6, sent)
    del sent["error at the end"]
    assert engine.verify("1.1.1", 5, sent) == "error at the end is missing"


def test_a_file_is_read_as_it_is(tmp_path, monkeypatch, capsys) -> None:
    """`python -m utils check` on a file: what a check says, and its exit status."""

    def status(id: str, file: str) -> int:
        monkeypatch.setattr(sys, "argv", ["utils", "check", id, str(tmp_path / file)])
        return commands.main()

    for text, exit_status, says in (
        (right("pass"), 0, "PASS 1.1.1 q_update\n"),
        (right("return 1"), 1, "FAIL 1.1.1 q_update: "),
        ("x = (", 1, "FAIL 1.1.1 q_update: SyntaxError: "),
    ):
        (tmp_path / "answer.py").write_text(text)
        assert status("1.1.1", "answer.py") == exit_status
        assert capsys.readouterr().out.startswith(says)
    notebook = new_notebook(cells=[new_code_cell(right("raise NotImplementedError"))])
    nbformat.write(notebook, tmp_path / "answer.ipynb")
    assert status("1.1.1", "answer.ipynb") == 2
    assert status("1.1.2", "answer.ipynb") == 3
    assert "has no cell that begins with # EXERCISE 1.1.2" in capsys.readouterr().err
