"""A steady stream of short connections beside whatever a test does, and the account of those that failed."""

import ctypes
import socket
import struct
import threading
import time

from lib import clients, hello
from lib.background import Background

HELLO = hello.client_hello(b"www.example.com")


class Stream(Background):
    """
    Connections one after another, in some threads, each demanding its hello back. `failed` holds (when, what) of those that were not
    served. may_be_refused: the listener comes and goes; then a refused connect() is no failure, but one that was made must be served.
    every: seconds between the end of one and the next.
    """

    def __init__(self, port, threads=2, may_be_refused=False, every=0.0):
        self.port = port
        self.may_be_refused = may_be_refused
        self.every = every
        self.served = 0
        self.refused = 0
        self.failed = []
        self._lock = threading.Lock()
        super().__init__(*[self._run] * threads)

    def _run(self):
        while not self.is_over():
            try:
                outcome = self._one()
            except (OSError, AssertionError) as error:
                outcome = repr(error)
            with self._lock:
                self.served += outcome == "served"
                self.refused += outcome == "refused"
                if outcome not in ("served", "refused"):
                    self.failed.append((time.monotonic(), outcome))
            self.pause(0.05 if outcome == "refused" else self.every)

    def _one(self):
        try:
            s = clients.connect(self.port, timeout=20)
        except ConnectionRefusedError:
            if self.may_be_refused:
                return "refused"
            raise
        with s:
            s.sendall(HELLO)
            assert clients.read_exactly(s, len(HELLO)) == HELLO
        return "served"


def established(port, **how):
    """A connection on which the backend has sent the hello back; how: as clients.connect() takes it."""
    s = clients.connect(port, **how)
    s.sendall(HELLO)
    assert clients.read_exactly(s, len(HELLO)) == HELLO
    return s


def is_served(port, host="127.0.0.1"):
    """Does a connection that is made now reach the backend?"""
    try:
        established(port, host=host).close()
        return True
    except (OSError, AssertionError):
        return False


class Relay:
    """A connection that stays open; expect_alive() moves bytes over it."""

    def __init__(self, port):
        self._socket = established(port)
        self._turn = 0

    def expect_alive(self):
        self._turn += 1
        text = b"turn %d" % self._turn
        self._socket.sendall(text)
        assert clients.read_exactly(self._socket, len(text)) == text

    def close(self):
        self._socket.close()


def half_open(port):
    """A socket whose handshake stands still: it is deaf to the SYN-ACK until go_on(). Raises nothing."""
    s = socket.socket()
    _set_filter(s, [(6, 0, 0, 0)])  # return 0: drop
    s.setblocking(False)
    s.connect_ex(("127.0.0.1", port))
    return s


def go_on(s):
    """Hear again; the SYN-ACK is repeated a second after the first."""
    s.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    s.settimeout(15)


_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27


def _set_filter(s, instructions):
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *i) for i in instructions))
    s.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HL", len(instructions), ctypes.addressof(code)))
