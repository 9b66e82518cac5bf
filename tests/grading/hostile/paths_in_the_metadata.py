"""Names in the file climb out of every folder."""

import json


def file(notebook):
    notebook["metadata"] = {"name": "../../../CANARY/name", "path": "/CANARY/path"}
    for cell in notebook["cells"]:
        cell["id"] = "../../CANARY/cell"
        cell["metadata"] = {"name": "../../CANARY", "tags": ["../../CANARY"]}
        cell["attachments"] = {"../../CANARY/picture.png": {"image/png": "AAAA"}}
    return json.dumps(notebook)


expected = "PASS"
