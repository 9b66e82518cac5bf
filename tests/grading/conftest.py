"""Grades every case of the suite in two processes, each with the demo lesson for a course."""

import contextlib
import functools
import importlib.util
import json
import queue
import select
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import ModuleType

import pytest

from utils.course import sandbox
from utils.course.exercise import ROOT

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the cases import `damage`


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--grading", action="store_true", help="all submissions, not a few")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Graders:
    """A queue of files, and processes that grade them."""

    def __init__(self, course: Path, processes: int, shut_in: bool) -> None:
        self.waiting: queue.Queue = queue.Queue()
        self.course, self.shut_in = course, shut_in
        self.threads = [threading.Thread(target=self._work) for _ in range(processes)]

    def grade(self, path: Path) -> Future:
        self.waiting.put((path, done := Future()))
        return done

    def start(self) -> None:
        for thread in self.threads:
            self.waiting.put(None)
            thread.start()

    def _work(self) -> None:
        command = [sys.executable, str(HERE / "grader.py"), str(self.shut_in)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        env = {"PYTHONPATH": str(self.course), "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
        with subprocess.Popen(command, cwd=self.course, env=env, **pipes) as process:
            while (job := self.waiting.get()) is not None:
                path, done = job
                try:
                    print(json.dumps(str(path)), file=process.stdin, flush=True)
                    done.set_result(json.loads(process.stdout.readline()))
                except (OSError, ValueError) as error:  # a grader must not die
                    done.set_exception(error)


class Outside:
    """What no submission may reach: a folder, sockets, and the list of processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.marker = folder, f"wm{uuid.uuid4().hex}"
        (folder / "secret").write_text("secret")
        tcp, udp = (socket.socket(type=t) for t in (socket.SOCK_STREAM, socket.SOCK_DGRAM))
        tcp.bind(("127.0.0.1", 0))
        udp.bind(tcp.getsockname())
        self.port = tcp.getsockname()[1]
        files = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        files[0].bind(str(folder / "socket"))
        files[1].bind(f"\0{self.marker}")
        for listening in (tcp, *files):
            listening.listen()
        self.sockets = [tcp, udp, *files]

    def named(self, source: str) -> str:
        """The source with the places it means to reach."""
        places = {"CANARY": self.folder, "MARKER": self.marker, "PORT": self.port}
        return functools.reduce(lambda s, k: s.replace(k, str(places[k])), places, source)

    def touched(self) -> list[str]:
        """What was reached, in words; empty if nothing was."""
        heard, _, _ = select.select(self.sockets, [], [], 0)
        found = [f"a connection to {s.getsockname()}" for s in heard]
        if sorted(p.name for p in self.folder.iterdir()) != ["secret", "socket"]:
            found.append(f"files in {self.folder}")
        if (self.folder / "secret").read_text() != "secret":
            found.append("a changed file")
        places = map(Path, ("/", "/tmp", "/dev/shm", "/var/tmp", Path.home(), "/etc", ROOT))
        return found + [f"a file in {p}" for p in places if list(p.glob(f"*{self.marker}*"))]

    def processes(self) -> list[str]:
        """Command lines that bear the mark."""
        lines = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                lines.append(path.read_bytes().decode(errors="replace"))
        return [line for line in lines if self.marker in line]


@pytest.fixture(scope="session")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return Outside(tmp_path_factory.mktemp("outside"))


def case_of(item: pytest.Item) -> Path | None:
    """The file of a case, if the test is of one."""
    ours = item.path.parent == HERE and hasattr(item, "callspec")
    return item.callspec.params.get("case") if ours else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without --grading a few cases; without a sandbox none that is hostile."""
    reason = sandbox.missing()
    for item in items:
        if not (case := case_of(item)):
            continue
        if not config.getoption("--grading", False) and not hasattr(load(case), "core"):
            item.add_marker(pytest.mark.skip("one of many: give --grading"))
        elif reason and case.parent.name == "hostile":
            item.add_marker(pytest.mark.skip(reason))


@pytest.fixture(scope="session")
def grades(
    demo: Path,
    outside: Outside,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[Path, Future]]:
    """Case -> the future grade of what it hands in; all are being graded from now on."""
    from test_grading import hand_in

    items = [i for i in request.session.items if case_of(i) and not i.get_closest_marker("skip")]
    cases = [case_of(i) for i in items]
    graders = Graders(demo, 2 if len(cases) > 20 else 1, not sandbox.missing())
    folder = tmp_path_factory.mktemp("in")
    files = {case: hand_in(load(case), demo, folder, outside) for case in cases}
    futures = {case: graders.grade(file) for case, file in files.items()}
    graders.start()
    yield futures
    for thread in graders.threads:
        thread.join()
