"""
What traffic costs, as counts of the release binary: system calls and instructions per connection, memory of an idle one. A bound
here is what was measured plus a little; docs/performance.md has the figures and says how to measure again.
"""

import os
import resource
import time

import pytest

from lib import clients, hello
from lib.backends import Backend, read_hello
from lib.config import Listener
from lib.counting import Strace, callgrind, callgrind_total, settled_private_bytes

RELEASE = os.path.abspath(os.environ.get("MCPROXY_RELEASE_BIN", "../../build/mc-proxy"))
HELLO = hello.hello_of_wire_size(517)
ANSWER = hello.server_hello() + b"a" * 897  # 1 KiB that begins as a backend's answer does: it is read along
EPOLL_WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2")


@pytest.fixture(scope="module", autouse=True)
def release_build():
    for path in (RELEASE, built("mc-proxy-callgrind"), built("hello_pieces")):
        assert os.access(path, os.X_OK), (f"{path} is not there; the costs are those of the release build: "
                                          "cmake --preset release && cmake --build --preset release --target costs")
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def built(name):
    return os.path.join(os.path.dirname(RELEASE), "test", "bench", name)


class AnsweringBackend(Backend):
    """
    One thread for all connections: reads the hello, answers, and goes on. With hold the connections stay open, else each waits
    for its client's end.
    """

    def __init__(self, hold=False, hello_size=len(HELLO)):
        self._held = [] if hold else None
        self._hello_size = hello_size
        super().__init__()

    def _accept(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self.serve(connection)

    def serve(self, connection):
        try:
            read_hello(connection, self._hello_size)
            connection.sendall(ANSWER)
            if self._held is not None:
                self._held.append(connection)
                return
            while connection.recv(65536):
                pass
        except ConnectionError as error:
            self.errors.append(error)
        connection.close()

    def close(self):
        super().close()
        for connection in self._held or ():
            connection.close()


@pytest.fixture
def release_proxy(new_daemon):
    """release_proxy(backend, binary=...) binary with one worker and a route to this backend."""

    def start(backend, binary=RELEASE, **sections):
        listener = Listener(routes=[f"www.example.com {backend.address}"])
        sections.setdefault("log", {"level": "info"})
        return new_daemon([listener], binary=binary, **sections).start().wait_ready()

    return start


# ---- system calls

CONTRACT_CALLS = 15  # besides waiting: the most that a short connection may take
MEASURED_CALLS = 14  # docs/performance.md lists them
CALLS_SLACK = 0.3  # the loop's tick, and accepts that found nothing
WARM_UP = 40
CONNECTIONS = 300


def whole_at_once(s):
    s.sendall(HELLO)


def after_5_ms(s):
    time.sleep(0.005)
    s.sendall(HELLO)


def in_two_segments(s):
    time.sleep(0.005)
    clients.send_segments(s, HELLO, 200)


def short_connections(port, count, send, pause=0):
    """One after the other: hello, one answer, the client closes first."""
    for _ in range(count):
        time.sleep(pause)
        with clients.connect(port) as s:
            send(s)
            assert clients.read_exactly(s, len(ANSWER)) == ANSWER


@pytest.mark.parametrize("send, extra", [(whole_at_once, 0), (after_5_ms, 0), (in_two_segments, 1)],
                         ids=["at once", "after 5 ms", "two segments"])
def test_system_calls_of_a_short_connection(release_proxy, backend, tmp_path, send, extra):
    """The best of a few: while others have the processors the ends are slower than the proxy, and ticks come between."""
    daemon = release_proxy(backend(AnsweringBackend))
    short_connections(daemon.port, WARM_UP, send)
    daemon.wait_for_access(WARM_UP)
    for attempt in range(4):
        done = len(daemon.access_lines())
        with Strace(daemon.workers()[0], tmp_path / f"strace{attempt}") as calls:
            short_connections(daemon.port, CONNECTIONS, send)
            daemon.wait_for_access(done + CONNECTIONS)
        per_connection = calls.count(*EPOLL_WAITS) / CONNECTIONS
        print(f"{per_connection:.2f} system calls per connection\n{calls.table(CONNECTIONS)}")
        assert per_connection > 10, "strace has not seen the connections"
        if per_connection <= min(MEASURED_CALLS + CALLS_SLACK, CONTRACT_CALLS) + extra:
            return
    raise AssertionError(calls.table(CONNECTIONS))


# Measured: 1.1 reads, 1.1 writes, 0.5 epoll_ctl; more on a busy machine, where the peers are slower than a proxy under strace and reads
# are not full. Reads of 256 KiB would make 8.
CALLS_PER_MIB = 4.5
BULK_MIB = 256


class BulkBackend(AnsweringBackend):
    def serve(self, connection):
        read_hello(connection, len(HELLO))
        block = bytes(1 << 20)
        for _ in range(BULK_MIB):
            connection.sendall(block)
        connection.close()


def calls_per_mebibyte(daemon, path):
    """(calls, their table) of one bulk connection."""
    done = len(daemon.access_lines())
    with Strace(daemon.workers()[0], path) as calls:
        with clients.connect(daemon.port, timeout=60) as s:
            s.sendall(HELLO)
            received, room = 0, bytearray(1 << 20)
            while n := s.recv_into(room):
                received += n
        daemon.wait_for_access(count=done + 1)
    assert received == BULK_MIB << 20
    return calls.count(*EPOLL_WAITS) / BULK_MIB, calls.table(BULK_MIB)


def test_system_calls_of_a_relayed_mebibyte(release_proxy, backend, tmp_path):
    """The best of a few: ends that have to wait for a processor leave less to be read at once."""
    daemon = release_proxy(backend(BulkBackend))
    for attempt in range(4):
        per_mib, table = calls_per_mebibyte(daemon, tmp_path / f"strace{attempt}")
        print(f"{per_mib:.2f} system calls per MiB\n{table}")
        assert per_mib > 1, "strace saw nothing"
        if per_mib <= CALLS_PER_MIB:
            return
    raise AssertionError(table)


LARGE_HELLO = hello.hello_of_wire_size(4096)
# Nine for the headers of record and message, one for the rest, and some for what the kernel reports early because so many small
# segments fill the receive buffer.
ALLOWED_HELLO_READS = 30


def in_single_bytes(s, data):
    """Each given time to be read."""
    for n in range(len(data)):
        s.send(data[n:n + 1])
        time.sleep(0.0003)


def test_a_hello_in_single_bytes_is_read_record_by_record(release_proxy, backend, tmp_path):
    daemon = release_proxy(backend(AnsweringBackend, hello_size=len(LARGE_HELLO)))
    worker = daemon.workers()[0]
    with Strace(worker, tmp_path / "strace") as calls:
        with clients.connect(daemon.port, timeout=60) as s:
            in_single_bytes(s, LARGE_HELLO)
            assert clients.read_exactly(s, len(ANSWER)) == ANSWER
        daemon.wait_for_access()
    print(calls.table(1))
    assert calls.names.count("recvfrom") <= ALLOWED_HELLO_READS, calls.table(1)
    assert calls.names.count("setsockopt") <= 6, calls.table(1)


# ---- memory

# 600 is what was promised. Measured: about 275; objects come in chunks of 64 KiB, so a figure is good to 33 bytes.
ALLOWED_IDLE_BYTES = 340
IDLE_FIRST, IDLE_MORE = 500, 2000  # the first ones pay for pages that others share


def test_memory_of_an_idle_connection(release_proxy, backend):
    daemon = release_proxy(backend(AnsweringBackend, hold=True))
    worker = daemon.workers()[0]
    opened = []

    def open_more(count):
        for _ in range(count):
            s = clients.connect(daemon.port)
            opened.append(s)
            s.sendall(HELLO)
            assert clients.read_exactly(s, len(ANSWER)) == ANSWER
        return settled_private_bytes(worker)

    before = open_more(IDLE_FIRST)
    each = (open_more(IDLE_MORE) - before) / IDLE_MORE
    for s in opened:
        s.close()
    print(f"{each:.0f} bytes of worker memory per idle connection")
    assert each > 50, "memory that was not measured"
    assert each <= ALLOWED_IDLE_BYTES


# ---- instructions

# User-space instructions of the worker per connection, with its access line, libraries included, waiting and the tick not. To renew after a
# change that is worth them: run these tests with -s a few times and take the middle figure, here and in docs/performance.md.
MEASURED_INSTRUCTIONS = 7820
MEASURED_BLOCKED_INSTRUCTIONS = 2111
INSTRUCTIONS_SLACK = 1.03
ATTEMPTS = 4  # a busy machine cuts the work into more turns of the loop, a regression shows in every attempt
FEW, MANY = 100, 600
PAUSE = 0.005  # the worker is at rest when the next one comes


def instructions(start, connect, connections):
    """Of one worker's whole life with so many connections."""
    daemon = start()
    connect(daemon.port, connections)
    daemon.wait_for_access(connections, timeout=120)
    daemon.stop()
    return callgrind_total(daemon.log_text())


def assert_instructions(start, connect, measured):
    figures = []
    for _ in range(ATTEMPTS):
        few = instructions(start, connect, FEW)
        many = instructions(start, connect, MANY)
        figures.append((many - few) / (MANY - FEW))
        assert figures[-1] > 500, "callgrind has not seen the connections"
        if figures[-1] <= measured * INSTRUCTIONS_SLACK:
            break
    print("instructions per connection:", [round(figure) for figure in figures])
    assert min(figures) <= measured * INSTRUCTIONS_SLACK


def test_instructions_of_a_short_connection(release_proxy, backend):
    served_by = backend(AnsweringBackend)
    assert_instructions(lambda: release_proxy(served_by, binary=built("mc-proxy-callgrind")),
                        lambda port, count: short_connections(port, count, whole_at_once, PAUSE), MEASURED_INSTRUCTIONS)


def blocked_connections(port, count):
    for _ in range(count):
        time.sleep(PAUSE)
        clients.expect_refused_entry(port)


def test_instructions_of_a_blocked_connection(release_proxy, backend):
    served_by = backend(AnsweringBackend)
    assert_instructions(lambda: release_proxy(served_by, binary=built("mc-proxy-callgrind"), firewall={"blocked_ips": "127.0.0.1"},
                                              log={"level": "info", "rejected_per_second": 0}),
                        blocked_connections, MEASURED_BLOCKED_INSTRUCTIONS)


# ---- the hello in pieces

WIRE_BYTES = 65536
RECORD_BYTES = 16384
MEASURED_PER_PIECE = 101  # instructions of a call that finds the record still incomplete; to renew: this test with -s


def parse_instructions(wire_bytes, piece):
    """Of parsing one hello that takes so many bytes on the wire and comes in pieces of this size."""
    once, thrice = (callgrind(built("hello_pieces"), str(wire_bytes), str(piece), str(RECORD_BYTES), str(times)) for times in (1, 3))
    return (thrice - once) / 2


def test_a_piece_of_a_hello_costs_the_same_however_much_came_before():
    per_piece = {size: parse_instructions(size, 1) / size for size in (4096, 16384, WIRE_BYTES)}
    print("instructions per byte of a hello in single bytes:", {size: round(cost) for size, cost in per_piece.items()})
    assert max(per_piece.values()) <= 1.1 * min(per_piece.values()), per_piece
    assert max(per_piece.values()) <= MEASURED_PER_PIECE * INSTRUCTIONS_SLACK, per_piece


def test_a_hello_in_small_segments_costs_at_most_twice_one_piece():
    whole = parse_instructions(WIRE_BYTES, WIRE_BYTES)
    pieces = parse_instructions(WIRE_BYTES, 128)
    print(f"{whole:.0f} instructions in one piece, {pieces:.0f} in pieces of 128 bytes")
    assert pieces <= 2 * whole
