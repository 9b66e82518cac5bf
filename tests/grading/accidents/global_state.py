"""The answer changes what the whole kernel uses: seeds, errors, warnings, printing, types."""

from damage import DONE, put, source

expected = DONE


def make(notebook):
    state = """
import warnings

import torch

np.random.seed(0)
np.seterr(all="raise")
np.set_printoptions(precision=2)
warnings.simplefilter("error")
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
"""
    answer = source(notebook, "0.1.1").partition("\n")[2]
    return put(notebook, "0.1.1", state + answer)
