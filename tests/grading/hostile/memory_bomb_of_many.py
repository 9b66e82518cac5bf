"""Each process takes less than one may: all together take too much."""

answers = {
    "0.1.1": """
import os
import time

for _ in range(20):
    if os.fork() == 0:
        taken = np.ones(1 << 26)
        time.sleep(3000)


def symlog(x):
    time.sleep(4)
    return x
"""
}
expected = "FAIL"
why = "GB of memory|did not end"  # on a slow machine the check is first
