"""Reads the reference's source, and runs it."""

answers = {
    "0.1.1": """
import glob

[path] = glob.glob("/course/utils/demo.py")
exec(open(path).read())
"""
}
expected = "REVIEW"
why = "exec"
