"""Many submissions: found in files, folders and zips, graded by processes that may die.

One rule: a finished grade is a file, written aside and renamed; an existing one is skipped.
"""

import argparse
import contextlib
import functools
import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path, PurePosixPath
from typing import IO

from utils.course import report, sandbox
from utils.course.exercise import ROOT, CourseError

LARGEST = 50_000_000  # bytes of one submission
MINUTES = 30  # a grade takes one or two; what takes longer is hung
FEW = 5  # so many submissions are told in full on the terminal, more in a line each
KILLED = "its grader was killed twice; is there memory enough? Grade it alone"
NOTEBOOK = re.compile(r"\.(ipynb(\.txt|\.json)?|zip)$", re.I)  # browsers like to add an ending
OTHER = re.compile(r"(^|/)(\.|__MACOSX/)|\.old\d*\.ipynb$")  # hidden, or kept by `update`
# How learning platforms name what was handed in: Moodle, Canvas, Blackboard.
PLATFORMS = (
    re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_"),
    re.compile(r"(?P<name>[^_]+)(?:_LATE)?_(?P<id>\d{2,})_\d{2,}_"),
    re.compile(r".*_(?P<name>[^_]+)(?P<id>)_attempt_\d{4}-"),
)


@dataclass(frozen=True)
class Job:
    """One file that was handed in; in place of a file, why it is refused."""

    label: str
    student: tuple[str, str]  # name, and number where the platform gives one
    file: Path | Callable[[], IO[bytes]] | str

    @property
    def name(self) -> str:
        return PurePosixPath(self.label).name

    def content(self) -> bytes:
        """Raises CourseError with the reason if there is none."""
        try:
            if isinstance(self.file, str):
                raise ValueError(self.file)
            if isinstance(self.file, Path) and (self.file.is_symlink() or not self.file.is_file()):
                # A link can lead to another student's file, a pipe can wait for ever.
                raise ValueError("it is a link or a device, not a file")
            with self.file.open("rb") if isinstance(self.file, Path) else self.file() as file:
                raw = file.read(LARGEST + 1)
            if len(raw) > LARGEST:
                raise ValueError(f"it is larger than {LARGEST // 10**6} MB; clear its outputs")
        except Exception as error:  # a password, a method, a checksum: whatever a zip can have
            raise CourseError(str(error)) from error
        return raw


def find(paths: list[str]) -> list[Job]:
    """What the paths hold: notebooks, and refusals for what should have been one."""
    jobs: list[Job] = []
    for path in map(Path, paths):
        if not path.exists():
            raise CourseError(f"There is no file or folder {path}.")
        if path.is_dir() or path.suffix.lower() == ".zip":
            jobs += _handed_in(path)
        else:  # a link that is named is meant
            student = _student(path.parts) or (str(path.with_suffix("")), "")
            jobs.append(Job(str(path), student, path.resolve()))
    if not jobs:
        raise CourseError(f"There is no notebook in {', '.join(paths)}.")
    return jobs


def _handed_in(root: Path) -> list[Job]:
    """The notebooks in a folder or zip, and a refusal for each student who has none."""
    found = [(path, file) for path, file in _inside(root) if not OTHER.search(str(path))]
    tops = {path.parts[:-1][:1] for path, _ in found}
    skip = len(tops) == 1 and () not in tops  # a folder around all is no student
    jobs, without = [], {}
    for path, file in found:
        known, inner = _student(path.parts), path.parts[skip:]
        student = known or (inner[0] if len(inner) > 1 else path.stem or root.stem, "")
        if isinstance(file, str) or NOTEBOOK.search(path.name):
            jobs.append(Job(str(root / path), student, file))
        elif known:
            without[student] = str(root / path)
    have = {job.student for job in jobs}
    why = "it is no notebook, and there is no other file"
    return jobs + [Job(path, s, why) for s, path in without.items() if s not in have]


def _student(parts: tuple[str, ...]) -> tuple[str, str] | None:
    found = (m for pattern in PLATFORMS for part in parts if (m := pattern.match(part)))
    return next(((m["name"], m["id"]) for m in found), None)


def _inside(root: Path) -> Iterator[tuple[PurePosixPath, Path | Callable | str]]:
    """All files in a folder or zip. A zip in a folder is opened, a zip in a zip is not."""
    if root.is_dir():
        for file in sorted(root.rglob("*")):
            inner = PurePosixPath(file.relative_to(root).as_posix())
            if file.suffix.lower() == ".zip" and file.is_file() and not file.is_symlink():
                yield from ((inner / path, member) for path, member in _inside(file))
            elif file.is_symlink() or not file.is_dir():
                yield inner, file
        return
    try:
        archive = zipfile.ZipFile(root)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        yield PurePosixPath(), f"it is no zip, or cut off ({error})"
        return
    for info in archive.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            yield PurePosixPath(path.name), "its path leaves the zip"
        elif path.suffix.lower() == ".zip":
            yield path, "it is a zip inside a zip; unpack the outer one, and give the folder"
        elif not info.is_dir():
            yield path, functools.partial(archive.open, info)


def one(name: str, raw: bytes, shut_in: bool) -> dict:
    """The grade of one submission, in a process where no answer runs."""
    from utils.course.grade import grade_file

    with tempfile.TemporaryDirectory(prefix="wm-") as folder:
        path = Path(folder) / re.sub(r"[^\w.-]", "_", name)[-100:]
        path.write_bytes(raw)
        try:
            return grade_file(path, shut_in)
        except Exception as error:  # the rest of the cohort must be graded
            return ungraded(f"the grader failed: {type(error).__name__}: {error}")


def ungraded(why: str) -> dict:
    return {"file": "", "lesson": "", "score": 0, "max": 0, "exercises": [], "why": why}


def _work(pipe: connection.Connection, scratch: str, grade: Callable, *given: object) -> None:
    os.setsid()  # a group of its own: all of it can be ended, and Ctrl-C is the parent's to see
    tempfile.tempdir = os.environ["TMPDIR"] = scratch  # what a killed worker leaves goes with it
    pipe.send(grade(*given))


def local(
    work: dict[int, Job], shut_in: bool, workers: int, grade: Callable = one
) -> Iterator[tuple[int, dict]]:
    """A process a submission; one that is killed is started once more, then gets a row."""
    context = multiprocessing.get_context("forkserver")
    if len(work) > 1:  # torch is then loaded once
        context.set_forkserver_preload(["utils.course.grade", "utils.course.check"])
    waiting, busy, died = deque(work), {}, Counter()
    with tempfile.TemporaryDirectory(prefix="wm-", ignore_cleanup_errors=True) as scratch:
        try:
            while waiting or busy:
                while waiting and len(busy) < workers:
                    job = work[i := waiting.popleft()]
                    mine, theirs = context.Pipe(duplex=False)
                    given = theirs, scratch, grade, job.name, job.content(), shut_in
                    process = context.Process(target=_work, args=given)
                    process.start()
                    theirs.close()  # so that its death is the end of the pipe
                    busy[mine] = i, process, time.monotonic()
                for pipe in connection.wait(list(busy), timeout=1):
                    i, process, _ = busy.pop(pipe)
                    row = None
                    with contextlib.suppress(EOFError, OSError):
                        row = pipe.recv()
                    _end(process)
                    died[i] += row is None
                    if row is None and died[i] == 1:
                        waiting.append(i)
                    else:
                        yield i, row or ungraded(KILLED)
                for _, process, begun in busy.values():
                    if time.monotonic() - begun > 60 * MINUTES:
                        _end(process)
        finally:
            for _, process, _ in busy.values():
                _end(process)


def _end(process: multiprocessing.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # nbval too, and with it the kernel
    process.kill()
    process.join()


def on_ray(work: dict[int, Job], shut_in: bool, workers: int) -> Iterator[tuple[int, dict]]:
    """The same on the Ray cluster at RAY_ADDRESS, or on one that is started here."""
    try:
        import ray
    except ImportError as error:
        raise CourseError("--engine ray needs the package ray, which is not installed.") from error
    cores = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers}
    quiet = {"include_dashboard": False, "logging_level": "ERROR", "log_to_driver": False}
    ray.init(runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}}, **quiet, **cores)
    task, waiting, busy = ray.remote(max_retries=1)(one), deque(work), {}
    try:
        while waiting or busy:
            while waiting and len(busy) < 2 * ray.cluster_resources()["CPU"]:
                job = work[i := waiting.popleft()]
                busy[task.remote(job.name, job.content(), shut_in)] = i
            for ref in ray.wait(list(busy))[0]:
                try:
                    row = ray.get(ref)
                except ray.exceptions.RayError:
                    row = ungraded(KILLED)
                yield busy.pop(ref), row
    finally:
        ray.shutdown()


def version(shut_in: bool) -> str:
    """A hash of all that decides a grade: code, checks, solutions, and whether there are walls."""
    files = [*(ROOT / "utils").rglob("*.py"), *(ROOT / "solutions").glob("*.ipynb")]
    parts = [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(files)]
    return hashlib.sha256(" ".join([str(shut_in), *parts]).encode()).hexdigest()[:8]


def grade_all(
    jobs: list[Job], out: Path, engine: Callable, shut_in: bool, told: Callable[[dict], None]
) -> list[dict]:
    """The grades in the order of the jobs; `told` hears each when it is there."""
    course, rows, files, todo = version(shut_in), {}, {}, {}

    def take(i: int, row: dict) -> None:
        rows[i] = report.tidy(row, jobs[i].label)
        told(rows[i])

    out.mkdir(parents=True, exist_ok=True)
    for i, job in enumerate(jobs):
        try:
            content = hashlib.sha256(job.name.encode("utf-8", "replace") + b"\0" + job.content())
            files[i] = out / f"{content.hexdigest()[:20]}-{course}.json"
            take(i, json.loads(files[i].read_text()))
        except CourseError as error:
            take(i, ungraded(str(error)))
        except (OSError, ValueError):
            todo[i] = job
    with contextlib.closing(engine(todo, shut_in)) as finished:
        for i, row in finished:
            if "why" not in row:  # what was not graded is tried again the next time
                part = files[i].with_suffix(".part")
                part.write_text(json.dumps(report.tidy(row, jobs[i].label)))
                part.replace(files[i])
            take(i, row)
    return [rows[i] for i in range(len(jobs))]


def command(args: argparse.Namespace) -> int:
    """`python -m utils grade`; exit 0 if everything in every file passes."""
    shut_in, warning = sandbox.decide(args.sandbox)
    if warning:
        print(warning, file=sys.stderr)
    sys.stdout.reconfigure(errors="backslashreplace")
    for path in filter(None, map(vars(args).get, report.MAKERS)):
        if not Path(path).absolute().parent.is_dir():
            raise CourseError(f"There is no folder for {path}; make it first.")
    jobs, done = find(args.path), []

    def told(row: dict) -> None:
        done.append(row)
        print(report.table(row) if len(jobs) <= FEW else report.line(row), flush=True)

    engine = {"local": local, "ray": on_ray}[args.engine]
    engine = functools.partial(engine, workers=max(1, args.workers or 1))
    try:
        graded = grade_all(jobs, Path(args.out), engine, shut_in, told)
    except KeyboardInterrupt:
        print(f"Stopped. {len(done)} of {len(jobs)} are done; the same command goes on from here.")
        return 130
    for kind, make in report.MAKERS.items():
        if path := vars(args)[kind]:
            with open(path, "a" if kind == "summary" else "w", encoding="utf-8") as file:
                file.write(make(graded, [job.student for job in jobs]))
    if len(jobs) > 1:
        for id, says, n in report.mistakes(graded):
            print(f"{id} {n:>4} x it looks as if {says}")
    return int(any("why" in g or g["score"] < g["max"] for g in graded))
