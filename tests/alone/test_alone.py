"""A notebook opened by itself: an empty folder, a fresh environment, and its first cell."""

import time
from pathlib import Path
from zipfile import ZipFile

import pytest
from nbclient.exceptions import DeadKernelError

from utils.course.exercise import load
from utils.course.lesson_file import make

MISSING = {"jaxtyping", "safetensors", "box2d", "anywidget", "minatar", "cma"}
NOTEBOOK = make("1.1", solved=False)  # what notebooks/ holds: another test proves that
SETUP = next(cell.source for cell in NOTEBOOK.cells if cell.id == "setup")
MEMORY = "import resource as r; print(r.getrusage(r.RUSAGE_{}).ru_maxrss // 1024, 'MB', end='')"
NOWHERE = "http://127.0.0.1:9"


def text(cell) -> str:
    return "".join(output.get("text", "") for output in cell.outputs)


def error(cell) -> list[str]:
    """What the reader sees of a cell's errors."""
    return [line for o in cell.outputs if o.output_type == "error" for line in o.traceback]


@pytest.mark.parametrize("colab", [True, False])
def test_a_notebook_sets_itself_up(machine, tmp_path, capsys, colab):
    sources = [c.source for c in NOTEBOOK.cells if c.cell_type == "code"]
    env = {}
    if colab:
        stub = tmp_path / "site/google/colab/__init__.py"
        stub.parent.mkdir(parents=True)
        stub.write_text("")
        env["PYTHONPATH"] = str(tmp_path / "site")
        sources[0] = f"import google.colab\n{sources[0]}"
    before = machine.releases()
    assert not MISSING & set(before)

    start = time.monotonic()
    cell, pip = machine.run([sources[0], MEMORY.format("CHILDREN")], tmp_path / "content", **env)
    setup = time.monotonic() - start
    assert error(cell) == []
    assert text(cell).startswith(f"Fetching the course from {machine.env['WM_REPO']}\nInstalling ")
    after = machine.releases()
    assert {name: after[name] for name in before} == before
    assert set(machine.kept) <= set(before)
    assert set(after) - set(before) >= MISSING
    assert "box2d_py" not in after  # it would have to be compiled

    # Again, and all of it: the course and the packages are there, so nothing is fetched.
    start = time.monotonic()
    cells = machine.run(
        [*sources, MEMORY.format("SELF")], tmp_path / "content", **env, WM_REPO=NOWHERE
    )
    assert [line for c in cells for line in error(c)] == []
    assert text(cells[0]) == ""
    said = [line for c in cells for line in text(c).splitlines()]
    todo = [line.split()[1] for line in said if line.startswith("TODO ")]
    assert todo == [exercise.id for exercise in load("1.1")]
    assert machine.releases() == after
    lesson = time.monotonic() - start
    with capsys.disabled():
        print(f"\nset up in {setup:.0f} s ({text(pip)}); then ", end="")
        print(f"the whole lesson in smoke {lesson:.0f} s ({text(cells[-1])})")


def wheel(folder: Path, name: str, release: str, needs: str = "") -> None:
    """An empty package that pip can install."""
    info = f"{name}-{release}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n"
    with ZipFile(folder / f"{name}-{release}-py3-none-any.whl", "w") as file:
        file.writestr(f"{info}/METADATA", head + f"Requires-Dist: {needs}\n" * bool(needs))
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")


def test_a_package_that_would_replace_another_is_refused(machine, tmp_path):
    wheel(tmp_path, "numpy", "99.0")
    wheel(tmp_path, "greedy", "1.0", needs="numpy>=99")
    greedy = "from utils.course import ready\nready.missing = lambda _: ['greedy']\nready.ready()"
    before, cells = machine.releases(), [SETUP.removesuffix("ready()"), greedy]
    _, cell = machine.run(cells, tmp_path / "content", PIP_FIND_LINKS=str(tmp_path))
    (said,) = error(cell)
    assert "ERROR: Cannot install greedy" in said
    assert machine.releases() == before


def test_a_lost_runtime_is_resumed_from_a_drive_folder(machine, tmp_path):
    train = """
import os, signal, torch
from utils.course.lesson import begin
run = begin("1.1", folder=os.environ["DRIVE"]).resume("walk", {"seed": 0})
generator, x, first = torch.Generator().manual_seed(0), torch.zeros(3), 0
if (tree := run.load()) is not None:
    generator.set_state(tree["generator"])
    x, first = tree["x"], tree["step"]
for step in range(first, 30):
    x = x + torch.randn(3, generator=generator)
    if step % 4 == 3:
        run.save({"step": step + 1, "x": x, "generator": generator.get_state()})
    if step == 17 and os.environ.get("DIES"):
        os.kill(os.getpid(), signal.SIGKILL)
print(first, x.tolist())
"""
    drive = str(tmp_path / "drive/My Drive/course")
    with pytest.raises(DeadKernelError):
        machine.run([SETUP, train], tmp_path / "first", DRIVE=drive, DIES="1")
    resumed = machine.run([SETUP, train], tmp_path / "second", DRIVE=drive)
    whole = machine.run([SETUP, train], tmp_path / "third", DRIVE=str(tmp_path / "other"))
    assert error(resumed[1]) == error(whole[1]) == []
    first, x = text(resumed[1]).splitlines()[-1].split(" ", 1)
    assert first == "16"
    assert text(whole[1]).splitlines()[-1] == f"0 {x}"


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"WM_REF": "v9"}, "fetch the course: fatal: Remote branch v9 not found in upstream"),
        ({"WM_REPO": f"{NOWHERE}/course.git"}, "fetch the course: fatal: unable to access"),
        ({"PATH": "/nowhere"}, "fetch the course: git is not installed here"),
        (
            {"PIP_NO_INDEX": "0", "PIP_FIND_LINKS": "", "PIP_INDEX_URL": NOWHERE},
            "install what is missing (is there a network?). ERROR: Could not find a version",
        ),
    ],
    ids=["wrong reference", "no network", "no git", "no packages"],
)
def test_what_stops_the_setup_is_a_sentence(bare_machine, tmp_path, env, sentence):
    cell, _ = bare_machine.run([SETUP, "1"], tmp_path / "content", **env)
    (said,) = error(cell)
    assert said.startswith(f"Could not {sentence}")
    assert "\n" not in said
    assert len(said) < 250


def test_another_utils_is_not_taken_for_the_course(bare_machine, tmp_path):
    (tmp_path / "site/utils").mkdir(parents=True)
    (tmp_path / "site/utils/__init__.py").write_text("")
    env = {"PYTHONPATH": str(tmp_path / "site")}
    _, cell = bare_machine.run(["import utils", SETUP], tmp_path / "content", **env)
    (said,) = error(cell)
    assert said.startswith("Another package is called utils: ")
