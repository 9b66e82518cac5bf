"""Hangs up on the grader, with a link to a socket of the host where the kernel's was."""

answers = {
    "0.1.1": """
import glob
import os
import socket
import time

for path in glob.glob("/tmp/**/k-*", recursive=True):
    os.remove(path)
    os.symlink("CANARY/socket", path)
for fd in range(3, 200):
    try:
        mine = socket.socket(fileno=os.dup(fd))
        mine.getpeername()
        if "/k-" in str(mine.getsockname()):
            mine.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
time.sleep(3)
"""
}
expected = "FAIL"
why = "broke off its connection|the kernel died"
