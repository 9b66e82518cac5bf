"""Opens comms to the grader and fills them."""

answers = {
    "0.1.1": """
from ipykernel.comm import Comm

for i in range(200):
    Comm(target_name="jupyter.widget", data={"x": "y" * 10_000}).send({"method": "update"})


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW"
why = "ipykernel"
