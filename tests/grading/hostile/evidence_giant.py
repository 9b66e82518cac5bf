"""Sends a hundred megabytes as evidence."""

answers = {
    "0.1.1": """
from IPython.display import display

kind = "application/x-world-models-evidence+json"
display({kind: {"symlog(x)": ["<f8", [10**7], "A" * 100_000_000]}}, raw=True)


def symlog(x):
    return np.zeros(x.shape)
"""
}
expected = "FAIL"
why = "broke off its connection"
