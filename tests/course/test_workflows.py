"""The workflows cannot run here: what they must never do, and the commands of one that grades."""

import json
import os
import re
import shutil
import subprocess
import sys
from xml.etree import ElementTree

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from utils.course import sandbox
from utils.course.exercise import ROOT
from utils.course.lesson_file import project

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in FILES}
PLACE = project()["tool"]["course"]["repository"].removeprefix("https://github.com/")
each = pytest.mark.parametrize("name", WORKFLOWS)


def steps(name):
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def step(workflow, name):
    return next(s for s in steps(workflow) if s.get("name") == name)


def test_there_are_three():
    assert list(WORKFLOWS) == ["ci", "grade", "newest"]


@each
def test_least_rights(name):
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    assert WORKFLOWS[name]["permissions"] == {"contents": "read"}
    assert not re.search(r"secrets|pull_request_target|workflow_run|token|write", text)
    assert all("permissions" not in job for job in WORKFLOWS[name]["jobs"].values())
    for use in (s for s in steps(name) if "uses" in s):
        assert use["uses"].startswith("actions/")
        assert "checkout" not in use["uses"] or use["with"]["persist-credentials"] is False


@each
def test_shell(name):
    for command in (s["run"] for s in steps(name) if "run" in s):
        # What a stranger can name, a branch or a title, must not become a command.
        assert set(re.findall(r"\$\{\{ *(\w+)", command)) <= {"matrix"}
        subprocess.run(["bash", "-n", "-c", command], check=True)


@each
@pytest.mark.skipif(not shutil.which("actionlint"), reason="no actionlint here; ci.yml has it")
def test_actionlint(name):
    subprocess.run(["actionlint", ROOT / f".github/workflows/{name}.yml"], check=True)


@each
def test_address_is_that_of_the_course(name):
    """The one in pyproject.toml; who changes it there changes it in the workflows too."""
    for job in WORKFLOWS[name]["jobs"].values():
        assert name == "grade" or job["if"] == f"github.repository == '{PLACE}'"


def test_tools_and_solutions_come_from_the_course_at_a_tag():
    course = step("grade", "The course")["with"]
    assert course["repository"] == PLACE
    assert course["ref"] == f"v{project()['project']['version']}"
    assert step("grade", "The learner's files")["with"].keys() == {"path", "persist-credentials"}
    assert WORKFLOWS["grade"][True].keys() == {"push", "workflow_dispatch"}  # yaml reads on as True
    for command in (s["run"] for s in steps("grade") if "run" in s):
        assert not re.search(r"mine/(?!my )", command)  # nothing of the learner's is run


def test_ubuntu_lets_the_sandbox_be():
    for name in WORKFLOWS:
        command = next(s["run"] for s in steps(name) if "bubblewrap" in s.get("run", ""))
        assert "sysctl -qw kernel.apparmor_restrict_unprivileged_userns=0" in command
    assert "--sandbox require" in step("grade", "Grade")["run"]


def test_ci_runs_what_a_person_runs():
    for s in steps("ci") + steps("newest"):
        for path in re.findall(r"\.ci/\w+(?:\.txt)?", str(s)):
            assert (ROOT / path).exists()
    assert "run" in step("ci", "Proof")["run"]


def test_course_demands_nothing_newer_than_colab_has():
    lines = (ROOT / ".ci/colab.txt").read_text().splitlines()
    colab = dict(line.split("==") for line in lines if line[0] != "#")
    assert re.search(r"on \d{4}-\d\d-\d\d", lines[0])
    for need in map(Requirement, project()["project"]["dependencies"]):
        if need.name in colab:
            assert Version(colab[need.name]) in need.specifier, need


@pytest.fixture(scope="module")
def checkouts(demo, tmp_path_factory):
    """The two folders that grade.yml checks out, with hostile names and texts in the learner's."""
    root = tmp_path_factory.mktemp("runner")
    shutil.copytree(demo, root / "course", symlinks=True)
    (root / "course/.venv/bin").mkdir(parents=True)
    python = root / "course/.venv/bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (root / "mine/my").mkdir(parents=True)
    solved = json.loads((demo / "solutions/0.1_demo.ipynb").read_text())
    cells = [c for c in solved["cells"] if "EXERCISE 0.1" in "".join(c["source"])]
    cells[0]["source"] = (
        "# EXERCISE 0.1.1\ndef symlog(x):\n"
        "    raise ValueError('\\x1b[1m\\n::error::owned ##[error]owned <b>`|`</b> [a](b)')"
    )
    (root / "mine/my/::error::0.1_<b>_`_|_\x1b.ipynb").write_text(json.dumps(solved))
    (root / "mine/my/=0.1_empty.ipynb").write_text("")
    return root


def test_grade_commands(checkouts):
    grade, summary = step("grade", "Grade"), checkouts / "summary.md"
    summary.write_text("What another step said.\n")
    wish = "off" if sandbox.missing() else "require"
    command = grade["run"].replace("--sandbox require", f"--sandbox {wish}")
    shell = ["bash", "-e", "-o", "pipefail", "-c", command]
    env = os.environ | {"GITHUB_STEP_SUMMARY": str(summary)}
    folder = checkouts / grade["working-directory"]
    done = subprocess.run(shell, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr  # not all points
    out = checkouts / "grades"
    one, empty = json.loads((out / "grades.json").read_text())["submissions"]
    assert (one["score"], one["max"], one["lesson"]) == (8, 9, "0.1")
    assert "ValueError" in one["exercises"][0]["why"]
    assert "empty" in empty["why"]
    assert {p.suffix for p in (out / "files").iterdir()} == {".json"}
    assert len(ElementTree.parse(out / "grades.xml").getroot()) == 2
    assert "\n'=0.1_empty,," in (out / "grades.csv").read_text()
    text = summary.read_text()
    assert text.startswith("What another step said.\n### Grades\n")
    assert "<b>" not in text
    for said in (done.stdout, done.stderr, text, (out / "grades.xml").read_text()):
        assert "\x1b" not in said
        assert not re.search(r"^\s*::|##\[", said, re.M)
    assert "8 of 9" in done.stdout


def test_setup_command_is_a_target_of_the_makefile(checkouts):
    assert "make -C course setup" in step("grade", "Set up")["run"]
    done = subprocess.run(["make", "-n", "-C", ROOT, "setup"], capture_output=True, text=True)
    assert ".ci/setup" in done.stdout
