"""A kernel that sees its interpreter and `utils`, and nothing else: no network, bounded resources.

bubblewrap makes the walls (namespaces for files, processes, network), prlimit the bounds.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from utils.course.exercise import ROOT, CourseError

MEMORY = 12 << 30  # bytes of address space; torch with compile needs 8
DISK = 256 << 20  # bytes in /tmp and in a file
PROCESSES = 512  # threads count; torch starts one a core
HELP = "install it (Debian and Ubuntu: apt install bubblewrap) or give --sandbox off"


def missing() -> str:
    """Why there can be no sandbox here, as a sentence; empty if there can."""
    for program in ("bwrap", "prlimit"):
        if not shutil.which(program):
            return f"{program} is not installed, so answers cannot be shut in; {HELP}"
    probe = ["bwrap", "--unshare-all", "--ro-bind", "/", "/", "--", "true"]
    done = subprocess.run(probe, capture_output=True, text=True)
    if done.returncode:
        reason = " ".join(done.stderr.split())[:200]
        return (
            f"bubblewrap cannot make namespaces here ({reason}); on Ubuntu 24.04 allow it with "
            "sysctl kernel.apparmor_restrict_unprivileged_userns=0"
        )
    return ""


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


def kernelspec(box: Path, shut_in: bool, env: dict[str, str]) -> None:
    """Writes the kernel `wm` into box/data; its sockets and scratch files live in box/run."""
    launch = [
        os.path.abspath(sys.executable),
        "-m",
        "ipykernel_launcher",
        "-f",
        "{connection_file}",
    ]
    if shut_in:
        launch = _walls(box / "run", env) + launch
    spec = {"argv": launch, "display_name": "wm", "language": "python", "interrupt_mode": "message"}
    folder = box / "data/kernels/wm"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec))


def _walls(run: Path, env: dict[str, str]) -> list[str]:
    python = Path(os.path.realpath(sys.executable)).parents[1]
    system = ["/usr", "/bin", "/lib", "/lib64", sys.prefix, sys.base_prefix, str(python)]
    mounts = [a for d in dict.fromkeys(system) if os.path.exists(d) for a in ("--ro-bind", d, d)]
    for part in ("utils", "pyproject.toml"):
        mounts += ["--ro-bind", str(ROOT / part), f"/course/{part}"]
    variables = {
        "HOME": "/tmp",
        "USER": "learner",
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": "/course",
    }
    variables |= {k: env[k] for k in ("WM_SEED", "WM_PROFILE", "WM_QUIET")}
    variables |= {"PYTHONDONTWRITEBYTECODE": "1", "MPLCONFIGDIR": "/tmp", "OMP_NUM_THREADS": "1"}
    settings = [a for k, v in variables.items() for a in ("--setenv", k, v)]
    bounds = [f"--as={MEMORY}", f"--nproc={PROCESSES}", f"--fsize={DISK}", "--core=0"]
    walls = ["--unshare-all", "--die-with-parent", "--new-session", "--clearenv"]
    walls += ["--proc", "/proc", "--dev", "/dev", "--size", str(DISK), "--tmpfs", "/tmp"]
    walls += ["--size", str(1 << 20), "--tmpfs", "/course", *mounts, "--remount-ro", "/course"]
    walls += ["--bind", str(run), str(run), "--chdir", "/course", *settings]
    return ["prlimit", *bounds, "--", "bwrap", *walls, "--"]
