"""A machine like Colab's, with nothing of the course on it: `pytest tests/alone --alone`.

The packages come from wherever pip finds them on this machine; after that there is no network.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from utils.course.exercise import ROOT
from utils.course.lesson_file import project
from utils.course.ready import TOOLS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", action="store_true", help="set lessons up in an empty folder")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents and not config.getoption("--alone", False):
            item.add_marker(pytest.mark.skip(reason="a fresh environment: give --alone"))


class Machine:
    """A Python with packages of its own, and kernels on it that no network reaches.

    Of the lessons' requirements it has those of Colab's (releases in .ci/colab.txt) but anywidget,
    so that a widget is installed beside Colab's old ipywidgets.
    """

    kept = (
        *("torch", "numpy", "gymnasium", "matplotlib"),
        *("ipywidgets", "ipykernel", "ipython", "jupyter_client"),
    )
    nowhere = "http://127.0.0.1:9"

    def __init__(self, home: Path, wheels: Path, course: Path) -> None:
        self.python, self.home = home / "bin/python", home
        self.env = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}
        self.env |= dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), self.nowhere)
        self.env |= {"GIT_CONFIG_GLOBAL": os.devnull, "PIP_CONFIG_FILE": os.devnull}
        self.env |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(wheels), "PIP_RETRIES": "0"}
        self.env |= {"WM_REPO": f"file://{course}", "WM_REF": "main", "WM_PROFILE": "smoke"}

    def pip(self, *arguments: object, **env: str) -> str:
        command = [self.python, "-m", "pip", "--disable-pip-version-check", *arguments]
        done = subprocess.run(command, env=env or self.env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def releases(self) -> dict[str, str]:
        listed = json.loads(self.pip("list", "--format=json"))
        return {re.sub(r"[-_.]+", "_", p["name"]).lower(): p["version"] for p in listed}

    def run(self, cells: list[str], folder: Path, **env: str) -> list[nbformat.NotebookNode]:
        """Runs cells one after the other in a kernel in `folder`, to the first error: the cells."""
        folder.mkdir(parents=True, exist_ok=True)
        spec = {"argv": [str(self.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]}
        place = self.home / "kernels/alone"
        place.mkdir(parents=True, exist_ok=True)
        (place / "kernel.json").write_text(json.dumps(spec | {"display_name": "", "language": ""}))
        specs = KernelSpecManager(kernel_dirs=[str(place.parent)], ensure_native_kernel=False)
        kernel = AsyncKernelManager(kernel_name="alone", kernel_spec_manager=specs)
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        client = NotebookClient(notebook, km=kernel, timeout=300, allow_errors=True)
        client.execute(env=self.env | env, cwd=str(folder))
        return notebook.cells


@pytest.fixture(scope="session")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository of what a commit of this working tree would hold."""
    tree = tmp_path_factory.mktemp("tree")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@example.org"]
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    bare = tree.with_suffix(".git")
    for command in (
        ["init", "-q", "-b", "main"],
        ["add", "--all"],
        ["commit", "-q", "-m", "a commit"],
        ["clone", "-q", "--bare", ".", bare],
    ):
        subprocess.run([*git, *command], cwd=tree, check=True)
    return bare


@pytest.fixture(scope="session")
def bare_machine(tmp_path_factory: pytest.TempPathFactory, course: Path) -> Machine:
    """What a runtime has before the first cell; nothing may be installed on it."""
    home, wheels = tmp_path_factory.mktemp("machine"), tmp_path_factory.mktemp("wheels")
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    machine = Machine(home, wheels, course)
    listed = (ROOT / ".ci/colab.txt").read_text()
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", listed, re.M))
    pins["torch"] = project()["tool"]["course"]["torch"]  # the one that a checkout has fetched
    online = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    kept = [f"{name}=={pins[name]}" for name in machine.kept]
    machine.pip("install", "-q", *kept, "pillow", "tqdm", **online)
    needs = project()["project"]["dependencies"]
    wanted = [r for r in needs if re.match(r"[\w-]+", r)[0] not in TOOLS]
    machine.pip("download", "-q", "-d", wheels, *kept, *wanted, **online)
    return machine


@pytest.fixture
def machine(bare_machine: Machine, tmp_path: Path, course: Path) -> Machine:
    """A bare machine of one's own."""
    home = tmp_path / "machine"  # links: hundreds of megabytes in a second
    shutil.copytree(bare_machine.home, home, symlinks=True, copy_function=os.link)
    return Machine(home, Path(bare_machine.env["PIP_FIND_LINKS"]), course)
