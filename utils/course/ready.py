"""Installs what a lesson needs and the machine lacks; run by every notebook's setup cell.

Standard library only: it runs before anything else of the course can be imported. What is
installed already stays at its release, whatever a new package would like.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from importlib.metadata import PackageNotFoundError, distributions, version
from pathlib import Path

# what only authors and graders use, or what a notebook that runs has anyway
TOOLS = {"jupyterlab", "jupytext", "nbval", "papermill", "pytest", "ruff", "ipykernel", "nbformat"}


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


def main() -> None:
    wanted = missing(Path(__file__).resolve().parents[2] / "pyproject.toml")
    if not wanted:
        return
    print("Installing", ", ".join(wanted))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.writelines(f"{d.metadata['Name']}=={d.version}\n" for d in distributions())
        pins.flush()
        pip = [sys.executable, "-m", "pip", "install", "-q", "-c", pins.name, *wanted]
        done = subprocess.run(pip, capture_output=True, text=True)
    if done.returncode:
        sys.exit(
            f"Could not install {', '.join(wanted)} (is there a network?): {done.stderr[-500:]}"
        )


if __name__ == "__main__":
    main()
