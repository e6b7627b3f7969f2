"""The command line and the real server together: what operators do, from the first route to a snapshot."""

import json
import os
import sqlite3

import pytest

from lib import clients
from lib.backends import EchoBackend
from lib.config import Listener
from lib.daemon import expect_command, is_sanitized
from lib.figures import Cpu
from lib.hello import client_hello
from lib.waiting import wait_until


class Operator:
    """Runs commands with -c."""

    def __init__(self, daemon):
        self.daemon = daemon

    def __call__(self, *args, fails=0, **kwargs):
        done = expect_command(*args, "-c", self.daemon.config_path, fails=fails, timeout=120, **kwargs)
        return done.stderr if fails else done.stdout

    def json(self, *args):
        return json.loads(self(*args, "--json"))


@pytest.fixture
def operator(new_daemon, tmp_path):
    """operator(route, ...): a running daemon with a Unix socket, and commands for it."""

    def start(*routes, **sections):
        sections.setdefault("grpc", {"addr": f"unix:{tmp_path}/admin.sock"})
        return Operator(new_daemon([Listener(routes=list(routes))], **sections).start())

    return start


def test_status_of_a_running_server(operator):
    op = operator("www.example.com 127.0.0.1:1", server={"workers": 2})
    op.daemon.wait_ready()
    status = op.json("status")
    assert [w["state"] for w in status["workers"]] == ["running", "running"]
    assert {w["pid"] for w in status["workers"]} == set(op.daemon.workers())
    assert [(one["addr"], one["name"], one["route_count"]) for one in status["listeners"]] == [(op.daemon.listeners[0].addr, "main", 1)]
    assert status["version"] in op("status")


def test_a_route_that_is_added_is_taken_at_once(operator, backend):
    op = operator()
    one = backend(EchoBackend, greeting=b"hi")
    addr = op.daemon.listeners[0].addr
    hello = client_hello(b"www.example.com")
    assert op("routes", "add", addr, "www.example.com", one.address) == f"added {addr} www.example.com -> {one.address}\n"
    with clients.connect(op.daemon.port) as s:
        s.sendall(hello)
        assert s.recv(2) == b"hi"
    assert op.json("routes", "list") == [{"listener_addr": addr, "hostname": "www.example.com", "backend": one.address,
                                          "send_proxy_protocol": False}]
    op("routes", "remove", addr, "www.example.com")
    assert op.json("routes", "list", addr) == []
    assert "there is no route" in op("routes", "remove", addr, "www.example.com", fails=1)


@pytest.mark.parametrize("args,expected", [
    (["routes", "add", "ADDR", "bad..name", "127.0.0.1:1"], "mc-proxy routes: hostname: "),
    (["routes", "add", "ADDR", "www.example.com", "127.0.0.1"], "mc-proxy routes: backend: "),
    (["routes", "add", ":1", "www.example.com", "127.0.0.1:1"], "mc-proxy routes: listener_addr: "),
    (["firewall", "add", "ip", "192.0.2.256"], "mc-proxy firewall: value: "),
    (["firewall", "add", "cidr", "192.0.2.1/24"], "mc-proxy firewall: value: "),
    (["firewall", "add", "country", "KP"], "geoip_db"),
    (["firewall", "remove", "ip", "192.0.2.1"], "does not have"),
    (["listeners", "set-max-connections", ":1", "5"], "mc-proxy listeners: listener_addr: "),
])
def test_what_the_server_refuses(operator, args, expected):
    op = operator()
    assert expected in op(*(op.daemon.listeners[0].addr if a == "ADDR" else a for a in args), fails=1)


def test_firewall_and_limits(operator):
    op = operator()
    addr = op.daemon.listeners[0].addr
    op("firewall", "add", "ip", "::ffff:192.0.2.7")
    assert op("firewall", "export") == "ip 192.0.2.7\n"
    assert "already" in op("firewall", "add", "ip", "192.0.2.7", fails=1)
    op("listeners", "set-max-connections", addr, "17")
    assert op.json("listeners", "list")[0]["max_connections"] == 17


def test_many_routes_go_in_and_come_out_again(operator, tmp_path):
    op = operator("first.example.com 127.0.0.1:1")
    addr = op.daemon.listeners[0].addr
    count = 20000 if is_sanitized() else 100000
    routes = tmp_path / "routes.csv"
    routes.write_text("hostname,backend,send_proxy_protocol\n" +
                      "".join(f"h{i}.example.com,10.0.{i >> 8 & 255}.{i & 255}:443,{'true' if i % 3 else 'false'}\n" for i in range(count)))
    with Cpu(op.daemon.pid) as cpu:
        assert op("routes", "import", str(routes), "-l", addr) == f"{count} added, 0 replaced, 0 removed, 0 unchanged\n"
    assert cpu.seconds < 60, cpu.seconds
    exported = tmp_path / "out.txt"
    exported.write_text(op("routes", "export"))
    assert exported.read_text().startswith(f"{addr} first.example.com 127.0.0.1:1\n{addr} h0.example.com 10.0.0.0:443\n")
    assert op("routes", "import", str(exported)) == f"0 added, 0 replaced, 0 removed, {count + 1} unchanged\n"
    exported.write_text(f"{addr} h1.example.com 10.0.0.2:443\n{addr} new.example.com 10.0.0.2:443\n")
    expected = f"1 added, 1 replaced, {count} removed, 0 unchanged\n"
    assert op("routes", "import", str(exported), "--replace", "--dry-run").endswith("it would be: " + expected)
    assert op("routes", "import", str(exported), "--replace") == expected
    assert sorted(op("routes", "export").splitlines()) == sorted(exported.read_text().splitlines())


def test_an_import_is_all_or_nothing(operator, tmp_path):
    op = operator()
    addr = op.daemon.listeners[0].addr
    rules = tmp_path / "rules.txt"
    rules.write_text("192.0.2.1\n\nKP\n192.0.2.2\n")
    assert f"{rules}:3: " in op("firewall", "import", str(rules), fails=1)
    assert op("firewall", "export") == ""
    routes = tmp_path / "routes.txt"
    routes.write_text(f"{addr} a.example.com 127.0.0.1:1\n:1 b.example.com 127.0.0.1:1\n")
    assert f"{routes}:2: listener_addr: " in op("routes", "import", str(routes), fails=1)
    assert op("routes", "export") == ""


# ---- snapshots


def routes_in(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [row[0] for row in db.execute("SELECT hostname FROM routes ORDER BY id")]


def test_a_snapshot_through_the_server(operator, tmp_path):
    op = operator("www.example.com 127.0.0.1:1")
    path = op("snapshot").strip()
    assert path.startswith(f"{tmp_path}/backups/") and os.stat(path).st_mode & 0o777 == 0o600
    assert routes_in(path) == ["www.example.com"]
    os.mkdir(tmp_path / "here")
    assert op("snapshot", "-o", "copy.db", cwd=tmp_path / "here") == f"{tmp_path}/here/copy.db\n"
    assert "copy.db" in op("snapshot", "-o", "copy.db", cwd=tmp_path / "here", fails=1)  # never overwritten
    assert op.json("snapshot", "--keep", "1")["path"] != path and not os.path.exists(path)
    assert len(os.listdir(tmp_path / "backups")) == 1


def test_a_snapshot_without_a_server(operator, tmp_path):
    op = operator("www.example.com 127.0.0.1:1")
    op.daemon.stop()
    before = set(os.listdir(tmp_path))
    path = op("snapshot").strip()
    assert path.startswith(f"{tmp_path}/backups/") and routes_in(path) == ["www.example.com"]
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert set(os.listdir(tmp_path)) - before == {"backups"}
    assert op("snapshot", "-o", "copy.db", cwd=tmp_path) == f"{tmp_path}/copy.db\n"
    assert "copy.db" in op("snapshot", "-o", "copy.db", cwd=tmp_path, fails=1)
    newest = op.json("snapshot", "--keep", "1")["path"]
    assert os.listdir(tmp_path / "backups") == [os.path.basename(newest)]


def test_a_snapshot_of_a_server_without_admin_api(operator, tmp_path):
    op = operator("www.example.com 127.0.0.1:1", grpc={})
    assert "in use by another mc-proxy" in op("snapshot", fails=1)
    op.daemon.stop()
    assert routes_in(op("snapshot").strip()) == ["www.example.com"]


def test_no_snapshot_of_what_is_not_there(operator, tmp_path):
    op = operator()
    op.daemon.stop()
    os.remove(tmp_path / "mc-proxy.db")
    assert "there is no database yet" in op("snapshot", fails=1)
    assert not os.path.exists(tmp_path / "mc-proxy.db")


def test_the_command_line_tells_of_a_server_that_drains(operator, backend):
    op = operator("www.example.com 127.0.0.1:1", proxy={"shutdown_timeout": "5m"})
    one = backend(EchoBackend)
    op("routes", "add", op.daemon.listeners[0].addr, "www.example.com", one.address)
    with clients.connect(op.daemon.port) as s:
        s.sendall(client_hello(b"www.example.com"))
        assert s.recv(1)
        op.daemon.signal(15)
        wait_until(lambda: op.json("status")["is_draining"], what="draining")
        assert ", draining\n" in op("status")
