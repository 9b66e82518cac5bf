"""The lesson's own class inherits the reference that the answer should replace."""

answers = {"0.1.4": "def step(self, cell, move):\n    return Walk.step(self, cell, move)"}
expected = "REVIEW"
why = "it uses Walk"
