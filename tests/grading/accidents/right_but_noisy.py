"""A right answer that prints, warns and shows a progress bar."""

from damage import DONE, put

expected = DONE


def make(notebook):
    answer = """
import warnings

from tqdm import tqdm


def lambda_return(reward, value, gamma, lam):
    warnings.warn("the horizon is short")
    out, last = np.zeros(len(reward)), value[-1]
    for t in tqdm(range(len(reward) - 1, -1, -1)):
        print("PASS, I hope:", t, "\\u03bb", lam)
        last = reward[t] + gamma * ((1 - lam) * value[t + 1] + lam * last)
        out[t] = last
    return out
"""
    return put(notebook, "0.1.2", answer)
