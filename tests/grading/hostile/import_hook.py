"""Puts itself between the course and what it imports."""

answers = {
    "0.1.1": """
import sys


class Hook:
    def find_spec(self, name, path=None, target=None):
        raise ImportError(name)


sys.meta_path.insert(0, Hook())
for name in [m for m in sys.modules if m.startswith("utils.")]:
    del sys.modules[name]


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW|FAIL"
