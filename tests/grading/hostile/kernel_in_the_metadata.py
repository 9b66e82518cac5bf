"""The file brings a kernel that is a shell command."""

import json


def file(notebook):
    command = ["sh", "-c", "touch CANARY/kernel {connection_file}"]
    kernel = {"name": "../../CANARY", "argv": command, "language": "sh", "display_name": "sh"}
    notebook["metadata"] = {"kernelspec": kernel, "language_info": {"name": "sh"}}
    return json.dumps(notebook)


expected = "PASS"
