"""Sends an object array whose pickle would run a command where it is read."""

answers = {
    "0.1.1": """
import base64
import os
import pickle

from IPython.display import display


class Run:
    def __reduce__(self):
        return os.system, ("touch CANARY/pickle",)


def symlog(x):
    return np.zeros(x.shape)


def check(id):
    print(f"PASS {id} symlog")
    bytes_ = base64.b64encode(pickle.dumps(Run())).decode()
    sent = dict.fromkeys(["symlog(x)", "symlog(0)", "changed"], ["|O", [1], bytes_])
    display({"application/x-world-models-evidence+json": sent}, raw=True)
    return symlog
"""
}
expected = "FAIL"
why = "unreadable"
