"""Fills every place that can be written, in files as large as they may be."""

answers = {
    "0.1.1": """
import glob
import os

written = 0
places = ["/tmp", "/dev/shm", "/dev", "/", "/course", "/var/tmp", os.getcwd()]
for place in places + glob.glob("/tmp/*/") + glob.glob("/tmp/*/*/"):
    for i in range(40):
        try:
            with open(f"{place}/MARKER-{i}", "wb") as file:
                for _ in range(64):
                    written += file.write(bytes(16 << 20))
        except OSError:
            pass
assert written < 700 << 20, f"{written >> 20} MB were written"


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW|FAIL"
why_not = "MB were written"
