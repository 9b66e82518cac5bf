"""Starts threads until no more are given, and keeps them."""

answers = {
    "0.1.1": """
import threading
import time

count = 0
try:
    for count in range(5000):
        threading.Thread(target=time.sleep, args=(3000,), daemon=True).start()
except RuntimeError:
    pass
assert count < 1000, f"{count} THREADS"


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW|FAIL"
why_not = "THREADS"
