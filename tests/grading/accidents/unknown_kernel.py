"""The file names a kernel that exists on the learner's machine alone."""

from damage import DONE

expected = DONE


def make(notebook):
    kernel = {"name": "anna-gpu", "display_name": "Anna's GPU", "language": "julia"}
    notebook["metadata"]["kernelspec"] = kernel
    return notebook
