"""Fixtures for all tests, and the account of CPU seconds per lesson."""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
import torch

from utils.course.exercise import ROOT
from utils.course.readme import record

# A CPU second is worth less on a slower or a busier machine, and no lesson should fail for that.
# So a fixed piece of work is timed beside the tests, and their seconds are turned into those of the
# machine that the budgets were set on.
LIMIT = 45.0  # CPU seconds that the tests of one lesson may take there
PIECE = 0.0065  # CPU seconds of the piece of work there
spent: Counter[str] = Counter()  # account -> CPU seconds here
worth: Counter[str] = Counter()  # account -> CPU seconds there
pace = 0.0  # CPU seconds of the piece of work here, when it was last timed


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lesson(id): the test belongs to this lesson's account")


def _cpu() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _piece() -> float:
    """CPU seconds of a piece of work like that of the tests: small tensors, and Python."""
    times, source = [], "def f(x):\n" + "    x = [x + 1, {'a': x}]\n" * 40
    for _ in range(5):
        start, x = time.process_time(), torch.ones(8, 4)
        for _ in range(600):
            x = (x * 0.9 + 0.1).clamp(max=1.0)
        for _ in range(10):
            compile(source, "a piece of work", "exec")
        times.append(time.process_time() - start)
    return statistics.median(times)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    global pace
    before, last = _cpu(), pace
    done = yield
    cpu, marker = _cpu() - before, item.get_closest_marker("lesson")
    if not pace or cpu > 0.5:  # what is short has the pace of the test before
        pace = _piece()
    account = marker.args[0] if marker else "house"
    spent[account] += cpu
    worth[account] += cpu * PIECE / statistics.mean([last or pace, pace])
    return done


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session):
    over = any(cpu > LIMIT for lesson, cpu in worth.items() if lesson != "house")
    if over and session.exitstatus == 0:
        session.exitstatus = 1
    return (yield)


def pytest_terminal_summary(terminalreporter) -> None:
    terminalreporter.section("CPU seconds here, and on the machine that the budgets were set on")
    for lesson, cpu in sorted(worth.items()):
        over = f"  more than the {LIMIT:g} a lesson may take" * (lesson != "house" and cpu > LIMIT)
        terminalreporter.write_line(f"{lesson:>8} {spent[lesson]:7.1f} {cpu:7.1f}{over}")
        if os.environ.get("WM_RECORD"):
            record("tests", lesson, round(cpu, 1))


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A course of its own with one numpy-only lesson, 0.1, built."""
    root = tmp_path_factory.mktemp("course")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "utils", root / "utils", ignore=ignore)
    for file in (root / "utils/checks").glob("[!_]*.py"):
        file.unlink()
    shutil.copytree(ROOT / "tests/demo", root, ignore=ignore, dirs_exist_ok=True)
    shutil.copy(ROOT / "pyproject.toml", root)
    for folder in ("notebooks", "assets/evidence"):
        (root / folder).mkdir(parents=True)
    done = course(root, "build", "0.1")
    assert done.returncode == 0, done.stdout + done.stderr
    return root


def course(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """Runs `python -m utils ...` in a course."""
    command = [sys.executable, "-m", "utils", *arguments]
    env = os.environ | environment
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
