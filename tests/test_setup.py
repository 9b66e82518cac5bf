"""`make setup` says in one sentence what is missing, and does no harm when it is run again."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from utils.course.exercise import ROOT

TOOLS = ("sh", "dirname", "cat", "cksum", "df", "awk", "sed", "rm", "grep", "tail", "printf")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout's set-up on a machine that has the shell's tools and nothing else."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/setup", tmp_path / ".ci")
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "bin").mkdir()
    for tool in TOOLS:
        if found := shutil.which(tool):
            (tmp_path / "bin" / tool).symlink_to(found)
    return tmp_path


def program(machine: Path, name: str, text: str) -> None:
    path = machine / "bin" / name
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def setup(machine: Path) -> subprocess.CompletedProcess:
    env = {"PATH": str(machine / "bin"), "HOME": str(machine)}
    return subprocess.run(
        ["sh", str(machine / ".ci/setup")], env=env, capture_output=True, text=True
    )


def test_no_python(machine: Path) -> None:
    done = setup(machine)
    assert done.returncode == 1
    assert done.stderr.startswith("Set-up stops: no Python 3.11 to 3.13 was found; install one")
    assert done.stderr.count("\n") == 1


def test_a_python_that_is_too_old_is_none(machine: Path) -> None:
    program(machine, "python3", "exit 1")  # what the version test of an old one says
    assert "no Python 3.11 to 3.13 was found" in setup(machine).stderr


def test_no_disk(machine: Path) -> None:
    program(machine, "df", "echo head; echo disk 9 9 1048576 9% /")
    done = setup(machine)
    assert done.returncode == 1
    assert "needs 3 GB of free disk here" in done.stderr
    assert "there are 1 GB" in done.stderr


def test_no_virtual_environments(machine: Path) -> None:
    program(machine, "python3", 'case "$*" in *venv*) exit 1;; esac; exit 0')
    assert "install the package python3-venv" in setup(machine).stderr


def test_no_network(machine: Path) -> None:
    """A real virtual environment, and an index that nobody answers."""
    (machine / "bin/python3").symlink_to(os.path.realpath(sys.executable))
    config = machine / "pip.conf"
    config.write_text("[global]\nindex-url = http://127.0.0.1:9/\nno-index = true\nretries = 0\n")
    env = {"PATH": str(machine / "bin"), "HOME": str(machine), "PIP_CONFIG_FILE": str(config)}
    command = ["sh", str(machine / ".ci/setup")]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 1
    assert "a package could not be installed (is there a network?)" in done.stderr
    assert "torch" in done.stderr
    assert not (machine / ".venv/ready").exists()


def test_nothing_is_done_twice(machine: Path) -> None:
    program(machine, "python3", 'case "$*" in *venv*) exit 1;; esac; exit 0')
    (machine / ".venv").mkdir()
    sum_of_both = (machine / "pyproject.toml").read_text() + (machine / ".ci/setup").read_text()
    command = ["cksum"]
    known = subprocess.run(command, input=sum_of_both, capture_output=True, text=True).stdout
    (machine / ".venv/ready").write_text(known.strip())
    done = setup(machine)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
