"""Lets the check run, and changes what it sends."""

answers = {
    "0.1.1": """
import utils.course.check as course

display_ = course.display


def display(data, **more):
    for sent in data.values():
        for key in sent:
            sent[key][2] = "A" * len(sent[key][2])
    display_(data, **more)


course.display = display
course.difference = lambda *_: None


def symlog(x):
    return np.zeros(x.shape)
"""
}
expected = "FAIL"
