"""max_pending_hellos: when too many say nothing, those who fill the place lose theirs, and everybody else is served."""

import contextlib
import os
import resource
import signal

import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.config import Listener, config_text
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
CAP = 60
FEW = 4  # strangers: each shares the bucket of a flood, and its fate, once in 4,096 runs


@pytest.fixture
def budgeted(proxy, echo):
    """budgeted(cap=..., **sections): a daemon of one worker with this cap; idle ones wait for long."""

    def start(cap=CAP, listener=None, **sections):
        return proxy(f"* {echo.address}", listener=listener, proxy={"hello_timeout": "1h", "max_pending_hellos": cap}, **sections)

    return start


def silent(daemon, source, said=b""):
    s = clients.connect(daemon.port, source=source)
    s.sendall(said)
    return s


def is_reset(s):
    """Has it been reset by now?"""
    s.setblocking(False)
    try:
        raise AssertionError(f"neither silence nor a reset but {s.recv(1)!r}")
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


def expect_echo(s, more=HELLO):
    s.settimeout(15)
    s.sendall(more)
    assert clients.read_exactly(s, len(HELLO)) == HELLO
    s.close()


def evicted(daemon, count):
    """The networks (the first three numbers) of those who had to go, when there are so many of them."""
    wait_until(lambda: len(daemon.access_lines(reason="hello_evicted")) >= count, what=f"{count} that had to go")
    lines = daemon.access_lines(reason="hello_evicted")
    assert len(lines) == count
    return [line["client"].rpartition(".")[0] for line in lines]


def close_all(*lists):
    for one in lists:
        for s in one:
            s.close()


def test_a_flood_from_one_network_costs_only_that_network(budgeted):
    daemon = budgeted()
    strangers = [silent(daemon, f"127.9.{i}.1", HELLO[:i]) for i in range(FEW)]
    flood = [silent(daemon, f"127.1.2.{1 + i % 200}") for i in range(300)]
    assert set(evicted(daemon, FEW + 300 - CAP)) == {"127.1.2"}
    assert [is_reset(s) for s in flood] == [True] * (300 - CAP + FEW) + [False] * (CAP - FEW), "not the oldest"
    with silent(daemon, "127.8.8.8", HELLO) as newcomer:
        expect_echo(newcomer, b"")
    for i, s in enumerate(strangers):
        expect_echo(s, HELLO[i:])
    expect_echo(flood[-1])
    assert [e for e in daemon.events() if "max_pending_hellos is reached" in e["msg"]]
    close_all(flood)


def test_a_flood_from_everywhere_costs_who_waited_longest(budgeted):
    daemon = budgeted()
    flood = [silent(daemon, f"127.{2 + i // 250}.{i % 250}.1") for i in range(300)]
    networks = evicted(daemon, 300 - CAP)
    assert networks == [f"127.{2 + i // 250}.{i % 250}" for i in range(300 - CAP)]
    with silent(daemon, "127.8.8.8", HELLO) as newcomer:
        expect_echo(newcomer, b"")
    close_all(flood)


def test_who_has_sent_its_hello_is_never_evicted(budgeted):
    daemon = budgeted()
    established = []
    for i in range(2 * CAP):
        s = silent(daemon, "127.1.2.3", HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        established.append(s)
    assert not daemon.access_lines()
    flood = [silent(daemon, "127.1.2.3") for _ in range(2 * CAP)]
    evicted(daemon, CAP)
    for s in established:
        expect_echo(s)
    close_all(flood)


@pytest.mark.parametrize("address", ["203.0.{}.{}", "2001:db8:0:{}::{}"], ids=["IPv4", "IPv6"])
def test_behind_a_proxy_header_the_announced_network_counts(budgeted, address):
    daemon = budgeted(listener={"proxy_protocol": "required"})
    destination = ph.DESTINATION6 if ":" in address else ph.DESTINATION4

    def announced(network, host, said=b""):
        return silent(daemon, "127.0.0.1", ph.v2((address.format(network, host), 1024), destination) + said)
    strangers = [announced(i, 1) for i in range(FEW)]
    flood = [announced(77, 1 + i % 200) for i in range(300)]
    evicted(daemon, FEW + 300 - CAP)
    assert all(line["client"].startswith((address.format(77, ""), "[" + address.format(77, "")))
               for line in daemon.access_lines(reason="hello_evicted"))
    for s in strangers:
        expect_echo(s)
    close_all(flood)


def test_who_owes_a_proxy_header_counts_too(budgeted):
    daemon = budgeted(listener={"proxy_protocol": "required"})
    flood = [silent(daemon, "127.1.2.3", b"PROXY"[:i % 5]) for i in range(2 * CAP)]
    evicted(daemon, CAP)
    close_all(flood)


def test_the_blocked_push_nobody_out(budgeted):
    daemon = budgeted(firewall={"blocked_cidrs": "127.1.2.0/24"})
    waiting = [silent(daemon, "127.5.5.5") for _ in range(CAP)]
    for _ in range(3 * CAP):
        clients.expect_refused_entry(daemon.port, source="127.1.2.3")
    daemon.wait_for_access(count=3 * CAP, reason="blocked_cidr")
    assert not daemon.access_lines(reason="hello_evicted")
    for s in waiting:
        expect_echo(s)


def test_without_a_limit_nobody_goes(budgeted):
    daemon = budgeted(cap=0)
    waiting = [silent(daemon, "127.1.2.3") for _ in range(300)]
    for s in waiting:
        expect_echo(s)
    assert not daemon.access_lines(reason="hello_evicted")


def test_the_silent_leave_three_quarters_of_the_descriptors_to_others(proxy, echo):
    """The default, seen with few descriptors: a worker that has them for 400 connections lets 100 be silent."""
    daemon = proxy(f"* {echo.address}", proxy={"hello_timeout": "1h"})
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (864, 864))
    daemon.replace_worker()
    flood = [silent(daemon, f"127.{2 + i}.1.1") for i in range(150)]
    evicted(daemon, 50)
    served = [silent(daemon, "127.1.1.1", HELLO) for _ in range(290)]
    for s in served:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
    assert {line["reason"] for line in daemon.access_lines()} == {"hello_evicted"}
    assert not [e for e in daemon.events() if "accepting is paused" in e["msg"]]
    close_all(served, flood)


def test_whose_hello_is_there_already_when_it_is_accepted_is_not_evicted(proxy, echo):
    """Many of one network accepted in one turn, between silent ones for whose sake accepting does not read at once."""
    daemon = proxy(f"* {echo.address}", proxy={"hello_timeout": "1h", "max_pending_hellos": "40"})
    flood = [silent(daemon, f"127.{2 + i}.1.1") for i in range(60)]
    evicted(daemon, 20)
    worker = daemon.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    served = []
    for group in range(8):
        flood += [silent(daemon, f"127.{100 + i}.{group}.1") for i in range(17 + group)]
        served += [silent(daemon, f"127.1.{group}.1", HELLO) for _ in range(12)]
    with contextlib.suppress(ProcessLookupError):  # it took so long that the master has replaced it: who waited is served by the next
        os.kill(worker, signal.SIGCONT)
    for s in served:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
    close_all(served, flood)


def connected(port):
    """One connection; none if it was pushed out before connect() has returned."""
    try:
        return [clients.connect(port)]
    except ConnectionResetError:
        return []


def test_listeners_that_go_during_a_flood_take_nobody_with_them(new_daemon, echo, tmp_path):
    """A listener is closed, and its last connection pushed out by those of another."""
    listeners = [Listener(name=f"l{i}", routes=[f"* {echo.address}"]) for i in range(4)]
    sections = {"proxy": {"hello_timeout": "1h", "max_pending_hellos": 8, "shutdown_timeout": "1s"}, "server": {"workers": 1}}
    daemon = new_daemon(listeners, **sections).start()
    opened = []
    for left in (3, 2, 1):
        opened += [s for listener in listeners[:left + 1] for _ in range(6) for s in connected(listener.port)]
        daemon.write_config(config_text(str(tmp_path), listeners[:left], **sections))
        daemon.signal(signal.SIGHUP)
        opened += [s for _ in range(20) for s in connected(listeners[0].port)]
    wait_until(lambda: len(daemon.access_lines(reason="hello_evicted")) >= len(opened) - 8 - 24, what="a flood")
    assert clients.enters(listeners[0].port, HELLO)
    close_all(opened)
