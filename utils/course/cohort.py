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

from utils.course import report, sandbox
from utils.course.exercise import ROOT, CourseError

LARGEST = 50_000_000  # bytes of one submission
MINUTES = 30  # a grade takes one or two; what takes longer is hung
FEW = 5  # so many submissions are told in full on the terminal, more in a line each
KILLED = "its grader was killed twice; is there memory enough? Grade it alone"
NOTEBOOK = re.compile(r"\.ipynb(\.txt|\.json)?$", re.I)  # browsers like to add an ending
OTHER = re.compile(r"(^|/)(\.|__MACOSX/)|\.old\d*\.ipynb$")  # hidden, or kept by `update`
# How learning platforms name what was handed in: Moodle, Canvas, Blackboard.
PLATFORMS = (
    re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_"),
    re.compile(r"(?P<name>[^_]+)(?:_LATE)?_(?P<id>\d+)_\d+_"),
    re.compile(r".*_(?P<name>[^_]+)(?P<id>)_attempt_\d{4}-"),
)


@dataclass(frozen=True)
class Job:
    """One file that was handed in. `read` raises CourseError where that is impossible."""

    label: str
    student: tuple[str, str]  # name, and number where the platform gives one
    read: Callable[[], bytes]


def find(paths: list[str]) -> list[Job]:
    """What the paths hold: notebooks, and refusals for what should have been one."""
    jobs: list[Job] = []
    for path in map(Path, paths):
        if not path.exists():
            raise CourseError(f"There is no file or folder {path}.")
        if path.is_dir() or path.suffix.lower() == ".zip":
            jobs += _handed_in(path)
        else:
            file = path.resolve()  # a link that was named is meant; one in a folder is not
            student = _student(path.parts) or (str(path.with_suffix("")), "")
            jobs.append(Job(str(path), student, functools.partial(_disk, file)))
    if not jobs:
        raise CourseError(f"There is no notebook in {', '.join(paths)}.")
    return jobs


def _handed_in(root: Path) -> list[Job]:
    """The notebooks in a folder or zip, and a refusal for each student who has none."""
    found = [(path, read) for path, read in _inside(root) if not OTHER.search(str(path))]
    tops = {path.parts[:-1][:1] for path, _ in found}
    skip = len(tops) == 1 and () not in tops  # a folder around all is no student
    jobs, without = [], {}
    for path, read in found:
        named, inner = _student(path.parts), path.parts[skip:]
        student = named or (inner[0] if len(inner) > 1 else path.stem or root.stem, "")
        if NOTEBOOK.search(path.name) or path.suffix.lower() == ".zip" or not path.parts:
            jobs.append(Job(str(root / path), student, read))
        elif named:
            without[student] = str(root / path)
    have = {job.student for job in jobs}
    refuse = functools.partial(_refuse, "it is no notebook, and there is no other file")
    return jobs + [Job(path, s, refuse) for s, path in without.items() if s not in have]


def _student(parts: tuple[str, ...]) -> tuple[str, str] | None:
    found = (m for pattern in PLATFORMS for part in parts if (m := pattern.match(part)))
    return next(((m["name"], m["id"]) for m in found), None)


def _inside(root: Path) -> Iterator[tuple[PurePosixPath, Callable[[], bytes]]]:
    """Path and content of every file in a folder or zip; zips in a folder are opened, once."""
    if root.is_dir():
        for file in sorted(root.rglob("*")):
            inner = PurePosixPath(file.relative_to(root).as_posix())
            if file.suffix.lower() == ".zip" and file.is_file() and not file.is_symlink():
                yield from ((inner / path, read) for path, read in _inside(file))
            elif file.is_symlink() or not file.is_dir():
                yield inner, functools.partial(_disk, file)
        return
    try:
        archive = zipfile.ZipFile(root)
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        yield PurePosixPath(), functools.partial(_refuse, f"it is no zip, or cut off ({error})")
        return
    for info in archive.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            yield PurePosixPath(path.name), functools.partial(_refuse, "its path leaves the zip")
        elif path.suffix.lower() == ".zip":
            why = "it is a zip inside a zip; unpack it, and give the folder"
            yield path, functools.partial(_refuse, why)
        elif not info.is_dir():
            yield path, functools.partial(_member, archive, info)


def _refuse(why: str) -> bytes:
    raise CourseError(why)


def _disk(path: Path) -> bytes:
    if path.is_symlink() or not path.is_file():  # a link can lead to another student's file
        raise CourseError("it is a link or a device, not a file")
    try:
        with path.open("rb") as file:
            return _bounded(file.read(LARGEST + 1))
    except OSError as error:
        raise CourseError(f"it cannot be opened ({error.strerror}); save it again") from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    try:
        with archive.open(info) as file:
            raw = file.read(LARGEST + 1)
    except Exception as error:  # a password, a method, a checksum: whatever a zip can have
        raise CourseError(f"it cannot be unpacked ({error})") from error
    return _bounded(raw)


def _bounded(raw: bytes) -> bytes:
    if len(raw) > LARGEST:
        raise CourseError(f"it is larger than {LARGEST // 10**6} MB; clear its outputs and save it")
    return raw


def one(name: str, raw: bytes, shut_in: bool) -> dict:
    """The grade of one submission, in a process where no answer runs."""
    from utils.course.grade import grade_file

    with tempfile.TemporaryDirectory(prefix="wm-") as folder:
        path = Path(folder) / (re.sub(r"[^\w.-]", "_", name)[-100:] or "_")
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
    work: dict[Path, Job], shut_in: bool, workers: int, grade: Callable = one
) -> Iterator[tuple[Path, dict]]:
    """A process a submission; one that is killed is started once more, then gets a row."""
    context = multiprocessing.get_context("forkserver")
    if len(work) > 1:  # torch is then loaded once
        context.set_forkserver_preload(["utils.course.grade", "utils.course.check"])
    waiting, busy, died = deque(work), {}, Counter()
    with tempfile.TemporaryDirectory(prefix="wm-", ignore_cleanup_errors=True) as scratch:
        try:
            while waiting or busy:
                while waiting and len(busy) < workers:
                    key = waiting.popleft()
                    mine, theirs = context.Pipe(duplex=False)
                    given = Path(work[key].label).name, work[key].read(), shut_in
                    process = context.Process(target=_work, args=(theirs, scratch, grade, *given))
                    process.start()
                    theirs.close()  # so that its death is the end of the pipe
                    busy[mine] = key, process, time.monotonic()
                for pipe in connection.wait(list(busy), timeout=1):
                    key, process, _ = busy.pop(pipe)
                    row = None
                    with contextlib.suppress(EOFError, OSError):
                        row = pipe.recv()
                    _end(process)
                    died[key] += row is None
                    if row is None and died[key] == 1:
                        waiting.append(key)
                    else:
                        yield key, row or ungraded(KILLED)
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


def on_ray(work: dict[Path, Job], shut_in: bool, workers: int) -> Iterator[tuple[Path, dict]]:
    """The same on the Ray cluster at RAY_ADDRESS, or on one that is started here."""
    try:
        import ray
    except ImportError as error:
        raise CourseError("--engine ray needs the package ray, which is not installed.") from error
    cores = {} if "RAY_ADDRESS" in os.environ else {"num_cpus": workers}
    environment = {"env_vars": {"PYTHONPATH": str(ROOT)}}
    ray.init(runtime_env=environment, include_dashboard=False, logging_level="ERROR", **cores)
    task, waiting, busy = ray.remote(max_retries=1)(one), deque(work), {}
    try:
        while waiting or busy:
            while waiting and len(busy) < 2 * ray.cluster_resources()["CPU"]:
                job = work[key := waiting.popleft()]
                busy[task.remote(Path(job.label).name, job.read(), shut_in)] = key
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
    course, same, rows, todo = version(shut_in), {}, {}, {}

    def take(key: Path, row: dict) -> None:
        for i in same[key]:
            rows[i] = report.tidy(row, jobs[i].label)
            told(rows[i])

    for i, job in enumerate(jobs):
        try:
            content = Path(job.label).name.encode("utf-8", "replace") + b"\0" + job.read()
        except CourseError as error:
            same[Path(str(i))] = [i]
            take(Path(str(i)), ungraded(str(error)))
        else:
            key = out / f"{hashlib.sha256(content).hexdigest()[:20]}-{course}.json"
            same.setdefault(key, []).append(i)
            todo[key] = job
    for key in list(todo):
        with contextlib.suppress(OSError, ValueError):
            take(key, json.loads(key.read_text()))
            del todo[key]
    out.mkdir(parents=True, exist_ok=True)
    with contextlib.closing(engine(todo, shut_in)) as finished:
        for key, row in finished:
            if "why" not in row:  # what was not graded is tried again the next time
                part = key.with_suffix(".part")
                part.write_text(json.dumps(report.tidy(row, todo[key].label)))
                part.replace(key)
            take(key, row)
    return [rows[i] for i in range(len(jobs))]


def command(args: argparse.Namespace) -> int:
    """`python -m utils grade`; exit 0 if everything in every file passes."""
    sys.stdout.reconfigure(errors="backslashreplace")
    shut_in, warning = sandbox.decide(args.sandbox)
    if warning:
        print(warning, file=sys.stderr)
    makers = {"json": report.as_json, "junit": report.as_junit, "summary": report.as_markdown}
    for path in filter(None, (args.csv, *(getattr(args, kind) for kind in makers))):
        if not Path(path).absolute().parent.is_dir():
            raise CourseError(f"There is no folder for {path}; make it first.")
    jobs, done = find(args.path), []

    def told(row: dict) -> None:
        done.append(row)
        print(report.table(row) if len(jobs) <= FEW else report.line(row), flush=True)

    engine = functools.partial({"local": local, "ray": on_ray}[args.engine], workers=args.workers)
    try:
        graded = grade_all(jobs, Path(args.out), engine, shut_in, told)
    except KeyboardInterrupt:
        print(f"Stopped. {len(done)} of {len(jobs)} are done; the same command goes on from here.")
        return 130
    for kind, make in makers.items():
        if path := getattr(args, kind):
            with open(path, "a" if kind == "summary" else "w", encoding="utf-8") as file:
                file.write(make(graded))
    if args.csv:
        text = report.as_csv(graded, [job.student for job in jobs])
        Path(args.csv).write_text(text, encoding="utf-8")
    if len(jobs) > 1:
        for id, top in report.mistakes(graded).items():
            print(*[f"{id} {n:>4} x  it looks as if {says}" for says, n in top], sep="\n")
    return int(any("why" in g or g["score"] < g["max"] for g in graded))
