"""Writes wherever a teacher's machine might let it."""

answers = {
    "0.1.1": """
import os

homes = ["/root", "/home", "/etc", "/usr/bin", "/var/tmp", "/course", "/course/utils", "CANARY"]
for place in [*homes, "/proc/sys/kernel", "/work", os.path.dirname(np.__file__)]:
    for path in (f"{place}/MARKER", f"{place}/secret"):
        try:
            os.makedirs(place, exist_ok=True)
            open(path, "w").write("MARKER")
        except OSError:
            pass
os.system("touch CANARY/shell /tmp/MARKER; wall MARKER; logger MARKER")


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW"
why = "os"
