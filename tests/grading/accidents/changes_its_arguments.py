"""The λ-return is written into the rewards that came in."""

from damage import DONE, patch

expected = DONE | {"0.1.2": "FAIL"}
why = {"0.1.2": "the argument reward is changed in place"}


def make(notebook):
    return patch(notebook, "0.1.2", "np.empty_like(reward)", "reward")
