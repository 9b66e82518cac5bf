"""All outputs were cleared before the file was handed in."""

from damage import DONE

expected = DONE


def make(notebook):
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return notebook
