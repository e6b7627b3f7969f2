"""How connections end when an end stalls, resets or both: nothing lingers, and what was cut never looks like what ended."""

import os
import signal
import socket
import threading
import time

import pytest

from lib import clients, hello, procfs
from lib.backends import BlackHole, EchoBackend, ScriptBackend, read_hello, reset, unsent_bytes
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")


class Held:
    """A backend script that reads the hello and then hands the connection to the test, which holds the other end of it."""

    def __init__(self):
        self.connection = None
        self._done = threading.Event()

    def __call__(self, connection):
        read_hello(connection, len(HELLO))
        connection.settimeout(20)
        self.connection = connection
        self._done.wait()

    def wait(self):
        wait_until(lambda: self.connection, what="the backend's connection")
        return self.connection

    def release(self):
        self._done.set()


@pytest.fixture
def held(backend):
    """(script, backend): whose connection the test plays itself."""
    script = Held()
    yield script, backend(ScriptBackend, script, receive_buffer=4096)
    script.release()


def connect(daemon, held, **kwargs):
    """A client and its backend's end."""
    s = clients.connect(daemon.port, **kwargs)
    s.sendall(HELLO)
    return s, held[0].wait()


def stuff(s, most=64 << 20):
    """Sends until nothing more is taken for a while; returns how much was."""
    block, sent, quiet_since = b"s" * 65536, 0, time.monotonic()
    s.setblocking(False)
    while sent < most and time.monotonic() - quiet_since < 1:
        try:
            sent += s.send(block)
            quiet_since = time.monotonic()
        except BlockingIOError:
            time.sleep(0.01)
    s.settimeout(20)
    return sent


def read_to_reset(s):
    """How many bytes come before the reset; an end of stream is a failure."""
    count = 0
    try:
        while data := s.recv(1 << 20):
            count += len(data)
    except ConnectionResetError:
        return count
    raise AssertionError(f"an end of stream after {count} bytes")


def test_what_was_read_before_a_client_reset_reaches_a_backend_that_is_slow_to_read(proxy, held):
    daemon = proxy(f"* {held[1].address}")
    s, other = connect(daemon, held)
    stuff(s)
    reset(s)
    count = read_to_reset(other)
    line = daemon.wait_for_access()
    assert (line["reason"], int(line["bytes_in"])) == ("client_reset", len(HELLO) + count)


def test_client_reset_ends_a_connection_whose_backend_never_reads(proxy, held):
    daemon = proxy(f"* {held[1].address}")
    s, _other = connect(daemon, held)
    stuff(s)
    reset(s)
    assert daemon.wait_for_access()["reason"] == "client_reset"


def test_backend_reset_ends_a_connection_whose_client_never_reads(proxy, held):
    daemon = proxy(f"* {held[1].address}")
    s, other = connect(daemon, held, receive_buffer=4096)
    stuff(other)
    reset(other)
    assert daemon.wait_for_access()["reason"] == "backend_reset"
    s.close()


def test_what_was_read_before_a_reset_reaches_a_backend_that_had_paused_for_longer_than_that_may_take(proxy, held):
    daemon = proxy(f"* {held[1].address}")
    s, other = connect(daemon, held)
    stuff(s)
    time.sleep(6)
    reset(s)
    time.sleep(1)
    count = read_to_reset(other)
    assert int(daemon.wait_for_access()["bytes_in"]) == len(HELLO) + count


def test_reset_is_passed_on_within_five_seconds_though_the_backend_goes_on_reading_slowly(proxy, held):
    daemon = proxy(f"* {held[1].address}")
    s, other = connect(daemon, held)
    stuff(s)
    reset(s)
    began = time.monotonic()
    with pytest.raises(ConnectionResetError):
        while time.monotonic() - began < 60:
            assert other.recv(500)
            time.sleep(0.01)
    assert 4 < time.monotonic() - began < 20  # at 50 KB/s all of it would take longer
    assert daemon.wait_for_access()["reason"] == "client_reset"


def test_client_reset_after_its_half_close_is_passed_on_at_once(proxy, held):
    daemon = proxy(f"* {held[1].address}")
    s, other = connect(daemon, held)
    s.shutdown(socket.SHUT_WR)
    assert other.recv(25000) == b""
    reset(s)
    assert daemon.wait_for_access()["reason"] == "client_reset"
    with pytest.raises((ConnectionResetError, BrokenPipeError)):
        other.send(b"x")
        time.sleep(0.2)
        other.send(b"x")


def test_backend_reset_after_its_half_close_is_passed_on_at_once(proxy, held):
    daemon = proxy(f"* {held[1].address}")
    s, other = connect(daemon, held)
    other.shutdown(socket.SHUT_WR)
    assert s.recv(1) == b""
    reset(other)
    assert daemon.wait_for_access()["reason"] == "backend_reset"
    s.close()


def test_client_reset_ends_at_once_what_waits_to_be_delivered_to_it(proxy, held):
    """The backend has reset, its last bytes are still on their way to a client that does not read: until that one is gone too."""
    daemon = proxy(f"* {held[1].address}")
    s, other = connect(daemon, held, receive_buffer=4096)
    other.sendall(b"x" * 100000)
    wait_until(lambda: unsent_bytes(other) == 0, what="the proxy to have all")
    time.sleep(0.2)
    reset(other)
    time.sleep(0.3)
    assert not daemon.access_lines()
    reset(s)
    daemon.wait_for_access()


def test_stream_that_idle_timeout_cuts_does_not_look_like_one_that_ended(proxy, held):
    daemon = proxy(f"* {held[1].address}", proxy={"idle_timeout": "4s"})
    s, other = connect(daemon, held, receive_buffer=4096)
    stuff(other)
    assert daemon.wait_for_access()["reason"] == "idle_timeout"
    read_to_reset(s)


def test_bytes_behind_urgent_data_are_not_left_lying(proxy, backend):
    """recv() stops at the urgent mark: what it returns is short, although more is there."""
    daemon = proxy(f"* {backend(EchoBackend).address}")
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        clients.read_exactly(s, len(HELLO))
        worker = daemon.workers()[0]
        os.kill(worker, signal.SIGSTOP)
        s.sendall(b"before")
        s.send(b"!", socket.MSG_OOB)
        s.sendall(b"behind")
        os.kill(worker, signal.SIGCONT)
        assert clients.read_exactly(s, 12) == b"beforebehind"


def test_stop_serves_the_queue_behind_connections_that_end_at_once(proxy, backend):
    """A worker that drains is not done when the first connections of its queue have come and gone."""
    daemon = proxy(f"* {backend(EchoBackend).address}")
    worker = daemon.workers()[0]
    daemon.wait_ready()
    for pid in (daemon.pid, worker):  # the master first: it would replace a worker that stands still for long
        os.kill(pid, signal.SIGSTOP)
    bad = [clients.connect(daemon.port) for _ in range(40)]
    for s in bad:
        s.sendall(b"GET / HTTP/1.1\r\n\r\n")
    good = [clients.connect(daemon.port) for _ in range(5)]
    for s in good:
        s.sendall(HELLO)
    daemon.signal(signal.SIGTERM)
    daemon.signal(signal.SIGCONT)
    time.sleep(0.5)
    os.kill(worker, signal.SIGCONT)
    for s in good:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        s.close()
    assert daemon.wait() == 0
    for s in bad:
        s.close()


def test_client_that_ends_and_resets_while_its_backend_is_being_connected(proxy, backend):
    hole = backend(BlackHole)
    daemon = proxy(f"* {hole.address}", proxy={"connect_timeout": "1m"})
    s = clients.connect(daemon.port)
    s.sendall(HELLO)
    s.shutdown(socket.SHUT_WR)
    wait_until(hole.is_asked, what="the proxy to connect")
    time.sleep(0.3)
    assert not daemon.access_lines()
    reset(s)
    assert daemon.wait_for_access()["reason"] == "client_reset"


def test_no_descriptor_or_memory_stays_behind_ten_thousand_connections_that_reset_at_once(proxy, backend):
    daemon = proxy(f"* {backend(EchoBackend).address}")
    worker = daemon.workers()[0]
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        clients.read_exactly(s, len(HELLO))
    daemon.wait_for_access()
    before = len(procfs.open_files(worker))
    for _ in range(50):
        for s in [clients.connect(daemon.port) for _ in range(200)]:
            reset(s)
    wait_until(lambda: len(daemon.access_lines()) >= 10001, 120, "an access line for each")
    assert len(procfs.open_files(worker)) == before


def test_time_in_which_the_process_was_stopped_counts_for_no_timeout(proxy, backend):
    """Bytes that came meanwhile are there: they are looked at before anybody is called late."""
    daemon = proxy(f"* {backend(EchoBackend).address}", proxy={"idle_timeout": "4s", "hello_timeout": "4s"})
    pids = [daemon.pid, daemon.workers()[0]]
    with clients.connect(daemon.port) as idle, clients.connect(daemon.port) as late:
        idle.sendall(HELLO)
        clients.read_exactly(idle, len(HELLO))
        late.sendall(HELLO[:100])
        time.sleep(0.3)
        for pid in pids:  # the master first: it would replace a worker that stands still
            os.kill(pid, signal.SIGSTOP)
        time.sleep(6)
        idle.sendall(b"still here")
        late.sendall(HELLO[100:])
        for pid in reversed(pids):
            os.kill(pid, signal.SIGCONT)
        assert clients.read_exactly(idle, 10) == b"still here"
        assert clients.read_exactly(late, len(HELLO)) == HELLO


def test_a_hello_has_its_whole_time_when_its_worker_was_busy_at_the_accept(proxy):
    """A worker that stands still for three ticks comes to accept before it comes to its clock."""
    daemon = proxy("* 127.0.0.1:9", proxy={"hello_timeout": "1s"})
    worker = daemon.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(0.38)
    with clients.connect(daemon.port) as s:
        os.kill(worker, signal.SIGCONT)
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    line = daemon.wait_for_access()
    assert line["reason"] == "hello_timeout" and int(line["duration_ms"]) >= 1000
