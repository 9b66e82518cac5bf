"""A small file that would unfold into a tower of lists."""

file = "[" * 200_000 + "]" * 200_000
unreadable = "no cells"
