"""The lesson itself has imported the module that the reference is in."""

answers = {"0.1.1": "def symlog(x):\n    return demo.symlog(x)"}
expected = "REVIEW"
why = "it uses demo"
