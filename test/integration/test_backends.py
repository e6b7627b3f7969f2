"""Where a connection goes, and what becomes of it when the backend cannot be had."""

import os
import socket
import struct
import time

import pytest

from lib import clients, hello
from lib.backends import BlackHole, EchoBackend, RefusingPort, ScriptBackend, reset
from lib.config import Listener
from lib.ports import require_ipv6
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")


def expect_echo(port, host="127.0.0.1"):
    with clients.connect(port, host) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO


def test_refused_is_a_reset(proxy, backend):
    daemon = proxy(f"* {backend(RefusingPort).address}")
    clients.expect_reset(clients.connect(daemon.port), HELLO)
    line = daemon.wait_for_access()
    assert line["reason"] == "backend_refused"
    assert (int(line["bytes_in"]), line["bytes_out"]) == (len(HELLO), "0")


def test_black_hole_is_a_reset_after_connect_timeout(proxy, backend):
    daemon = proxy(f"* {backend(BlackHole).address}", proxy={"connect_timeout": "800ms"})

    def seconds_to_reset():
        begun = time.monotonic()
        clients.expect_reset(clients.connect(daemon.port), HELLO)
        return time.monotonic() - begun
    took = [seconds_to_reset() for _ in range(3)]
    assert 0.7 < min(took) < 4  # not the default of 5 s; a busy machine is later now and then
    daemon.wait_for_access(count=3, reason="backend_timeout")


def test_black_hole_does_not_hold_up_other_connections(proxy, backend):
    echo = backend(EchoBackend)
    daemon = proxy(f"hole.example.com {backend(BlackHole).address}", f"* {echo.address}", proxy={"connect_timeout": "1m"})
    waiting = []
    for _ in range(50):
        waiting.append(clients.connect(daemon.port))
        waiting[-1].sendall(hello.client_hello(b"hole.example.com"))
    expect_echo(daemon.port)  # which gives up long before one of them does
    for s in waiting:
        s.close()


def test_client_that_leaves_while_the_backend_is_being_connected_is_noticed(proxy, backend):
    hole = backend(BlackHole)
    daemon = proxy(f"* {hole.address}", proxy={"connect_timeout": "30s"})
    s = clients.connect(daemon.port)
    s.sendall(HELLO)
    wait_until(hole.is_asked, what="the proxy to connect")
    reset(s)
    assert daemon.wait_for_access()["reason"] == "client_reset"


def test_backend_that_resets_at_once_is_a_reset(proxy, backend):
    server = backend(ScriptBackend, reset)
    daemon = proxy(f"* {server.address}")
    clients.expect_reset(clients.connect(daemon.port), HELLO)
    assert daemon.wait_for_access()["reason"] == "backend_reset"


def test_ipv6_backend(proxy, backend):
    echo = backend(EchoBackend, family=socket.AF_INET6)
    daemon = proxy(f"* {echo.address}")
    expect_echo(daemon.port)
    assert daemon.wait_for_access()["backend"] == echo.address


def test_unix_backend(proxy, backend, open_dir):
    echo = backend(EchoBackend, path=os.path.join(open_dir, "app.sock"))
    daemon = proxy(f"* {echo.address}")
    expect_echo(daemon.port)
    assert daemon.wait_for_access()["backend"] == echo.address


def test_missing_unix_socket_is_a_reset(proxy, open_dir):
    daemon = proxy(f"* unix:{open_dir}/nobody.sock")
    clients.expect_reset(clients.connect(daemon.port), HELLO)
    assert daemon.wait_for_access()["reason"] in ("backend_unreachable", "backend_refused")


def test_unix_socket_that_refuses_is_a_reset(proxy, open_dir):
    path = os.path.join(open_dir, "dead.sock")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
        os.chmod(path, 0o777)
        daemon = proxy(f"* unix:{path}")
        clients.expect_reset(clients.connect(daemon.port), HELLO)
    assert daemon.wait_for_access()["reason"] == "backend_refused"


# ---- names

def hosts_file(tmp_path, text):
    """A hosts file of the test's own for the daemon's resolver."""
    path = tmp_path / "hosts"
    path.write_text(text)
    return {"CARES_HOSTS": str(path)}


def test_name_is_resolved(proxy, backend):
    echo = backend(EchoBackend)
    daemon = proxy(f"* localhost:{echo.port}")
    daemon.wait_for_log(lambda e: e.get("msg", "").startswith("backend name resolved") and e.get("backend") == "localhost")
    expect_echo(daemon.port)
    assert daemon.wait_for_access()["backend"] == f"localhost:{echo.port}"


def test_name_is_resolved_by_the_hosts_file(new_daemon, backend, tmp_path):
    echo = backend(EchoBackend)
    daemon = new_daemon([Listener(routes=[f"* app.internal.test:{echo.port}"])],
                        env=hosts_file(tmp_path, "127.0.0.1 app.internal.test\n")).start()
    daemon.wait_for_log(lambda e: e.get("backend") == "app.internal.test" and e.get("addresses") == "127.0.0.1")
    expect_echo(daemon.port)


def test_addresses_of_a_name_are_tried_in_turn_within_connect_timeout(new_daemon, backend, tmp_path):
    """The first ones refuse; every connection still gets to the one that answers."""
    echo = backend(EchoBackend)  # on 127.0.0.1 only
    daemon = new_daemon([Listener(routes=[f"* many.internal.test:{echo.port}"])],
                        env=hosts_file(tmp_path, "::1 many.internal.test\n127.0.0.2 many.internal.test\n"
                                                 "127.0.0.1 many.internal.test\n127.0.0.3 many.internal.test\n")).start()
    daemon.wait_for_log(lambda e: e.get("backend") == "many.internal.test")
    for _ in range(8):
        expect_echo(daemon.port)
    assert echo.connections == 8


def test_all_addresses_of_a_name_refuse(new_daemon, backend, tmp_path):
    require_ipv6()
    refusing = backend(RefusingPort)
    daemon = new_daemon([Listener(routes=[f"* none.internal.test:{refusing.port}"])],
                        env=hosts_file(tmp_path, "::1 none.internal.test\n127.0.0.1 none.internal.test\n")).start()
    daemon.wait_for_log(lambda e: e.get("backend") == "none.internal.test")
    clients.expect_reset(clients.connect(daemon.port), HELLO)
    assert daemon.wait_for_access()["reason"] == "backend_refused"


def test_name_without_address_is_a_reset(proxy):
    daemon = proxy("* does-not-exist.invalid:443")
    clients.expect_reset(clients.connect(daemon.port), HELLO)
    assert daemon.wait_for_access()["reason"] == "backend_unresolved"


# ---- PROXY protocol towards the backend

PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_backend_gets_a_proxy_header_with_the_clients_address(new_daemon, backend, host):
    got = bytearray()

    def script(connection):
        while data := connection.recv(65536):
            got.extend(data)

    server = backend(ScriptBackend, script)
    listener = Listener(host="", routes=[f"* {server.address} send_proxy_protocol"])
    new_daemon([listener]).start()
    family, size = (socket.AF_INET, 12) if host == "127.0.0.1" else (socket.AF_INET6, 36)
    with clients.connect(listener.port, host) as s:
        s.sendall(HELLO)
        wait_until(lambda: len(got) >= 16 + size + len(HELLO), what="header and hello")
        mine, theirs = s.getsockname(), s.getpeername()
    expected = (PROXY_V2 + b"\x21" + (b"\x11" if size == 12 else b"\x21") + struct.pack("!H", size)
                + socket.inet_pton(family, mine[0]) + socket.inet_pton(family, theirs[0])
                + struct.pack("!HH", mine[1], theirs[1]))
    assert bytes(got) == expected + HELLO
