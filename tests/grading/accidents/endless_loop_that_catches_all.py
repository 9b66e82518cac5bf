"""A loop that does not end, and catches whatever would end it."""

from damage import DONE, put

expected = DONE | {"0.1.2": "FAIL"}
why = {"0.1.2": "it stopped the kernel: a time-out after 14 s"}


def make(notebook):
    return put(
        notebook,
        "0.1.2",
        """
def lambda_return(reward, value, gamma, lam):
    while True:
        try:
            while True:
                pass
        except:
            pass
""",
    )
