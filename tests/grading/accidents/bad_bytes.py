"""Another editor saved a comment in Latin-1."""

import json

from damage import DONE, patch

expected = DONE


def make(notebook):
    patch(notebook, "0.1.1", "return", "# f\u00fcr alle x\n    return")
    return json.dumps(notebook, ensure_ascii=False).encode("latin-1", "replace")
