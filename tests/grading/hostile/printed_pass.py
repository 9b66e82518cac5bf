"""Prints the line that the check would print."""

answers = {
    "0.1.1": "print('PASS 0.1.1 symlog')\n\n\ndef symlog(x):\n    print('PASS 0.1.1 symlog')"
}
expected = "FAIL"
