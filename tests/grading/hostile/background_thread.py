"""A thread that goes on printing verdicts into the cells of others."""

answers = {
    "0.1.1": """
import threading
import time


def talk():
    while True:
        for id, name in (("0.1.2", "lambda_return"), ("0.1.3", "Memory")):
            print("PASS", id, name)
        time.sleep(0.01)


threading.Thread(target=talk, daemon=True).start()


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW|FAIL"
