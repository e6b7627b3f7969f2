"""What a worker does when descriptors, memory, local ports or places run out: it says so, refuses what it must, and recovers."""

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from lib import clients, hello, procfs
from lib.backends import EchoBackend
from lib.daemon import is_sanitized
from lib.machine import in_namespaces
from lib.ports import free_port
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")


def ask(daemon, timeout=15):
    """A client that has sent its hello."""
    s = clients.connect(daemon.port, timeout=timeout)
    s.sendall(HELLO)
    return s


def expect_echo(s):
    assert clients.read_exactly(s, len(HELLO)) == HELLO


def expect_service(daemon):
    with ask(daemon) as s:
        expect_echo(s)


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limit_worker(pid, option):
    """Changes a limit of a running worker, which only its own user may do."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        ids = {line.split()[0]: int(line.split()[1]) for line in f if line.startswith(("Uid:", "Gid:"))}
    subprocess.run(["prlimit", "--pid", str(pid), option], user=ids["Uid:"], group=ids["Gid:"], extra_groups=[], check=True)


def test_worker_with_few_descriptors_serves_what_they_suffice_for_and_then_the_queue(proxy, echo):
    daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "30s"})
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (64, 64))
    worker = daemon.replace_worker()
    waiting = [ask(daemon) for _ in range(60)]
    wait_until(lambda: echo.connections >= 16, what="the first connections to be served")
    time.sleep(0.5)
    begun = cpu_seconds(worker)
    time.sleep(1)
    assert cpu_seconds(worker) - begun < 0.3, "a worker that is full spins"
    assert echo.connections == 16
    daemon.wait_for_log(lambda e: "accepting is paused" in e["msg"])
    for s in waiting:
        expect_echo(s)
        s.close()
    daemon.wait_for_access(count=60, reason="finished")


def test_worker_without_descriptors_refuses_and_recovers(proxy, echo):
    """Below the number that it counted with at its start: accept() and socket() fail."""
    daemon = proxy(f"* {echo.address}")
    expect_service(daemon)
    worker = daemon.workers()[0]
    daemon.wait_for_access()
    free = max(procfs.descriptors(worker)) + 1
    limit_worker(worker, f"--nofile={free + 5}:4096")
    held = [ask(daemon) for _ in range(2)]
    for s in held:
        expect_echo(s)
    refused = ask(daemon)  # its own descriptor is the last one
    with pytest.raises(ConnectionResetError):
        refused.recv(1)
    daemon.wait_for_access(reason="no_descriptors")
    limit_worker(worker, f"--nofile={free + 4}:4096")
    waiting = ask(daemon)
    begun = cpu_seconds(worker)
    time.sleep(1)
    assert cpu_seconds(worker) - begun < 0.3, "a worker without descriptors spins"
    limit_worker(worker, "--nofile=4096:4096")
    for s in (waiting, ask(daemon)):
        expect_echo(s)
        s.close()
    for s in held:
        s.close()


@pytest.mark.skipif(is_sanitized(), reason="the sanitizers' allocator has limits of its own")
def test_worker_without_memory_refuses_and_recovers(proxy, echo):
    daemon = proxy(f"* {echo.address}", proxy={"hello_timeout": "60s"})
    expect_service(daemon)
    worker = daemon.workers()[0]
    with open(f"/proc/{worker}/status", encoding="ascii") as f:
        used = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmData:"))
    limit_worker(worker, f"--data={used + (1 << 20)}:{used + (64 << 20)}")
    large = hello.client_hello(b"www.example.com", size=16000)
    held = [clients.connect(daemon.port) for _ in range(400)]
    for s in held:
        s.sendall(large[:12000])
    lines = wait_until(lambda: daemon.access_lines(reason="no_memory"), what="the memory to be used up")
    assert lines[0]["sni"] == ""
    assert daemon.workers() == [worker]
    for s in held:
        s.close()
    expect_service(daemon)
    limit_worker(worker, f"--data={used + (64 << 20)}:{used + (64 << 20)}")
    expect_service(daemon)
    assert daemon.workers() == [worker]


def test_unix_backend_with_a_full_queue_is_waited_for(proxy, open_dir):
    path = os.path.join(open_dir, "backend.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    os.chmod(path, 0o777)
    listener.listen(1)
    listener.settimeout(20)
    daemon = proxy(f"* unix:{path}", proxy={"connect_timeout": "7s"})
    waiting = [ask(daemon) for _ in range(10)]
    time.sleep(0.5)
    served = []
    for _ in range(4):
        connection, _ = listener.accept()
        served.append(connection)
        assert clients.read_exactly(connection, len(HELLO)) == HELLO
        time.sleep(0.25)
    daemon.wait_for_access(count=4, reason="backend_timeout")
    for s in waiting + served + [listener]:
        s.close()


def test_alert_reaches_a_client_that_goes_on_sending(proxy):
    daemon = proxy(listener={"no_route": "alert"})
    for more in (1, 60000, 100000):
        s = ask(daemon)
        s.sendall(b"e" * more)
        time.sleep(0.1)
        s.sendall(b"e")
        assert clients.read_all(s) == b"\x15\x03\x03\0\x02\x02\x70"
        s.close()
    daemon.wait_for_access(count=3, reason="no_route")
    with ask(daemon) as s:  # without end: it gets a reset in the end, and is not listened to for ever
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            for _ in range(100):
                s.sendall(b"e" * 65536)
    daemon.wait_for_access(count=4, reason="no_route")


def test_drain_ends_with_the_time_outs_of_every_step(proxy, echo):
    """Connections that say nothing, or half of it, do not hold up a stop for longer than their own time-out."""
    daemon = proxy(f"* {echo.address}", listener={"proxy_protocol": "required"},
                   proxy={"hello_timeout": "1s", "shutdown_timeout": "30s"})
    silent = clients.connect(daemon.port)
    header_only = clients.connect(daemon.port)
    header_only.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n")
    half = clients.connect(daemon.port)
    half.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + HELLO[:50])
    time.sleep(0.2)
    daemon.signal(signal.SIGTERM)
    begun = time.monotonic()
    assert daemon.wait() == 0
    assert time.monotonic() - begun < 20  # and not the 30 s of shutdown_timeout
    reasons = sorted(line["reason"] for line in daemon.access_lines())
    assert reasons == ["hello_timeout", "hello_timeout", "proxy_timeout"]
    for s in (silent, header_only, half):
        s.close()


def test_max_connections_holds_over_all_workers(proxy, echo):
    daemon = proxy(f"* {echo.address}", listener={"max_connections": "10"}, server={"workers": 3})
    for turn in range(1, 6):
        tried = [ask(daemon) for _ in range(40)]
        served = []
        for s in tried:
            try:
                expect_echo(s)
                served.append(s)
            except (ConnectionResetError, AssertionError):
                s.close()
        assert len(served) == 10
        for s in served:
            s.close()
        daemon.wait_for_access(count=10 * turn, reason="finished")
    daemon.wait_for_access(count=200)


# ---- local ports: in a network namespace of its own, where there are four

INSIDE = "TEST_INSIDE_A_NAMESPACE"


@in_namespaces
@pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip")
@pytest.mark.skipif(INSIDE in os.environ, reason="runs the other one")
def test_no_local_port_left_is_a_reset():
    script = ("ip link set lo up && echo 40000 40003 >/proc/sys/net/ipv4/ip_local_port_range && "
              'exec "$0" -m pytest -q -x -p no:cacheprovider "$1" -k inside_')
    done = subprocess.run(["unshare", "-n", "sh", "-c", script, sys.executable, os.path.abspath(__file__)], timeout=250, text=True,
                          env={**os.environ, INSIDE: "1"}, capture_output=True, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(INSIDE not in os.environ, reason="run by test_no_local_port_left_is_a_reset")
def test_inside_a_namespace_of_four_ports(proxy, backend):
    server = backend(EchoBackend)
    daemon = proxy(f"* {server.address}")
    held = [ask_from_a_port_of_its_own(daemon) for _ in range(4)]
    for s in held:
        expect_echo(s)
    clients.expect_reset(ask_from_a_port_of_its_own(daemon))
    daemon.wait_for_access(reason="no_ports")
    server.close()
    for s in held:
        s.close()
    assert daemon.workers()


def ask_from_a_port_of_its_own(daemon):
    """The client's port is not one of the four."""
    s = socket.create_connection(("127.0.0.1", daemon.port), 15, ("127.0.0.1", free_port()))
    s.sendall(HELLO)
    return s
