"""Asks the garbage collector for every function called symlog."""

answers = {
    "0.1.1": """
import gc

known = [f for f in gc.get_objects() if getattr(f, "__qualname__", "") == "symlog"]


def symlog(x):
    return known[0](x)
"""
}
expected = "REVIEW"
why = "gc"
