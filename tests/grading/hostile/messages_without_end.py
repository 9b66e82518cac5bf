"""A thread sends messages for ever, none of which is an output."""

answers = {
    "0.1.1": """
import threading


def send(kernel):
    while True:
        kernel.session.send(kernel.iopub_socket, "status", {"execution_state": "busy"})


threading.Thread(target=send, args=(get_ipython().kernel,), daemon=True).start()


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW|FAIL"
