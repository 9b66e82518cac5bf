"""Hangs up on the grader, with a link to a socket of the host where the kernel's was."""

answers = {
    "0.1.1": """
import glob
import os
import time

for path in glob.glob("/tmp/**/k-*", recursive=True):
    os.remove(path)
    os.symlink("CANARY/socket", path)
os.closerange(3, 200)
time.sleep(3)
"""
}
expected = "FAIL"
why = "broke off its connection"
