"""Takes memory, and touches it, until there is none."""

answers = {
    "0.1.1": """
def symlog(x):
    taken = []
    while True:
        try:
            taken.append(np.ones(1 << 24))
        except MemoryError:
            pass
"""
}
expected = "FAIL"
why = "GB of memory|did not end"
