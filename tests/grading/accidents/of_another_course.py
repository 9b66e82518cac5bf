"""The wrong file was handed in."""

from damage import code

name = "homework_3.ipynb"
unreadable = "no cell begins with # EXERCISE"


def make(notebook):
    return notebook | {"cells": [code("print('homework 3')")]}
