"""A kernel that sees its interpreter and `utils`, and nothing else: no network, bounded resources.

bubblewrap makes the walls (namespaces for files, processes, network), prlimit the bounds. What
holds, as an ordinary user and as root:

- Files: read-only, and only the system's libraries, the interpreter and `utils`. What can be
  written is in memory, bounded, and gone with the kernel: no file of the host is.
- Network: none, not even the host's loopback. The kernel's sockets lie behind its own root; the
  grader connects once, before any answer runs, and never again.
- Processes: none of the host's can be seen or signalled, and all of them end with the kernel.
  THREADS is a hard bound. It would not bind root, so root's kernels run as a user of their own.
- Memory: a hard bound on each process; on all together a watch five times a second, which also
  ends the kernel when the machine runs short. A burst between two looks goes unseen, so a
  machine that grades strangers should have some gigabytes to spare.
- Not held: the processor's time is shared until a cell's time is up, and whoever knows a hole in
  the Linux kernel gets out.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

from utils.course.exercise import ROOT, CourseError

SPACE = 12 << 30  # bytes of address space of a process; torch with compile needs 8
MEMORY = 4 << 30  # resident bytes of all processes
SPARE = 512 << 20  # bytes that the machine itself must have left
DISK = 256 << 20  # bytes in /tmp, in /dev/shm, and in a file
PROCESSES = 64
THREADS = 512  # torch starts one a core
HELP = "install it (Debian and Ubuntu: apt install bubblewrap util-linux) or give --sandbox off"
SHORT = "the machine ran short of memory"
VARIABLES = {
    "HOME": "/tmp",
    "USER": "learner",
    "PATH": "/usr/bin:/bin",
    "PYTHONPATH": "/course",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MPLCONFIGDIR": "/tmp",
    "OMP_NUM_THREADS": "1",
}


def missing() -> str:
    """Why there can be no sandbox here, as a sentence; empty if there can."""
    for program in ("bwrap", "prlimit", "setpriv"):
        if not shutil.which(program):
            return f"{program} is not installed, so answers cannot be shut in; {HELP}"
    done = subprocess.run([*_walls({}, user()), "true"], capture_output=True, text=True)
    if done.returncode == 0:
        return ""
    reason = " ".join(done.stderr.split())[:200]
    if "nknown option" in reason:
        return f"bubblewrap is older than 0.7 ({reason}), so answers cannot be shut in"
    if os.geteuid() == 0:
        return f"bubblewrap cannot make namespaces here ({reason}); grade as an ordinary user"
    return (
        f"bubblewrap cannot make namespaces here ({reason}); on Ubuntu 24.04 allow it with "
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
    )


def decide(wish: str) -> tuple[bool, str]:
    """Whether to shut answers in, and a warning to print.

    Args:
        wish: "require" refuses without a sandbox, "auto" warns, "off" asks for none.
    """
    reason = "" if wish == "off" else missing()
    if wish == "require" and reason:
        raise CourseError(f"Not graded: {reason}.")
    warning = f"Warning: {reason}. Grade only files that you trust." if reason else ""
    return wish != "off" and not reason, warning


def user() -> int | None:
    """Root's kernels run as a user that nobody is, another one each; others as themselves."""
    return 61_184 + os.getpid() % 4_000 if os.geteuid() == 0 else None


def kernelspec(box: Path, shut_in: bool, env: dict[str, str]) -> None:
    """Writes the kernel `wm` into box/data; its sockets are in box/run, in a sandbox its own."""
    python, mine = os.path.abspath(sys.executable), user()
    launch = [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    if shut_in:
        file = ["--ro-bind", "{connection_file}", "{connection_file}"]
        run = str(box / "run")
        sockets = [*_open(run), "--perms", "1777", "--size", str(1 << 20), "--tmpfs", run, *file]
        kept = {k: env[k] for k in ("WM_SEED", "WM_PROFILE", "WM_QUIET")}
        launch = _walls(kept, mine, sockets) + launch
    spec = {
        "argv": launch,
        "display_name": "wm",
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"shut_in": shut_in, "user": mine if shut_in else None},
    }
    folder = box / "data/kernels/wm"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))


def _walls(variables: dict[str, str], user: int | None, mounts: list[str] | None = None) -> list:
    """The command that runs what follows it in a sandbox."""
    python = Path(os.path.realpath(sys.executable)).parents[1]
    system = ["/usr", "/bin", "/lib", "/lib64", sys.prefix, sys.base_prefix, str(python)]
    seen = {d: d for d in system if os.path.exists(d)}
    seen |= {str(ROOT / part): f"/course/{part}" for part in ("utils", "pyproject.toml")}
    binds = [a for there, here in seen.items() for a in (*_open(here), "--ro-bind", there, here)]
    settings = [a for k, v in (VARIABLES | variables).items() for a in ("--setenv", k, v)]
    scratch = ["--perms", "1777", "--size", str(DISK), "--tmpfs"]
    bounds = [f"--as={SPACE}", f"--nproc={THREADS}", f"--fsize={DISK}", "--core=0"]
    walls = ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    walls += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--clearenv"]
    walls += ["--proc", "/proc", "--dev", "/dev", *scratch, "/dev/shm", *scratch, "/tmp"]
    walls += [*binds, *(mounts or []), "--remount-ro", "/dev", "--remount-ro", "/"]
    walls += ["--chdir", "/course", *settings]
    if user is None:
        return ["prlimit", *bounds, "--", "bwrap", "--unshare-user", *walls, "--"]
    # Seen from the host, root in a user namespace is still root, which --nproc does not bind.
    walls += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--", "setpriv"]
    walls += [f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs", "--"]
    return ["prlimit", *bounds, "--", "bwrap", *walls]


def _open(path: str) -> list[str]:
    """Makes the folders above a mount; bubblewrap would make them for its caller's eyes only."""
    above = [str(folder) for folder in reversed(Path(path).parents)][1:]
    return [a for folder in above for a in ("--perms", "0755", "--dir", folder)]


def family(pid: int) -> dict[int, int]:
    """The processes below one, itself first, each with its resident bytes."""
    below, size = defaultdict(list), {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            # After the name in brackets, which may hold anything: state, parent, ..., pages.
            fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
            below[int(fields[1])].append(int(entry))
            size[int(entry)] = int(fields[21]) * os.sysconf("SC_PAGESIZE")
    found = [pid]
    for one in found:
        found += below[one]
    return {one: size.get(one, 0) for one in found}


class Watch(threading.Thread):
    """Ends a sandbox that takes too much; `why` then says what it took."""

    def __init__(self, sandbox: subprocess.Popen) -> None:
        super().__init__(daemon=True)
        self.sandbox, self.why = sandbox, ""
        self.start()

    def run(self) -> None:
        alone = threading.Event()
        while self.sandbox.poll() is None and not alone.wait(0.2):
            sizes = family(self.sandbox.pid)
            if len(sizes) > PROCESSES:
                self.why = f"it started more than {PROCESSES} processes"
            elif sum(sizes.values()) > MEMORY and sum(map(_own, sizes.items())) > MEMORY:
                self.why = f"it used more than {MEMORY >> 30} GB of memory"
            elif _spare() < SPARE:
                self.why = SHORT
            if self.why:
                self.sandbox.kill()  # and with it all that is in its process namespace


def _own(process: tuple[int, int]) -> int:
    """Resident bytes of a process, with only its share of what it shares, where that is told."""
    pid, size = process
    with contextlib.suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return size


def _spare() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
