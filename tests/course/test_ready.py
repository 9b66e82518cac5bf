"""What the setup cell finds missing, and what it holds fast."""

import sys
from pathlib import Path

import pytest

from utils.course import ready
from utils.course.exercise import ROOT


@pytest.fixture
def places(tmp_path, monkeypatch):
    """`places(folder, name, release)` puts a package on a path that holds no others."""
    monkeypatch.setattr(sys, "path", [str(tmp_path / "first"), str(tmp_path / "second")])

    def install(folder, name, release):
        info = tmp_path / folder / f"{name}-{release}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: {release}\n")

    return install


def test_pins_are_what_python_imports(places):
    places("second", "Six_teen", "1.0")  # a system's older copy, behind the one that counts
    places("first", "six-teen", "1.17.0")
    places("second", "torch", "2.11.0+cu128")
    places("second", "odd", "0.1-ubuntu.x")
    (Path(sys.path[1]) / "broken-1.0.dist-info").mkdir()  # left by an install that was killed
    assert sorted(ready.pins()) == ["six-teen==1.17.0", "torch==2.11.0+cu128"]


def test_missing_are_a_lessons_requirements(places, tmp_path):
    project, needs = tmp_path / "pyproject.toml", ["gymnasium[box2d]>=1.2", "jaxtyping>=0.2.36"]
    tools = ["jupyterlab>=4.2", "pytest>=8.4", "ruff>=0.14,<0.15"]
    project.write_text(f"[project]\ndependencies = {['torch>=2.9', *needs, *tools]}\n")
    places("first", "torch", "9.9")
    places("first", "gymnasium", "9.9")
    assert ready.missing(project) == needs
    places("first", "box2d-py", "2.3.8")  # the same module under its other name
    assert ready.missing(project) == needs[1:]


def test_all_requirements_are_here():
    assert ready.missing(ROOT / "pyproject.toml") == []


def test_nothing_missing_is_silence(capsys):
    ready.ready()
    assert capsys.readouterr().out == ""
