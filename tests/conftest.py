"""Fixtures for all tests, and the account of CPU seconds per lesson."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from utils.course.exercise import ROOT
from utils.course.readme import record

LIMIT = 45.0  # CPU seconds that the tests of one lesson may take
spent: Counter[str] = Counter()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "lesson(id): the test belongs to this lesson's account")


def _cpu() -> float:
    """CPU seconds of this process and of the children it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item):
    before = _cpu()
    done = yield
    marker = item.get_closest_marker("lesson")
    spent[marker.args[0] if marker else "house"] += _cpu() - before
    return done


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session):
    # Machines differ by a factor of two; what is over the budget is printed, twice of it fails.
    over = any(cpu > 2 * LIMIT for lesson, cpu in spent.items() if lesson != "house")
    if over and session.exitstatus == 0:
        session.exitstatus = 1
    return (yield)


def pytest_terminal_summary(terminalreporter) -> None:
    terminalreporter.section("CPU seconds")
    for lesson, cpu in sorted(spent.items()):
        over = f"  more than the {LIMIT:g} a lesson may take" * (lesson != "house" and cpu > LIMIT)
        terminalreporter.write_line(f"{lesson:>8} {cpu:7.1f}{over}")
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
