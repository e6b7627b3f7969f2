"""One connection, of which this process is both ends: to see where a name leads."""

import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration"))
from lib import hello  # noqa: E402

from .load import Failed  # noqa: E402

PATIENCE_S = 60


class Backend:
    """Listens on an address of this host, "127.0.2.1:5000"."""

    def __init__(self, address):
        host, _, port = address.rpartition(":")
        self.sock = socket.create_server((host, int(port)), backlog=64)
        self.sock.settimeout(PATIENCE_S)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def answer(self, name):
        """Take a connection that asks for this name and answer it with a byte."""
        connection, _ = self.sock.accept()
        with connection:
            connection.settimeout(PATIENCE_S)
            data = b""
            while name.encode() not in data:
                part = connection.recv(65536)
                if not part:
                    raise Failed(f"the backend was asked for another name than {name}")
                data += part
            connection.sendall(b"!")


def ask(proxy, name, backend):
    """A connection through the proxy to this name, as soon as it takes one; fails unless the backend behind answers."""
    message = hello.record(hello.message(name.encode(), size=517))
    with proxy.wait_until_open() as client:
        client.settimeout(PATIENCE_S)
        client.sendall(message)
        try:
            backend.answer(name)
            if client.recv(16) != b"!":
                raise Failed(f"{proxy.name}: {name} was not answered")
        except OSError as error:
            raise Failed(f"{proxy.name}: {name} is not routed: {error}") from error
