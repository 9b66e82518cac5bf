"""The same, by the way up from the object."""

answers = {"0.1.4": "def step(self, c, move):\n    return super(type(self), self).step(c, move)"}
expected = "REVIEW|FAIL"
