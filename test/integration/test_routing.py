"""Which route a name takes."""

import pytest

from lib import clients, hello
from lib.backends import EchoBackend
from lib.config import Listener


@pytest.fixture
def named(backend):
    """named("a"): the address of a backend that greets with its name."""
    return lambda name: backend(EchoBackend, greeting=name.encode() + b"\n").address


def reached(port, name, **kwargs):
    """The name of the backend that a hello leads to."""
    with clients.connect(port) as s:
        s.sendall(hello.client_hello(name, **kwargs))
        line = b""
        while not line.endswith(b"\n"):
            line += clients.read_exactly(s, 1)
        return line.decode().strip()


@pytest.fixture
def daemon(proxy, named):
    return proxy(f"www.example.com {named('exact')}", f"*.example.com {named('wildcard')}",
                 f"*.deep.example.com {named('deeper')}", f"api.deep.example.com {named('deep exact')}",
                 f"UPPER.Example.org {named('upper')}", f"dotted.example.net. {named('dotted')}",
                 f"under_score.example.net {named('underscore')}", f"* {named('default')}")


@pytest.mark.parametrize("name, expected", [
    ("www.example.com", "exact"),
    ("WWW.EXAMPLE.COM", "exact"),
    ("www.example.com.", "exact"),
    ("wWw.eXample.cOm.", "exact"),
    ("other.example.com", "wildcard"),
    ("a.b.c.example.com", "wildcard"),
    ("www.example.com.example.com", "wildcard"),
    ("deep.example.com", "wildcard"),
    ("x.deep.example.com", "deeper"),
    ("x.y.deep.example.com", "deeper"),
    ("api.deep.example.com", "deep exact"),
    ("x.api.deep.example.com", "deeper"),
    ("upper.example.org", "upper"),
    ("dotted.example.net", "dotted"),
    ("under_score.example.net", "underscore"),
    ("example.com", "default"),
    ("xexample.com", "default"),
    ("com", "default"),
    ("www.example.co", "default"),
    ("xn--bcher-kva.example.org", "default"),
    (".".join(["a" * 61] * 4) + ".wxyz", "default"),
])
def test_name_takes_its_route(daemon, name, expected):
    assert len(name.rstrip(".")) <= 253
    assert reached(daemon.port, name.encode()) == expected


def test_without_sni_only_the_default_route_fits(daemon):
    assert reached(daemon.port, None) == "default"


def test_access_line_shows_the_normalised_name(daemon):
    reached(daemon.port, b"WWW.Example.Com.")
    assert daemon.wait_for_access()["sni"] == "www.example.com"


def test_each_listener_has_its_own_routes(new_daemon, named):
    one = Listener(name="one", routes=[f"www.example.com {named('first')}"])
    two = Listener(name="two", routes=[f"www.example.com {named('second')}"])
    new_daemon([one, two]).start()
    assert reached(one.port, b"www.example.com") == "first"
    assert reached(two.port, b"www.example.com") == "second"


@pytest.mark.parametrize("name", [b"elsewhere.example.org", None])
def test_no_route_is_a_reset(proxy, named, name):
    daemon = proxy(f"www.example.com {named('exact')}")
    clients.expect_reset(clients.connect(daemon.port), hello.client_hello(name))
    line = daemon.wait_for_access()
    assert line["reason"] == "no_route" and line["bytes_out"] == "0"


def test_wildcard_route_alone_does_not_take_a_hello_without_name(proxy, named):
    daemon = proxy(f"*.example.com {named('wildcard')}")
    clients.expect_reset(clients.connect(daemon.port), hello.client_hello(None))


@pytest.mark.parametrize("name", [b"elsewhere.example.org", None])
def test_no_route_with_alert_is_unrecognized_name_and_an_orderly_close(proxy, named, name):
    daemon = proxy(f"www.example.com {named('exact')}", listener={"no_route": "alert"})
    answer = clients.exchange(daemon.port, hello.client_hello(name))
    assert answer[0] == 21 and answer[1] == 3 and answer[3:] == b"\0\x02\x02\x70", answer  # fatal, 112 (RFC 6066 3)
    line = daemon.wait_for_access()
    assert line["reason"] == "no_route" and line["bytes_out"] == "7"


def test_alert_is_for_missing_routes_only_and_malformed_stays_a_reset(proxy, named):
    daemon = proxy(f"www.example.com {named('exact')}", listener={"no_route": "alert"})
    clients.expect_reset(clients.connect(daemon.port), b"GET / HTTP/1.0\r\n\r\n")


def test_openssl_client_reads_the_alert(proxy, named, pki):
    daemon = proxy(f"www.example.com {named('exact')}", listener={"no_route": "alert"})
    with pytest.raises(Exception, match="(?i)unrecognized.name"):
        clients.python_ssl(pki, daemon.port, "elsewhere.example.org")


def test_dual_stack_listener_serves_both_families(new_daemon, named):
    one = Listener(host="", routes=[f"* {named('both')}"])
    daemon = new_daemon([one]).start()
    for host, client in (("127.0.0.1", "127.0.0.1:"), ("::1", "[::1]:")):
        with clients.connect(one.port, host) as s:
            s.sendall(hello.client_hello())
            assert clients.read_exactly(s, 5) == b"both\n"
        line = daemon.wait_for_log(lambda e, c=client: e.get("client", "").startswith(c))
        assert line["listener"] == f":{one.port}"
