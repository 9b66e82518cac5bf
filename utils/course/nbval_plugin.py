"""A pytest plugin on top of nbval: exercises by name, and kernels that cannot stall the run.

`pytest --nbval-lax my/1.1_dyna_q.ipynb` names the checks `Exercise 1.1.3`, expects the line that
the solution has (never what the learner's own file has stored), and counts TODO as not earned.
`--unsolved` demands the opposite: every line runs, and every exercise says TODO.
"""

import json
import os
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from queue import Empty

import pytest
from jupyter_client.manager import KernelManager
from nbval.kernel import CURRENT_ENV_KERNEL_NAME, NbvalKernelspecManager, RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from utils.course.exercise import CourseError
from utils.course.lesson_file import CHECK, mark, solution_of

EVIDENCE = "application/x-world-models-evidence+json"
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


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    found = yield
    own = CourseFile.from_parent
    return [own(parent, path=file_path) if isinstance(c, IPyNbFile) else c for c in found]


class CourseKernel(RunningKernel):
    """A kernel of this environment, over unix sockets, whose death is noticed at once."""

    def __init__(self, name: str, cwd: str, timeout: float) -> None:
        # Unix sockets work across a network namespace. Their paths must be short and absolute.
        self.folder = tempfile.TemporaryDirectory(prefix="wm-")
        runtime = os.environ.get("WM_KERNEL_RUN", self.folder.name)
        self.km = KernelManager(
            kernel_name=name,
            kernel_spec_manager=NbvalKernelspecManager(),
            transport="ipc",
            connection_file=f"{runtime}/{uuid.uuid4().hex[:8]}.json",
        )
        with open(f"{self.folder.name}/log", "w+") as log:
            self.km.start_kernel(cwd=cwd, stderr=log)
            self.kc = self.km.client()
            self.kc.start_channels()
            try:
                self.kc.wait_for_ready(timeout=timeout)
            except RuntimeError as error:
                self.stop()
                log.seek(0)
                raise RuntimeError(f"the kernel did not start: {log.read()[-500:]}") from error
        self._ensure_iopub_up()

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        end = time.monotonic() + (timeout or 1e9)
        while (left := end - time.monotonic()) > 0:
            try:
                message = self.get_message("shell", timeout=min(1, left))
            except Empty:
                if not self.is_alive():
                    raise RuntimeError("the kernel died") from None
            else:
                if message["parent_header"].get("msg_id") == msg_id:
                    return
        raise Empty


class CourseFile(IPyNbFile):
    """A notebook; of a lesson if it has an exercise cell."""

    written = 0

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
        self.kernel = CourseKernel(name, folder, timeout)
        self.setup_sanitize_files()

    def get_kernel_message(self, timeout: float | None = None, stream: str = "iopub") -> dict:
        message = super().get_kernel_message(timeout, stream)
        self.written += len(str(message["content"]))
        if self.written > OUTPUT_LIMIT:
            self.kernel.stop()
            raise RuntimeError(f"the notebook wrote more than {OUTPUT_LIMIT:,} characters")
        return message


class CourseCell(IPyNbCell):
    """A cell; with `exercise` set, the check of one."""

    exercise: str | None = None
    after: str | None = None  # the exercise cell that ran last: the likely culprit of a crash

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.output_timeout = 60  # nbval waits 5 s for output, which a loaded machine exceeds
        self.options["check"] &= not CHECK.search(self.cell.source)  # compared below

    def reportinfo(self) -> tuple:
        return self.path, 0, f"{self.path.name}: {self.name}"

    def setup(self) -> None:
        """nbval would expect failures after a time-out; a failure is a failure."""

    def runtest(self) -> None:
        status, why = "PASS", ""
        try:
            super().runtest()
            if self.exercise:
                status, why = self._compare()
                if status != ("TODO" if self.config.getoption("--unsolved") else "PASS"):
                    raise NbCellError(self.cell_num, why or "PASS, and not TODO", self.cell.source)
        except Exception as error:
            # A crash has no verdict; a verdict that was not the wanted one keeps its own.
            status, why = ("CRASH", str(error)) if not why else (status, why)
            raise
        finally:
            row = {"exercise": self.exercise, "after": self.after, "status": status, "why": why}
            self.config.stash[REPORT].append(row)

    def _compare(self) -> tuple[str, str]:
        """The verdict that the check printed, held against the solution's line and the evidence."""
        said = "".join(o.get("text", "") for o in self.test_outputs if o.get("name") == "stdout")
        expected = self.parent.lines.get(self.exercise)
        if expected is None:
            return "FAIL", f"no solution has an exercise {self.exercise}"
        if said.startswith("TODO ") and said.startswith(expected.strip().replace("PASS", "TODO")):
            return "TODO", said.strip()
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
        return (
            ("FAIL", f"PASS is printed, but its values do not agree: {why}")
            if why
            else ("PASS", "")
        )

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        row = next((r for r in self.config.stash[REPORT] if r["exercise"] == self.exercise), None)
        verdict = self.exercise and row and row["status"] in ("FAIL", "TODO")
        return (row["why"] if verdict else super().repr_failure(excinfo))[:3000]


class MissingCheck(pytest.Item):
    """An exercise of the lesson whose check cell is not in the notebook."""

    def runtest(self) -> None:
        raise NbCellError(0, "missing", "")

    def repr_failure(self, excinfo: pytest.ExceptionInfo) -> str:
        return f"the notebook has no check cell for {self.name}; `grade` puts it back by itself"

    def reportinfo(self) -> tuple:
        return self.path, 0, f"{self.path.name}: {self.name}"
