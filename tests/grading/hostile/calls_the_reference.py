"""The reference ships with the course: importing it cannot be refused, only shown to a person."""

answers = {"0.1.1": "from utils.demo import symlog as s\n\n\ndef symlog(x):\n    return s(x)"}
expected = "REVIEW"
why = "it uses utils"
