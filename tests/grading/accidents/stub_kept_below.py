"""The stub was copied before it was solved, and still stands below the answer, with a note."""

from damage import DONE, code, find

expected = DONE


def make(notebook):
    stub = """# EXERCISE 0.1.3
class Memory:
    \"\"\"The last reward seen for each state; 0 where none was.\"\"\"

    def __init__(self) -> None:
        self.seen = {}

    def write(self, state: int, reward: float) -> None:
        \"\"\"Remembers the reward of a state, in place of an older one.\"\"\"
        raise NotImplementedError  # as it was

    def read(self, state: int) -> float:
        \"\"\"The remembered reward.\"\"\"
        raise NotImplementedError
"""
    notebook["cells"].insert(find(notebook, "0.1.3") + 1, code(stub))
    return notebook
