"""A steady stream of proxied connections, any one of which may fail: what an upgrade or a restart must not let happen."""

import socket
import ssl
import threading
import time

from lib.waiting import wait_until


def get(context, port, name, timeout=10):
    """The answer to one request over one new TLS connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout) as raw, \
            context.wrap_socket(raw, server_hostname=name) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := s.recv(65536):
            answer += data
    return answer


class Stream:
    """New connections one after the other in threads, from `with` to the end of it. failures says what went wrong."""

    def __init__(self, machine, context, port, name, threads=4):
        self.failures = []
        self.count = 0
        self._context, self._port, self._name = context, port, name
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._machine = machine
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def _run(self):
        with self._machine.network():
            while not self._ended.is_set():
                started = time.monotonic()
                try:
                    answer = get(self._context, self._port, self._name)
                    problem = None if b"200 OK" in answer else f"answer {answer[:80]!r}"
                except (OSError, ssl.SSLError) as error:
                    problem = f"{type(error).__name__}: {error}"
                with self._lock:
                    self.count += 1
                    if problem:
                        self.failures.append(f"{problem} after {time.monotonic() - started:.3f} s")
                time.sleep(0.005)

    def wait_for(self, more):
        """Until so many more connections have come to an end."""
        target = self.count + more
        wait_until(lambda: self.count >= target, 30, f"{more} more connections")

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_):
        self._ended.set()
        for thread in self._threads:
            thread.join(15)
