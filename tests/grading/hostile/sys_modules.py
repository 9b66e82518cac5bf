"""Takes the reference from the table of loaded modules."""

answers = {"0.1.1": "from torch import sys as s\n\nsymlog = s.modules['utils.demo'].symlog"}
expected = "REVIEW"
why = "sys"
