"""Leaves a process behind that should outlive the kernel."""

answers = {
    "0.1.1": """
import subprocess
import sys

subprocess.Popen(
    [sys.executable, "-c", "import time; time.sleep(3000)", "MARKER"], start_new_session=True
)


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW"
why = "subprocess"
