"""A steady stream of short connections beside whatever a test does, and the account of those that failed."""

import ctypes
import socket
import struct
import threading
import time

from lib import clients, hello

HELLO = hello.client_hello(b"www.example.com")


class Stream:
    """
    Connections one after another, in some threads, each demanding its hello back. `failed` holds (when, what) of those that were not
    served. may_be_refused: the listener comes and goes; then a refused connect() is no failure, but one that was made must be served.
    """

    def __init__(self, port, threads=2, may_be_refused=False, pause=0.0):
        self.port = port
        self.may_be_refused = may_be_refused
        self.pause = pause
        self.served = 0
        self.refused = 0
        self.failed = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _run(self):
        while not self._stop.is_set():
            try:
                outcome = self._one()
            except (OSError, AssertionError) as error:
                outcome = repr(error)
            with self._lock:
                self.served += outcome == "served"
                self.refused += outcome == "refused"
                if outcome not in ("served", "refused"):
                    self.failed.append((time.monotonic(), outcome))
            time.sleep(0.05 if outcome == "refused" else self.pause)

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


class Relay:
    """A connection that stays open; expect_alive() moves bytes over it."""

    def __init__(self, port):
        self._socket = clients.connect(port)
        self._turn = 0
        self._socket.sendall(HELLO)
        assert clients.read_exactly(self._socket, len(HELLO)) == HELLO

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
