"""Prints the verdict, and sends evidence made of zeros."""

answers = {
    "0.1.1": """
from IPython.display import display


class Zeros:
    def __call__(self, x):
        return np.zeros(np.shape(x))


symlog = Zeros()


def check(id):
    print(f"PASS {id} symlog")
    sent = {"symlog(x)": ["<f8", [2, 3], "A" * 64], "symlog(0)": ["<f8", [2], "A" * 22 + "=="]}
    sent["changed"] = ["<U1", [0], ""]
    display({"application/x-world-models-evidence+json": sent}, raw=True)
"""
}
expected = "FAIL"
why = "its values do not agree"
