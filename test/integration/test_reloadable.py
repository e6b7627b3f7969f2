"""
What config/mc-proxy.ini.example says of each key - that SIGHUP puts a new value in force, or not - is true: every key is changed under a
running server, and either the change is seen to take effect, or it is refused or said in words. A key without a proof here fails.
"""

import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading

import pytest

from lib import clients, hello, metrics, procfs
from lib import proxy_headers as ph
from lib.backends import BlackHole, EchoBackend
from lib.config import Listener, config_text
from lib.ports import free_port
from lib.reloads import REFUSED, Reloads
from lib.streams import HELLO, Relay
from lib.waiting import wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MAKE_MMDB = os.path.join(ROOT, "test", "tools", "make_mmdb.py")
EXAMPLE = os.path.join(ROOT, "config", "mc-proxy.ini.example")
ALERT = b"\x15\x03"  # a TLS alert's first bytes


def keys_of_the_example():
    """{(section, key): does its comment say that a reload puts it in force?}; a remark holds until the next one."""
    found, section, is_reloadable = {}, None, None
    with open(EXAMPLE, encoding="utf-8") as f:
        for line in f:
            if match := re.match(r"\[(\w+)", line):
                section, is_reloadable = match.group(1), None
            elif line.startswith("#") and section:
                remark = re.search(r"Reload: (yes|no)", line)
                is_reloadable = remark.group(1) == "yes" if remark else is_reloadable
            elif match := re.match(r";?(\w+) = ", line):
                assert is_reloadable is not None, f"no remark before {line}"
                found[section, match.group(1)] = is_reloadable
    return found


class Bench:
    """A running server with an echo backend behind `*`, and what is needed to change it."""

    def __init__(self, new_daemon, backend, directory, pki):
        self.directory = str(directory)
        self.pki = pki
        self.backend = backend
        self.echo = backend(EchoBackend)
        self.listener = Listener([f"* {self.echo.address}"])
        self.new_daemon = new_daemon
        self.daemon = self.reloads = None

    def start(self, *routes, **sections):
        self.listener.routes = list(routes) or self.listener.routes
        self.daemon = self.new_daemon([self.listener], **sections).start()
        self.reloads = Reloads(self.daemon)

    def reload(self, expect=None, listeners=None, **sections):
        text = config_text(self.directory, [self.listener] if listeners is None else listeners, **sections)
        return self.reloads.reload(text, **({"expect": expect} if expect else {}))

    def is_served(self, header=b""):
        return clients.enters(self.listener.port, HELLO, header)

    def events(self, text):
        return [e for e in self.daemon.events() if text in e["msg"]]


# ---- proofs: each starts the server, changes one key, and asserts what came of it

def workers(b):
    b.start()
    b.reload(server={"workers": 3})
    wait_until(lambda: len(b.daemon.workers()) == 3, 20, "three workers")


def user(b):
    b.start()
    assert "restart" in b.reload(REFUSED, server={"user": "daemon"})["error"]


def database_path(b):
    b.start()
    assert "restart" in b.reload(REFUSED, database={"path": "other.db"})["error"]


def log_level(b):
    b.start(log={"level": "error"})
    assert not b.daemon.events()
    b.reload(log={"level": "info"})
    assert b.is_served()
    b.daemon.wait_for_access()


def log_format(b):
    b.start()
    b.reload(log={"format": "json"})
    assert b.is_served()
    wait_until(lambda: b.daemon.lines[-1].startswith('{"time"'), 20, "a line of JSON")


def log_access(b):
    b.start()
    port = free_port()
    b.reload(log={"access": "false"}, metrics={"addr": f"127.0.0.1:{port}"})
    assert b.is_served()
    wait_until(lambda: metrics.scrape(port).sum("mcproxy_connections_closed_total") == 1, what="its end, which has no line")
    b.reload(log={"access": "true"})
    assert b.is_served()
    b.daemon.wait_for_access()
    assert len(b.daemon.access_lines()) == 1


def log_rejected_per_second(b):
    """With five at once, the sixth has no line but is counted; without a limit each has one."""
    b.start("www.example.com 127.0.0.1:1", log={"rejected_per_second": 1})
    other = hello.client_hello(b"other.example.com")

    def reject(count):
        for _ in range(count):
            clients.expect_reset(clients.connect(b.listener.port), other)
    reject(30)

    def summaries():  # more than one, if thirty take more than a moment
        return [e for e in b.events("connections rejected without a line of their own") if e["reason"] == "no_route"]
    wait_until(lambda: sum(int(e["count"]) for e in summaries()) + len(b.daemon.access_lines()) >= 30, 20, "an account of all")
    assert sum(int(e["count"]) for e in summaries()) + len(b.daemon.access_lines()) == 30 and summaries()
    b.reload(log={"rejected_per_second": 0})
    before = len(b.daemon.access_lines())
    reject(30)
    b.daemon.wait_for_access(before + 30)


def hello_timeout(b):
    b.start()
    with clients.connect(b.listener.port) as s:
        b.reload(proxy={"hello_timeout": "200ms"})
        with pytest.raises(ConnectionResetError):
            s.recv(1)
    b.daemon.wait_for_access(reason="hello_timeout")


def max_pending_hellos(b):
    b.start()
    waiting = [clients.connect(b.listener.port) for _ in range(5)]
    assert b.is_served()
    b.reload(proxy={"max_pending_hellos": "2"})
    b.daemon.wait_for_access(count=3, reason="hello_evicted")
    for s in waiting[:3]:
        clients.expect_reset(s)
    for s in waiting[3:]:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        s.close()


def connect_timeout(b):
    hole = b.backend(BlackHole)
    b.start(f"* {hole.address}", proxy={"connect_timeout": "60s"})
    b.reload(proxy={"connect_timeout": "200ms"})
    waiting = []

    def is_over():  # one that begins before the worker has heard of it still waits for a minute
        waiting.append(clients.connect(b.listener.port))
        waiting[-1].sendall(HELLO)
        return b.daemon.access_lines(reason="backend_timeout")
    wait_until(is_over, 20, "a connection that is given up", interval=0.1)
    for s in waiting:
        s.close()


def idle_timeout(b):
    b.start()
    relay = Relay(b.listener.port)
    b.reload(proxy={"idle_timeout": "200ms"})
    b.daemon.wait_for_access(reason="idle_timeout")
    relay.close()


def half_close_timeout(b):
    silent = b.backend(SilentBackend)
    b.start(f"* {silent.address}")
    with clients.connect(b.listener.port) as s:
        s.sendall(HELLO)
        s.shutdown(socket.SHUT_WR)
        b.reload(proxy={"half_close_timeout": "200ms"})
        b.daemon.wait_for_access(reason="half_close_timeout")


class SilentBackend(EchoBackend):
    def serve(self, connection):
        while connection.recv(65536):
            pass
        threading.Event().wait(20)


def shutdown_timeout(b):
    b.start(proxy={"shutdown_timeout": "60s"})
    relay = Relay(b.listener.port)
    b.reload(proxy={"shutdown_timeout": "200ms"})
    b.daemon.signal(signal.SIGTERM)
    assert b.daemon.wait(40) == 0  # a minute it would be, by the old one
    relay.close()


def grpc_addr(b):
    b.start()
    path = os.path.join(b.directory, "admin.sock")
    b.reload(grpc={"addr": f"unix:{path}"})
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(path)
    b.reload()
    wait_until(lambda: not os.path.exists(path), 20, "the socket to be removed")


def _subject(port, pki, client=None):
    context = pki.client_context()
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    if client:
        context.load_cert_chain(*client)
    with clients.connect(port) as s, context.wrap_socket(s) as tls:
        tls.settimeout(20)
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        assert tls.recv(1), "closed"
        return tls.getpeercert()["subjectAltName"]


def _tls(b, name, port, **more):
    cert, key = b.pki.cert(name)
    return {"addr": f"127.0.0.1:{port}", "tls_cert": cert, "tls_key": key, **more}


def grpc_tls_cert(b):
    port = free_port()
    b.start(grpc=_tls(b, "one.example.com", port))
    assert _subject(port, b.pki) == (("DNS", "one.example.com"),)
    b.reload(grpc=_tls(b, "two.example.com", port))
    assert _subject(port, b.pki) == (("DNS", "two.example.com"),)


def grpc_tls_key(b):
    """A key that is not the certificate's shows that the new one is read."""
    port = free_port()
    b.start(grpc=_tls(b, "one.example.com", port))
    other = os.path.join(b.directory, "other.key")
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other], check=True,
                   capture_output=True)
    b.reload(REFUSED, grpc={**_tls(b, "one.example.com", port), "tls_key": other})
    assert _subject(port, b.pki)


def grpc_client_ca(b):
    port = free_port()
    b.start(grpc=_tls(b, "one.example.com", port))
    assert _subject(port, b.pki)
    b.reload(grpc=_tls(b, "one.example.com", port, client_ca=b.pki.ca))
    with pytest.raises((ssl.SSLError, OSError, AssertionError)):
        _subject(port, b.pki)
    assert _subject(port, b.pki, b.pki.client_cert("operator"))


def metrics_addr(b):
    b.start()
    port = free_port()
    b.reload(metrics={"addr": f"127.0.0.1:{port}"})
    assert metrics.scrape(port)("mcproxy_last_reload_successful") == 1


def _route_series(port):
    return sum(name.startswith("mcproxy_route_") for name, _ in metrics.scrape(port).samples)


def metrics_routes(b):
    port = free_port()
    b.start(metrics={"addr": f"127.0.0.1:{port}"})
    assert _route_series(port) == 0
    b.reload(metrics={"addr": f"127.0.0.1:{port}", "routes": "true"})
    assert _route_series(port) == 10


def metrics_max_series(b):
    port = free_port()
    b.start(metrics={"addr": f"127.0.0.1:{port}", "routes": "true"})
    assert _route_series(port) == 10
    b.reload(metrics={"addr": f"127.0.0.1:{port}", "routes": "true", "max_series": 9})
    assert _route_series(port) == 0


def _country_database(b, name, *networks):
    path = os.path.join(b.directory, f"{name}.mmdb")
    subprocess.run([sys.executable, MAKE_MMDB, path, *networks], check=True)
    return path


def geoip_db(b):
    one = _country_database(b, "one", "192.0.2.0/24=DE")
    two = _country_database(b, "two", "192.0.2.0/24=KP")
    b.listener.options = {"proxy_protocol": "required"}
    b.start(firewall={"geoip_db": one, "blocked_countries": "KP"})
    header = ph.v2(("192.0.2.1", 1024), ("127.0.0.1", 443))
    assert b.is_served(header)
    b.reload(firewall={"geoip_db": two, "blocked_countries": "KP"})
    wait_until(lambda: not b.is_served(header), 20, "the country to be known")
    assert "country rules" in b.reload(REFUSED)["error"], "it cannot go while it is needed"


def _seeded_rules(key, value):
    def prove(b):
        database = _country_database(b, "one", "192.0.2.0/24=KP")
        b.start(firewall={"geoip_db": database})
        b.reload(firewall={"geoip_db": database, key: value})
        assert b.is_served()
        said = b.events("the file has firewall rules that the database has not; the database decides")
        assert said and said[0]["missing"] == "1"
    return prove


def rate_limit(b):
    b.start()
    assert b.is_served()
    b.reload(firewall={"rate_limit": 1, "rate_window": "1h"})
    assert b.is_served() and not b.is_served()


def rate_window(b):
    b.start(firewall={"rate_limit": 1, "rate_window": "1h"})
    assert b.is_served() and not b.is_served()
    b.reload(firewall={"rate_limit": 1, "rate_window": "1s"})
    wait_until(b.is_served, 20, "the window to pass")


def listener_addr(b):
    b.start()
    old = b.listener.port
    b.listener.port = free_port()
    b.reload()
    assert b.is_served()
    wait_until(lambda: old not in procfs.listening_ports(), 20, "the old address to be closed")


def proxy_protocol(b):
    b.start()
    b.listener.options = {"proxy_protocol": "required"}
    b.reload()
    wait_until(lambda: b.is_served(ph.v2(("192.0.2.1", 1024), ("127.0.0.1", 443))), 20, "the listener to want a header")
    assert not b.is_served()


def proxy_trusted(b):
    b.listener.options = {"proxy_protocol": "mixed", "proxy_trusted": "192.0.2.0/24"}
    b.start()
    assert b.is_served()
    b.listener.options["proxy_trusted"] = "192.0.2.0/24, 127.0.0.1"
    b.reload()
    wait_until(lambda: not b.is_served(), 20, "the listener to want a header from us")


def max_connections(b):
    b.start()
    relay = Relay(b.listener.port)
    b.listener.options = {"max_connections": 1}
    b.reload()
    clients.connect(b.listener.port).close()
    b.daemon.wait_for_access(reason="max_connections")
    relay.expect_alive()
    relay.close()


def no_route(b):
    b.start(f"www.example.com {b.echo.address}")
    b.listener.options = {"no_route": "alert"}
    b.reload()

    def is_alerted():
        with clients.connect(b.listener.port) as s:
            s.sendall(hello.client_hello(b"other.example.com"))
            try:
                return s.recv(2) == ALERT
            except ConnectionResetError:
                return False
    wait_until(is_alerted, 20, "the alert")


def route(b):
    b.start()
    b.listener.routes = ["* 127.0.0.1:1"]
    b.reload()
    assert b.is_served()
    said = b.events("the file has routes that the database has not or has otherwise; the database decides")
    assert said and said[0]["different"] == "1"


PROOFS = {
    ("server", "workers"): workers, ("server", "user"): user, ("database", "path"): database_path,
    ("log", "level"): log_level, ("log", "format"): log_format, ("log", "access"): log_access,
    ("log", "rejected_per_second"): log_rejected_per_second,
    ("proxy", "hello_timeout"): hello_timeout, ("proxy", "connect_timeout"): connect_timeout, ("proxy", "idle_timeout"): idle_timeout,
    ("proxy", "half_close_timeout"): half_close_timeout, ("proxy", "shutdown_timeout"): shutdown_timeout,
    ("proxy", "max_pending_hellos"): max_pending_hellos,
    ("grpc", "addr"): grpc_addr, ("grpc", "tls_cert"): grpc_tls_cert, ("grpc", "tls_key"): grpc_tls_key,
    ("grpc", "client_ca"): grpc_client_ca, ("metrics", "addr"): metrics_addr,
    ("metrics", "routes"): metrics_routes, ("metrics", "max_series"): metrics_max_series,
    ("firewall", "geoip_db"): geoip_db, ("firewall", "blocked_ips"): _seeded_rules("blocked_ips", "127.0.0.1"),
    ("firewall", "blocked_cidrs"): _seeded_rules("blocked_cidrs", "127.0.0.0/8"),
    ("firewall", "blocked_countries"): _seeded_rules("blocked_countries", "KP"),
    ("firewall", "rate_limit"): rate_limit, ("firewall", "rate_window"): rate_window,
    ("listener", "addr"): listener_addr, ("listener", "proxy_protocol"): proxy_protocol, ("listener", "proxy_trusted"): proxy_trusted,
    ("listener", "max_connections"): max_connections, ("listener", "no_route"): no_route, ("listener", "route"): route,
}
NEEDS_A_RESTART = {("server", "user"), ("database", "path"), ("firewall", "blocked_ips"), ("firewall", "blocked_cidrs"),
                   ("firewall", "blocked_countries"), ("listener", "route")}


def test_every_key_of_the_example_has_a_proof_of_what_it_says():
    said = keys_of_the_example()
    assert set(said) == set(PROOFS)
    assert {key for key, is_reloadable in said.items() if not is_reloadable} == NEEDS_A_RESTART


@pytest.mark.parametrize("key", sorted(PROOFS), ids=lambda key: "_".join(key))
def test_changed_under_a_running_server(new_daemon, backend, tmp_path, pki, key):
    PROOFS[key](Bench(new_daemon, backend, tmp_path, pki))
