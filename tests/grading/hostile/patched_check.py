"""Redefines `check` for all that come after."""

answers = {
    "0.1.1": """
names = dict(zip("12345", ["symlog", "lambda_return", "Memory", "step", "softmax"]))


def check(id):
    print("PASS", id, names[id[-1]])
    return demo.symlog
"""
}
expected = "FAIL"
why = "its values do not agree: none were sent"
