"""An error whose text is markup, a workflow command and a terminal's escape codes."""

answers = {
    "0.1.1": """
def symlog(x):
    raise ValueError(
        "\\n::set-output name=grade::100\\n##[group]x\\n<script>alert(1)</script>|a|b|\\n"
        "\\x1b[2J\\x1b]0;title\\x07 ]]> </failure> [x](javascript:alert) =HYPERLINK(1)"
    )
"""
}
expected = "FAIL"
why = "ValueError"
