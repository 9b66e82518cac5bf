"""Colab writes format 4.0 without cell ids, and metadata of its own."""

from damage import DONE

expected = DONE


def make(notebook):
    for i, cell in enumerate(notebook["cells"]):
        cell.pop("id", None)
        cell["metadata"] = {"id": f"Xy{i:010d}", "outputId": "8f3c", "colab": {"height": 35}}
    colab = {"provenance": [], "toc_visible": True, "gpuType": "T4"}
    return notebook | {"nbformat_minor": 0, "metadata": {"colab": colab, "accelerator": "GPU"}}
