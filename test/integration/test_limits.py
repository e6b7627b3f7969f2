"""Limits on how many may come: the rate limit per client, and max_connections per listener."""

import os
import signal
import socket
import time

import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.backends import reset
from lib.config import Listener, config_text
from lib.reloads import Reloads
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
DESTINATION6 = ("2001:db8::443", 443)


@pytest.fixture
def limited(new_daemon, echo):
    """limited(3, "1d", ...): a daemon with two workers and this rate limit, on all addresses of both families."""

    def start(limit, window, options=None, **firewall):
        listener = Listener(host="", routes=[f"* {echo.address}"], options=options or {})
        return new_daemon([listener], server={"workers": 2},
                          firewall={"rate_limit": limit, "rate_window": window, **firewall}).start()

    return start


def attempt(daemon, tries, **kwargs):
    return [clients.enters(daemon.port, HELLO, **kwargs) for _ in range(tries)]


def announced(daemon, address, tries=1):
    destination = DESTINATION6 if ":" in address else ph.DESTINATION4
    return attempt(daemon, tries, header=ph.v2((address, 999), destination))


# ---- how many at once

def test_exactly_the_limit_at_once_for_each_of_many_clients_over_all_workers(limited, echo):
    """All at the same time, and from each client more than it may."""
    limit, tries, sources = 5, 12, [f"127.0.4.{n}" for n in range(1, 41)]
    daemon = limited(limit, "1d")
    waiting = {source: [] for source in sources}
    for _ in range(tries):
        for source in sources:
            try:
                s = clients.connect(daemon.port, source=source)
                s.sendall(HELLO)
            except (ConnectionResetError, BrokenPipeError):
                continue
            waiting[source].append(s)
    admitted = {}
    for source, open_ones in waiting.items():
        admitted[source] = 0
        for s in open_ones:
            try:
                assert clients.read_exactly(s, len(HELLO)) == HELLO
                admitted[source] += 1
            except ConnectionResetError:
                pass
            s.close()
    assert admitted == {source: limit for source in sources}
    daemon.wait_for_access(count=len(sources) * tries)
    assert len(daemon.access_lines(reason="rate_limit")) == len(sources) * (tries - limit)
    assert {line["worker"] for line in daemon.access_lines(reason="finished")} == {"0", "1"}
    assert echo.connections == limit * len(sources)


def test_refused_client_is_reset_before_it_says_anything(limited, echo):
    daemon = limited(1, "1d")
    assert attempt(daemon, 1) == [True]
    for _ in range(5):
        clients.expect_refused_entry(daemon.port, timeout=5)
    daemon.wait_for_access(count=5, reason="rate_limit", bytes_in=0, bytes_out=0, sni="", backend="")
    assert echo.connections == 1


def test_limit_of_0_is_none(limited):
    assert attempt(limited(0, "1d"), 60) == [True] * 60


def test_all_listeners_share_the_quota(new_daemon, echo):
    listeners = [Listener(name=f"l{i}", routes=[f"* {echo.address}"]) for i in range(2)]
    new_daemon(listeners, server={"workers": 2}, firewall={"rate_limit": 4, "rate_window": "1d"}).start()
    entered = [clients.enters(listeners[i % 2].port, HELLO) for i in range(8)]
    assert entered == [True] * 4 + [False] * 4


def test_killed_workers_forget_nothing(limited):
    daemon = limited(3, "1d")
    assert attempt(daemon, 3) == [True] * 3
    for victim in daemon.workers():
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda v=victim: v not in daemon.workers() and len(daemon.workers()) == 2, what="the replacement")
    assert attempt(daemon, 4) == [False] * 4
    assert attempt(daemon, 4, source="127.0.0.7") == [True] * 3 + [False]


# ---- who is one client

def test_ipv6_clients_of_one_64_share_a_quota(limited):
    daemon = limited(3, "1d", {"proxy_protocol": "required"})
    one, other = "2001:db8:0:1", "2001:db8:0:2"
    entered = [announced(daemon, f"{one}{tail}")[0] for tail in ("::1", "::2", ":ffff:ffff:ffff:ffff", "::3", "::1", ":8000::")]
    assert entered == [True] * 3 + [False] * 3
    assert announced(daemon, f"{other}::1", 4) == [True] * 3 + [False]
    assert announced(daemon, "2001:db9:0:1::1", 4) == [True] * 3 + [False]
    daemon.wait_for_access(count=5, reason="rate_limit")


def test_ipv4_clients_have_one_each_and_ipv4_mapped_ones_are_the_same(limited):
    daemon = limited(2, "1d", {"proxy_protocol": "required"})
    assert announced(daemon, "192.0.2.1", 1) == [True]
    assert announced(daemon, "::ffff:192.0.2.1", 2) == [True, False]
    assert announced(daemon, "192.0.2.1", 1) == [False]
    for address in ("192.0.2.2", "::ffff:192.0.2.3", "::ffff:192.0.2.4", "192.0.3.1"):
        assert announced(daemon, address, 3) == [True, True, False], address


def test_ipv4_client_of_a_dual_stack_listener_is_no_ipv6_client(limited):
    daemon = limited(2, "1d")
    assert attempt(daemon, 3) == [True, True, False]
    assert attempt(daemon, 3, source="127.0.0.2") == [True, True, False]
    assert attempt(daemon, 3, host="::1") == [True, True, False]


def test_behind_a_header_the_peer_uses_no_quota(limited):
    """A local header has no client but the peer."""
    daemon = limited(2, "1d", {"proxy_protocol": "required"})
    for n in range(1, 30):
        assert announced(daemon, f"192.0.2.{n}") == [True]
    assert attempt(daemon, 3, header=ph.local()) == [True, True, False]
    assert announced(daemon, "192.0.2.30") == [True]


def test_refused_header_uses_no_quota(limited):
    daemon = limited(2, "1d", {"proxy_protocol": "required"})
    for header in list(ph.malformed_v2().values())[:20]:
        assert not clients.enters(daemon.port, HELLO, header)
    assert attempt(daemon, 3, header=ph.local()) == [True, True, False]


def test_blocked_addresses_use_no_quota(limited):
    """Seen by a neighbour in the same /64, which shares the quota but not the rule."""
    daemon = limited(3, "1d", {"proxy_protocol": "required"}, blocked_ips="2001:db8::bad, 192.0.2.66",
                     blocked_cidrs="2001:db8:0:0:f000::/68")
    assert announced(daemon, "2001:db8::bad", 20) == [False] * 20
    assert announced(daemon, "2001:db8::f123:0:0:1", 20) == [False] * 20
    assert announced(daemon, "2001:db8::1", 4) == [True] * 3 + [False]
    daemon.wait_for_access(count=20, reason="blocked_ip")
    daemon.wait_for_access(count=20, reason="blocked_cidr")
    assert announced(daemon, "2001:db8::bad") == [False]
    daemon.wait_for_access(count=21, reason="blocked_ip")  # also when the quota is used up


# ---- coming back

class Quota:
    """
    What one client may have left. Nobody but the server knows when it decided a try, only that it was between the try's begin and end:
    `least` and `most` are what the quota can have been. However long anybody had to wait for a processor, a try is then rightly let in,
    rightly refused, or could be either.
    """

    def __init__(self, daemon, limit, window):
        self.daemon, self.limit, self.rate = daemon, limit, limit / window
        self.least = self.most = limit
        self.tries = []  # (is it let in?, what was the least and the most that was left)
        self._begun = self._ended = time.monotonic()

    def enter(self):
        begun, entered, ended = time.monotonic(), clients.enters(self.daemon.port, HELLO), time.monotonic()
        self.least = min(self.limit, self.least + (begun - self._ended) * self.rate)
        self.most = min(self.limit, self.most + (ended - self._begun) * self.rate)
        self._begun, self._ended = begun, ended
        self.tries.append((entered, round(self.least, 2), round(self.most, 2)))
        assert self.most > 0.95 if entered else self.least < 1.05, self.tries
        if entered:
            self.least, self.most = max(0, self.least - 1), max(0, min(self.limit, self.most) - 1)
        else:
            self.most = min(self.most, 1)
        return entered


def test_quota_comes_back_evenly_and_refused_tries_use_none(limited):
    """4 in 2 s: one each half second. The client never stops trying; its refused tries do not put it off."""
    quota = Quota(limited(4, "2s"), 4, 2)
    while sum(entered for entered, _, _ in quota.tries) < 7:
        quota.enter()
        time.sleep(0.01)


def test_whole_quota_is_back_after_the_window_and_no_more(limited):
    quota = Quota(limited(3, "1s"), 3, 1)
    for pause in (1.05, 1.65, 0):  # what was not used is not saved up
        assert [quota.enter() for _ in range(4)][:3] == [True] * 3
        time.sleep(pause)


def test_waiting_client_is_not_charged_for_time(limited):
    """Connections that last use no more than those that end at once."""
    quota = Quota(limited(2, "1s"), 2, 1)
    with clients.connect(quota.daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        time.sleep(1.1)
        assert [quota.enter() for _ in range(3)][:2] == [True, True]
        s.sendall(b"still here")
        assert clients.read_exactly(s, 10) == b"still here"


# ---- max_connections

def established(port, **kwargs):
    s = clients.connect(port, **kwargs)
    s.sendall(HELLO)
    assert clients.read_exactly(s, len(HELLO)) == HELLO
    return s


def is_full(port, patience=20, **kwargs):
    """Is a new connection closed without a byte, and without a word of ours? One that has a place hears nothing: that takes our patience."""
    try:
        with clients.connect(port, timeout=patience, **kwargs) as s:
            try:
                return s.recv(1) == b""
            except TimeoutError:
                return False
    except ConnectionResetError:
        return True


@pytest.fixture
def narrow(new_daemon, echo):
    """narrow(10): a daemon with two workers whose first listener has so many places, and a second one without a limit."""

    def start(limit, **options):
        listeners = [Listener(routes=[f"* {echo.address}"], options={"max_connections": limit, **options}),
                     Listener(name="wide", routes=[f"* {echo.address}"])]
        return new_daemon(listeners, server={"workers": 2}).start()

    return start


def wait_for_places(daemon, count):
    """As many connections as that can be established, one after another; returns them."""
    got = []

    def one_more():
        try:
            got.append(established(daemon.port))
        except (OSError, AssertionError):
            return False
        return len(got) == count

    wait_until(one_more, 20, f"{count} places")
    return got


def test_over_max_connections_closed_at_once_over_all_workers(narrow, echo):
    daemon = narrow(10)
    open_ones = [established(daemon.port) for _ in range(10)]
    for _ in range(12):
        assert is_full(daemon.port)
    daemon.wait_for_access(count=12, reason="max_connections", bytes_in=0, bytes_out=0)
    assert echo.connections == 10
    established(daemon.listeners[1].port).close()  # the other listener has its own count
    for s in open_ones:
        s.sendall(b"alive")
        assert clients.read_exactly(s, 5) == b"alive"
        s.close()


@pytest.mark.parametrize("end", ["close", "reset"])
def test_place_comes_back_when_a_connection_ends(narrow, end):
    daemon = narrow(3)
    open_ones = [established(daemon.port) for _ in range(3)]
    for n in range(4):
        assert is_full(daemon.port)
        victim = open_ones.pop()
        victim.close() if end == "close" else reset(victim)
        daemon.wait_for_access(count=n + 1, reason="finished" if end == "close" else "client_reset")
        open_ones.insert(0, established(daemon.port))
    for s in open_ones:
        s.close()


@pytest.mark.parametrize("name, reason", [(b"www.example.com", "finished"), (b"nobody.example.com", "no_route")])
def test_client_that_has_seen_the_end_finds_its_place_free(new_daemon, echo, name, reason):
    """One after another, as fast as they can come, over workers that do not see each other's sockets close."""
    listener = Listener(routes=[f"www.example.com {echo.address}"], options={"max_connections": 1})
    daemon = new_daemon([listener], server={"workers": 4}).start()
    for _ in range(1000):
        with clients.connect(daemon.port) as s:
            try:
                s.sendall(hello.client_hello(name))
                s.shutdown(socket.SHUT_WR)
                clients.read_all(s)
            except OSError:
                pass  # reset; why says the log
    daemon.wait_for_access(count=1000)
    assert {line["reason"] for line in daemon.access_lines()} == {reason}


def test_client_that_says_nothing_takes_a_place_until_hello_timeout(new_daemon, echo):
    listener = Listener(routes=[f"* {echo.address}"], options={"max_connections": 2})
    daemon = new_daemon([listener], proxy={"hello_timeout": "1h"}).start()
    silent = [clients.connect(daemon.port) for _ in range(2)]
    assert is_full(daemon.port)
    daemon.wait_for_access(reason="max_connections")
    Reloads(daemon).reload(config_text(daemon.directory, [listener], proxy={"hello_timeout": "300ms"}))
    daemon.wait_for_access(count=2, reason="hello_timeout")
    for s in wait_for_places(daemon, 2) + silent:
        s.close()


def test_full_listener_closes_before_it_reads_a_header(narrow):
    daemon = narrow(1, proxy_protocol="required", proxy_trusted="127.0.0.1")
    header = ph.v2(ph.SOURCE4, ph.DESTINATION4)
    with clients.connect(daemon.port) as s:
        s.sendall(header + HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        assert is_full(daemon.port)
        assert is_full(daemon.port, source="127.0.0.3")
        daemon.wait_for_access(count=2, reason="max_connections")
        assert all(line["client"].startswith("127.0.0.") for line in daemon.access_lines())


def test_many_at_once_get_the_places_there_are(narrow, echo):
    daemon = narrow(8)
    sockets = []
    for _ in range(60):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", daemon.port))
        sockets.append(s)
    admitted = 0
    for s in sockets:
        s.settimeout(20)
        try:
            s.sendall(HELLO)
            admitted += clients.read_exactly(s, len(HELLO)) == HELLO
        except (OSError, AssertionError):
            pass
    assert admitted == 8, "two workers never both give the last place, and never both refuse it"
    assert echo.connections == admitted
    for s in sockets:
        s.close()


def test_places_of_a_killed_worker_come_back(narrow):
    daemon = narrow(20)
    open_ones = [established(daemon.port) for _ in range(20)]
    assert is_full(daemon.port)
    victim = daemon.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in daemon.workers() and len(daemon.workers()) == 2, what="the replacement")
    lost = []
    for s in open_ones:
        try:
            s.sendall(b"alive")
            assert clients.read_exactly(s, 5) == b"alive"
        except (OSError, AssertionError):
            lost.append(s)
    assert 0 < len(lost) < 20
    new_ones = wait_for_places(daemon, len(lost))
    assert is_full(daemon.port), "and not one more"
    for s in open_ones + new_ones:
        s.close()


def test_reload_changes_the_limit_and_drops_nobody(narrow):
    daemon = narrow(2)
    open_ones = [established(daemon.port) for _ in range(2)]
    assert is_full(daemon.port)
    with open(daemon.config_path, encoding="utf-8") as f:
        text = f.read()
    for limit in (4, 1):
        daemon.write_config(text.replace("max_connections = 2", f"max_connections = {limit}"))
        before = sum("reloaded" in e.get("msg", "") for e in daemon.events())
        daemon.signal(signal.SIGHUP)
        wait_until(lambda b=before: sum("reloaded" in e.get("msg", "") for e in daemon.events()) > b, what="the reload")
        while len(open_ones) < limit:
            open_ones.append(established(daemon.port))
        wait_until(lambda: is_full(daemon.port, patience=0.8), 20, "the limit")
    for s in open_ones:
        s.sendall(b"alive")
        assert clients.read_exactly(s, 5) == b"alive"
        s.close()
