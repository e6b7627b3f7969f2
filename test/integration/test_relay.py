"""Bytes both ways, unchanged, however the ends behave."""

import hashlib
import os
import socket
import threading
import time

import pytest

from lib import clients, hello, procfs
from lib.backends import EchoBackend, ScriptBackend, SinkBackend, SourceBackend, read_hello, reset, unsent_bytes
from lib.daemon import is_sanitized
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
BULK = (256 << 20) if is_sanitized() else (1 << 30)


def send_bulk(s, size):
    """Sends size pattern bytes; returns their hash."""
    block, digest = os.urandom(1 << 20), hashlib.sha256()
    for _ in range(size // len(block)):
        s.sendall(block)
        digest.update(block)
    return digest.hexdigest()


def receive_bulk(s):
    """(bytes, hash) of everything until the end of file."""
    buffer, digest, count = bytearray(1 << 20), hashlib.sha256(), 0
    view = memoryview(buffer)
    while n := s.recv_into(buffer):
        digest.update(view[:n])
        count += n
    return count, digest.hexdigest()


def test_bulk_to_the_backend_arrives_unchanged_and_is_counted(proxy, backend):
    sink = backend(SinkBackend, len(HELLO))
    daemon = proxy(f"* {sink.address}")
    with clients.connect(daemon.port, timeout=120) as s:
        s.sendall(HELLO)
        sent = send_bulk(s, BULK)
        s.shutdown(socket.SHUT_WR)
        answer = clients.read_all(s)
    assert answer.decode() == f"{BULK} {sent}"
    line = daemon.wait_for_access()
    assert int(line["bytes_in"]) == len(HELLO) + BULK
    assert int(line["bytes_out"]) == len(answer)
    assert line["reason"] == "finished"


def test_bulk_to_the_client_arrives_unchanged_and_is_counted(proxy, backend):
    source = backend(SourceBackend, len(HELLO), BULK)
    daemon = proxy(f"* {source.address}")
    with clients.connect(daemon.port, timeout=120) as s:
        s.sendall(HELLO)
        assert receive_bulk(s) == (BULK, source.digest)
    line = daemon.wait_for_access()
    assert int(line["bytes_out"]) == BULK
    assert int(line["bytes_in"]) == len(HELLO)


def test_bulk_both_ways_at_once(proxy, backend):
    size = BULK // 8

    def script(connection):
        read_hello(connection, len(HELLO))
        while data := connection.recv(1 << 18):
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)

    echo = backend(ScriptBackend, script)
    daemon = proxy(f"* {echo.address}")
    block, sent = os.urandom(1 << 16), 0
    digest_sent, digest_back, back = hashlib.sha256(), hashlib.sha256(), 0
    with clients.connect(daemon.port, timeout=60) as s:
        s.sendall(HELLO)
        while back < size:
            if sent < size and sent - back < (4 << 20):
                s.sendall(block)
                digest_sent.update(block)
                sent += len(block)
                if sent == size:
                    s.shutdown(socket.SHUT_WR)
            else:
                data = s.recv(1 << 20)
                assert data, f"ended after {back} of {size}"
                digest_back.update(data)
                back += len(data)
        assert s.recv(1) == b""
    assert digest_back.digest() == digest_sent.digest()
    line = daemon.wait_for_access()
    assert (int(line["bytes_in"]), int(line["bytes_out"])) == (len(HELLO) + size, size)


def test_half_close_by_the_client_is_passed_on_and_the_answer_still_comes(proxy, backend):
    sink = backend(SinkBackend, len(HELLO))
    daemon = proxy(f"* {sink.address}")
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO + b"abc")
        s.shutdown(socket.SHUT_WR)
        assert clients.read_all(s).decode() == f"3 {hashlib.sha256(b'abc').hexdigest()}"
    assert daemon.wait_for_access()["reason"] == "finished"


def test_half_close_right_behind_the_hello_in_one_go(proxy, backend):
    sink = backend(SinkBackend, len(HELLO))
    daemon = proxy(f"* {sink.address}")
    for _ in range(50):
        with clients.connect(daemon.port) as s:
            s.sendall(HELLO)
            s.shutdown(socket.SHUT_WR)
            assert clients.read_all(s).startswith(b"0 ")


def test_half_close_by_the_backend_is_passed_on_and_the_client_may_go_on(proxy, backend):
    got = []

    def script(connection):
        read_hello(connection, len(HELLO))
        connection.sendall(b"that was all")
        connection.shutdown(socket.SHUT_WR)
        got.append(clients.read_all(connection))

    server = backend(ScriptBackend, script)
    daemon = proxy(f"* {server.address}")
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_all(s) == b"that was all"
        s.sendall(b"still here")
        s.shutdown(socket.SHUT_WR)
        wait_until(lambda: got, what="the backend to have read to the end")
    assert got == [b"still here"]
    assert daemon.wait_for_access()["reason"] == "finished"


class UntilTheEnd:
    """A script that keeps what a connection brings, in `got`, and how it ends, in `outcome`. It reads so much at a time once it may."""

    def __init__(self, chunk=65536):
        self.got, self.outcome, self.may_read, self._chunk = bytearray(), [], threading.Event(), chunk

    def __call__(self, connection):
        self.may_read.wait(20)
        try:
            while chunk := connection.recv(self._chunk):
                self.got.extend(chunk)
            self.outcome.append("end of file")
        except ConnectionResetError:
            self.outcome.append("reset")

    def expect_reset_behind(self, data):
        wait_until(lambda: self.outcome, what="the backend to see the end")
        assert self.outcome == ["reset"] and self.got == data


def test_reset_by_the_client_reaches_the_backend_behind_all_data(proxy, backend):
    script = UntilTheEnd()
    script.may_read.set()
    server = backend(ScriptBackend, script)
    daemon = proxy(f"* {server.address}")
    data = HELLO + os.urandom(200000)
    s = clients.connect(daemon.port)
    s.sendall(data)
    wait_until(lambda: len(script.got) == len(data), what="the backend to have everything")
    reset(s)
    script.expect_reset_behind(data)
    assert daemon.wait_for_access()["reason"] == "client_reset"


def test_data_sent_before_a_reset_reaches_a_backend_that_is_slow_to_read(proxy, backend):
    """The client resets while its bytes still wait on the way to the backend: they come first, then the reset."""
    script = UntilTheEnd(chunk=1000)
    server = backend(ScriptBackend, script, receive_buffer=4096)
    daemon = proxy(f"* {server.address}")
    data = HELLO + os.urandom(20000)
    s = clients.connect(daemon.port)
    s.sendall(data)
    wait_until(lambda: server.connections, what="the backend to be connected")
    wait_until(lambda: unsent_bytes(s) == 0, what="the proxy to have everything")
    time.sleep(0.3)
    reset(s)
    time.sleep(0.3)
    assert not daemon.access_lines(), "bytes still wait: the connection is not over"
    script.may_read.set()
    script.expect_reset_behind(data)
    assert daemon.wait_for_access()["reason"] == "client_reset"


def test_reset_by_the_backend_reaches_the_client_behind_all_data(proxy, backend):
    source = backend(SourceBackend, len(HELLO), 200000, ending="reset")
    daemon = proxy(f"* {source.address}")
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        data = clients.read_exactly(s, 200000)
        assert hashlib.sha256(data).hexdigest() == source.digest
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    assert daemon.wait_for_access()["reason"] == "backend_reset"


def test_data_read_before_a_reset_reaches_a_client_that_is_slow_to_read(proxy, backend):
    """The proxy holds bytes for a client that has not read yet when the backend resets: they come first, then the reset."""
    size = 20000
    source = backend(SourceBackend, len(HELLO), size, ending="reset")
    daemon = proxy(f"* {source.address}")
    with clients.connect(daemon.port, receive_buffer=4096) as s:
        s.sendall(HELLO)
        wait_until(lambda: source.sent == size, what="the backend to have sent everything")
        time.sleep(0.5)
        data = b""
        with pytest.raises(ConnectionResetError):
            while chunk := s.recv(1000):
                data += chunk
        assert len(data) == size and hashlib.sha256(data).hexdigest() == source.digest


def ready_worker(daemon):
    """The pid of the only one: one that is just being born has not the memory yet that it has without connections."""
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
    return daemon.workers()[0]


@pytest.mark.measures
def test_slow_reader_costs_bounded_memory_and_gets_everything(proxy, backend):
    size, count = 32 << 20, 16
    source = backend(SourceBackend, len(HELLO), size)
    daemon = proxy(f"* {source.address}")
    worker = ready_worker(daemon)
    before = procfs.rss_bytes(worker)
    readers = [clients.connect(daemon.port, timeout=60, receive_buffer=16384) for _ in range(count)]
    for s in readers:
        s.sendall(HELLO)

    def total():
        return source.sent

    wait_until(lambda: source.connections == count and total() > 0, what="all sources to send")
    previous = -1
    while total() != previous:  # until nothing moves any more: all buffers on the way are full
        previous = total()
        time.sleep(0.5)
    assert previous < size * count // 2, "who holds all that? The kernel's socket buffers take about 8 MiB each"
    grown = procfs.rss_bytes(worker) - before
    limit = count * (512 << 10) + ((32 << 20) if is_sanitized() else (2 << 20))
    assert grown < limit, f"{grown} bytes more for {count} slow readers"
    for s in readers[1:]:
        s.close()
    s = readers[0]
    assert receive_bulk(s) == (size, source.digest)
    s.close()


def discard(s, count=None):
    """Takes count bytes, or all until the end, without looking at them; returns how many came."""
    room, taken = bytearray(1 << 20), 0
    while taken != count and (n := s.recv_into(room, len(room) if count is None else min(len(room), count - taken), socket.MSG_TRUNC)):
        taken += n
    return taken


@pytest.mark.measures
def test_readers_that_were_fast_and_then_stop_cost_bounded_memory_and_get_everything(proxy, backend):
    """Bulk is read a mebibyte at a time, and the rest of such a read is kept; but only so much of that in all."""
    size, count, fast = 64 << 20, 24, 24 << 20
    source = backend(SourceBackend, len(HELLO), size)
    daemon = proxy(f"* {source.address}", server={"workers": "1"})
    worker = ready_worker(daemon)
    before = procfs.rss_bytes(worker)
    readers = []
    for _ in range(count):
        readers.append(clients.connect(daemon.port, timeout=60))
        readers[-1].sendall(HELLO)
        assert discard(readers[-1], fast) == fast
    previous = -1
    while source.sent != previous:
        previous = source.sent
        time.sleep(0.5)
    assert previous < size * count, "who holds all that?"
    grown = procfs.rss_bytes(worker) - before
    limit = (18 << 20) + count * (256 << 10) + ((64 << 20) if is_sanitized() else (2 << 20))
    assert grown < limit, f"{grown} bytes more for {count} readers that stopped"
    for s in readers[::4]:
        assert discard(s) == size - fast
    for s in readers:
        s.close()


def test_one_slow_reader_does_not_hold_up_another_connection(proxy, backend):
    source = backend(SourceBackend, len(HELLO), 64 << 20)
    daemon = proxy(f"* {source.address}")
    with clients.connect(daemon.port, receive_buffer=4096) as slow:
        slow.sendall(HELLO)
        with clients.connect(daemon.port, timeout=60) as fast:
            fast.sendall(HELLO)
            assert receive_bulk(fast) == (64 << 20, source.digest)


def test_idle_connection_is_closed_after_idle_timeout(proxy, backend):
    echo = backend(EchoBackend)
    daemon = proxy(f"* {echo.address}", proxy={"idle_timeout": "1s"})
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        begun = time.monotonic()
        clients.read_exactly(s, len(HELLO))
        _expect_end(s)
        assert time.monotonic() - begun > 0.7
    assert daemon.wait_for_access()["reason"] == "idle_timeout"


def test_bytes_in_one_direction_keep_a_connection_from_being_idle(proxy, backend):
    echo = backend(ScriptBackend, clients.read_all)
    daemon = proxy(f"* {echo.address}", proxy={"idle_timeout": "4s"})
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        for _ in range(24):
            time.sleep(0.25)
            s.sendall(b"x")
    assert daemon.wait_for_access()["reason"] == "finished"


def test_half_closed_connection_ends_after_half_close_timeout(proxy, backend):
    silent = backend(ScriptBackend, lambda c: (clients.read_all(c), time.sleep(8)))
    daemon = proxy(f"* {silent.address}", proxy={"half_close_timeout": "1s", "idle_timeout": "60s"})
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        begun = time.monotonic()
        s.shutdown(socket.SHUT_WR)
        _expect_end(s)
        assert time.monotonic() - begun > 0.7
    assert daemon.wait_for_access()["reason"] == "half_close_timeout"


def _expect_end(s):
    try:
        assert s.recv(1) == b""
    except ConnectionResetError:
        pass


def test_turns_of_all_sizes_come_back_unchanged_and_exactly_counted(proxy, backend):
    echo = backend(EchoBackend)
    daemon = proxy(f"* {echo.address}")
    total = len(HELLO)
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        for size in (1, 2, 100, 1460, 4096, 16384, 65536, 262144, 262145, 1000000, 1, 3):
            data = os.urandom(size)
            s.settimeout(20)
            _exchange_concurrently(s, data)
            total += size
    line = daemon.wait_for_access()
    assert (int(line["bytes_in"]), int(line["bytes_out"])) == (total, total)


def _exchange_concurrently(s, data):
    """Sends while receiving, as the echo would block otherwise."""
    sender = threading.Thread(target=s.sendall, args=(data,))
    sender.start()
    assert clients.read_exactly(s, len(data)) == data
    sender.join()


def test_backend_that_speaks_first_is_heard(proxy, backend):
    """It may speak as soon as it is connected, before the client has sent anything but its hello."""
    server = backend(EchoBackend, greeting=b"welcome\n")
    daemon = proxy(f"* {server.address}")
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, 8 + len(HELLO)) == b"welcome\n" + HELLO
