"""Sends shapes without bytes: whoever makes an empty array of them may find old numbers in it."""

answers = {
    "0.1.1": """
from IPython.display import display


def symlog(x):
    return np.zeros(x.shape)


def check(id):
    print(f"PASS {id} symlog")
    sent = {"symlog(x)": ["<f8", [2, 3], ""], "symlog(0)": ["<f8", [2], ""]}
    sent["changed"] = ["<U1", [0], ""]
    display({"application/x-world-models-evidence+json": sent}, raw=True)
    return symlog
"""
}
expected = "FAIL"
why = "its values do not agree"
