"""Connections as an operator sees them while the proxy runs: watched as they end, listed and closed while they are open."""

import contextlib
import os
import signal
import socket
import threading
import time

import grpc
import pytest

from lib import h2raw, hello
from lib.admin import Code, message, refused
from lib.backends import EchoBackend
from lib.clients import connect, enters, expect_refused_entry, read_all, read_exactly
from lib.config import Listener
from lib.waiting import wait_until

NAME = "www.example.com"


def client_hello(name):
    return hello.client_hello(name.encode())


HELLO = client_hello(NAME)


def opened(port, first=HELLO, **kwargs):
    """A client whose connection is relayed."""
    s = connect(port, **kwargs)
    s.sendall(first)
    assert read_exactly(s, len(first)) == first
    return s


def was_reset(s):
    try:
        s.settimeout(10)
        while s.recv(65536):
            pass
    except ConnectionResetError:
        return True
    return False


def listed(api, **fields):
    return [c for part in api.ListConnections(timeout=60, **fields) for c in part.connections]


def wait_for_lines(daemon, count):
    daemon.wait_for_access(count)
    return daemon.access_lines()


class Watcher:
    """WatchConnections in a thread; `records` in the order they came."""

    def __init__(self, api, **fields):
        self.records, self.lost, self.code = [], 0, None
        self._call = api.WatchConnections(timeout=600, **fields)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            for response in self._call:
                self.lost += response.lost
                if response.HasField("connection"):
                    self.records.append(response.connection)
        except grpc.RpcError as e:
            self.code, self.details = e.code(), e.details()

    def wait(self, count, timeout=10):
        try:
            wait_until(lambda: len(self.records) >= count or self.code is not None, timeout=timeout)
        finally:
            assert len(self.records) >= count, f"{len(self.records)} of {count} records, {self.lost} lost, status {self.code}"
        return self.records

    def join(self):
        self._thread.join(20)
        assert not self._thread.is_alive()

    def close(self):
        self._call.cancel()
        self.join()


@pytest.fixture
def watcher():
    made = []

    def start(api, **fields):
        api.GetStatus()  # connected: calls go out in order
        made.append(Watcher(api, **fields))
        listed(api)  # the call has no first answer, but this one comes behind it, to the server and from there to every worker
        return made[-1]

    yield start
    for one in made:
        one.close()


@pytest.fixture
def clients():
    with contextlib.ExitStack() as stack:
        yield lambda *args, **kwargs: stack.enter_context(opened(*args, **kwargs))


def route_to(echo, name=NAME, **kwargs):
    return Listener(routes=[f"{name} {echo.address}"], **kwargs)


# ---- watching


def test_a_watcher_gets_what_the_access_line_says(managed, echo, watcher):
    daemon, api = managed([route_to(echo)])
    watch = watcher(api)
    with opened(daemon.port) as s:
        s.shutdown(socket.SHUT_WR)
        read_all(s)
    expect_refused_entry(daemon.port, client_hello("nobody.example.com"))
    done, rejected = sorted(watch.wait(2), key=lambda c: c.reason)
    lines = {line["reason"]: line for line in wait_for_lines(daemon, 2)}
    for record in (done, rejected):
        line = lines[record.reason]
        for key in ("conn", "client", "sni", "backend", "bytes_in", "bytes_out", "duration_ms", "worker", "ended_by"):
            assert str(getattr(record, key)) == str(line[key]), key
        assert record.listener_addr == line["listener"]
        assert abs(record.time_ms / 1000 - time.time()) < 30 and not record.state
    assert (done.reason, done.route, rejected.reason) == ("finished", NAME, "no_route")
    assert done.hello_us > 0 and done.connect_us > 0 and done.backend_addr == echo.address


def test_filters_of_a_watcher(managed, echo, watcher):
    daemon, api = managed([Listener(routes=[f"*.example.com {echo.address}"]), Listener(name="two", routes=[f"* {echo.address}"])])
    one, two = daemon.listeners
    everything = watcher(api)
    exact = watcher(api, sni_pattern="WWW.example.com.")
    wildcard = watcher(api, sni_pattern="*.example.com")
    other = watcher(api, client_cidr="127.0.0.2")
    network = watcher(api, client_cidr="127.0.0.0/31")
    no_route = watcher(api, reason="no_route")
    second = watcher(api, listener_addr=two.addr, client_cidr="127.0.0.2/32")
    for name, port, source in ((NAME, one.port, None), ("a.b.example.com", one.port, "127.0.0.2"),
                               ("example.com", one.port, None), ("example.com", two.port, "127.0.0.2")):
        with connect(port, source=source) as s:
            s.sendall(client_hello(name))
            with contextlib.suppress(ConnectionResetError):
                s.recv(65536)
    expected = {exact: [NAME], wildcard: ["a.b.example.com", NAME], other: ["a.b.example.com", "example.com"],
                network: ["example.com", NAME], no_route: ["example.com"], second: ["example.com"]}
    everything.wait(4)
    for watch, names in expected.items():
        assert sorted(c.sni for c in watch.wait(len(names))) == names
    assert second.records[0].listener_addr == two.addr


@pytest.mark.parametrize("fields,code,beginning", [
    ({"sni_pattern": "a..b"}, Code.INVALID_ARGUMENT, "sni_pattern: "),
    ({"client_cidr": "192.0.2.1/24"}, Code.INVALID_ARGUMENT, "client_cidr: "),
    ({"client_cidr": "x"}, Code.INVALID_ARGUMENT, "client_cidr: "),
    ({"reason": "bored"}, Code.INVALID_ARGUMENT, "reason: "),
    ({"listener_addr": "x"}, Code.INVALID_ARGUMENT, "listener_addr: "),
    ({"listener_addr": ":1"}, Code.NOT_FOUND, "listener_addr: "),
])
def test_what_cannot_be_watched(managed, echo, fields, code, beginning):
    _daemon, api = managed([route_to(echo)])
    with refused(code, beginning):
        list(api.WatchConnections(**fields))


def test_records_are_made_for_a_watcher_when_the_log_has_none(managed, echo, watcher):
    daemon, api = managed([route_to(echo)], log={"access": "false"})
    assert enters(daemon.port, HELLO)
    wait_until(lambda: not listed(api), what="the end of a connection of which nobody hears")
    watch = watcher(api)
    assert enters(daemon.port, HELLO)
    assert [c.sni for c in watch.wait(1)] == [NAME]
    watch.close()
    time.sleep(0.3)
    assert enters(daemon.port, HELLO)
    time.sleep(0.5)
    assert not daemon.access_lines()


def test_a_level_that_keeps_access_lines_out_of_the_log_does_so_for_watchers_not(managed, echo, watcher):
    daemon, api = managed([route_to(echo)], log={"level": "warn"})
    watch = watcher(api)
    assert enters(daemon.port, HELLO)
    watch.wait(1)
    assert not daemon.access_lines()


def test_there_are_16_places(managed, echo, watcher):
    _daemon, api = managed([route_to(echo)])
    for _ in range(16):
        watcher(api)
    with refused(Code.RESOURCE_EXHAUSTED, "there are 16 watchers"):
        list(api.WatchConnections())


def test_a_watcher_sees_the_last_connections_of_a_drain_and_its_end(managed, echo, watcher):
    daemon, api = managed([route_to(echo)])
    watch = watcher(api)
    with opened(daemon.port) as s:
        daemon.signal(signal.SIGTERM)
        time.sleep(0.3)
        s.shutdown(socket.SHUT_WR)
        read_all(s)
    watch.join()
    assert [c.reason for c in watch.records] == ["finished"]
    assert watch.code == Code.UNAVAILABLE and watch.details == "the server is stopping"
    assert daemon.wait() == 0


# ---- listing


def test_what_is_listed(managed, echo, clients):
    daemon, api = managed([route_to(echo)])
    ours = [clients(daemon.port) for _ in range(3)]
    with connect(daemon.port) as waiting:
        waiting.sendall(HELLO[:20])
        wait_until(lambda: len(listed(api)) == 4, what="all connections")
        rows = {c.client: c for c in listed(api)}
        for s in ours:
            c = rows["{}:{}".format(*s.getsockname())]
            assert (c.sni, c.route, c.backend, c.state, c.reason) == (NAME, NAME, echo.address, "relay", "")
            assert c.listener_addr == daemon.listeners[0].addr and (c.bytes_in, c.bytes_out) == (len(HELLO), len(HELLO))
        assert rows["{}:{}".format(*waiting.getsockname())].state == "hello"
    assert len({c.conn for c in rows.values()}) == 4
    time.sleep(1)

    def only_one_was_used():
        ours[0].sendall(b"x")
        assert read_exactly(ours[0], 1) == b"x"
        idle = {c.client: c.idle_ms for c in listed(api)}
        return idle["{}:{}".format(*ours[0].getsockname())] < 900 <= idle["{}:{}".format(*ours[1].getsockname())]

    wait_until(only_one_was_used, what="one that is idle and one that is not")


def test_filters_of_lists(managed, echo, clients):
    daemon, api = managed([Listener(routes=[f"*.example.com {echo.address}", f"a.example.com {echo.address}"]),
                           Listener(name="two", routes=[f"* {echo.address}"])])
    one, two = daemon.listeners
    clients(one.port)
    clients(one.port, client_hello("a.example.com"), source="127.0.0.2")
    clients(two.port)
    assert len(listed(api)) == 3
    assert len(listed(api, listener_addr=one.addr)) == 2
    assert [c.sni for c in listed(api, client_cidr="127.0.0.2")] == ["a.example.com"]
    assert [c.route for c in listed(api, route="*.EXAMPLE.com")] == ["*.example.com"]
    assert [c.sni for c in listed(api, route="a.example.com")] == ["a.example.com"]
    assert [c.listener_addr for c in listed(api, route="*")] == [two.addr]
    assert not listed(api, route="*", listener_addr=one.addr)
    assert len(listed(api, limit=2)) == 2
    for fields, code, beginning in (({"listener_addr": ":1"}, Code.NOT_FOUND, "listener_addr: "),
                                    ({"client_cidr": "1.2.3"}, Code.INVALID_ARGUMENT, "client_cidr: "),
                                    ({"route": "a.*"}, Code.INVALID_ARGUMENT, "route: ")):
        with refused(code, beginning):
            listed(api, **fields)


def test_thousands_come_in_parts_each_once(managed, echo):
    count = 2000
    daemon, api = managed([route_to(echo)])
    with contextlib.ExitStack() as stack:
        for _ in range(count):  # held in the hello: cheap to make, and as good as any to list
            stack.enter_context(connect(daemon.port)).sendall(HELLO[:9])
        wait_until(lambda: len(listed(api)) == count, timeout=30, what="all of them")
        parts = [len(part.connections) for part in api.ListConnections()]
        assert sum(parts) == count and len(parts) >= count // 200, parts
        assert len({c.conn for c in listed(api)}) == count


# ---- closing


def test_closing_by_number(managed, echo, clients):
    daemon, api = managed([route_to(echo)])
    one, two = clients(daemon.port), clients(daemon.port)
    numbers = {c.client: c.conn for c in listed(api)}
    number = numbers["{}:{}".format(*one.getsockname())]
    answer = api.CloseConnections(conn=number, dry_run=True)
    assert (answer.matched, answer.closed) == (1, 0) and len(listed(api)) == 2
    answer = api.CloseConnections(conn=number)
    assert (answer.matched, answer.closed) == (1, 1)
    assert was_reset(one)
    two.sendall(b"x")
    assert read_exactly(two, 1) == b"x"
    assert [c.conn for c in listed(api)] == [numbers["{}:{}".format(*two.getsockname())]]
    line = wait_for_lines(daemon, 1)[0]
    assert (line["reason"], line["ended_by"]) == ("operator", "proxy")
    told = daemon.wait_for_log(lambda e: e.get("msg") == "connections closed by an operator")
    assert (str(told["conn"]), str(told["connections"]), told["peer"]) == (str(number), "1", "unix")
    with refused(Code.NOT_FOUND, "conn: "):
        api.CloseConnections(conn=number)


def test_closing_by_client_and_by_route(managed, echo, clients):
    daemon, api = managed([Listener(routes=[f"*.example.com {echo.address}"]),
                           Listener(name="two", routes=[f"*.example.com {echo.address}"])])
    one, two = daemon.listeners
    from_two = [clients(one.port, source="127.0.0.2") for _ in range(5)]
    on_one, on_two = [clients(one.port) for _ in range(4)], [clients(two.port) for _ in range(3)]
    assert api.CloseConnections(client_cidr="127.0.0.2/32", dry_run=True).matched == 5
    assert api.CloseConnections(client_cidr="127.0.0.2", listener_addr=two.addr).closed == 0
    assert api.CloseConnections(client_cidr="127.0.0.2").closed == 5
    assert all(was_reset(s) for s in from_two)
    assert api.CloseConnections(route="*.example.com", listener_addr=one.addr).closed == 4
    assert all(was_reset(s) for s in on_one)
    assert len(listed(api)) == 3
    assert api.CloseConnections(route="*.example.com").closed == 3
    assert all(was_reset(s) for s in on_two) and not listed(api)


def test_the_backend_is_reset_too(managed, backend):
    ended = []

    class Note(EchoBackend):
        def serve(self, connection):
            try:
                super().serve(connection)
                ended.append("end")
            except ConnectionResetError:
                ended.append("reset")

    daemon, api = managed([route_to(backend(Note))])
    with opened(daemon.port):
        assert api.CloseConnections(client_cidr="127.0.0.1").closed == 1
        wait_until(lambda: ended, what="the backend's end")
    assert ended == ["reset"]


@pytest.mark.parametrize("fields,beginning", [
    ({}, "selector: "), ({"dry_run": True}, "selector: "), ({"conn": 0}, "selector: "), ({"client_cidr": ""}, "selector: "),
    ({"route": ""}, "selector: "), ({"client_cidr": "10.0.0.1/8"}, "client_cidr: "), ({"route": "-..-"}, "route: "),
    ({"route": "*", "listener_addr": "nonsense"}, "listener_addr: "),
])
def test_what_cannot_be_closed(managed, echo, clients, fields, beginning):
    daemon, api = managed([route_to(echo)])
    clients(daemon.port)
    with refused(Code.INVALID_ARGUMENT, beginning):
        api.CloseConnections(**fields)
    assert len(listed(api)) == 1


# ---- workers that come and go


def test_numbers_are_unique_over_workers_and_their_successors(managed, echo, clients):
    daemon, api = managed([route_to(echo)])
    seen = set()
    for _ in range(2):
        ours = [clients(daemon.port) for _ in range(8)]
        numbers = {c.conn for c in listed(api)}
        assert len(numbers) >= 8 and not numbers & seen
        seen |= numbers
        for pid in daemon.workers():
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: all(w.state == "running" for w in api.GetStatus().workers) and len(api.GetStatus().workers) == 2, what="new workers")
        assert not listed(api) and all(was_reset(s) or True for s in ours)


def test_a_worker_that_dies_meanwhile_is_left_out(managed, echo):
    daemon, api = managed([route_to(echo)])
    with contextlib.ExitStack() as stack:
        for _ in range(600):
            stack.enter_context(connect(daemon.port)).sendall(HELLO[:9])
        wait_until(lambda: len(listed(api)) == 600, timeout=30, what="all of them")
        victim = daemon.workers()[1]
        os.kill(victim, signal.SIGSTOP)
        call = api.ListConnections(timeout=30)
        first = next(call)
        os.kill(victim, signal.SIGKILL)
        rest = [c for part in call for c in part.connections]
        assert 0 < len(first.connections) + len(rest) < 600


def test_a_retiring_worker_is_asked_too(managed, echo, clients):
    daemon, api = managed([route_to(echo)], proxy={"idle_timeout": "10m"})
    ours = [clients(daemon.port) for _ in range(40)]  # some at each worker
    with open(daemon.config_path, encoding="utf-8") as f:
        daemon.write_config(f.read().replace("workers = 2", "workers = 1"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: [w.state for w in api.GetStatus().workers] == ["running", "retiring"], what="a worker that retires")
    assert len(listed(api)) == 40
    assert api.CloseConnections(client_cidr="127.0.0.1").closed == 40
    assert all(was_reset(s) for s in ours)


# ---- those who do not keep up, and logs that do not


def flood(port, count, watch):
    """Connections that are over at once. Never so many that the server, if it gets no processor, has more for this watcher than it keeps."""
    name = client_hello("nobody.example.com")
    for number in range(1, count + 1):
        with connect(port) as s:
            s.sendall(name)
            with contextlib.suppress(ConnectionResetError):
                s.recv(1)
        if number % 300 == 0:
            watch.wait(number, timeout=60)


def responses(h2):
    """What WatchConnections has sent to a raw client so far."""
    data, found = b"".join(f[3] for f in h2.frames if f[0] == h2raw.DATA), []
    while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
        length = int.from_bytes(data[1:5], "big")
        found.append(message("mc_proxy.v1.WatchConnectionsResponse").FromString(data[5:5 + length]))
        data = data[5 + length:]
    return found


def test_a_slow_watcher_loses_records_and_is_told_how_many(managed, echo, watcher, tmp_path):
    """What it gets in the end and what it is told to have lost is all there was; the others had everything meanwhile."""
    count = 3000
    daemon, api = managed([route_to(echo)], log={"rejected_per_second": 0})
    quick = watcher(api)
    with h2raw.H2Raw.unix(f"{tmp_path}/admin.sock", path="/mc_proxy.v1.ProxyAdminService/WatchConnections") as slow:
        slow.hello()
        slow.send(slow.open(), h2raw.frame(h2raw.DATA, h2raw.END_STREAM, 1, h2raw.message(b"")), h2raw.frame(h2raw.PING, 0, 0, bytes(8)))
        assert slow.wait(lambda: slow.count(h2raw.PING)), "the answer behind the call"
        flood(daemon.port, count, quick)
        assert quick.lost == 0
        wide = (1 << 30).to_bytes(4, "big")
        slow.send(*(h2raw.frame(h2raw.WINDOW_UPDATE, 0, stream, wide) for stream in (0, 1)))
        assert slow.wait(lambda: sum(m.HasField("connection") + m.lost for m in responses(slow)) >= count, timeout=30)
        got = responses(slow)
        lost = sum(m.lost for m in got)
        assert 0 < lost == count - sum(m.HasField("connection") for m in got)


def test_a_log_that_nobody_reads_does_not_keep_records_from_watchers(managed, echo, watcher):
    count = 6000
    daemon, api = managed([route_to(echo)], log={"rejected_per_second": 0})
    watch = watcher(api)
    with daemon.unread():
        flood(daemon.port, count, watch)
        assert watch.lost == 0
    daemon.wait_for_log(lambda e: e["msg"] == "log lines were dropped", timeout=30)
