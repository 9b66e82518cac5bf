"""A match statement reads attributes whose names stand in no attribute."""

answers = {
    "0.1.1": """
def symlog(x):
    match symlog:
        case object(__globals__=names):
            return names["de" + "mo"].symlog(x)
"""
}
expected = "REVIEW"
why = "__globals__"
