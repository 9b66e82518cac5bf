"""Windows Notepad put a byte order mark before the file."""

import json

from damage import DONE

expected = DONE


def make(notebook):
    return b"\xef\xbb\xbf" + json.dumps(notebook).encode()
