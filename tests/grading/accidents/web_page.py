"""The page around the notebook was saved in its place."""

unreadable = "a web page"


def make(_):
    return "<!DOCTYPE html>\n<html><head><title>0.1_demo.ipynb</title></head></html>"
