import functools
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from multiprocessing import forkserver
from pathlib import Path

import psutil
import pytest

from tests.conftest import course
from utils.course import cohort
from utils.course.exercise import CourseError

SLOW = pytest.mark.skipif(not os.environ.get("WM_SLOW"), reason="set WM_SLOW to run it")


@pytest.fixture(scope="module", autouse=True)
def _bare_forkserver():
    forkserver.ensure_running()  # before `local` asks for one that has loaded torch


def zipped(path, **members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def refusals(path):
    """Label -> why, of what cannot be read in a folder or zip."""
    found = {}
    for job in cohort.find([str(path)]):
        try:
            job.content()
        except CourseError as error:
            found[str(Path(job.label).relative_to(path))] = str(error)
    return found


# Names as platforms give them


@pytest.mark.parametrize(
    ("name", "student"),
    [
        ("Anna Müller_12345_assignsubmission_file_/my work.ipynb", ("Anna Müller", "12345")),
        ("Jo van de Berg_7_assignsubmission_file/sub/x.ipynb", ("Jo van de Berg", "7")),
        ("A_B_12_assignsubmission_file_x.ipynb", ("A_B", "12")),
        ("doejane_12345_67890_x.ipynb", ("doejane", "12345")),
        ("doejane_LATE_12345_67890_x-1.ipynb", ("doejane", "12345")),
        ("Homework 1_jdoe_attempt_2026-01-31-12-00-00_x.ipynb", ("jdoe", "")),
        ("alice/1.1_dyna_q.ipynb", ("alice", "")),
        ("all/alice/1.1_dyna_q.ipynb", ("alice", "")),
        ("all/alice.ipynb", ("alice", "")),
        ("1.1_dyna_q.ipynb", ("1.1_dyna_q", "")),
        ("x.ipynb.txt", ("x.ipynb", "")),
    ],
)
def test_student_is_read_from_the_name(tmp_path, name, student):
    bob = name.replace("alice", "bob")  # with one name only, its folder could be the cohort's
    path = zipped(tmp_path / "cohort.zip", **{name: "{}", bob: "{}"})
    assert student in [job.student for job in cohort.find([str(path)])]


def test_folder_finds_notebooks_and_zips_but_not_copies(tmp_path):
    for name in ("a.ipynb", ".ipynb_checkpoints/a.ipynb", "a.old.ipynb", "a.old2.ipynb", "b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    zipped(tmp_path / "c.zip", **{"c/x.ipynb": "{}", "__MACOSX/c/._x.ipynb": ""})
    labels = [Path(job.label).relative_to(tmp_path) for job in cohort.find([str(tmp_path)])]
    assert list(map(str, labels)) == ["a.ipynb", "c.zip/c/x.ipynb"]


def test_student_without_a_notebook_gets_a_row(tmp_path):
    names = ["Al_1_assignsubmission_file_/report.pdf", "Bo_2_assignsubmission_file_/x.ipynb"]
    names.append("Bo_2_assignsubmission_file_/notes.txt")
    path = zipped(tmp_path / "c.zip", **dict.fromkeys(names, "{}"))
    assert refusals(path) == {names[0]: "it is no notebook, and there is no other file"}


def test_no_such_path_and_no_notebook(tmp_path):
    with pytest.raises(CourseError, match="There is no file or folder"):
        cohort.find([str(tmp_path / "none")])
    with pytest.raises(CourseError, match="There is no notebook"):
        cohort.find([str(tmp_path)])


# What must not be opened


def test_dangerous_zips_are_refused_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "LARGEST", 1000)
    members = {"../../slip.ipynb": "{}", "/etc/abs.ipynb": "{}", "..\\back.ipynb": "{}"}
    members |= {"./in.zip": "PK", "bomb.ipynb": bytes(10**6), "./a//good.ipynb": "{}"}
    path = zipped(tmp_path / "c.zip", **members)
    why = refusals(path)
    assert why.pop("bomb.ipynb").startswith("it is larger than")
    assert why.pop("in.zip").startswith("it is a zip inside a zip")
    assert why == dict.fromkeys(
        ("slip.ipynb", "abs.ipynb", "back.ipynb"), "its path leaves the zip"
    )
    assert [p.name for p in tmp_path.iterdir()] == ["c.zip"]


def test_broken_and_locked_zips_are_refused(tmp_path):
    (tmp_path / "cut.zip").write_bytes(zipped(tmp_path / "z", a="b" * 99).read_bytes()[:60])
    with zipfile.ZipFile(tmp_path / "locked.zip", "w") as archive:
        archive.writestr("x.ipynb", "{}")
        archive.filelist[0].flag_bits |= 1
    raw = zipped(tmp_path / "z", **{"y.ipynb": b"{}" * 50}).read_bytes()
    (tmp_path / "rotten.zip").write_bytes(raw.replace(raw[37:41], b"\xff" * 4, 1))
    why = refusals(tmp_path)
    assert "no zip, or cut off" in why["cut.zip"]
    assert "password" in why["locked.zip/x.ipynb"]
    assert why.keys() == {"cut.zip", "locked.zip/x.ipynb", "rotten.zip/y.ipynb"}


def test_links_and_pipes_in_a_folder_are_refused(tmp_path):
    (tmp_path / "alice.ipynb").write_text("{}")
    (tmp_path / "bob.ipynb").symlink_to("alice.ipynb")
    (tmp_path / "carl.ipynb").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "dan.ipynb")
    why = "it is a link or a device, not a file"
    assert refusals(tmp_path) == dict.fromkeys(("bob.ipynb", "carl.ipynb", "dan.ipynb"), why)
    assert cohort.find([str(tmp_path / "bob.ipynb")])[0].content() == b"{}"  # one that was named


# Workers that die. The grader is this one: it does what the submission says.


def obedient(name, raw, shut_in):
    word, _, rest = raw.decode().partition(" ")
    if word == "die" or (word == "once" and not Path(rest).exists()):
        Path(rest or "/dev/null").write_text(os.environ["TMPDIR"])
        (Path(os.environ["TMPDIR"]) / "left").touch()
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep(60) # {rest}"])
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "hang":
        time.sleep(60)
    row = {"id": "0.1.1", "name": "f", "status": "PASS", "points": 1, "max": 1}
    row |= {"why": f"{name} {shut_in}", "flags": []}
    return {"file": "", "lesson": "0.1", "score": 1, "max": 1, "exercises": [row]}


engine = functools.partial(cohort.local, workers=2, grade=obedient)


@pytest.fixture
def graded(tmp_path):
    """Grades files with these words in them; returns the rows by file name."""

    def grade(told=lambda row: None, **words):
        folder = tmp_path / "handed_in"
        folder.mkdir(exist_ok=True)
        for name, text in words.items():
            (folder / f"{name}.ipynb").write_text(text)
        jobs = cohort.find([str(folder)])
        rows = cohort.grade_all(jobs, tmp_path / "grades", engine, True, told)
        return {Path(row["file"]).stem: row for row in rows}

    grade.files = lambda: sorted((tmp_path / "grades").iterdir())
    return grade


def strays(word):
    return [p for p in psutil.process_iter(["cmdline"]) if word in str(p.info["cmdline"])]


def test_a_killed_worker_loses_only_the_submission_in_flight(graded, tmp_path):
    once = tmp_path / "once"
    rows = graded(a="fine", b=f"once {once}", c="die", d="fine", e="fine")
    assert rows.pop("c")["why"] == cohort.KILLED
    assert all(row["score"] == 1 and "why" not in row for row in rows.values())
    assert list(rows) == ["a", "b", "d", "e"]
    assert not Path(once.read_text()).exists()  # what a killed worker leaves in its scratch folder
    assert not strays(str(once))  # and the processes it had begun
    assert len(graded.files()) == 4  # a grade that was not reached is tried again


def test_a_finished_grade_is_skipped_and_a_changed_one_is_not(graded, monkeypatch):
    graded(a="fine", b="fine too")
    first = {p: p.stat().st_mtime_ns for p in graded.files()}
    assert graded(a="fine", b="fine too")["a"]["score"] == 1
    assert first == {p: p.stat().st_mtime_ns for p in graded.files()}
    graded(a="handed in again")
    assert len(graded.files()) == 3
    monkeypatch.setattr(cohort, "version", lambda shut_in: "changed")
    graded()
    assert len(graded.files()) == 5
    cut = next(p for p in graded.files() if "changed" in p.name)
    cut.write_text("{")  # by a full disk, say
    graded()
    assert json.loads(cut.read_text())["score"] == 1


def test_version_follows_code_solutions_and_walls(tmp_path, monkeypatch):
    (tmp_path / "utils").mkdir()
    (tmp_path / "solutions").mkdir()
    monkeypatch.setattr(cohort, "ROOT", tmp_path)
    seen = {cohort.version(True), cohort.version(False)}
    (tmp_path / "utils/a.py").write_text("1")
    seen.add(cohort.version(True))
    (tmp_path / "solutions/a.ipynb").write_text("1")
    assert len(seen | {cohort.version(True)}) == 4


def test_a_hung_grader_is_ended(graded, monkeypatch):
    monkeypatch.setattr(cohort, "MINUTES", 0.01)
    assert graded(a="hang")["a"]["why"] == cohort.KILLED


def test_ctrl_c_leaves_finished_grades_and_no_worker(graded):
    def interrupted(row):
        raise KeyboardInterrupt

    before = {p.pid for p in psutil.Process().children(recursive=True)}
    with pytest.raises(KeyboardInterrupt):
        graded(told=interrupted, a="fine", b="hang")
    assert len(graded.files()) == 1
    after = psutil.Process().children(recursive=True)
    assert {p.pid for p in after if p.status() != psutil.STATUS_ZOMBIE} <= before


def test_ray_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(CourseError, match="needs the package ray"):
        list(cohort.on_ray({}, False, 1))


def test_where_nothing_can_be_written_is_said_before_grading(demo, tmp_path):
    done = course(demo, "grade", "notebooks", "--sandbox", "off", "--csv", str(tmp_path / "no/x"))
    assert (done.returncode, done.stdout) == (3, "")
    assert "There is no folder for" in done.stderr


# The real grader


@SLOW
@pytest.mark.parametrize("name", ["local", "ray"])
def test_engines_grade_a_zip(demo, tmp_path, name):
    if name == "ray":
        pytest.importorskip("ray")
    path = tmp_path / "c.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(demo / "solutions/0.1_demo.ipynb", "doejane_123_456_x.ipynb")
        archive.write(demo / "notebooks/0.1_demo.ipynb", "roejohn_124_457_x.ipynb")
        archive.writestr("poejim_125_458_x.ipynb", "")
    files = ["--out", tmp_path / "out", "--csv", tmp_path / "x.csv", "--engine", name]
    done = course(demo, "grade", path, *map(str, files), "--workers", "2")
    assert done.returncode == 1, done.stderr
    rows = [line.split(",")[:9] for line in (tmp_path / "x.csv").read_text().splitlines()[1:]]
    assert rows[0] == ["doejane", "123", "1", "3", "2", "1", "2", "9", "9"]
    assert rows[1] == ["roejohn", "124", "0", "0", "0", "0", "0", "0", "9"]
    assert rows[2] == ["poejim", "125", "", "", "", "", "", "0", "0"]
    assert len(list((tmp_path / "out").iterdir())) == 2


@SLOW
def test_ctrl_c_in_the_terminal(demo, tmp_path):
    for i in range(4):
        text = (demo / "solutions/0.1_demo.ipynb").read_text()
        (tmp_path / f"{i}.ipynb").write_text(text.replace("np.abs(x))", f"np.abs(x))  # {i}"))
    command = [sys.executable, "-m", "utils", "grade", str(tmp_path), "--out", str(tmp_path / "o")]
    run = subprocess.Popen(
        [*command, "--workers", "1"], cwd=demo, stdout=subprocess.PIPE, text=True
    )
    first = run.stdout.readline()
    run.send_signal(signal.SIGINT)
    rest = run.communicate()[0]
    assert run.returncode == 130
    assert "9 of 9" in first
    assert "Stopped. 1 of 4 are done" in rest
    assert len(list((tmp_path / "o").glob("*.json"))) == 1
    assert not list((tmp_path / "o").glob("*.part"))
