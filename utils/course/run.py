"""Long runs: a whole lesson under a profile, and the evidence over all its seeds.

One rule: a finished run is a file, written aside and renamed; an existing file is skipped.
"""

import ast
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat

from utils.course.build import execute
from utils.course.exercise import ROOT, CourseError
from utils.course.lesson import judge
from utils.course.lesson_file import make, solution_of, text_of
from utils.course.store import commit, write_text


def run(lesson: str, profile: str) -> Path:
    """The solved lesson through papermill, into runs/; its checkpoints let it resume.

    Returns:
        the executed notebook; one that is there already is not run again.
    """
    import papermill  # here: its import costs two seconds that other commands need not pay

    name = f"{text_of(lesson).stem}.ipynb"
    target = ROOT / "runs" / lesson / profile / name
    if target.exists():
        print(f"{target.relative_to(ROOT)} is there already; remove it to run again.")
        return target
    solution_of(lesson)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part.ipynb")
    os.environ["WM_PROFILE"] = profile
    source = str(ROOT / "solutions" / name)
    parameters = {"PROFILE": profile}
    papermill.execute_notebook(source, str(part), parameters, cwd=str(ROOT), log_output=False)
    part.replace(target)
    return target


def evidence(lesson: str, jobs: int = 1) -> dict:
    """Runs the lesson for all its seeds, `jobs` at a time, judges its claims, and stores both in
    assets/evidence."""
    folder = evidence_folder(lesson)
    parts = [evidence_of_seed(lesson, 0)]
    if not parts[0]["together"]:
        others = range(1, parts[0]["seeds"])
        if jobs > 1:
            with ThreadPoolExecutor(jobs) as pool:  # each thread waits for a process
                list(pool.map(lambda seed: _aside(lesson, seed), others))
        parts += [evidence_of_seed(lesson, seed) for seed in others]
    # A run may leave out claims whose arm it did not train: each is of the runs that made it.
    names = dict.fromkeys(c["name"] for part in parts for c in part["claims"])
    claims = [_merged([c for p in parts for c in p["claims"] if c["name"] == n]) for n in names]
    made = {
        "lesson": lesson,
        "text": folder.name,
        "command": f"python -m utils evidence {lesson}",
        "seconds": round(sum(p["seconds"] for p in parts), 1),
        "cpu_seconds": round(sum(p["cpu_seconds"] for p in parts), 1),
        "device": parts[0]["hardware"],
        "seeds": parts[0]["seeds"],
        "commit": parts[0]["commit"],
        "claims": claims,
        "run_all": {
            profile: _stored_run_all(lesson, folder, profile) for profile in ("smoke", "quick")
        },
    }
    write_text(ROOT / f"assets/evidence/{lesson}.json", json.dumps(made, indent=1) + "\n")
    return made


def evidence_folder(lesson: str) -> Path:
    """Where finished seeds of the lesson as it is now are kept: another text is another folder."""
    folder = ROOT / "runs" / lesson / "evidence" / fingerprint(lesson)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _aside(lesson: str, seed: int) -> None:
    """One seed in a process of its own, which can count its own CPU seconds."""
    command = [sys.executable, "-m", "utils", "evidence", lesson, "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise CourseError(f"Seed {seed} of lesson {lesson}: {done.stderr.strip()[-2000:]}")


def stored_evidence(lesson: str) -> dict:
    path = ROOT / f"assets/evidence/{lesson}.json"
    if not path.exists():
        raise CourseError(
            f"Lesson {lesson} has no evidence; run: python -m utils evidence {lesson}"
        )
    made = json.loads(path.read_text())
    if made["text"] != fingerprint(lesson):
        raise CourseError(
            f"The evidence of lesson {lesson} is of another text of it; "
            f"run: python -m utils evidence {lesson}"
        )
    return made


def fingerprint(lesson: str) -> str:
    """What the solved lesson runs, its exercises among it, without comments and docstrings.

    The rest of `utils` is not part of it.
    """
    cells = [c for c in make(lesson, solved=True).cells if c.cell_type == "code"]
    tree = ast.parse("\n".join(c.source for c in cells if c.id != "setup"))
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()[:16]


def _plain(node) -> object:
    """A syntax tree as lists, without empty fields: these differ between versions of Python."""
    if isinstance(node, ast.AST):
        fields = ((name, _plain(value)) for name, value in ast.iter_fields(node))
        return [type(node).__name__, *(f for f in fields if f[1] not in (None, []))]
    return [_plain(n) for n in node] if isinstance(node, list) else node


def evidence_of_seed(lesson: str, seed: int) -> dict:
    """One run of the lesson in the evidence profile; skipped where its file exists."""
    folder = evidence_folder(lesson)
    done, part = folder / f"seed{seed}.json", folder / f"seed{seed}.part"
    if not done.exists():
        place = {"WM_CLAIMS": str(part), "WM_RUNS": str(folder / f"seed{seed}")}  # it resumes
        spent = run_all(lesson, "evidence", WM_RUN_SEED=str(seed), **place)
        if not part.exists():
            raise CourseError(f"Lesson {lesson} makes no claim; it needs no evidence.")
        write_text(part, json.dumps(json.loads(part.read_text()) | spent))
        part.replace(done)
    return json.loads(done.read_text())


def _stored_run_all(lesson: str, folder: Path, profile: str) -> dict:
    done = folder / f"run_all_{profile}.json"
    if not done.exists():
        spent = run_all(lesson, profile)
        write_text(
            done,
            json.dumps(
                {k: spent[k] for k in ("seconds", "cpu_seconds")} | {"device": spent["hardware"]}
            ),
        )
    return json.loads(done.read_text())


def run_all(lesson: str, profile: str, **environment: str) -> dict:
    """Runs the solved lesson; wall seconds, CPU seconds, hardware and commit."""
    wall, cpu = time.perf_counter(), _children()
    notebook = execute(make(lesson, solved=True), profile, **environment)
    spent = {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(_children() - cpu, 1),
    }
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                log = ROOT / "runs" / lesson / f"failed_{profile}.ipynb"
                nbformat.write(notebook, log)
                raise CourseError(
                    f"Lesson {lesson} fails in {profile} at cell {cell.id}: {output.ename}: "
                    f"{output.evalue[:300]} (see {log.relative_to(ROOT)})"
                )
    return spent | {"hardware": _hardware(), "commit": commit()}


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _hardware() -> str:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{os.cpu_count()} CPU cores ({platform.machine()}), torch {torch.__version__}"


def _merged(parts: list[dict]) -> dict:
    """One claim over the seeds of several runs."""
    import numpy as np

    first = parts[0]
    if len(parts) == 1:
        return first
    values = np.array([v for p in parts for v in p["values"]])
    base = (
        np.array([v for p in parts for v in p["relative_to"]]) if "relative_to" in first else None
    )
    return judge(first["name"], values, first["op"], first["bound"], base) | {"unit": first["unit"]}
