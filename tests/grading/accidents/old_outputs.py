"""Stored outputs are no verdict: a FAIL of last week, and a PASS above an untouched stub."""

from damage import DONE, find, put

expected = DONE | {"0.1.2": "TODO"}


def make(notebook):
    failed = {"name": "stdout", "output_type": "stream", "text": ["FAIL 0.1.1 symlog: last week"]}
    notebook["cells"][find(notebook, "0.1.1") + 1]["outputs"] = [failed]
    stub = "def lambda_return(reward, value, gamma, lam):\n    raise NotImplementedError"
    return put(notebook, "0.1.2", stub)
