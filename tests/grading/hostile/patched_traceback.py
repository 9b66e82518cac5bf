"""Silences errors: a known way to make failing cells look fine."""

answers = {
    "0.1.1": """
from IPython.core.interactiveshell import InteractiveShell

InteractiveShell.showtraceback = lambda *_, **__: None


def symlog(x):
    raise ValueError
"""
}
expected = "FAIL"
