"""`explain` and the RPC behind it: what they say is what a connection then gets, for thousands of random ones."""

import json
import random

import grpc
import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.admin import refused
from lib.config import Listener
from lib.daemon import run_command
from test_countries import make_database


KINDS = {kind: f"FIREWALL_RULE_TYPE_{kind}" for kind in ("IP", "CIDR", "COUNTRY")}


def outcome(daemon, hello_bytes, header=b""):
    """The reason of the access line of one connection, and its line."""
    before = len(daemon.access_lines())
    clients.enters(daemon.port, hello_bytes, header)
    daemon.wait_for_access(count=before + 1)
    return daemon.access_lines()[-1]


def explain(api, daemon, address, name="", **more):
    return api.Explain(listener_addr=daemon.listeners[0].addr, sni=name, **{"from": address}, **more)


def announced(address):
    return ph.v2((address, 1024), ("::1" if ":" in address else "127.0.0.1", 443))


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_explained_is_what_a_connection_gets(managed, echo, tmp_path, seed):
    """Rules, routes, addresses and names at random: the reason of the access line is the one explained, and its backend too."""
    rng = random.Random(seed)
    database = make_database(tmp_path / "c.mmdb", "192.0.2.0/25=KP", "192.0.2.128/25=DE", "2001:db8::/33=IR")
    one = Listener(routes=[f"*.example.com {echo.address}"], options={"proxy_protocol": "required"})
    daemon, api = managed([one], firewall={"geoip_db": database, "blocked_countries": "IR"})
    names = ["", "www.example.com", "WWW.example.com.", "a.b.example.com", "example.com", "c.b.example.com", "x.example.org",
             "under_score.example.com", "-", "bad..name", "b%.example.com", "a" * 64 + ".example.com"]
    patterns = ["www.example.com", "*.b.example.com", "a.b.example.com", "example.com", "*", "*.example.org", "-"]
    rules = [("IP", "192.0.2.7"), ("CIDR", "192.0.2.0/28"), ("CIDR", "192.0.2.7/32"), ("COUNTRY", "KP"), ("COUNTRY", "DE"),
             ("IP", "2001:db8::1"), ("CIDR", "2001:db8::/64"), ("CIDR", "::/0")]
    addresses = ["192.0.2.7", "192.0.2.8", "192.0.2.77", "192.0.2.200", "198.51.100.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::",
                 "2001:db9::1"]
    routes, blocked, seen = set(), set(), set()
    for _ in range(40):
        pattern, rule = rng.choice(patterns), rng.choice(rules)
        if pattern in routes:
            api.remove(one.addr, pattern)
        else:
            api.add(one.addr, pattern, echo.address)
        routes ^= {pattern}
        (api.unblock if rule in blocked else api.block)(KINDS[rule[0]], rule[1])
        blocked ^= {rule}
        for _ in range(3):
            address, name = rng.choice(addresses), rng.choice(names)
            said = explain(api, daemon, address, name)
            line = outcome(daemon, hello.client_hello(name.encode() if name else None), announced(address))
            assert (said.reason or "finished") == line["reason"], (address, name, routes, blocked, said)
            assert (said.route.backend if said.reason == "" else "") == line["backend"]
            if said.reason in ("", "no_route"):
                assert said.sni == line["sni"]
            assert [step.name for step in said.steps] == ["accept", "proxy", "firewall", "rate_limit", "hello", "route",
                                                          "backend"][:len(said.steps)]
            seen.add((said.reason, said.match))
    assert {reason for reason, _ in seen} >= {"", "no_route", "blocked_ip", "blocked_cidr", "blocked_country", "hello_malformed"}, seen
    assert {match for _, match in seen} == {0, 1, 2, 3}, seen


def test_the_rule_that_blocks_is_named(managed, echo, tmp_path):
    database = make_database(tmp_path / "c.mmdb", "203.0.113.0/24=KP", "192.0.2.0/24=DE")
    daemon, api = managed([Listener(routes=[f"* {echo.address}"])],
                          firewall={"geoip_db": database, "blocked_countries": "KP", "blocked_ips": "198.51.100.7",
                                    "blocked_cidrs": ["198.51.100.0/24", "198.51.0.0/16"]})

    def rule(address):
        said = explain(api, daemon, address)
        return said.rule.type, said.rule.value, said.country, said.client_sees

    assert rule("198.51.100.7") == (1, "198.51.100.7", "", "reset")
    assert rule("198.51.100.8") == (2, "198.51.100.0/24", "", "reset")
    assert rule("::ffff:198.51.7.8") == (2, "198.51.0.0/16", "", "reset")
    assert rule("203.0.113.9") == (3, "KP", "KP", "reset")
    assert rule("192.0.2.1") == (0, "", "DE", "")
    assert rule("192.1.2.1") == (0, "", "", "")


def test_the_rate_limit_is_looked_at_and_not_used(managed, echo):
    daemon, api = managed([Listener(routes=[f"* {echo.address}"])], firewall={"rate_limit": "3", "rate_window": "1h"})
    for used in range(3):
        for _ in range(10):
            rate = explain(api, daemon, "127.0.0.1").rate
            assert (rate.limit, rate.window_ms, rate.used, rate.retry_in_ms) == (3, 3600000, used, 0)
        assert outcome(daemon, hello.client_hello(b"a.example.com"))["reason"] == "finished"
    said = explain(api, daemon, "127.0.0.1")
    assert said.reason == "rate_limit" and said.verdict == 7 and said.rate.used == 3 and 1100000 < said.rate.retry_in_ms <= 1200001
    assert outcome(daemon, hello.client_hello(b"a.example.com"))["reason"] == "rate_limit"
    assert explain(api, daemon, "127.0.0.2").reason == ""


def test_who_may_send_a_header(managed, echo):
    one = Listener(routes=[f"* {echo.address}"], options={"proxy_protocol": "required", "proxy_trusted": "127.0.0.2/32"})
    two = Listener(name="two", routes=[f"* {echo.address}"], options={"proxy_protocol": "mixed", "proxy_trusted": "127.0.0.2/32"})
    _, api = managed([one, two])

    def reason(listener, address, peer=""):
        return api.Explain(listener_addr=listener.addr, peer=peer, **{"from": address}).reason

    assert reason(one, "192.0.2.1") == "" and reason(one, "192.0.2.1", "127.0.0.2") == ""
    assert reason(one, "192.0.2.1", "127.0.0.1") == "proxy_untrusted"
    assert reason(two, "192.0.2.1") == "" and reason(two, "192.0.2.1", "127.0.0.2") == ""
    assert reason(two, "192.0.2.1", "127.0.0.1") == "hello_malformed"


def test_limits_endings_and_backends(managed, echo):
    one = Listener(routes=["name.example.com nowhere.invalid:1", f"local.example.com localhost:{echo.port}",
                           "sock.example.com unix:/nowhere.sock", f"www.example.com {echo.address} send_proxy_protocol"],
                   options={"no_route": "alert", "max_connections": "1"})
    daemon, api = managed([one])
    assert explain(api, daemon, "192.0.2.1", "name.example.com").reason == "backend_unresolved"
    said = explain(api, daemon, "192.0.2.1", "nobody.example.com")
    assert (said.reason, said.client_sees, said.verdict) == ("no_route", "alert", 9)
    said = explain(api, daemon, "192.0.2.1", "WWW.example.com.")
    assert said.route.hostname == "www.example.com" and said.route.send_proxy_protocol and list(said.backend_addrs) == [echo.address]
    assert f"127.0.0.1:{echo.port}" in explain(api, daemon, "192.0.2.1", "local.example.com").backend_addrs
    assert not explain(api, daemon, "192.0.2.1", "sock.example.com").backend_addrs
    with clients.connect(daemon.port) as s:
        s.sendall(hello.client_hello(b"www.example.com"))
        assert s.recv(1)
        said = explain(api, daemon, "192.0.2.1", "www.example.com")
        assert (said.reason, said.client_sees, said.active_connections, said.max_connections) == ("max_connections", "close", 1, 1)


def test_fields_that_are_wrong(managed, echo):
    daemon, api = managed([Listener(routes=[f"* {echo.address}"])])
    addr = daemon.listeners[0].addr
    for code, field, request in [("NOT_FOUND", "listener_addr: ", {"listener_addr": ":1", "from": "192.0.2.1"}),
                                 ("INVALID_ARGUMENT", "listener_addr: ", {"from": "192.0.2.1"}),
                                 ("INVALID_ARGUMENT", "from: ", {"listener_addr": addr}),
                                 ("INVALID_ARGUMENT", "from: ", {"listener_addr": addr, "from": "192.0.2.1:5"}),
                                 ("INVALID_ARGUMENT", "sni: ", {"listener_addr": addr, "from": "192.0.2.1", "sni": "a\0b"}),
                                 ("INVALID_ARGUMENT", "peer: ", {"listener_addr": addr, "from": "192.0.2.1", "peer": "192.0.2.2"})]:
        with refused(getattr(grpc.StatusCode, code), field):
            api.Explain(**request)


def test_the_command(managed, echo):
    daemon, _ = managed([Listener(routes=[f"*.example.com {echo.address}"])])

    def run(*args):
        done = run_command("explain", "-c", daemon.config_path, "--listener", daemon.listeners[0].addr, *args)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout

    text = run("--from", "192.0.2.1", "--sni", "www.example.com")
    assert [line.split()[0] for line in text.splitlines()] == ["accept", "proxy", "firewall", "rate_limit", "hello", "route", "backend",
                                                               "verdict"]
    assert text.endswith(f"routed to {echo.address}\n") and "*.example.com" in text
    assert run("--from", "192.0.2.1").endswith("reset (no_route)\n")
    said = json.loads(run("--from", "192.0.2.1", "--sni", "www.example.com", "--json"))
    assert said["verdict"] == "routed" and said["route"]["match"] == "wildcard"
    assert json.loads(run("--from", "192.0.2.1", "--json"))["verdict"] == "no_route"
    assert run_command("explain", "-c", daemon.config_path, "--from", "::1").returncode == 2
    assert run_command("explain", "-c", daemon.config_path, "-l", ":1", "--from", "::1", "--sni", "").returncode == 2
