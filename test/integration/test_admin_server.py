"""The admin API within the server: status, limits, snapshots, firewall, health, reflection, reload and the end."""

import os
import signal
import sqlite3
import stat
import time

import grpc
import pytest
from google.protobuf import descriptor_pb2

from lib import clients, hello, procfs
from lib.admin import (ADMIN, CIDR, COUNTRY, IP, NOT_SERVING, SERVICE_UNKNOWN, SERVING, Code, pool, refused)
from lib.config import Listener, config_text
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")


def open_connection(port):
    s = clients.connect(port)
    s.sendall(HELLO)
    assert clients.read_exactly(s, len(HELLO)) == HELLO
    return s


# ---- status

def test_status_tells_what_is(managed, echo):
    one = Listener(name="one", routes=[f"* {echo.address}", "x.example.com 10.0.0.1:1"])
    two = Listener(name="two", options={"proxy_protocol": "required", "max_connections": 7})
    daemon, api = managed([one, two], workers=3)
    began = time.time()
    with open_connection(one.port), open_connection(one.port):
        clients.enters(one.port, HELLO)
        wait_until(lambda: api.GetStatus().active_connections == 2, what="two open connections")
        daemon.wait_ready()
        status = api.GetStatus()
    assert status.version and not status.is_draining
    assert began - 60 < status.started_at.seconds <= time.time()
    assert status.total_connections == 3
    assert [(x.name, x.addr, x.route_count, x.active_connections, x.total_connections, x.max_connections, x.proxy_protocol)
            for x in status.listeners] == [("one", one.addr, 2, 2, 3, 0, "off"), ("two", two.addr, 0, 0, 0, 7, "required")]
    assert sorted(w.pid for w in status.workers) == daemon.workers()
    assert [w.slot for w in status.workers] == [0, 1, 2]
    assert {w.state for w in status.workers} == {"running"}
    assert sum(w.active_connections for w in status.workers) == 2
    assert sum(w.total_connections for w in status.workers) == 3


def test_totals_survive_the_death_of_a_worker(managed, echo):
    listener = Listener(routes=[f"* {echo.address}"])
    daemon, api = managed([listener], workers=1)
    for _ in range(5):
        assert clients.enters(listener.port, HELLO)
    old = daemon.workers()[0]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: [w.pid for w in api.GetStatus().workers if w.state == "running" and w.pid != old], what="a new worker")
    assert clients.enters(listener.port, HELLO)
    status = api.GetStatus()
    assert status.total_connections == 6 and status.workers[0].total_connections == 1
    assert status.listeners[0].total_connections == 6


# ---- limits

def test_limit_is_in_force_at_once_over_all_workers_and_beats_the_file(managed, echo):
    listener = Listener(routes=[f"* {echo.address}"], options={"max_connections": 100})
    daemon, api = managed([listener], workers=4)
    held = [open_connection(listener.port) for _ in range(5)]
    wait_until(lambda: api.GetStatus().active_connections == 5, what="five open connections")
    for limit, entering in ((5, False), (6, True), (3, False), (0, True)):
        api.SetListenerMaxConnections(listener_addr=listener.addr, max_connections=limit)
        assert api.GetStatus().listeners[0].max_connections == limit
        for _ in range(8):
            try:
                with clients.connect(listener.port) as s:
                    s.sendall(HELLO)
                    came = s.recv(len(HELLO)) != b""
            except (ConnectionResetError, BrokenPipeError):
                came = False
            assert came == entering, limit
            wait_until(lambda: api.GetStatus().active_connections == 5, what="the extra one to be gone")
    for s in held:
        s.sendall(b"x")
        assert clients.read_exactly(s, 1) == b"x"
        s.close()
    api.SetListenerMaxConnections(listener_addr=listener.addr, max_connections=2)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
    assert api.GetStatus().listeners[0].max_connections == 2
    daemon.stop()
    _, api = managed([listener])
    assert api.GetStatus().listeners[0].max_connections == 2


# ---- firewall

def test_rules_over_the_api(managed, echo):
    listener = Listener(routes=[f"* {echo.address}"])
    daemon, api = managed([listener], workers=2)
    api.block(IP, "127.0.0.9")
    clients.expect_refused_entry(listener.port, HELLO, source="127.0.0.9")
    assert clients.enters(listener.port, HELLO, source="127.0.0.8")
    api.block(CIDR, "127.0.7.0/24")
    clients.expect_refused_entry(listener.port, HELLO, source="127.0.7.255")
    with refused(Code.ALREADY_EXISTS, "rule: "):
        api.block(IP, "::ffff:127.0.0.9")
    for kind, value, field in ((CIDR, "127.0.7.1/24", "rule.value: "), (CIDR, "::ffff:0:0/96", "rule.value: "),
                               (IP, "127.0.0.9/32", "rule.value: "), (IP, "", "rule.value: "), (IP, "1.2.3.4\0", "rule.value: "),
                               (COUNTRY, "kp", "rule.value: "), (0, "1.2.3.4", "rule.type: "), (9, "1.2.3.4", "rule.type: ")):
        with refused(Code.INVALID_ARGUMENT, field):
            api.block(kind, value)
    with refused(Code.FAILED_PRECONDITION):
        api.block(COUNTRY, "KP")
    with refused(Code.INVALID_ARGUMENT, "rule: is missing"):
        api.AddFirewallRule()
    with refused(Code.NOT_FOUND, "rule: "):
        api.unblock(IP, "127.0.0.10")
    api.unblock(IP, "127.0.0.9")
    assert clients.enters(listener.port, HELLO, source="127.0.0.9")
    api.block(IP, "127.0.0.9")
    assert api.rules() == [(CIDR, "127.0.7.0/24"), (IP, "127.0.0.9")]
    assert api.GetStatus().firewall_rules == 2
    daemon.stop()
    _, api = managed([listener])
    assert api.rules() == [(CIDR, "127.0.7.0/24"), (IP, "127.0.0.9")]
    clients.expect_refused_entry(listener.port, HELLO, source="127.0.7.1")


# ---- snapshots

def test_snapshots(managed, tmp_path):
    listener = Listener(routes=["a.example.com 10.0.0.1:1"])
    daemon, api = managed([listener], workers=1)
    backups = tmp_path / "backups"
    made = [api.Snapshot(keep=2).path for _ in range(3)]
    assert all(os.path.dirname(path) == str(backups) for path in made) and len(set(made)) == 3
    assert sorted(os.listdir(backups)) == sorted(os.path.basename(path) for path in made[1:])
    assert stat.S_IMODE(os.stat(made[-1]).st_mode) == 0o600
    with sqlite3.connect(made[-1]) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with refused(Code.ALREADY_EXISTS):
        api.Snapshot(output_path=made[-1])
    assert api.Snapshot(output_path=str(tmp_path / "elsewhere.db")).path == str(tmp_path / "elsewhere.db")
    assert api.Snapshot(output_path="named.db").path == str(backups / "named.db")
    with refused(Code.FAILED_PRECONDITION):
        api.Snapshot(output_path=str(tmp_path / "missing" / "x.db"))
    with refused(Code.INVALID_ARGUMENT, "output_path: "):
        api.Snapshot(output_path="a\0b")
    daemon.wait_for_log(lambda e: e["msg"] == "snapshot written" and e["path"] == made[0] and e["peer"] == "unix")


# ---- health

def test_health_is_serving_while_it_runs_and_not_from_the_stop_on(managed, admin, echo, tmp_path):
    listener = Listener(routes=[f"* {echo.address}"])
    daemon, api = managed([listener], proxy={"shutdown_timeout": "20s"})
    wait_until(lambda: api.check() == SERVING, what="serving")
    assert api.check(ADMIN) == SERVING
    with refused(Code.NOT_FOUND):
        api.check("nothing.Service")
    assert next(api.watch("nothing.Service")).status == SERVICE_UNKNOWN
    watch = api.watch()
    assert next(watch).status == SERVING
    held = open_connection(listener.port)
    daemon.signal(signal.SIGTERM)
    assert next(watch).status == NOT_SERVING
    late = admin(f"unix:{tmp_path}/admin.sock")
    assert late.check() == NOT_SERVING and api.check(ADMIN) == NOT_SERVING
    assert late.GetStatus().is_draining and late.GetStatus().active_connections == 1
    held.close()
    with pytest.raises(grpc.RpcError) as ended:
        next(watch)
    assert ended.value.code() == Code.UNAVAILABLE and ended.value.details() == "the server is stopping"
    assert daemon.wait() == 0
    assert not os.path.exists(f"{tmp_path}/admin.sock")


def test_stop_does_not_wait_for_watchers(managed):
    daemon, api = managed([Listener()], workers=1, proxy={"shutdown_timeout": "10m"})
    watches = [api.watch() for _ in range(20)]
    assert all(next(watch).status in (SERVING, NOT_SERVING) for watch in watches)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0


# ---- reflection

@pytest.mark.parametrize("package", ["grpc.reflection.v1", "grpc.reflection.v1alpha"])
def test_reflection_describes_the_whole_api(managed, package):
    _, api = managed([Listener()], workers=1)
    listed, by_symbol, by_name, method, missing, extension, numbers = api.reflect(
        {"list_services": "*"}, {"file_containing_symbol": ADMIN}, {"file_by_filename": "grpc/health/v1/health.proto"},
        {"file_containing_symbol": f"{ADMIN}.AddRoute"}, {"file_containing_symbol": "no.Such"},
        {"file_containing_extension": {"containing_type": "mc_proxy.v1.Route", "extension_number": 1}},
        {"all_extension_numbers_of_type": "mc_proxy.v1.Route"}, package=package)
    assert sorted(s.name for s in listed.list_services_response.service) == [
        "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection", ADMIN]
    files = [descriptor_pb2.FileDescriptorProto.FromString(f) for f in by_symbol.file_descriptor_response.file_descriptor_proto]
    assert [f.name for f in files] == ["mc_proxy/v1/admin.proto", "google/protobuf/timestamp.proto"]
    assert files[0].source_code_info.location, "comments come along"
    files[0].ClearField("source_code_info")
    ours = descriptor_pb2.FileDescriptorProto()
    pool().FindFileByName("mc_proxy/v1/admin.proto").CopyToProto(ours)
    assert files[0] == ours
    assert len(by_name.file_descriptor_response.file_descriptor_proto) == 1
    assert len(method.file_descriptor_response.file_descriptor_proto) == 1
    assert missing.error_response.error_code == extension.error_response.error_code == 5
    assert list(numbers.all_extension_numbers_response.extension_number) == []


# ---- the server around it

def test_workers_hold_no_descriptor_of_the_admin_api(managed):
    listener = Listener()
    daemon, api = managed([listener], workers=2)
    wait_until(lambda: len(api.GetStatus().workers) == 2, what="the workers")
    victim = daemon.workers()[0]
    os.kill(victim, signal.SIGKILL)  # its successor is started while a client is connected
    wait_until(lambda: [w.state for w in api.GetStatus().workers if w.pid != victim] == ["running"] * 2, what="the successor")
    streams = {f"socket:[{line.split()[6]}]" for line in _lines("/proc/net/unix") if line.split()[4] == "0001"}
    masters = streams.intersection(procfs.open_files(daemon.pid))
    assert len(masters) >= 2, "the listening socket and a client's"
    for pid in daemon.workers():
        files = procfs.open_files(pid)
        assert len(files) > 3 and not masters.intersection(files) and not [f for f in files if "mc-proxy.db" in f], files


def _lines(path):
    with open(path, encoding="ascii") as f:
        return f.readlines()[1:]


def test_reload_moves_the_api(new_daemon, admin, tmp_path):
    listener = Listener()
    first, second = (f"unix:{tmp_path}/{name}.sock" for name in ("first", "second"))
    daemon = new_daemon([listener], grpc={"addr": first}).start()
    api = admin(first)
    assert api.GetStatus().listeners[0].name == "main"
    watch = api.watch()
    next(watch)
    renamed = Listener(name="renamed", port=listener.port)
    daemon.write_config(config_text(str(tmp_path), [renamed], grpc={"addr": second}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
    assert admin(second).GetStatus().listeners[0].name == "renamed"
    assert not os.path.exists(f"{tmp_path}/first.sock")
    assert watch.is_active(), "a call under way goes on"
    daemon.write_config(config_text(str(tmp_path), [renamed]))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: not os.path.exists(f"{tmp_path}/second.sock"), what="the API to be gone")


def test_failed_reload_leaves_the_api_as_it_was(new_daemon, admin, tmp_path):
    listener = Listener()
    target = f"unix:{tmp_path}/admin.sock"
    daemon = new_daemon([listener], grpc={"addr": target}).start()
    api = admin(target)
    api.GetStatus()
    broken = Listener(name="renamed", port=listener.port)
    daemon.write_config(config_text(str(tmp_path), [broken], grpc={"addr": f"unix:{tmp_path}/no/such/folder.sock"}))
    daemon.signal(signal.SIGHUP)
    failed = daemon.wait_for_log(lambda e: e["msg"].startswith("not reloaded"))
    assert "folder.sock" in failed["error"]
    assert admin(target).GetStatus().listeners[0].name == "main"
    assert sorted(f for f in os.listdir(tmp_path) if "sock" in f) == ["admin.sock"]


def test_server_that_cannot_serve_the_api_does_not_start_and_seeds_nothing(new_daemon, managed, admin, tmp_path):
    listener = Listener(routes=["a.example.com 10.0.0.1:1"])
    daemon = new_daemon([listener], grpc={"addr": f"unix:{tmp_path}/no/such/folder.sock"}).launch()
    daemon.expects_failure = True
    assert daemon.wait() == 1
    assert "folder.sock" in daemon.log_text()
    listener.routes = ["b.example.com 10.0.0.1:1"]
    _, api = managed([listener])
    assert [r[0] for r in api.routes(listener.addr)] == ["b.example.com"]


def test_second_server_leaves_the_socket_to_the_first(managed, new_daemon, tmp_path):
    listener = Listener()
    _, api = managed([listener])
    os.makedirs(tmp_path / "other")
    other = new_daemon([Listener()], directory=tmp_path / "other", grpc={"addr": f"unix:{tmp_path}/admin.sock"}).launch()
    other.expects_failure = True
    assert other.wait() == 1
    assert "admin.sock" in other.log_text()
    assert api.GetStatus().listeners[0].addr == listener.addr


def test_stale_socket_is_replaced(managed):
    daemon, _ = managed([Listener()])
    workers = daemon.kill_master()
    wait_until(lambda: not any(map(procfs.is_alive, workers)), what="the workers to follow")
    _, api = managed([Listener()])
    assert api.GetStatus().version
