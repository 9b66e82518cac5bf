"""A thousand magics, each of which makes notebooks read the cell anew."""

answers = {
    "0.1.1": "%time 1\n" * 1000 + "def symlog(x):\n    return np.sign(x) * np.log1p(np.abs(x))"
}
expected = "PASS"
