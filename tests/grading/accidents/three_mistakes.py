"""Three answers are wrong in known ways, one is right and written differently, one is right."""

from damage import DONE, patch, put

core = True
expected = DONE | {"0.1.1": "FAIL", "0.1.2": "FAIL", "0.1.4": "FAIL"}
why = {
    "0.1.1": "It looks as if the sign of negative numbers is lost.",
    "0.1.2": "It looks as if it bootstraps from the wrong index, v[t].",
    "0.1.4": "It looks as if the left wall is missing.",
}


def make(notebook):
    put(notebook, "0.1.1", "def symlog(x):\n    return np.log(np.abs(x) + 1)")
    patch(notebook, "0.1.2", "value[t + 1] +", "value[t] +")
    put(notebook, "0.1.4", "def step(self, c, m):\n    return min(c + m, self.cells - 1)")
    pages = """
class Memory(dict):
    write = dict.__setitem__

    def read(self, state):
        return self.get(state, 0.0)
"""
    return put(notebook, "0.1.3", pages)
