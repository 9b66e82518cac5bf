"""Installs what a lesson needs and the machine lacks; called by every notebook's setup cell.

Standard library only: nothing else need be there yet. What is installed already stays at its
release, whatever a new package would like.
"""

import importlib
import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

# what only authors and graders use, or what a notebook that runs has anyway
TOOLS = {"jupyterlab", "jupytext", "nbval", "papermill", "pytest", "ruff", "ipykernel", "nbformat"}


class SetupError(Exception):
    """What stops the set-up, in one sentence."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]  # in a notebook: the sentence, without a page of frames


def missing(project: Path) -> list[str]:
    """The requirements of a lesson that are not installed here."""
    found = []
    for requirement in tomllib.loads(project.read_text())["project"]["dependencies"]:
        name = re.match(r"[\w-]+", requirement)[0]
        if name not in TOOLS and not all(
            map(_installed, [name] + ["box2d"] * ("box2d" in requirement))
        ):
            found.append(requirement)
    return found


def _installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return name == "box2d" and _installed("box2d-py")


def pins() -> list[str]:
    """`name==release` of all that is installed; of two with one name the first on the path."""
    found: dict[str, str] = {}
    for package in distributions():
        name, release = package.metadata["Name"], package.version
        if name and re.fullmatch(r"\d[\w.+!]*", release or ""):  # others pip would not read
            found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), f"{name}=={release}")
    return list(found.values())


def ready() -> None:
    """Installs what is missing, and changes no release of what is there.

    Raises:
        SetupError: pip could not; the sentence has its reason.
    """
    wanted = missing(Path(__file__).resolve().parents[2] / "pyproject.toml")
    if not wanted:
        return
    print("Installing", ", ".join(wanted), flush=True)
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write("\n".join(pins()))
        file.flush()
        pip = [sys.executable, "-m", "pip", "install", "-q", "-c", file.name, *wanted]
        done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["pip says nothing"]
        why = next((line for line in said if line.startswith("ERROR")), said[-1])
        raise SetupError(f"Could not install what is missing (is there a network?). {why}")
    importlib.invalidate_caches()  # so that this kernel sees what has just been installed
