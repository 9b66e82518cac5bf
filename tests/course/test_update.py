import json
import os
import subprocess

import nbformat
import pytest
from nbformat import v4

from tests.conftest import course
from utils.course import lesson_file
from utils.course import update as module
from utils.course.exercise import CourseError
from utils.course.lesson_file import TODO
from utils.course.update import update

TITLE = ("m", "top-1", "# The lesson")
STUB = f'# EXERCISE 0.1.1\n# core; 1 point\ndef f(x):\n    """Doubles."""\n    {TODO}'
ANSWER = f"{STUB.partition(TODO)[0]}return 2 * x"
SECOND = f"# EXERCISE 0.1.2\ndef g(x, y):\n    {TODO}"
CHECKS = [("c", f"check-{n}", f'{name} = check("0.1.{n}")') for n, name in ((1, "f"), (2, "g"))]
PLOT = ("c", "plot-1", "plot(f, g, 10)")


def cells(*middle, first=STUB, second=SECOND, plot=PLOT):
    """A notebook of the lesson: title, two exercises with checks, whatever else, a plot."""
    exercises = [("c", "exercise-1", first), CHECKS[0], ("c", "exercise-2", second), CHECKS[1]]
    return [TITLE, *[c for c in exercises if c[2]], *middle, *[plot] * bool(plot)]


def write(path, given, ids=True, minor=5, output="old output"):
    notebook = v4.new_notebook()
    for kind, id, source in given:
        make = v4.new_code_cell if kind == "c" else v4.new_markdown_cell
        notebook.cells.append(make(source, id=id))
        if kind == "c" and output:
            notebook.cells[-1].outputs = [v4.new_output("stream", text=output)]
        if not ids:
            del notebook.cells[-1]["id"]
            notebook.cells[-1].metadata = {"id": "aB3_x"}  # as Colab does
    notebook.nbformat_minor = minor
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(notebook))
    return path


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A course that publishes versions of its one lesson, and a learner's file."""
    root = tmp_path / "course"
    for folder in ("notebooks", "solutions"):
        (root / folder).mkdir(parents=True)
    (root / "solutions/0.1_x.py").touch()
    monkeypatch.setattr(module, "ROOT", root)
    monkeypatch.setattr(lesson_file, "ROOT", root)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    def publish(given, history=False):
        write(root / "notebooks/0.1_x.ipynb", given, output="")
        if history:
            author = ["-c", "user.name=a", "-c", "user.email=a@b"]
            for command in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "new"]):
                subprocess.run(["git", "-C", root, *command], check=True)

    publish.file = tmp_path / "my/0.1_x.ipynb"
    return publish


def result(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    assert all(not c.get("outputs") for c in notebook.cells)
    return [c.source for c in notebook.cells]


def sources(given):
    return [source for _, _, source in given]


def test_answer_replaces_the_stub_and_the_rest_is_new(house):
    house(cells(plot=("c", "plot-1", "plot(f, g, 20)"), second=SECOND.replace(", y)", ", z)")))
    path = write(house.file, cells(first=ANSWER))
    before = path.read_bytes()
    said = update(path)
    wanted = cells(first=ANSWER, second=SECOND.replace(", y)", ", z)"))
    assert result(path)[:5] == sources(wanted)[:5]
    assert result(path)[5] == "plot(f, g, 20)"
    assert said[:2] == ["Carried over: 0.1.1.", "To do: 0.1.2."]
    assert path.with_name("0.1_x.old.ipynb").read_bytes() == before


def test_colab_notebook_without_ids(house):
    house(cells(("m", "new-1", "A new paragraph.")))
    path = write(house.file, cells(first=ANSWER), ids=False, minor=0)
    update(path)
    assert result(path) == sources(cells(("m", "new-1", "A new paragraph."), first=ANSWER))


@pytest.mark.parametrize("ids", [True, False])
def test_own_cells_stay_beside_their_neighbours(house, ids):
    house(cells(("m", "new-1", "A new paragraph.")))
    own = [("c", "x1", "%pip install me"), ("m", "x2", "My note."), ("c", "x3", "mine = f(1)")]
    given = cells(first=ANSWER)
    path = write(house.file, [own[0], *given[:3], own[1], *given[3:], own[2]], ids)
    update(path)
    new = sources(cells(("m", "new-1", "A new paragraph."), first=ANSWER))
    mine = sources(own)
    assert result(path) == [mine[0], *new[:3], mine[1], *new[3:], mine[2]]


def test_renamed_and_dropped_exercises_are_listed_and_kept(house):
    house(cells(second=SECOND.replace("def g", "def walk")))
    third = f"# EXERCISE 0.1.3\ndef h(x):\n\n    return '''{TODO}\n'''"
    given = cells(("c", "exercise-3", third), second=SECOND.replace(TODO, "return x"))
    said = update(write(house.file, given))
    assert "Exercise 0.1.2 is now walk: your answer is kept at the end." in said
    assert "Exercise 0.1.3 is no longer in the lesson: your answer is kept at the end." in said
    made = result(house.file)
    assert "def walk" in made[3]
    assert made[-3].startswith("## Kept from the older version")
    assert all(line.startswith("#") for kept in made[-2:] for line in kept.split("\n"))
    back = "\n".join(line[2:] for line in made[-1].split("\n")[1:])
    assert back == third


def test_a_stub_whose_contract_changed_is_no_answer(house):
    new = STUB.replace("Doubles.", "Doubles, in place.").replace("f(x)", "f(x, out)")
    house(cells(first=new))
    write(house.file, cells())
    assert "To do: 0.1.1, 0.1.2." in update(house.file)
    assert result(house.file) == sources(cells(first=new))


@pytest.mark.parametrize(
    "begun",
    [
        STUB.replace(TODO, f"y = x\n    {TODO}"),
        ANSWER.replace("return 2 * x", "return 2 *"),
        "# EXERCISE 0.1.1\nf = lambda x: 2 * x",
        "# EXERCISE 0.1.1\n%load_ext autoreload\ndef f(x): return 2 * x",
    ],
)
def test_work_that_was_begun_is_carried(house, begun):
    house(cells(("m", "new-1", "New.")))
    update(write(house.file, cells(first=begun)))
    assert result(house.file)[1] == begun


def test_a_fixed_bug_is_an_answer_and_the_bug_is_not(house):
    bug = "# EXERCISE 0.1.1\ndef f(x):\n    return x.sum()"
    house(cells(("m", "new-1", "New."), first=bug.replace("def", "# find the bug\ndef")))
    assert "To do: 0.1.1, 0.1.2." in update(write(house.file, cells(first=bug)))
    fixed = bug.replace("sum()", "sum(axis=-1)")
    assert "Carried over: 0.1.1." in update(write(house.file, cells(first=fixed)))


def test_two_cells_of_one_exercise_are_both_carried(house):
    house(cells(("m", "new-1", "New.")))
    given = cells(("c", "y", "# EXERCISE 0.1.1\nf = fast(f)"), first=ANSWER)
    update(write(house.file, given))
    assert result(house.file)[1:3] == [ANSWER, "# EXERCISE 0.1.1\nf = fast(f)"]


def test_with_the_history_only_what_the_learner_changed_is_kept(house):
    house(cells(("m", "story-1", "Old story."), ("c", "demo-1", "demo(1)")), history=True)
    house(cells(("m", "story-1", "New story."), ("c", "demo-1", "demo(2)")), history=True)
    given = [("m", "story-1", "Old story."), ("c", "demo-1", "demo(1, mine=True)")]
    update(write(house.file, cells(*given)))
    made = result(house.file)
    assert "Old story." not in made
    assert made[-1].endswith("\n# demo(1, mine=True)")
    # On Colab the same cells have no ids.
    update(write(house.file, cells(*given), ids=False))
    assert "Old story." not in result(house.file)
    assert "demo(1, mine=True)" in result(house.file)


def test_without_git_nothing_is_lost_either(house, monkeypatch):
    house(cells(("m", "story-1", "New story.")))
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    said = update(write(house.file, cells(("m", "story-1", "Old story."), first=ANSWER)))
    assert "Cells of your own: 0. Cells of the lesson that differ, kept: 1." in said
    assert result(house.file)[-1].endswith("\n# Old story.")


def test_updating_again_changes_nothing(house):
    house(cells(second=SECOND.replace("def g", "def walk")))
    own = ("c", "x", "mine")
    given = cells(own, first=ANSWER, second=SECOND.replace(TODO, "return x"))
    update(write(house.file, given))
    first = house.file.read_bytes()
    assert update(house.file) == [f"{house.file} is up to date."]
    assert house.file.read_bytes() == first
    house(cells(("m", "new-1", "New.")))
    update(house.file)
    names = sorted(p.name for p in house.file.parent.iterdir())
    assert names == ["0.1_x.ipynb", "0.1_x.old.ipynb", "0.1_x.old2.ipynb"]
    assert sum(s.startswith("## Kept from") for s in result(house.file)) == 1


def test_a_crash_leaves_the_file_as_it_was(house, monkeypatch):
    house(cells(("m", "new-1", "New.")))
    path = write(house.file, cells(first=ANSWER))
    before = path.read_bytes()
    monkeypatch.setattr(module.nbformat, "write", lambda notebook, path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        update(path)
    assert path.read_bytes() == before
    assert (
        os.listdir(path.parent) == ["0.1_x.ipynb", "0.1_x.old.ipynb"]
        or len(os.listdir(path.parent)) == 2
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "it is empty"), ("<html>", "a web page"), ("<<<<<<< HEAD\n", "conflict")],
)
def test_unreadable_files_are_left_alone(house, text, why):
    house(cells())
    house.file.parent.mkdir()
    house.file.write_text(text)
    with pytest.raises(CourseError, match=why):
        update(house.file)
    assert house.file.read_text() == text
    with pytest.raises(CourseError, match="There is no file"):
        update(house.file.with_name("none.ipynb"))


def test_command(demo, tmp_path):
    path = tmp_path / "0.1_demo.ipynb"
    text = (demo / "solutions/0.1_demo.ipynb").read_text()
    path.write_text(text.replace("does the machine work?", "an older title"))
    done = course(demo, "update", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Carried over: 0.1.1, 0.1.2, 0.1.3, 0.1.4, 0.1.5."
    assert course(demo, "update", str(path)).stdout == f"{path} is up to date.\n"
