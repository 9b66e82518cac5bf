"""Another editor changed all line ends, in the file and in the sources."""

import json

from damage import DONE

expected = DONE


def make(notebook):
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"]).replace("\n", "\r\n")
    return json.dumps(notebook, indent=1).replace("\n", "\r\n").encode()
