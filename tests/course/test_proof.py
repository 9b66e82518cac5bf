"""Which changes make a lesson's slow proof due again, and what the command does then."""

import argparse

import pytest

from utils.course import commands, proof, readme, run

FILES = {
    "solutions/0.1_demo.py": "# training, 0.2 of it by `python -m assets.driver_runs`\n"
    'from utils.worlds import tabular\nlesson = begin("0.1")',
    "utils/__init__.py": "",
    "utils/checks/demo.py": "from utils import demo\nimport numpy.random",
    "utils/demo.py": "def f():\n    from utils.nn.random import normal\n",
    "utils/nn/__init__.py": "",
    "utils/nn/layers.py": "from utils import demo  # a circle",
    "utils/nn/random.py": "",
    "utils/nn/other.py": "",
    "utils/worlds/tabular.py": 'import utils.nn.layers\nload("driver.safetensors")',
    "utils/worlds/other.py": "from utils.worlds import tabular",
    "utils/course/check.py": "from utils.course import show",
    "utils/course/exercise.py": "",
    "utils/course/mutants.py": "",
    "utils/course/probes.py": "",
    "utils/course/show.py": "",
    "assets/checkpoints/driver.safetensors": "1",
    "assets/checkpoints/other.safetensors": "1",
    "assets/driver_runs.py": "",
    "assets/training.py": "",
    "assets/0.1_other_world.safetensors": "1",
    "assets/evidence/0.1.json": "{}",
    "assets/evidence/0.2.json": "{}",
}
NO_PART = {"utils/nn/other.py", "utils/worlds/other.py", "utils/course/show.py"}
NO_PART |= {"assets/checkpoints/other.safetensors"}
NO_PART |= {"assets/training.py", "assets/evidence/0.2.json"}  # a word of prose, and a number


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A course of one lesson, proven."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(proof, "ROOT", tmp_path)
    for module in (proof, readme):
        monkeypatch.setattr(module, "PROOF", tmp_path / "assets/proof.json")
    monkeypatch.setattr(proof, "text_of", lambda id: tmp_path / "solutions/0.1_demo.py")
    monkeypatch.setattr(proof, "checks_file", lambda id: tmp_path / "utils/checks/demo.py")
    assert not proof.proven("0.1")
    proof.keep("0.1")
    assert proof.proven("0.1")
    return tmp_path


@pytest.mark.parametrize("name", FILES)
def test_a_change_makes_it_due_where_it_can_matter(tree, name):
    (tree / name).write_text(FILES[name] + "\n# changed\n")
    assert proof.proven("0.1") == (name in NO_PART)
    (tree / name).write_text(FILES[name])
    assert proof.proven("0.1")


def test_a_module_that_is_new_or_gone_makes_it_due(tree):
    (tree / "utils/worlds/__init__.py").write_text("")
    assert not proof.proven("0.1")
    (tree / "utils/worlds/__init__.py").unlink()
    (tree / "utils/nn/random.py").unlink()
    assert not proof.proven("0.1")


def test_another_torch_makes_it_due(tree, monkeypatch):
    monkeypatch.setattr(proof, "project", lambda: {"tool": {"course": {"torch": "9.9"}}})
    assert not proof.proven("0.1")


@pytest.fixture
def prove(tree, monkeypatch):
    """`prove(evidence=..., mutants=...)` with these exit codes: the code, and what was called."""

    def command(**codes):
        called = []

        def stand_in(name, result):
            return lambda *given: called.append(name) or result

        for name in ("evidence", "mutants"):
            monkeypatch.setattr(commands, name, stand_in(name, codes.get(name, 0)))
        spent = {"seconds": 1.0, "cpu_seconds": 1.0}
        monkeypatch.setattr(run, "run_all", stand_in("run_all", spent))
        return commands.prove(argparse.Namespace(lesson=["0.1"])), called

    return command


def test_what_is_proven_is_not_repeated_but_its_evidence_is_judged(prove):
    assert prove() == (0, ["evidence"])
    assert prove(evidence=1) == (1, ["evidence"])


def test_what_changed_is_proven_and_kept_if_it_holds(tree, prove):
    (tree / "utils/demo.py").write_text("changed = True")
    assert prove(mutants=1) == (1, ["evidence", "mutants", "run_all"])
    assert prove(evidence=1) == (1, ["evidence", "mutants", "run_all"])
    assert prove() == (0, ["evidence", "mutants", "run_all"])
    assert prove() == (0, ["evidence"])
