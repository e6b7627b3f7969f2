"""Two instances, an edge that sends PROXY headers and an origin that trusts it: what docs/proxy-chaining.md says, tried out."""

import os
import ssl

import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.backends import RecordBackend, TlsBackend
from lib.config import Listener
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
GOOD, BAD = "127.0.0.40", "127.0.0.50"
EDGE = "127.0.0.1"  # where the edge's connections to the origin come from


@pytest.fixture
def instance(new_daemon, tmp_path):
    """instance("edge", listener, **sections): a running daemon in a folder of its own."""

    def start(name, listener, **sections):
        os.makedirs(tmp_path / name)
        return new_daemon([listener], directory=tmp_path / name, **sections).start()

    return start


@pytest.fixture
def chain(instance):
    """chain(server, origin={...}, edge={...}): (edge, origin), each with these sections of its configuration."""

    def start(server, origin=None, edge=None, flag=" send_proxy_protocol"):
        back = instance("origin", Listener(routes=[f"* {server.address}{flag}"],
                                           options={"proxy_protocol": "required", "proxy_trusted": EDGE}), **(origin or {}))
        front = instance("edge", Listener(host="", routes=[f"* 127.0.0.1:{back.port} send_proxy_protocol"]), **(edge or {}))
        return front, back

    return start


def test_origin_logs_the_real_client(chain, echo):
    edge, origin = chain(echo, flag="")
    with clients.connect(edge.port, source=GOOD) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        mine = f"{GOOD}:{s.getsockname()[1]}"
    for daemon in (edge, origin):
        line = daemon.wait_for_access()
        assert (line["client"], line["reason"]) == (mine, "finished")
        assert (line["bytes_in"], line["bytes_out"]) == (str(len(HELLO)), str(len(HELLO))), "headers are not counted"


def test_ipv6_client_of_a_dual_stack_edge(chain, echo):
    edge, origin = chain(echo, flag="")
    with clients.connect(edge.port, "::1") as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        mine = f"[::1]:{s.getsockname()[1]}"
    origin.wait_for_access(client=mine, reason="finished")


def test_server_behind_both_is_told_of_the_client_and_of_the_edges_address(chain, backend):
    record = backend(RecordBackend)
    edge, _ = chain(record)
    with clients.connect(edge.port, source=GOOD) as s:
        s.sendall(HELLO)
        assert record.wait_for(28 + len(HELLO)) == ph.v2(s.getsockname(), s.getpeername()) + HELLO


def test_client_blocked_at_the_origin_though_its_peer_is_not(chain, echo):
    edge, origin = chain(echo, flag="", origin={"firewall": {"blocked_ips": BAD}})
    assert clients.enters(edge.port, HELLO, source=GOOD)
    assert not clients.enters(edge.port, HELLO, source=BAD)
    assert origin.wait_for_access(reason="blocked_ip")["client"].startswith(BAD + ":")
    assert edge.wait_for_access(reason="backend_reset")["client"].startswith(BAD + ":")
    assert echo.connections == 1


def test_peer_blocked_at_the_origin_counts_for_nothing(chain, echo):
    """Behind a PROXY header only the announced address counts: to keep an edge out, take it from proxy_trusted."""
    edge, origin = chain(echo, flag="", origin={"firewall": {"blocked_ips": EDGE, "blocked_cidrs": "127.0.0.48/28"}})
    assert clients.enters(edge.port, HELLO, source=GOOD)
    assert not clients.enters(edge.port, HELLO, source=BAD)
    origin.wait_for_access(reason="blocked_cidr")
    assert not clients.enters(edge.port, HELLO, source=EDGE), "as a client it is blocked"


def test_client_blocked_at_the_edge_never_reaches_the_origin(chain, echo):
    edge, origin = chain(echo, flag="", edge={"firewall": {"blocked_ips": BAD}})
    assert not clients.enters(edge.port, HELLO, source=BAD)
    assert clients.enters(edge.port, HELLO, source=GOOD)
    edge.wait_for_access(reason="blocked_ip")
    origin.wait_for_access(reason="finished")
    assert len(origin.access_lines()) == 1


def test_rate_limit_of_the_origin_counts_clients_not_the_edge(chain, echo):
    edge, origin = chain(echo, flag="", origin={"firewall": {"rate_limit": 2, "rate_window": "1h"}})
    for source in (f"127.0.0.{n}" for n in range(60, 70)):
        assert [clients.enters(edge.port, HELLO, source=source) for _ in range(3)] == [True, True, False]
    origin.wait_for_access(count=10, reason="rate_limit")


def test_client_that_goes_around_the_edge_is_reset(chain, echo):
    _, origin = chain(echo, flag="")
    clients.expect_refused_entry(origin.port, ph.v2((GOOD, 1), (EDGE, 2)) + HELLO, source=BAD)
    assert origin.wait_for_access()["reason"] == "proxy_untrusted"
    assert echo.connections == 0


def test_three_in_a_row(instance, chain, echo):
    """The one in the middle passes on what it was told."""
    middle, origin = chain(echo, flag="")
    middle.stop()
    relay = instance("relay", Listener(routes=[f"* 127.0.0.1:{origin.port} send_proxy_protocol"],
                                       options={"proxy_protocol": "required", "proxy_trusted": EDGE}))
    first = instance("first", Listener(routes=[f"* 127.0.0.1:{relay.port} send_proxy_protocol"]))
    assert clients.enters(first.port, HELLO, source=GOOD)
    assert origin.wait_for_access(reason="finished")["client"].startswith(GOOD + ":")


def test_tls_through_both(chain, backend, pki):
    server = backend(TlsBackend, pki, "www.example.com")
    edge, _ = chain(server, flag="")
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert "www.example.com sni=www.example.com" in clients.python_ssl(pki, edge.port, "www.example.com", version)


def test_much_data_through_both_ends_as_it_should(chain, echo):
    edge, origin = chain(echo, flag="")
    data = os.urandom(3_000_000)
    with clients.connect(edge.port, source=GOOD) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        for at in range(0, len(data), 100_000):
            s.sendall(data[at:at + 100_000])
            assert clients.read_exactly(s, len(data[at:at + 100_000])) == data[at:at + 100_000]
        s.shutdown(1)
        assert clients.read_all(s) == b""
    origin.wait_for_access(reason="finished", bytes_in=len(HELLO) + len(data))


# ---- the mistakes that the page names

@pytest.mark.parametrize("edge_flag, origin_mode, edge_reason, origin_reason", [
    ("", "required", "backend_reset", "proxy_malformed"),
    (" send_proxy_protocol", "off", "backend_reset", "hello_malformed"),
], ids=["edge_does_not_send", "origin_does_not_take"])
def test_half_a_chain_is_a_reset_that_the_log_explains(instance, echo, edge_flag, origin_mode, edge_reason, origin_reason):
    origin = instance("origin", Listener(routes=[f"* {echo.address}"], options={"proxy_protocol": origin_mode}))
    edge = instance("edge", Listener(routes=[f"* 127.0.0.1:{origin.port}{edge_flag}"]))
    assert not clients.enters(edge.port, HELLO)
    origin.wait_for_access(reason=origin_reason)
    edge.wait_for_access(reason=edge_reason)
    assert echo.connections == 0


def test_edge_that_the_origin_does_not_trust(instance, echo):
    origin = instance("origin", Listener(routes=[f"* {echo.address}"],
                                         options={"proxy_protocol": "required", "proxy_trusted": "192.0.2.1"}))
    edge = instance("edge", Listener(routes=[f"* 127.0.0.1:{origin.port} send_proxy_protocol"]))
    assert not clients.enters(edge.port, HELLO)
    assert origin.wait_for_access()["reason"] == "proxy_untrusted"
    wait_until(lambda: edge.access_lines(), what="the edge's line")
    assert edge.access_lines()[0]["reason"] in ("backend_reset", "backend_refused")
