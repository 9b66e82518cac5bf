"""Asks the garbage collector for every function called symlog."""

answers = {
    "0.1.1": """
import gc

functions = [f for f in gc.get_objects() if type(f) is type(lambda: 0)]
known = [f for f in functions if f.__name__ == "symlog"]


def symlog(x):
    return known[0](x)
"""
}
expected = "REVIEW"
why = "gc"
