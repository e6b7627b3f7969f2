"""A steady stream of new connections, none of which may fail."""

import threading
import time

from lib import clients, hello

HELLO = hello.client_hello(b"www.example.com")


class Stream:
    """Connections one after another; each must be answered, however long it takes. What fails is kept."""

    def __init__(self, port, threads=3):
        self.port, self.done, self.failed, self._stop = port, 0, [], threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def _run(self):
        while not self._stop.is_set():
            try:
                with clients.connect(self.port, timeout=30) as s:
                    s.sendall(HELLO)
                    assert clients.read_exactly(s, len(HELLO)) == HELLO
                    self.done += 1
            except (OSError, AssertionError) as error:
                self.failed.append(repr(error))
            time.sleep(0.004)

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(40)
            assert not thread.is_alive(), "a connection hangs"
