"""Tries every way out, the host's own sockets included; right only if none is open."""

answers = {
    "0.1.1": """
import glob
import socket

reached = []


def reach(family, kind, address, say=b"MARKER"):
    try:
        with socket.socket(family, kind) as s:
            s.settimeout(0.3)
            s.connect(address)
            s.sendall(say)
            if kind == socket.SOCK_STREAM or s.recv(10):
                reached.append(address)
    except OSError:
        pass


for host in ("127.0.0.1", "10.0.2.2", "172.17.0.1", "192.0.2.1"):
    for port in (PORT, 22, 80, 53):
        reach(socket.AF_INET, socket.SOCK_STREAM, (host, port))
        reach(socket.AF_INET, socket.SOCK_DGRAM, (host, port))
reach(socket.AF_INET6, socket.SOCK_STREAM, ("::1", PORT))
for path in ["CANARY/socket", "\\0MARKER", *glob.glob("/tmp/*/k-*"), *glob.glob("/run/**")]:
    if not path.startswith("/tmp/wm-"):
        reach(socket.AF_UNIX, socket.SOCK_STREAM, path)
try:
    reached.append(socket.getaddrinfo("example.org", 80))
except OSError:
    pass
interfaces = [name for _, name in socket.if_nameindex() if name != "lo"]
assert not reached and not interfaces, f"REACHED {reached} {interfaces}"


def symlog(x):
    return np.sign(x) * np.log1p(np.abs(x))
"""
}
expected = "REVIEW"
why_not = "REACHED"
