"""File > Save as > Python script: the cells are still there, divided by comments."""

from damage import DONE

name = "0.1_demo.py"
expected = DONE


def make(notebook):
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    parts = [f"# In[{i}]:\n\n\n{text}\n\n\n" for i, text in enumerate(cells)]
    return "#!/usr/bin/env python\n# coding: utf-8\n\n" + "".join(parts)
