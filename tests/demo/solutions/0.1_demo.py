# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 0.1 Demo: does the machine work?
#
# A lesson of five exercises that needs numpy alone.

# %%
# SETUP

# %% tags=["parameters"]
PROFILE = None

# %%
import numpy as np

from utils import demo
from utils.course.check import check, hint

# %% [markdown]
# ## Squash
#
# Large rewards are squashed.

# %%
# EXERCISE 0.1.1 utils.demo:symlog

# %%
symlog = check("0.1.1")

# %%
print(symlog(np.array([-1.0, 0.0, 1e6])).round(3))

# %% [markdown]
# ## Look ahead

# %%
# EXERCISE 0.1.2 utils.demo:lambda_return

# %%
lambda_return = check("0.1.2")

# %%
print(lambda_return(np.ones(3), np.zeros(4), 0.9, 1.0).round(3))

# %% [markdown]
# ## Remember

# %%
# EXERCISE 0.1.3 utils.demo:Memory blank Memory.write, Memory.read

# %%
Memory = check("0.1.3")

# %%
memory = Memory()
memory.write(3, 0.5)
print(memory.read(3))

# %% [markdown]
# ## Walk
#
# The lesson's own subclass, so that the answer of exercise 0.1.4 is what walks.


# %%
class Walk(demo.Walk):
    pass


# %%
# EXERCISE 0.1.4 utils.demo:Walk.step

# %%
Walk.step = check("0.1.4")

# %%
print([Walk(3).step(cell, 1) for cell in range(3)])

# %% [markdown]
# ## Find the bug

# %%
# EXERCISE 0.1.5 utils.demo:softmax bug axis

# %%
softmax = check("0.1.5")

# %%
print(softmax(np.zeros((2, 4))).sum(-1))
