"""Looks for what should not be there: passwords, homes, solutions, other submissions."""

answers = {
    "0.1.1": """
import glob
import os

patterns = ["/etc/*", "/home/*"]
patterns += ["/root/*", "/root/.ssh/*", "/var/*", "/srv/*", "/mnt/*", "CANARY/*"]
patterns += ["/course/solutions/*", "/**/solutions/0.1*", "/sys/*", "/proc/*/root/etc/passwd"]
found = [p for pattern in patterns for p in glob.glob(pattern) if os.path.isfile(p)]
for name in ("HOME", "PATH", "USER"):
    found += [v for v in [os.environ[name]] if v not in ("/tmp", "/usr/bin:/bin", "learner")]
found += [name for name in os.environ if "TOKEN" in name or "KEY" in name or "GITHUB" in name]
assert not found, f"FOUND {found}"


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW"
why_not = "FOUND"
