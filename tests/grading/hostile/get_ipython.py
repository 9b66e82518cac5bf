"""Rewrites the cells that come after it."""

answers = {
    "0.1.1": """
names = {"0.1.2": "lambda_return", "0.1.3": "Memory", "0.1.4": "step", "0.1.5": "softmax"}


def rewrite(lines):
    for id, name in (names | {"0.1.1": "symlog"}).items():
        if f'check("{id}")' in "".join(lines):
            return [f'print("PASS {id} {name}")']
    return lines


get_ipython().input_transformers_post.append(rewrite)
"""
}
expected = "FAIL"
why = "its values do not agree: none were sent"
