"""
The access record: what a connection was, how its handshake came out, and who ended it; told without decrypting a byte, with real TLS
clients and backends, and of the rejected ones, too.
"""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest

from lib import clients, hello, sockets
from lib import proxy_headers as ph
from lib.backends import EchoBackend, OpensslBackend, RefusingPort, ScriptBackend, TlsBackend, read_hello, reset
from lib.config import Listener, config_text
from lib.ports import free_port
from lib.reloads import Reloads
from lib.waiting import wait_until
from lib import metrics

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAKE_MMDB = os.path.join(ROOT, "test", "tools", "make_mmdb.py")
HELLO = hello.client_hello(b"www.example.com")
SUMMARY = "connections rejected without a line of their own"


def s_client(port, *options):
    """Whatever comes of a handshake of openssl's client."""
    return subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "www.example.com", *options],
                          input="", text=True, capture_output=True, timeout=30, check=False)


@pytest.fixture(params=["text", "json"])
def form(request):
    return request.param


@pytest.fixture
def measured(proxy):
    """measured(backend, ...): a daemon with a wildcard route to it, whose metrics are at daemon.metrics()."""

    def start(target, **sections):
        port = free_port()
        daemon = proxy(f"*.example.com {target.address}", metrics={"addr": f"127.0.0.1:{port}", "routes": "true"}, **sections)
        daemon.metrics = lambda: metrics.scrape(port)
        return daemon

    return start


def expect_outcome(daemon, outcome, **wanted):
    """The line and the counters of the only connection."""
    line = daemon.wait_for_access(handshake=outcome, **wanted)
    found = daemon.metrics()
    for name in ("mcproxy_handshakes_total", "mcproxy_route_handshakes_total"):
        assert found.sum(name) == 1 and found.sum(name, outcome=outcome) == 1
    return line


def answered(measured, backend, answer):
    """A daemon through which a client has got this answer to its hello, unchanged."""
    def serve(connection):
        read_hello(connection, len(HELLO))
        connection.sendall(answer)
    daemon = measured(backend(ScriptBackend, serve))
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_all(s) == answer
    return daemon


# ---- handshakes

def test_tls_1_3(measured, backend, pki, form):
    daemon = measured(backend(TlsBackend, pki, "www.example.com", ssl.TLSVersion.TLSv1_3), log={"format": form})
    page = clients.python_ssl(pki, daemon.port, "www.example.com", ssl.TLSVersion.TLSv1_3)
    assert "TLSv1.3" in page
    line = expect_outcome(daemon, "server_hello")
    assert (line["tls_version"], line["tls_group"], line["tls"]) == ("1.3", "x25519", "1.3")
    assert (line["sni"], line["route"]) == ("www.example.com", "*.example.com")
    assert line["backend_addr"] == line["backend"]
    assert "alert" not in line and "peer" not in line and "ech" not in line and "country" not in line


def test_tls_1_2(measured, backend, pki, form):
    daemon = measured(backend(OpensslBackend, pki, "www.example.com", "-tls1_2"), log={"format": form})
    assert "TLSv1.2" in s_client(daemon.port, "-alpn", "h2,http/1.1").stdout
    line = expect_outcome(daemon, "server_hello")
    assert line["tls"].startswith("1.3,1.2")
    assert (line["tls_version"], line["alpn"]) == ("1.2", "h2,http/1.1")
    assert "tls_group" not in line


def test_hello_retry_request(measured, backend, pki):
    """The client's first key share is of another group than the backend's only one."""
    daemon = measured(backend(OpensslBackend, pki, "www.example.com", "-tls1_3", "-groups", "P-384"))
    assert "TLSv1.3" in s_client(daemon.port, "-groups", "X25519:P-384").stdout
    line = expect_outcome(daemon, "hello_retry_request")
    assert (line["tls_version"], line["tls_group"]) == ("1.3", "secp384r1")


@pytest.mark.parametrize("server, client, alert", [
    (["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], ["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"],
     "handshake_failure"),
    (["-tls1_3"], ["-tls1_2"], "protocol_version"),
    (["-tls1_3", "-groups", "P-384"], ["-groups", "X25519"], "handshake_failure"),
], ids=["cipher", "version", "group"])
def test_alert_of_the_backend(measured, backend, pki, server, client, alert):
    daemon = measured(backend(OpensslBackend, pki, "www.example.com", *server))
    assert "alert" in s_client(daemon.port, *client).stderr
    line = expect_outcome(daemon, "alert", alert=alert)
    assert "tls_version" not in line and "tls_group" not in line


def test_a_server_hello_in_single_bytes(measured, backend):
    answer = hello.server_hello(group=0x11EC)

    def trickle(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        read_hello(connection, len(HELLO))
        for i in range(len(answer)):
            connection.sendall(answer[i:i + 1])
            time.sleep(0.001)
    daemon = measured(backend(ScriptBackend, trickle))
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_all(s) == answer
    line = expect_outcome(daemon, "server_hello")
    assert (line["tls_version"], line["tls_group"], line["ended_by"]) == ("1.3", "x25519mlkem768", "backend")


def test_a_retry_and_what_follows_are_passed_on_unchanged(measured, backend):
    answer = hello.server_hello(random=hello.RETRY_RANDOM) + os.urandom(50000)
    daemon = answered(measured, backend, answer)
    expect_outcome(daemon, "hello_retry_request", bytes_out=len(answer))


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", hello.server_hello()[:60]],
                         ids=["http", "ssh", "half a hello"])
def test_backend_that_does_not_speak_tls(measured, backend, answer):
    daemon = answered(measured, backend, answer)
    line = expect_outcome(daemon, "other", reason="finished", ended_by="backend")
    assert "tls_version" not in line and int(line["first_byte_us"]) >= 0


@pytest.mark.parametrize("end, reason, ended_by", [("idle", "idle_timeout", "proxy"), ("client", "client_reset", "client"),
                                                   ("backend", "backend_reset", "backend")])
def test_backend_that_says_nothing(measured, backend, end, reason, ended_by):
    has_hello = threading.Event()

    def serve(connection):
        read_hello(connection, len(HELLO))
        has_hello.set()
        if end == "backend":
            reset(connection)
            return
        connection.recv(1)
    daemon = measured(backend(ScriptBackend, serve), proxy={"idle_timeout": "300ms" if end == "idle" else "1m"})
    s = clients.connect(daemon.port)
    s.sendall(HELLO)
    if end == "client":
        assert has_hello.wait(20)
        reset(s)
    line = expect_outcome(daemon, "none", reason=reason, ended_by=ended_by)
    assert "connect_us" in line and "first_byte_us" not in line
    s.close()


def test_encrypted_client_hello_is_told(proxy, backend):
    with_ech = hello.client_hello(b"outer.example.com", extra=[hello.extension(0xFE0D, b"\0" * 20)])
    daemon = proxy(f"* {backend(EchoBackend).address}")
    assert clients.enters(daemon.port, with_ech)
    assert daemon.wait_for_access(sni="outer.example.com")["ech"] == "true"


# ---- who and how long

def test_who_finishes_first_has_ended_it(proxy, backend):
    daemon = proxy(f"* {backend(EchoBackend).address}")
    assert clients.enters(daemon.port, HELLO)
    assert daemon.wait_for_access(reason="finished")["ended_by"] == "client"


def test_times_of_a_slow_client_and_a_slow_backend(proxy, backend):
    def serve(connection):
        read_hello(connection, len(HELLO))
        time.sleep(0.2)
        connection.sendall(b"at last")
    daemon = proxy(f"* {backend(ScriptBackend, serve).address}")
    begun = time.monotonic()
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO[:50])
        wait_until(lambda: sockets.is_accepted(s), what="the accept, from which times count")
        time.sleep(0.1)
        s.sendall(HELLO[50:])
        assert clients.read_all(s) == b"at last"
    took_us = (time.monotonic() - begun) * 1e6
    line = daemon.wait_for_access()
    assert 90000 <= int(line["hello_us"]) < took_us
    assert 190000 <= int(line["first_byte_us"]) < took_us
    assert int(line["connect_us"]) < took_us - 280000
    told = int(line["hello_us"]) + int(line["connect_us"]) + int(line["first_byte_us"])
    assert told // 1000 <= int(line["duration_ms"])


def test_peer_and_country_behind_a_proxy_header(proxy, backend, tmp_path, form):
    database = str(tmp_path / "countries.mmdb")
    subprocess.run([sys.executable, MAKE_MMDB, database, "192.0.2.0/24=DE"], check=True)
    daemon = proxy(f"* {backend(EchoBackend).address}", listener={"proxy_protocol": "required"}, log={"format": form},
                   firewall={"geoip_db": database, "blocked_ips": "192.0.2.66"})
    for address in ("192.0.2.7", "192.0.2.66", "203.0.113.1"):
        with clients.connect(daemon.port) as s:
            peer = "%s:%d" % s.getsockname()
            try:
                s.sendall(ph.v2((address, 1024), ("127.0.0.1", 443)) + HELLO)
                s.recv(1)
            except ConnectionError:
                pass
        line = daemon.wait_for_access(client=f"{address}:1024")
        assert line["peer"] == peer
        assert line.get("country") == (None if address.startswith("203") else "DE")
        assert line["reason"] == "blocked_ip" or address != "192.0.2.66"
    with clients.connect(daemon.port) as s:
        s.sendall(ph.local() + HELLO)
        clients.read_exactly(s, len(HELLO))
        peer = "%s:%d" % s.getsockname()
    assert "peer" not in daemon.wait_for_access(client=peer)


def test_address_that_was_tried_last(proxy, backend):
    dead = backend(RefusingPort)
    daemon = proxy(f"* {dead.address}")
    clients.expect_reset(clients.connect(daemon.port), HELLO)
    line = daemon.wait_for_access(reason="backend_refused", ended_by="backend", detail="ECONNREFUSED")
    assert line["backend_addr"] == dead.address
    assert "handshake" not in line and "connect_us" not in line and "hello_us" in line


# ---- rejected ones

def reject_by(daemon, reason):
    """One connection that is rejected for this reason."""
    port = daemon.port
    if reason == "hello_timeout":
        with clients.connect(port) as s, pytest.raises(ConnectionResetError):
            s.recv(1)
    elif reason == "hello_eof":
        clients.connect(port).close()
    else:
        sent = {"hello_malformed": b"GET / HTTP/1.1\r\n\r\n", "no_route": hello.client_hello(b"other.example.org"),
                "hello_too_large": hello.hello_of_wire_size(hello.HELLO_WIRE_MAX + 1)}.get(reason, HELLO)
        clients.expect_refused_entry(port, sent)


REJECTIONS = {
    "blocked_ip": ({}, {"blocked_ips": "127.0.0.1"}), "blocked_cidr": ({}, {"blocked_cidrs": "127.0.0.0/8"}),
    "blocked_country": ({}, {"blocked_countries": "KP"}), "hello_malformed": ({}, {}), "hello_too_large": ({}, {}),
    "hello_timeout": ({}, {}), "hello_eof": ({}, {}), "no_route": ({}, {}),
    "proxy_untrusted": ({"proxy_protocol": "required", "proxy_trusted": "192.0.2.1"}, {}),
    "proxy_malformed": ({"proxy_protocol": "required"}, {}),
}


@pytest.mark.parametrize("reason", REJECTIONS)
def test_a_rejected_connection_has_a_line(proxy, backend, tmp_path, reason):
    options, firewall = REJECTIONS[reason]
    database = str(tmp_path / "countries.mmdb")
    subprocess.run([sys.executable, MAKE_MMDB, database, "127.0.0.0/8=KP"], check=True)
    daemon = proxy(f"www.example.com {backend(EchoBackend).address}", listener=options,
                   proxy={"hello_timeout": "300ms" if reason == "hello_timeout" else "1m"},
                   firewall={"geoip_db": database, **firewall})
    reject_by(daemon, reason)
    line = daemon.wait_for_access(reason=reason)
    assert line["ended_by"] == ("client" if reason == "hello_eof" else "proxy")
    assert line["country"] == "KP" and line["backend"] == "" and "handshake" not in line and "route" not in line
    assert ("tls" in line and "hello_us" in line) == (reason == "no_route")


def test_max_connections_has_a_line(proxy, backend):
    daemon = proxy(f"* {backend(EchoBackend).address}", listener={"max_connections": 1})
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        clients.read_exactly(s, len(HELLO))
        clients.connect(daemon.port).close()
        daemon.wait_for_access(reason="max_connections", ended_by="proxy")


def test_rate_limit_has_a_line(proxy, backend):
    daemon = proxy(f"* {backend(EchoBackend).address}", firewall={"rate_limit": 1, "rate_window": "1h"})
    assert clients.enters(daemon.port, HELLO) and not clients.enters(daemon.port, HELLO)
    daemon.wait_for_access(reason="rate_limit", ended_by="proxy")


def test_a_flood_of_rejections_is_summed_up(measured, backend):
    """Five lines at once, about one a second, and every connection either has one or is counted; others are told as ever."""
    daemon = measured(backend(EchoBackend), firewall={"blocked_ips": "127.0.0.1"}, log={"rejected_per_second": 1})
    begun = time.monotonic()
    for _ in range(400):
        clients.expect_refused_entry(daemon.port)
    daemon.wait_for_log(lambda e: e["msg"] == SUMMARY)
    assert daemon.metrics()("mcproxy_connections_closed_total", listener=daemon.listeners[0].addr, reason="blocked_ip") == 400
    daemon.stop()
    took = time.monotonic() - begun
    lines = len(daemon.access_lines(reason="blocked_ip"))
    summaries = [e for e in daemon.events() if e["msg"] == SUMMARY]
    assert all(e["reason"] == "blocked_ip" and e["worker"] == "0" and e["level"] == "INFO" for e in summaries)
    assert 5 <= lines <= 5 + took + 2
    assert lines + sum(int(e["count"]) for e in summaries) == 400


# ---- the same in both formats

NUMBERS = {"conn", "bytes_in", "bytes_out", "hello_us", "connect_us", "first_byte_us", "duration_ms", "worker"}


def test_keys_have_the_types_that_the_runbook_says(measured, backend, pki):
    with open(os.path.join(ROOT, "docs", "operations.md"), encoding="utf-8") as f:
        table = dict(re.findall(r"^\| `(\w+)` \| [^|]+ \| [^|]+ \| (number|string|boolean) \|", f.read(), re.M))
    assert {key for key, kind in table.items() if kind == "number"} == NUMBERS
    daemon = measured(backend(TlsBackend, pki, "www.example.com"), log={"format": "json"})
    clients.python_ssl(pki, daemon.port, "www.example.com")
    daemon.wait_for_access()
    raw = next(json.loads(line) for line in daemon.lines if '"bytes_in"' in line)
    kinds = {int: "number", str: "string", bool: "boolean"}
    told = {key: kinds[type(value)] for key, value in raw.items() if key not in ("time", "level", "msg")}
    assert told.items() <= table.items() and "tls_group" in told


def test_a_reload_ends_the_limit(new_daemon, backend, tmp_path):
    listener = Listener(routes=[f"www.example.com {backend(EchoBackend).address}"])
    daemon = new_daemon([listener], log={"rejected_per_second": 1}).start()

    def summary():
        clients.expect_reset(clients.connect(daemon.port), hello.client_hello(b"other.example.org"))
        return any(e["msg"] == SUMMARY for e in daemon.events())
    wait_until(summary, what="more than have a line each")
    Reloads(daemon).reload(config_text(str(tmp_path), [listener], log={"rejected_per_second": 0}))
    before = len(daemon.access_lines())
    for _ in range(50):
        clients.expect_reset(clients.connect(daemon.port), hello.client_hello(b"other.example.org"))
    daemon.wait_for_access(before + 50)
