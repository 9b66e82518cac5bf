"""The upload broke off before it began."""

core = True
unreadable = "it is empty"


def make(_):
    return b""
