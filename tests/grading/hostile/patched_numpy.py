"""Replaces numpy's comparison by one that always agrees."""

answers = {
    "0.1.1": """
np.isclose = lambda a, *_, **__: np.ones(np.shape(a), bool)


def symlog(x):
    return np.zeros(x.shape)
"""
}
expected = "FAIL"
why = "its values do not agree"
