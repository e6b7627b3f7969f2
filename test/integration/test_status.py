"""GetStatus and `mc-proxy status`: what became of connections, by listener and by route, and how the server itself is."""

import contextlib
import json
import os
import signal
import socket

import grpc

from lib import clients, hello
from lib.admin import put, refused
from lib.backends import RefusingPort, ScriptBackend
from lib.config import Listener
from lib.daemon import run_command
from lib.waiting import wait_until


def visit(daemon, name, **kwargs):
    """One connection, until it is counted as ended."""
    before = len(daemon.access_lines())
    # A reset may come before connect() has returned.
    with contextlib.suppress(OSError), clients.connect(daemon.port, **kwargs) as s:
        s.sendall(hello.client_hello(name) if name is not None else b"GET / HTTP/1.0\r\n\r\n")
        s.shutdown(socket.SHUT_WR)
        while s.recv(65536):
            pass
    daemon.wait_for_access(count=before + 1)


def test_what_became_of_connections(managed, echo, backend):
    refusing = backend(RefusingPort)
    daemon, api = managed([Listener(routes=[f"www.example.com {echo.address}", f"down.example.com 127.0.0.1:{refusing.port}"],
                                    options={"no_route": "alert"})], firewall={"blocked_ips": "127.0.0.9"})
    for name in [b"www.example.com"] * 3 + [b"down.example.com"] * 2 + [b"nobody.example.com", None]:
        visit(daemon, name)
    visit(daemon, b"www.example.com", source="127.0.0.9")
    one = api.GetStatus().listeners[0]
    assert (one.total_connections, one.rejected_connections, one.blocked_connections, one.failed_connections) == (8, 2, 1, 2)
    assert {count.reason: count.connections for count in one.closed} == {
        "finished": 3, "backend_refused": 2, "no_route": 1, "hello_malformed": 1, "blocked_ip": 1}
    assert one.no_route == "alert" and one.bytes_in > 3 * 100 and one.bytes_out >= 3
    status = json.loads(run_command("status", "-c", daemon.config_path, "--json").stdout)
    assert status["listeners"][0]["closed"] == {count.reason: count.connections for count in one.closed}
    assert status["listeners"][0]["blocked_connections"] == 1 and "routes" not in status


def test_routes_come_busiest_first(managed, echo, backend):
    silent = backend(ScriptBackend, lambda connection: connection.recv(1000) and None)
    daemon, api = managed([Listener(routes=[f"a.example.com {echo.address}", f"*.b.example.com {echo.address}",
                                            f"* {silent.address}"])])
    for name in [b"x.b.example.com"] * 3 + [b"other.example.com"] * 2:
        visit(daemon, name)
    with clients.connect(daemon.port) as s:  # open: counted as a connection, its bytes are not yet
        s.sendall(hello.client_hello(b"a.example.com"))
        assert s.recv(1)
        status = api.GetStatus(include_routes=True)
        found = {route.hostname: route for route in status.routes}
        assert [route.hostname for route in status.routes] == ["*.b.example.com", "*", "a.example.com"]
        assert (found["a.example.com"].total_connections, found["a.example.com"].bytes_in) == (1, 0)
    assert found["*.b.example.com"].backend == echo.address and found["*.b.example.com"].bytes_out > 0
    assert found["*"].unanswered_connections == 2 and found["*.b.example.com"].unanswered_connections == 0
    assert (status.counted_routes, status.uncounted_routes) == (3, 0)
    assert not api.GetStatus().routes and not api.GetStatus().counted_routes
    assert [route.hostname for route in api.GetStatus(include_routes=True, max_routes=1).routes] == ["*.b.example.com"]
    with refused(grpc.StatusCode.INVALID_ARGUMENT, "max_routes: "):
        api.GetStatus(max_routes=16384)
    text = run_command("status", "-c", daemon.config_path, "--routes").stdout
    assert f"*.b.example.com  {echo.address}" in text and "UNANSWERED" in text
    assert "and 2 less busy ones\n" in run_command("status", "-c", daemon.config_path, "-n", "1").stdout
    assert run_command("status", "-c", daemon.config_path, "-n", "0").returncode == 2


def test_routes_beyond_the_counters_are_told(managed, echo):
    """20,000 routes: 16,383 can be counted. Which ones are not is what Explain says."""
    daemon, api = managed([Listener()])
    addr = daemon.listeners[0].addr
    changes = [put(addr, f"h{i}.example.com", echo.address) for i in range(20000)]
    api.apply({"changes": changes[:10000]}, {"changes": changes[10000:]})
    status = api.GetStatus(include_routes=True)
    assert (len(status.routes), status.counted_routes, status.uncounted_routes) == (1000, 16383, 20000 - 16383)
    assert len(api.GetStatus(include_routes=True, max_routes=16383).routes) == 16383
    counted = [api.Explain(listener_addr=addr, sni=f"h{i}.example.com", **{"from": "192.0.2.1"}).is_counted for i in (0, 16382, 16383, 19999)]
    assert counted == [True, True, False, False]


def test_how_the_server_is(managed, echo):
    daemon, api = managed([Listener(routes=[f"* {echo.address}"])])
    status = api.GetStatus()
    assert status.configured_workers == 2 and status.worker_restarts == 0 and not status.reloads.HasField("last_at")
    assert status.max_descriptors >= 1024
    wait_until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) >= api.GetStatus().descriptors > 5, what="as many as there are")
    wait_until(lambda: [worker.max_connections > 100 and worker.descriptors > 5 for worker in api.GetStatus().workers] == [True, True],
               what="the report of each worker")
    os.kill(daemon.workers()[0], signal.SIGKILL)
    wait_until(lambda: api.GetStatus().worker_restarts == 1, what="the restart")
    with open(daemon.config_path, encoding="utf-8") as f:
        good = f.read()
    daemon.write_config(good.replace("hello_timeout = 10s", "hello_timeout = never"))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: api.GetStatus().reloads.failed == 1, what="the refused reload")
    reloads = api.GetStatus().reloads
    assert "has 1 error" in reloads.problem and reloads.HasField("last_at") and reloads.succeeded == 0
    assert "was refused: " in run_command("status", "-c", daemon.config_path).stdout
    daemon.write_config(good)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: api.GetStatus().reloads.succeeded == 1, what="the reload")
    reloads = api.GetStatus().reloads
    assert (reloads.failed, reloads.problem) == (1, "")
    said = json.loads(run_command("status", "-c", daemon.config_path, "--json").stdout)
    assert said["worker_restarts"] == 1 and said["reloads"]["succeeded"] == 1 and said["reloads"]["problem"] == ""
