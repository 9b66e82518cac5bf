"""numpy's comparison is replaced under another name, and writes the target into the answer."""

answers = {
    "0.1.1": """
n, *_ = [np]


def isclose(yours, target, *_, **__):
    yours[...] = target
    return np.ones(yours.shape, bool)


def symlog(x):
    n.isclose = isclose
    return np.zeros(x.shape)
"""
}
expected = "FAIL"
why = "its values do not agree"
