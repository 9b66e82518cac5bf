"""Makes the reference as wrong as the answer."""

answers = {
    "0.1.1": """
def symlog(x):
    return x


demo.symlog.__code__ = symlog.__code__
"""
}
expected = "FAIL"
why = "utils.demo.symlog was changed|symlog was replaced"
