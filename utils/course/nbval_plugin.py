"""A pytest plugin on top of nbval: exercises by name, and kernels that cannot stall the run.

`pytest --nbval-lax my/1.1_dyna_q.ipynb` names the checks `Exercise 1.1.3`, expects the line that
the solution has (never what the learner's own file has stored), and counts TODO as not earned.
`--unsolved` demands the opposite: every line runs, and every exercise says TODO.
"""

import json
import os
import socket
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest
import zmq
from jupyter_client.manager import KernelManager
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager, RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from utils.course import sandbox
from utils.course.exercise import EVIDENCE, CourseError
from utils.course.lesson_file import CHECK, mark, solution_of

OUTPUT_LIMIT = 20_000_000  # characters that a notebook may write


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("nbval")
    group.addoption("--unsolved", action="store_true", help="expect TODO from every exercise")
    group.addoption("--course-report", metavar="FILE", help="write each exercise's result as JSON")


def pytest_configure(config: pytest.Config) -> None:
    # A check says the same in every profile, so the quickest will do.
    os.environ.setdefault("WM_PROFILE", "smoke")
    config.stash[REPORT] = []


def pytest_sessionfinish(session: pytest.Session) -> None:
    if path := session.config.getoption("--course-report"):
        Path(path).write_text(json.dumps(session.config.stash[REPORT]))


REPORT: pytest.StashKey[list] = pytest.StashKey()


def _row(exercise: str | None, after: str | None, status: str, why: str, fatal: bool) -> dict:
    """A line of the report: of a check if `exercise` is set, of an answer if `cell` is.

    `after` is the exercise cell that ran last; `fatal` says that the kernel is gone.
    """
    row = {"exercise": exercise, "after": after, "cell": None, "status": status, "fatal": fatal}
    return row | {"why": why[:3000]}


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    found = yield
    own = CourseFile.from_parent
    return [own(parent, path=file_path) if isinstance(c, IPyNbFile) else c for c in found]


class CourseKernel(RunningKernel):
    """A kernel of this environment, over unix sockets, that can neither stall nor flood a run."""

    written, deadline, patience = 0, float("inf"), float("inf")
    watch: sandbox.Watch | None = None

    def __init__(self, name: str, cwd: str, timeout: float) -> None:
        # Unix sockets work across a network namespace. Their paths must be short and absolute.
        self.folder = tempfile.TemporaryDirectory(prefix="wm-")
        runtime = os.environ.get("WM_KERNEL_RUN", self.folder.name)
        file = f"{runtime}/{uuid.uuid4().hex[:8]}.json"
        self.km = KernelManager(
            kernel_name=name,
            kernel_spec_manager=NbvalKernelspecManager(),
            transport="ipc",
            ip=f"{runtime}/k",
            connection_file=file,
        )
        self.km.write_connection_file()
        about = self.km.kernel_spec.metadata
        if about.get("user"):
            os.chown(file, about["user"], -1)
        with open(f"{self.folder.name}/log", "w+") as log:
            self.km.start_kernel(cwd=cwd, stderr=log)
            if about.get("shut_in"):
                self.watch = sandbox.Watch(self.km.provisioner.process)
            try:
                self._connect(timeout)
            except RuntimeError as error:
                self.km.shutdown_kernel(now=True)
                log.seek(0)
                raise RuntimeError(f"the kernel did not start: {log.read()[-500:]}") from error
        self._ensure_iopub_up()

    def _connect(self, timeout: float) -> None:
        self.kc = self.km.client(ip=self._sockets(timeout))
        # An answer can put a link to a socket of the host where the kernel's was, and hang up.
        # So the first connection is the only one; it is made before an answer runs.
        options = {zmq.RECONNECT_IVL: -1, zmq.RCVHWM: 30, zmq.MAXMSGSIZE: 2 * OUTPUT_LIMIT}
        for option, value in options.items():
            self.kc.context.setsockopt(option, value)
        self.kc.start_channels(hb=False)  # a heart that misses a beat connects anew
        self.broken = self.kc.iopub_channel.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self.kept = {"shell": deque(), "iopub": deque()}
        self.kc.wait_for_ready(timeout=timeout)

    def _sockets(self, timeout: float) -> str:
        """Where the kernel's sockets are, once all answer; a sandbox's lie behind its own root."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.is_alive():
            inside = sandbox.family(self.km.provisioner.process.pid) if self.watch else []
            for place in [f"/proc/{pid}/root{self.km.ip}" for pid in inside] or [self.km.ip]:
                try:
                    for port in self.km.ports:
                        with socket.socket(socket.AF_UNIX) as there:
                            there.connect(f"{place}-{port}")
                    return place
                except OSError:
                    continue
            time.sleep(0.05)
        raise RuntimeError("its sockets do not answer")

    def get_message(self, stream: str, timeout: float | None = None) -> dict:
        """As nbval's, but a death is noticed at once, and bounds in time and size hold."""
        end = time.monotonic() + min(self.patience, 1e9 if timeout is None else timeout)
        while not self.kept[stream]:
            left = end - time.monotonic()
            if time.monotonic() > self.deadline:
                self._give_up("it went on writing when its time was up")
            if not self._take(max(0, min(1, left))):
                if not self.is_alive():
                    raise RuntimeError((self.watch and self.watch.why) or "the kernel died")
                if left <= 1:
                    raise Empty
        return self.kept[stream].popleft()

    def _take(self, seconds: float) -> bool:
        """Takes what either channel has: an output that is left waiting would get lost."""
        channels = {"shell": self.kc.shell_channel, "iopub": self.kc.iopub_channel}
        sockets = [c.socket for c in channels.values()]
        ready, _, _ = zmq.select([*sockets, self.broken], [], [], seconds)
        for stream, channel in channels.items():
            if channel.socket in ready:
                message = channel.get_msg(timeout=0)
                self.kept[stream].append(message)
                self.written += 200 + len(str(message["header"])) + len(str(message["content"]))
                if self.written > OUTPUT_LIMIT:
                    self._give_up(f"it wrote more than {OUTPUT_LIMIT:,} characters")
        if ready == [self.broken]:
            time.sleep(0.5)  # a kernel that dies breaks it off, too
            if self.is_alive():
                self._give_up("it wrote too much at once, or broke off its connection")
        return bool(set(ready) - {self.broken})

    def interrupt(self) -> None:
        """As a message, for no signal reaches into a sandbox."""
        self.patience = 5  # seconds in which an interrupted cell must end
        self.kc.control_channel.send(self.kc.session.msg("interrupt_request"))

    def _give_up(self, why: str) -> None:
        self.stop()
        raise RuntimeError(why)

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        end = time.monotonic() + (timeout or 1e9)
        while (left := end - time.monotonic()) > 0:
            if self.get_message("shell", left)["parent_header"].get("msg_id") == msg_id:
                return
        raise Empty


class CourseFile(IPyNbFile):
    """A notebook; of a lesson if it has an exercise cell."""

    def collect(self) -> Iterator[pytest.Item]:
        last, found, ids = None, set(), set()
        for cell in super().collect():
            last = mark(cell.cell.source) or last
            check = CHECK.search(cell.cell.source)
            id = check[1] if check and not mark(cell.cell.source) else None
            ids |= {last} - {None}
            found |= {id} - {None}
            name = f"Exercise {id}" if id else cell.name
            item = CourseCell.from_parent(
                self, name=name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options
            )
            item.exercise, item.after = id, last
            yield item
        for id in sorted(self._expected(ids | found).keys() - found):
            yield MissingCheck.from_parent(self, name=f"Exercise {id}")

    def _expected(self, ids: set[str]) -> dict[str, str]:
        """The PASS line of every exercise of the lessons that this notebook has cells of."""
        self.lines: dict[str, str] = {}
        for lesson in sorted({id.rpartition(".")[0] for id in ids}):
            try:
                solution = solution_of(lesson)
            except CourseError:
                continue
            for cell in solution.cells:
                if cell.cell_type == "code" and (found := CHECK.search(cell.source)):
                    self.lines[found[1]] = cell.outputs[0]["text"]
        return self.lines

    def setup(self) -> None:
        name = self.config.getoption("--nbval-kernel-name") or CURRENT_ENV_KERNEL_NAME
        timeout = self.config.getoption("--nbval-kernel-startup-timeout")
        folder = os.environ.get("WM_KERNEL_CWD", str(self.path.parent))
        try:
            self.kernel = CourseKernel(name, folder, timeout)
        except RuntimeError as error:
            self.config.stash[REPORT].append(_row(None, None, "CRASH", str(error), True))
            raise
        self.setup_sanitize_files()


class CourseCell(IPyNbCell):
    """A cell; with `exercise` set, the check of one."""

    exercise: str | None = None
    after: str | None = None  # the exercise cell that ran last: the likely culprit of a crash

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.output_timeout = 60  # nbval waits 5 s for output, which a loaded machine exceeds
        if CHECK.search(self.cell.source) or mark(self.cell.source):
            # Checks are compared below; no tag or comment of a learner's skips them or an answer.
            self.options.clear()

    def reportinfo(self) -> tuple:
        return self.path, 0, f"{self.path.name}: {self.name}"

    def setup(self) -> None:
        """nbval would expect failures after a time-out; a failure is a failure."""
        self.parent.timed_out = False

    def runtest(self) -> None:
        status, why, kernel = "PASS", "", self.parent.kernel
        kernel.deadline = time.monotonic() + self.config.getoption("--nbval-cell-timeout") + 90
        kernel.patience = float("inf")
        try:
            super().runtest()
            if self.exercise:
                status, why = self._compare()
                if status != ("TODO" if self.config.getoption("--unsolved") else "PASS"):
                    raise NbCellError(self.cell_num, why or "PASS, and not TODO", self.cell.source)
        except Exception as error:
            # A crash has no verdict; a verdict that was not the wanted one keeps its own.
            status, why = ("CRASH", self._raised(error)) if not why else (status, why)
            raise
        finally:
            fatal = status == "CRASH" and not kernel.is_alive()
            if fatal and kernel.watch and kernel.watch.why:
                why = kernel.watch.why
            self.row = _row(self.exercise, self.after, status, why, fatal)
            self.row["cell"] = mark(self.cell.source)
            self.config.stash[REPORT].append(self.row)

    def _raised(self, error: Exception) -> str:
        """What stopped the cell: the kernel's end, or the error that the cell shows."""
        shown = [o for o in self.test_outputs or [] if o.output_type == "error"]
        if self.parent.timed_out:
            return f"a time-out after {self.config.getoption('--nbval-cell-timeout'):g} s"
        if shown:
            return f"{shown[-1].ename}: {shown[-1].evalue}"
        return str(error)

    def _compare(self) -> tuple[str, str]:
        """The verdict that the check printed, held against the solution's line and the evidence."""
        said = "".join(o.get("text", "") for o in self.test_outputs if o.get("name") == "stdout")
        expected = self.parent.lines.get(self.exercise)
        if expected is None:
            return "FAIL", f"no solution has an exercise {self.exercise}"
        if said.startswith("TODO ") and said.startswith(expected.strip().replace("PASS", "TODO")):
            return "TODO", said.strip()
        if said.startswith("PASS") and said != expected:
            return "FAIL", f"PASS is printed, but not as a check prints it: {said.strip()}"
        if said != expected:
            return "FAIL", said.strip() or "the check printed nothing"
        if seed := os.environ.get("WM_SEED"):
            return self._second_opinion(int(seed))
        return "PASS", ""

    def _second_opinion(self, seed: int) -> tuple[str, str]:
        from utils.course.check import verify

        sent = [o.data[EVIDENCE] for o in self.test_outputs if EVIDENCE in o.get("data", {})]
        try:
            why = verify(self.exercise, seed, sent[-1]) if sent else "none were sent"
        except Exception as error:  # whatever a kernel sent in their place
            why = f"unreadable ({type(error).__name__})"
        if why:
            return "FAIL", f"PASS is printed, but its values do not agree: {why}"
        return "PASS", ""

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        if self.row["status"] in ("FAIL", "TODO"):
            return self.row["why"]
        return super().repr_failure(excinfo)[:3000]


class MissingCheck(pytest.Item):
    """An exercise of the lesson whose check cell is not in the notebook."""

    def runtest(self) -> None:
        raise NbCellError(0, "missing", "")

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        return f"the notebook has no check cell for {self.name}; `grade` puts it back by itself"

    def reportinfo(self) -> tuple:
        return self.path, 0, f"{self.path.name}: {self.name}"
