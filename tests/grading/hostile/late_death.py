"""Kills the kernel a moment later, when another exercise is being checked."""

answers = {
    "0.1.1": """
import os
import threading

threading.Timer(0.3, os._exit, [0]).start()


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW|FAIL"
