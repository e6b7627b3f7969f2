"""The firewall's rules for addresses and networks: who is kept out, by which rule, how, and at what cost."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.config import Listener
from lib.daemon import is_sanitized
from lib.machine import require_ptrace
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
BAD, GOOD = "127.0.0.50", "127.0.0.40"


@pytest.fixture
def dual(new_daemon, echo):
    """dual(blocked_ips=..., ...): a daemon on all addresses of both families with this firewall."""
    return lambda **firewall: new_daemon([Listener(host="", routes=[f"* {echo.address}"])], firewall=firewall).start()


@pytest.fixture
def announced(proxy, echo):
    """announced(blocked_ips=..., ...): the same behind PROXY headers from anyone."""
    return lambda **firewall: proxy(f"* {echo.address}", listener={"proxy_protocol": "required"}, firewall=firewall)


def verdict(daemon, address):
    """The reason that the access line of an announced client has; and that it got what belongs to the reason."""
    before = len(daemon.access_lines())
    port = 1024 + before
    entered = clients.enters(daemon.port, HELLO, ph.v2((address, port), ("::1" if ":" in address else "127.0.0.1", 443)))
    daemon.wait_for_access(count=before + 1)
    reason = daemon.access_lines()[-1]["reason"]
    assert entered == (reason == "finished"), (address, reason)
    return reason


# ---- which rule

@pytest.mark.parametrize("rules, kept_out, let_in", [
    ({"blocked_ips": BAD}, [BAD], [GOOD, "127.0.0.51", "::1"]),
    ({"blocked_ips": f"::ffff:{BAD}"}, [BAD], [GOOD, "::1"]),
    ({"blocked_ips": "::1"}, ["::1"], [GOOD, "127.0.0.1"]),
    ({"blocked_ips": ["127.0.0.1, 127.0.0.2", "127.0.0.3"]}, ["127.0.0.1", "127.0.0.2", "127.0.0.3"], ["127.0.0.4"]),
    ({"blocked_cidrs": "127.0.0.64/26"}, ["127.0.0.64", "127.0.0.127"], ["127.0.0.63", "127.0.0.128", "::1"]),
    ({"blocked_cidrs": f"{BAD}/32"}, [BAD], ["127.0.0.51", "127.0.0.49"]),
    ({"blocked_cidrs": "0.0.0.0/0"}, [GOOD, "127.0.0.1"], ["::1"]),
    ({"blocked_cidrs": "::/0"}, ["::1"], [GOOD, "127.0.0.1"]),
    ({"blocked_cidrs": "0.0.0.0/0, ::/0"}, [GOOD, "::1"], []),
], ids=["ip", "mapped_ip", "ipv6", "list", "network", "network_of_one", "all_ipv4", "all_ipv6", "all"])
def test_rule_keeps_out_peers_of_a_dual_stack_listener(dual, rules, kept_out, let_in):
    daemon = dual(**rules)
    reason = "blocked_ip" if "blocked_ips" in rules else "blocked_cidr"
    for who, expected in [(a, False) for a in kept_out] + [(a, True) for a in let_in]:
        at = {"host": who} if ":" in who else {"source": who}
        assert clients.enters(daemon.port, HELLO, **at) == expected, who
    daemon.wait_for_access(count=len(kept_out + let_in))
    assert len(daemon.access_lines(reason=reason)) == len(kept_out)
    assert len(daemon.access_lines(reason="finished")) == len(let_in)


def test_longest_prefixes_and_their_borders(announced):
    daemon = announced(blocked_ips=["192.0.2.7, 2001:db8::7", "2001:db8:5:6:7:8:9:a"],
                       blocked_cidrs=["198.51.100.0/24, 10.0.0.0/8, 203.0.113.128/25, 203.0.113.4/30",
                                      "2001:db8:1::/48, 2001:db8:2:4::/62, fe80::/10, 2001:db8:7::80/121, 192.0.2.0/29"])
    expected = {
        "192.0.2.7": "blocked_ip", "::ffff:192.0.2.7": "blocked_ip", "192.0.2.6": "blocked_cidr", "192.0.2.8": "finished",
        "198.51.100.0": "blocked_cidr", "198.51.100.255": "blocked_cidr", "198.51.99.255": "finished",
        "198.51.101.0": "finished", "10.0.0.0": "blocked_cidr", "10.255.255.255": "blocked_cidr", "9.255.255.255": "finished",
        "11.0.0.0": "finished", "::ffff:10.1.2.3": "blocked_cidr", "203.0.113.127": "finished",
        "203.0.113.128": "blocked_cidr", "203.0.113.3": "finished", "203.0.113.4": "blocked_cidr",
        "203.0.113.7": "blocked_cidr", "203.0.113.8": "finished", "2001:db8::7": "blocked_ip", "2001:db8::8": "finished",
        "2001:db8:5:6:7:8:9:a": "blocked_ip", "2001:db8:5:6:7:8:9:b": "finished", "2001:db8:0:ffff::": "finished",
        "2001:db8:1::": "blocked_cidr", "2001:db8:1:ffff:ffff:ffff:ffff:ffff": "blocked_cidr", "2001:db8:2::": "finished",
        "2001:db8:2:3:ffff::": "finished", "2001:db8:2:4::": "blocked_cidr", "2001:db8:2:7:ffff::": "blocked_cidr",
        "2001:db8:2:8::": "finished", "fe80::1": "blocked_cidr", "febf::1": "blocked_cidr", "fec0::1": "finished",
        "2001:db8:7::7f": "finished", "2001:db8:7::80": "blocked_cidr", "2001:db8:7::ff": "blocked_cidr",
        "2001:db8:7::100": "finished", "::a00:1": "finished",  # not IPv4-mapped: another address than 10.0.0.1
    }
    assert {address: verdict(daemon, address) for address in expected} == expected


def test_many_rules(announced):
    ips = [f"10.{i // 200}.{i % 200}.1" for i in range(2000)]
    daemon = announced(blocked_ips=[", ".join(ips[i:i + 10]) for i in range(0, len(ips), 10)])
    for address in ips[::97]:
        assert verdict(daemon, address) == "blocked_ip"
        assert verdict(daemon, address[:-1] + "2") == "finished"


# ---- whose address

def test_behind_a_header_only_the_announced_address_counts(announced):
    daemon = announced(blocked_ips=f"127.0.0.1, {BAD}, 192.0.2.7")
    assert clients.enters(daemon.port, HELLO, ph.v2(ph.SOURCE4, ph.DESTINATION4)), "the peer 127.0.0.1 is blocked, its client not"
    assert clients.enters(daemon.port, HELLO, ph.v1(ph.SOURCE6, ph.DESTINATION6), source=BAD)
    assert not clients.enters(daemon.port, HELLO, ph.v2(("192.0.2.7", 1), ph.DESTINATION4), source=GOOD)
    assert not clients.enters(daemon.port, HELLO, ph.v1(("::ffff:192.0.2.7", 1), ph.DESTINATION6), source=GOOD)
    assert not clients.enters(daemon.port, HELLO, ph.v2((BAD, 1), ph.DESTINATION4), source=GOOD)
    daemon.wait_for_access(count=3, reason="blocked_ip", bytes_in=len(HELLO))  # read with the header, which is not counted


def test_header_without_address_leaves_the_peer_to_be_asked(announced):
    daemon = announced(blocked_ips=BAD)
    for header in ph.standing_for_the_peer().values():
        assert not clients.enters(daemon.port, HELLO, header, source=BAD)
        assert clients.enters(daemon.port, HELLO, header, source=GOOD)
    daemon.wait_for_access(count=len(ph.standing_for_the_peer()), reason="blocked_ip")


def test_mixed_listener_asks_of_the_peer_or_of_the_announced(proxy, echo):
    daemon = proxy(f"* {echo.address}", listener={"proxy_protocol": "mixed", "proxy_trusted": BAD},
                   firewall={"blocked_ips": f"{BAD}, 127.0.0.51"})
    assert clients.enters(daemon.port, HELLO, ph.v2(ph.SOURCE4, ph.DESTINATION4), source=BAD)
    assert not clients.enters(daemon.port, HELLO, ph.v2(("127.0.0.51", 1), ph.DESTINATION4), source=BAD)
    assert not clients.enters(daemon.port, HELLO, source="127.0.0.51")
    assert clients.enters(daemon.port, HELLO, source=GOOD)


def test_rules_hold_on_every_listener(new_daemon, echo):
    listeners = [Listener(name=f"l{i}", routes=[f"* {echo.address}"]) for i in range(3)]
    daemon = new_daemon(listeners, firewall={"blocked_ips": BAD}, server={"workers": 2}).start()
    for listener in listeners:
        assert not clients.enters(listener.port, HELLO, source=BAD)
        assert clients.enters(listener.port, HELLO, source=GOOD)
    daemon.wait_for_access(count=3, reason="blocked_ip")


# ---- how

def test_blocked_client_is_reset_before_it_says_anything(dual, echo):
    daemon = dual(blocked_ips=BAD)
    for _ in range(20):
        clients.expect_refused_entry(daemon.port, source=BAD)
    daemon.wait_for_access(count=20, reason="blocked_ip", bytes_in=0, bytes_out=0, sni="", backend="")
    assert echo.connections == 0


def test_backend_never_hears_of_a_flood_from_blocked_clients(new_daemon, echo):
    daemon = new_daemon([Listener(routes=[f"* {echo.address}"])], firewall={"blocked_cidrs": "127.0.3.0/24"},
                        server={"workers": 2}).start()
    for i in range(400):
        clients.expect_refused_entry(daemon.port, HELLO, source=f"127.0.3.{i % 250 + 1}")
        if i % 40 == 0:
            assert clients.enters(daemon.port, HELLO, source=GOOD)
    daemon.wait_for_access(count=400, reason="blocked_cidr", timeout=60)
    assert echo.connections == 10


def test_replaced_worker_keeps_the_rules(dual, echo):
    daemon = dual(blocked_ips=BAD)
    victim = daemon.workers()[0]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: daemon.workers() and victim not in daemon.workers(), what="the replacement")
    assert not clients.enters(daemon.port, HELLO, source=BAD)
    assert clients.enters(daemon.port, HELLO, source=GOOD)


# ---- seeding

def test_rules_are_taken_from_the_file_at_the_very_first_start_only(new_daemon, echo):
    listener = Listener(routes=[f"* {echo.address}"])
    new_daemon([listener], firewall={"blocked_ips": BAD, "blocked_cidrs": "127.0.0.64/26"}).start().stop()
    for firewall in ({"blocked_ips": GOOD}, {}, {"blocked_cidrs": "127.0.0.0/8"}):
        daemon = new_daemon([listener], firewall=firewall).start()
        assert not clients.enters(daemon.port, HELLO, source=BAD), firewall
        assert not clients.enters(daemon.port, HELLO, source="127.0.0.65"), firewall
        assert clients.enters(daemon.port, HELLO, source=GOOD), firewall
        daemon.stop()


def test_first_start_without_rules_is_the_first_start_too(new_daemon, echo):
    listener = Listener(routes=[f"* {echo.address}"])
    new_daemon([listener]).start().stop()
    daemon = new_daemon([listener], firewall={"blocked_ips": BAD}).start()
    assert clients.enters(daemon.port, HELLO, source=BAD)


@pytest.mark.parametrize("signals", [1, 3])
def test_reload_leaves_the_rules_of_the_database(new_daemon, echo, signals):
    listener = Listener(routes=[f"* {echo.address}"])
    daemon = new_daemon([listener], firewall={"blocked_ips": BAD}).start()
    with open(daemon.config_path, encoding="utf-8") as f:
        text = f.read()
    daemon.write_config(text.replace(f"blocked_ips = {BAD}", f"blocked_ips = {GOOD}"))
    for n in range(signals):
        daemon.signal(signal.SIGHUP)
        wait_until(lambda n=n: sum("reloaded" in e.get("msg", "") for e in daemon.events()) > n, what="the reload")
    assert not clients.enters(daemon.port, HELLO, source=BAD)
    assert clients.enters(daemon.port, HELLO, source=GOOD)


# ---- cost

@pytest.mark.measures
@pytest.mark.skipif(is_sanitized(), reason="a sanitizer makes calls of its own")
@pytest.mark.parametrize("listener, header", [({}, b""), ({"proxy_protocol": "required"}, ph.v2((BAD, 1), ph.DESTINATION4))],
                         ids=["peer", "announced"])
def test_system_calls_of_a_blocked_connection(proxy, echo, tmp_path, listener, header):
    """accept4, setsockopt (for the RST) and close; with a header recvfrom too, and an epoll_ctl where it came late."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    require_ptrace()
    daemon = proxy(f"* {echo.address}", listener=listener, firewall={"blocked_ips": BAD}, log={"access": "false"})
    worker, trace, count = daemon.workers()[0], str(tmp_path / "trace"), 300

    def knock():
        clients.expect_refused_entry(daemon.port, header, source=BAD)

    for _ in range(10):
        knock()
    tracer = subprocess.Popen(["strace", "-qq", "-p", str(worker), "-o", trace], stderr=subprocess.DEVNULL)
    wait_until(lambda: _tracer_of(worker) == tracer.pid, what="strace")
    for _ in range(count):
        knock()
    tracer.send_signal(signal.SIGINT)
    tracer.wait(60)
    with open(trace, encoding="utf-8") as f:
        calls = [m.group(0) for m in map(re.compile(r"\w+(?=\()").match, f) if m]
    made = {name: calls.count(name) for name in set(calls)}
    made.pop("epoll_wait")  # a worker in traffic looks often before it sleeps
    made.pop("read", 0)  # the tick
    assert count - 1 <= made.pop("setsockopt") <= count
    assert count - 1 <= made.pop("close") <= count
    assert count <= made.pop("accept4") <= 1.1 * count, "now and then it looks for a second one"
    late = made.pop("epoll_ctl", 0) if header else 0
    assert made.pop("recvfrom", 0) == (count + late if header else 0)
    assert sum(made.values()) <= 5, made  # the worker's own doings, as its timers


def _tracer_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return int(re.search(r"TracerPid:\s*(\d+)", f.read()).group(1))
