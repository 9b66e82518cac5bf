"""Saved by a program that still writes notebook format 3."""

from damage import DONE

expected = DONE


def make(notebook):
    cells = []
    for cell in notebook["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            made = {"input": text, "outputs": [], "language": "python", "collapsed": False}
        else:
            made = {"source": text}
        cells.append({"cell_type": cell["cell_type"], "metadata": {}} | made)
    sheets = [{"cells": cells, "metadata": {}}]
    return {"metadata": {"name": ""}, "nbformat": 3, "nbformat_minor": 0, "worksheets": sheets}
