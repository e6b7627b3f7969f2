"""Killing workers under load, and telling exactly which connections that may have cost: those that the victim had accepted."""

import dataclasses
import os
import signal
import threading
import time

from lib import clients, hello, logs, procfs, sockets
from lib.background import Background
from lib.machine import may_ptrace
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")


class Workers:
    """Who serves in which slot, by the log of a daemon; each line is looked at once, however long the log is."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.by_slot = {}
        self.started = 0
        self._seen = 0

    def read(self):
        """Looks at new lines; {slot: pid}."""
        lines = self.daemon.lines[self._seen:]
        self._seen += len(lines)
        for line in lines:
            if "worker started" in line or "worker died" in line:
                event = logs.parse_line(line)
                if event["msg"] == "worker started":
                    self.by_slot[event["worker"]] = int(event["pid"])
                    self.started += 1
                elif self.by_slot.get(event["worker"]) == int(event["pid"]):
                    del self.by_slot[event["worker"]]
        return self.by_slot

    def wait_for(self, count, timeout=15):
        wait_until(lambda: len(self.read()) == count, timeout, f"{count} workers")
        return dict(self.by_slot)


@dataclasses.dataclass
class Kill:
    """What a worker had at the moment it stood still for ever."""

    when: float
    held: set  # ports of the clients whose connections it had accepted; None: it was gone before all were seen, or may not be looked at
    waiting: int  # connections in the queue of its listening socket, when it was killed


def kill_worker(pid, port, pause):
    """
    SIGSTOP at whatever instruction it is, a pause in which connections come into its queue, and SIGKILL: to the kernel the same as a
    SIGKILL at the first moment, but its descriptors can be looked at between. port: of the listener.
    """
    os.kill(pid, signal.SIGSTOP)
    when, held, waiting = time.monotonic(), None, 0
    try:
        wait_until(lambda: _state(pid) == "T", 10, "the worker to stand still", interval=0.001)
        when = time.monotonic()
        inodes = _sockets(pid) if may_ptrace() else set()
        accepted = {s.remote for s in sockets.tcp(port) if s.inode in inodes and s.state != sockets.LISTEN}
        time.sleep(pause)
        waiting = sum(s.queued for s in sockets.tcp(port) if s.inode in inodes and s.state == sockets.LISTEN)
        if may_ptrace() and _state(pid) == "T":
            held = accepted
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        pass  # the test had to wait for a CPU so long that the master has found the worker hanging
    return Kill(when, held, waiting)


def _state(pid):
    with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
        return f.read().rpartition(")")[2].split()[0]


def _sockets(pid):
    """Inodes of its sockets."""
    return {int(to[len("socket:["):-1]) for to in procfs.open_files(pid) if to.startswith("socket:[")}


@dataclasses.dataclass
class Failure:
    begun: float
    ended: float
    port: int  # of the client; None: it did not even connect
    error: str


class Load(Background):
    """Short connections, each of which demands its hello back, and relays that stay open; keeps those that failed."""

    def __init__(self, port, threads=16, relays=8):
        self.port = port
        self.served = 0
        self.turns = 0
        self.slowest = 0.0
        self.failures = []
        self._lock = threading.Lock()
        super().__init__(*[self._short] * threads, lambda: self._relay(relays))

    def _short(self):
        while not self.pause(0.01):
            begun, port = time.monotonic(), None
            try:
                with clients.connect(self.port, timeout=20) as s:
                    port = s.getsockname()[1]
                    s.sendall(HELLO)
                    assert clients.read_exactly(s, len(HELLO)) == HELLO
                with self._lock:
                    self.served += 1
                    self.slowest = max(self.slowest, time.monotonic() - begun)
            except (OSError, AssertionError) as error:
                self.failures.append(Failure(begun, time.monotonic(), port, repr(error)))

    def _relay(self, count):
        held = []
        while not self.pause(0.02):
            begun, port = time.monotonic(), None
            try:
                if len(held) < count:
                    s = clients.connect(self.port, timeout=20)
                    held.append((begun, s))
                else:
                    begun, s = held.pop(0)
                    held.append((begun, s))
                port = s.getsockname()[1]
                s.sendall(HELLO)
                assert clients.read_exactly(s, len(HELLO)) == HELLO
                self.turns += 1
            except (OSError, AssertionError) as error:
                self.failures.append(Failure(begun, time.monotonic(), port, repr(error)))
                if port is not None:
                    held.pop()[1].close()
        for _, s in held:
            s.close()

    def unexplained(self, kills):
        """Failures of connections that no killed worker had accepted when it stood still."""
        return [f for f in self.failures
                if not any(f.begun <= k.when <= f.ended and (k.held is None or f.port in k.held) for k in kills)]
