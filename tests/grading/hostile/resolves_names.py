"""Libraries that turn a text into an object: no name of the course stands in the code."""

answers = {
    "0.1.1": """
from pkgutil import resolve_name

symlog = resolve_name("ut" + "ils.demo:symlog")
"""
}
expected = "REVIEW"
why = "pkgutil"
