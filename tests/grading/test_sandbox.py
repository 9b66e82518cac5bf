"""What is said where there can be no sandbox, and what its bounds count."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.course import sandbox
from utils.course.exercise import CourseError


def fake(folder: Path, **scripts: str) -> str:
    """A folder for PATH in which these programs are."""
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_without_bubblewrap(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        CourseError, match=r"Not graded: bwrap is not installed.*apt install bubble"
    ):
        sandbox.decide("require")
    shut_in, warning = sandbox.decide("auto")
    assert not shut_in
    assert warning.startswith("Warning: bwrap is not installed")
    assert warning.endswith("Grade only files that you trust.")
    assert sandbox.decide("off") == (False, "")


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("bwrap: Unknown option --size", "older than 0.7"),
        ("bwrap: setting up uid map: Permission denied", "cannot make namespaces here"),
    ],
)
def test_a_bubblewrap_that_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, says: str, reason: str
):
    fails = f"echo '{says}' >&2; exit 1"
    monkeypatch.setenv("PATH", fake(tmp_path, prlimit=fails, bwrap=fails, setpriv=fails))
    with pytest.raises(CourseError, match=f"Not graded: .*{reason}"):
        sandbox.decide("require")


def test_family_is_found_below_a_process():
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as parent:
        end = time.monotonic() + 20
        while len(found := sandbox.family(parent.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        parent.communicate(b"\n")
    assert len(found) == 2
    assert next(iter(found)) == parent.pid
    assert os.getpid() not in found
    assert sandbox.family(os.getpid())[os.getpid()] > 1 << 20
