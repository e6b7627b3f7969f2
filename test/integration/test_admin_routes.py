"""Routes over the admin API: lists, changes, what is refused, and when a change is seen."""

import os
import threading

import grpc
import pytest

from lib import clients, hello
from lib.admin import Code, refused
from lib.backends import EchoBackend
from lib.config import Listener
from lib.daemon import is_sanitized


def reached(port, name=b"www.example.com"):
    """The greeting of the backend that a hello leads to; None: a reset."""
    with clients.connect(port) as s:
        try:
            s.sendall(hello.client_hello(name))
            return clients.read_exactly(s, 1)
        except (ConnectionResetError, BrokenPipeError):
            return None


@pytest.fixture
def listener():
    return Listener(routes=["a.example.com 10.0.0.1:1", "*.b.example.com 10.0.0.2:2 send_proxy_protocol"])


def test_list_is_in_the_order_of_first_insertion_also_after_a_restart(managed, listener):
    daemon, api = managed([listener])
    assert api.add(listener.addr, "Z.example.com.", "[2001:db8::1]:9") is True
    assert api.add(listener.addr, "m.example.com", "unix:/run/m.sock", True) is True
    assert api.add(listener.addr, "A.example.com", "app.internal.:8080") is False
    assert api.add(listener.addr, "*", "127.0.0.1:1") is True
    expected = [("a.example.com", "app.internal:8080", False), ("*.b.example.com", "10.0.0.2:2", True),
                ("z.example.com", "[2001:db8::1]:9", False), ("m.example.com", "unix:/run/m.sock", True),
                ("*", "127.0.0.1:1", False)]
    assert api.routes(listener.addr) == expected
    api.remove(listener.addr, "*.B.example.com")
    api.add(listener.addr, "*.b.example.com", "10.0.0.3:3")
    expected = [expected[0], *expected[2:], ("*.b.example.com", "10.0.0.3:3", False)]
    assert api.routes(listener.addr) == expected
    daemon.stop()
    daemon, api = managed([listener])
    assert api.routes(listener.addr) == expected


@pytest.mark.parametrize("hostname, backend, field", [
    ("", "10.0.0.1:1", "route.hostname: "),
    (".", "10.0.0.1:1", "route.hostname: "),
    ("a..b", "10.0.0.1:1", "route.hostname: "),
    ("a*.example.com", "10.0.0.1:1", "route.hostname: "),
    ("b\u00fccher.example.com", "10.0.0.1:1", "route.hostname: "),
    ("a" * 64 + ".example.com", "10.0.0.1:1", "route.hostname: "),
    ("x.example.com\0", "10.0.0.1:1", "route.hostname: contains a NUL"),
    ("x.example.com", "", "route.backend: "),
    ("x.example.com", "10.0.0.1", "route.backend: "),
    ("x.example.com", "10.0.0.1:0", "route.backend: "),
    ("x.example.com", "10.0.0.256:1", "route.backend: "),
    ("x.example.com", "unix:relative", "route.backend: "),
    ("x.example.com", "10.0.0.1:1\0", "route.backend: contains a NUL"),
])
def test_what_is_no_route_is_refused(managed, listener, hostname, backend, field):
    _, api = managed([listener], workers=1)
    before = api.routes(listener.addr)
    with refused(Code.INVALID_ARGUMENT, field):
        api.add(listener.addr, hostname, backend)
    assert api.routes(listener.addr) == before


def test_listener_must_be_one_of_the_configuration(managed, listener):
    _, api = managed([listener], workers=1)
    for call in (lambda addr: api.add(addr, "x.example.com", "10.0.0.1:1"), api.routes,
                 lambda addr: api.remove(addr, "a.example.com"),
                 lambda addr: api.SetListenerMaxConnections(listener_addr=addr, max_connections=1)):
        with refused(Code.NOT_FOUND, "listener_addr: "):
            call("127.0.0.1:1")
        for nothing in ("", "443", "localhost:443", ":443\0"):
            with refused(Code.INVALID_ARGUMENT, "listener_addr: "):
                call(nothing)


def test_missing_parts_are_named(managed, listener):
    _, api = managed([listener], workers=1)
    with refused(Code.INVALID_ARGUMENT, "route: is missing"):
        api.AddRoute(listener_addr=listener.addr)
    with refused(Code.NOT_FOUND, "hostname: "):
        api.remove(listener.addr, "nobody.example.com")
    with refused(Code.INVALID_ARGUMENT, "hostname: "):
        api.remove(listener.addr, "")
    with refused(Code.INVALID_ARGUMENT, "the message is no "):
        api.raw("AddRoute", b"\x0a\x50")
    with refused(Code.INVALID_ARGUMENT, "listener_addr: is not UTF-8"):
        api.raw("AddRoute", b"\x0a\x01\xff")
    with refused(Code.UNIMPLEMENTED):
        api.raw("Nothing", b"")


def test_next_connection_sees_a_change_on_every_worker(managed, backend):
    """As soon as the call has answered, connections to whichever worker go the new way."""
    one, two = backend(EchoBackend, greeting=b"1"), backend(EchoBackend, greeting=b"2")
    listener = Listener(routes=[f"www.example.com {one.address}"])
    _, api = managed([listener], workers=4)
    for turn in range(100 if is_sanitized() else 300):
        target, greeting = (two, b"2") if turn % 3 == 0 else (one, b"1")
        if turn % 3 == 2:
            api.remove(listener.addr, "www.example.com")
            assert reached(listener.port) is None, turn
            continue
        api.add(listener.addr, "www.example.com", target.address)
        assert reached(listener.port) == greeting, turn


def test_change_leaves_open_connections_alone(managed, backend):
    echo = backend(EchoBackend)
    listener = Listener(routes=[f"www.example.com {echo.address}"])
    _, api = managed([listener])
    with clients.connect(listener.port) as s:
        first = hello.client_hello(b"www.example.com")
        s.sendall(first)
        assert clients.read_exactly(s, len(first)) == first
        api.remove(listener.addr, "www.example.com")
        s.sendall(b"still here")
        assert clients.read_exactly(s, 10) == b"still here"


def test_several_clients_at_once_lose_nothing(managed, admin, tmp_path):
    listener = Listener()
    _, api = managed([listener])
    failures = []

    def work(number):
        own = admin(f"unix:{tmp_path}/admin.sock")
        try:
            for i in range(40):
                assert own.add(listener.addr, f"h{i}.c{number}.example.com", "10.0.0.1:1")
                if i % 4 == 3:
                    own.remove(listener.addr, f"h{i}.c{number}.example.com")
                if i % 10 == 0:
                    own.routes(listener.addr)
        except (AssertionError, grpc.RpcError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(200)
    assert not failures
    names = [route[0] for route in api.routes(listener.addr)]
    assert len(names) == 8 * 30 and len(set(names)) == len(names)
    for number in range(8):
        own = [name for name in names if f".c{number}." in name]
        assert own == [f"h{i}.c{number}.example.com" for i in range(40) if i % 4 != 3]


def test_a_hundred_calls_at_once_over_one_connection(managed):
    listener = Listener()
    _, api = managed([listener])
    request = {"listener_addr": listener.addr}
    call, make = api._call("mc_proxy.v1.ProxyAdminService", "AddRoute")  # pylint: disable=protected-access
    futures = [call.future(make(**request, route={"hostname": f"h{i}.example.com", "backend": "10.0.0.1:1"}), timeout=120)
               for i in range(300)]
    assert all(future.result().created for future in futures)
    assert {route[0] for route in api.routes(listener.addr)} == {f"h{i}.example.com" for i in range(300)}


def test_pages_make_the_whole_list_while_it_changes(managed):
    listener = Listener()
    _, api = managed([listener], workers=1)
    names = [f"h{i:04}.example.com" for i in range(1000)]
    api.apply({"changes": [{"put_route": {"listener_addr": listener.addr,
                                          "route": {"hostname": n, "backend": "10.0.0.1:1"}}} for n in names]})
    seen, token = [], ""
    while True:
        page = api.ListRoutes(listener_addr=listener.addr, page_size=64, page_token=token)
        assert len(page.routes) == 64 or not page.next_page_token
        seen += [r.hostname for r in page.routes]
        if len(seen) == 128:
            api.remove(listener.addr, names[0])    # behind us
            api.remove(listener.addr, names[500])  # before us
            api.add(listener.addr, "new.example.com", "10.0.0.1:1")
        token = page.next_page_token
        if not token:
            break
    assert seen == [n for n in names if n != names[500]] + ["new.example.com"]
    for fields, beginning in (({"page_size": 100001}, "page_size: "), ({"page_token": "abc"}, "page_token: ")):
        with refused(Code.INVALID_ARGUMENT, beginning):
            api.ListRoutes(listener_addr=listener.addr, **fields)


def test_changes_are_in_the_log_with_who_made_them(managed, listener):
    daemon, api = managed([listener], workers=1)
    api.add(listener.addr, "log.example.com", "unix:/run/a b.sock")
    api.remove(listener.addr, "log.example.com")
    added = daemon.wait_for_log(lambda e: e["msg"] == "route added")
    assert (added["peer"], added["listener"], added["route"]) == ("unix", listener.addr, "log.example.com")
    assert added["backend"] == "unix:/run/a b.sock"
    daemon.wait_for_log(lambda e: e["msg"] == "route removed" and e["route"] == "log.example.com")


def test_socket_is_private_and_gone_after_the_end(managed, listener, tmp_path):
    daemon, _ = managed([listener], workers=1)
    path = f"{tmp_path}/admin.sock"
    assert os.stat(path).st_mode & 0o777 == 0o600
    daemon.stop()
    assert not os.path.exists(path)
