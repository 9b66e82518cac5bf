"""Source that is small, and deep enough to break parsers."""

answers = {"0.1.1": "symlog = " + "-" * 60_000 + "1" + " + 1" * 20_000}
expected = "FAIL"
