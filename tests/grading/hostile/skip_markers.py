"""Asks nbval to skip the cell, or to expect its error."""

import json


def file(notebook):
    for cell in notebook["cells"]:
        if "# EXERCISE 0.1.1" in "".join(cell["source"]):
            cell["source"] = "# EXERCISE 0.1.1\n# NBVAL_SKIP\n# NBVAL_RAISES_EXCEPTION\n1 / 0"
        cell["metadata"] = {"tags": ["nbval-skip", "raises-exception"]}
    return json.dumps(notebook)


expected = "FAIL"
why = "ZeroDivisionError"
