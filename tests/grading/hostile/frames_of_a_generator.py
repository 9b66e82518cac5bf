"""The same, by a generator's frame, whose way up is open while it runs."""

answers = {
    "0.1.1": """
def climb():
    frame = g.gi_frame.f_back
    while "exercise" not in frame.f_locals:
        frame = frame.f_back
    yield frame.f_locals["exercise"].reference


def symlog(x):
    global g
    g = climb()
    return next(g)(x)
"""
}
expected = "REVIEW"
why = "gi_frame"
