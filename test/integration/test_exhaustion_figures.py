"""
Figures of bad days: what is refused, what goes on, what it costs meanwhile and how soon it is over. Each test prints a row of the table
in docs/reliability.md. EXHAUSTION=10000 makes the floods as large as those of the table; by itself they suit every day.
"""

import os
import resource
import selectors
import shutil
import socket
import subprocess
import time

import grpc
import pytest

from lib import clients, figures, hello, procfs
from lib.backends import Backend, EchoBackend, read_hello
from lib.config import Listener
from lib.daemon import is_sanitized
from lib.disk import on_a_full_disk
from lib.machine import in_namespaces
from lib.steady import Steady
from lib.waiting import wait_until
from test_exhaustion import limit_worker

HELLO = hello.client_hello(b"www.example.com")
WATCHED = 2  # seconds at the limit


@pytest.fixture(autouse=True)
def many_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def recovery(port, timeout=30):
    """Seconds until a new client is served."""
    begun = time.monotonic()
    wait_until(lambda: clients.enters(port, HELLO), timeout, "service")
    return time.monotonic() - begun


def said(milliseconds):
    return f"{milliseconds * 1000:.0f} ms"


def median(times):
    return times[len(times) // 2]


def test_descriptors(proxy, echo):
    """64 of them: 16 connections, and the rest waits in the kernel's queue."""
    daemon = proxy(f"* {echo.address}")
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (64, 64))
    worker = daemon.replace_worker()
    held = []
    for _ in range(60):
        held.append(clients.connect(daemon.port))
        held[-1].sendall(HELLO)
    wait_until(lambda: echo.connections == 16, what="all that fit")
    with figures.Cpu(worker) as cpu:
        time.sleep(WATCHED)
    assert echo.connections == 16 and cpu.percent < 15
    for s in held[:16]:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        s.close()
    begun = time.monotonic()
    assert clients.read_exactly(held[16], len(HELLO)) == HELLO
    took = time.monotonic() - begun
    for s in held[16:]:
        s.close()
    figures.row("descriptors: `RLIMIT_NOFILE` 64, 60 connections", "nothing: 44 wait in the queue", "the 16 that fit",
                f"{cpu.percent:.1f} %", said(took))


def test_silent_connections(proxy):
    """From 250 networks, then from one; a steady stream of visitors from elsewhere."""
    count = figures.size(600)
    cap = count // 10
    with Steady(50) as traffic:
        daemon = proxy(f"* {traffic.address}", proxy={"hello_timeout": "1h", "max_pending_hellos": cap},
                       log={"level": "info", "rejected_per_second": 0})
        worker = daemon.workers()[0]
        traffic.aim(daemon.port)
        traffic.phase("before")
        time.sleep(WATCHED)
        traffic.phase("flood")
        silent = []
        with figures.Cpu(worker) as cpu:
            for i in range(count):
                silent.append(clients.connect(daemon.port, source=f"127.{1 + i % 2}.{i // 4 % 250 if i % 2 else 0}.{1 + i % 200}"))
            wait_until(lambda: len(daemon.access_lines(reason="hello_evicted")) >= count - cap - 60, 60, "most to go")
        traffic.phase("after")
        took = recovery(daemon.port)
        times = traffic.finish()  # and not one has failed
    for s in silent:
        s.close()
    assert procfs.is_alive(worker)
    figures.row(f"hellos: {count} silent connections, `max_pending_hellos` {cap}", "those that have been silent longest, a RST each",
                f"{len(times['flood'])} visitors meanwhile, all served; median {1000 * median(times['flood']):.1f} ms (before: "
                f"{1000 * median(times['before']):.1f} ms)", f"{cpu.seconds * 1e6 / count:.0f} us per silent connection", said(took))


class Flowing(Backend):
    """Sends to all for ever, as much as each takes, in one thread. The hello of each is read first."""

    def __init__(self):
        self._selector = selectors.DefaultSelector()
        self._stopped = False
        super().__init__()

    def _accept(self):
        block = b"x" * 262144
        self._listener.setblocking(False)
        self._selector.register(self._listener, selectors.EVENT_READ)
        while not self._stopped:
            for key, _ in self._selector.select(0.2):
                if key.fileobj is self._listener:
                    self._take()
                    continue
                try:
                    key.fileobj.send(block)
                except BlockingIOError:
                    pass
                except OSError:
                    self._selector.unregister(key.fileobj)
                    key.fileobj.close()

    def _take(self):
        try:
            connection, _ = self._listener.accept()
            read_hello(connection, len(HELLO))
        except (BlockingIOError, ConnectionError):
            return
        self.connections += 1
        connection.setblocking(False)
        self._selector.register(connection, selectors.EVENT_WRITE)

    def close(self):
        self._stopped = True


@pytest.mark.skipif(is_sanitized(), reason="memory of the shipped binary")
def test_slow_readers(new_daemon, backend):
    count = figures.size(300) // 2
    flowing, quick = backend(Flowing), backend(EchoBackend)
    listener = Listener(routes=[f"slow.example.com {flowing.address}", f"* {quick.address}"])
    daemon = new_daemon([listener], proxy={"idle_timeout": "1h"}).start()
    worker = daemon.workers()[0]
    assert clients.enters(listener.port, HELLO)
    before = procfs.rss_bytes(worker)
    slow_hello = hello.client_hello(b"slow.example.com")
    readers = []
    for _ in range(count):
        readers.append(clients.connect(listener.port, receive_buffer=4096))
        readers[-1].sendall(slow_hello)
    wait_until(lambda: flowing.connections == count, 60, "all to be connected")
    settled = [0]

    def is_settled():
        last, settled[0] = settled[0], figures.cpu_seconds(worker)
        return settled[0] - last < 0.002
    wait_until(is_settled, 60, "all buffers to be full", interval=0.3)
    each = (procfs.rss_bytes(worker) - before) / count
    with figures.Cpu(worker) as cpu:
        time.sleep(WATCHED)
        served = sum(clients.enters(listener.port, HELLO) for _ in range(50))
    assert served == 50 and each < 300_000
    for s in readers:
        s.close()
    took = recovery(listener.port)
    figures.row(f"readers: {count} that never read from a backend that never stops", "nothing",
                f"all others; {each / 1024:.0f} KiB of the worker's memory for each", f"{cpu.percent:.1f} %", said(took))


@pytest.mark.skipif(is_sanitized(), reason="the sanitizers' allocator has limits of its own")
def test_memory(proxy, echo):
    """The worker's data may not grow: its own limit, as a control group is not to be had everywhere."""
    daemon = proxy(f"* {echo.address}", proxy={"hello_timeout": "60s", "max_pending_hellos": 0})
    assert clients.enters(daemon.port, HELLO)
    established = clients.connect(daemon.port)
    established.sendall(HELLO)
    assert clients.read_exactly(established, len(HELLO)) == HELLO
    worker = daemon.workers()[0]
    with open(f"/proc/{worker}/status", encoding="ascii") as f:
        used = next(int(line.split()[1]) * 1024 for line in f if line.startswith("VmData:"))
    limit_worker(worker, f"--data={used + (1 << 20)}:{used + (1 << 20)}")
    large = hello.client_hello(b"www.example.com", size=16000)
    held = [clients.connect(daemon.port) for _ in range(figures.size(400) if figures.size(400) < 2000 else 2000)]
    with figures.Cpu(worker) as cpu:
        for s in held:
            try:
                s.sendall(large[:12000])
            except OSError:
                pass
        wait_until(lambda: daemon.access_lines(reason="no_memory"), what="the memory to be used up")
        time.sleep(WATCHED)
    refused = len(daemon.access_lines(reason="no_memory"))
    established.sendall(b"still here")
    assert clients.read_exactly(established, 10) == b"still here"
    for s in held:
        s.close()
    took = recovery(daemon.port)
    assert daemon.workers() == [worker]
    figures.row(f"memory: 1 MiB left (`RLIMIT_DATA`), {len(held)} hellos of 16 KB that stop at 12",
                f"{refused} that it did not suffice for, RST (`no_memory`)", "connections that exist; the worker lives", f"{cpu.percent:.1f} %",
                said(took))
    established.close()


CGROUP = "/sys/fs/cgroup/memory"


@pytest.fixture
def memory_group():
    path = f"{CGROUP}/mc-proxy-test-{os.getpid()}"
    if not os.path.exists(f"{CGROUP}/memory.limit_in_bytes"):
        pytest.skip("no memory controller of control groups, version 1, to write to")
    try:
        os.mkdir(path)
    except OSError as error:
        pytest.skip(f"no control group may be made: {error}")
    yield path
    wait_until(lambda: not open(f"{path}/cgroup.procs", encoding="ascii").read(), 20, "the group to be empty")
    os.rmdir(path)


@pytest.mark.skipif(is_sanitized(), reason="the sanitizers' allocator has limits of its own")
def test_memory_of_a_control_group(proxy, echo, memory_group):
    """The kernel kills the process that has most, a worker; the master replaces it."""
    daemon = proxy(f"* {echo.address}", proxy={"hello_timeout": "60s", "max_pending_hellos": 0})
    victim = daemon.replace_worker()
    with open(f"{memory_group}/memory.limit_in_bytes", "w", encoding="ascii") as f:
        f.write(str(64 << 20))
    for pid in (daemon.pid, victim):
        with open(f"{memory_group}/cgroup.procs", "w", encoding="ascii") as f:
            f.write(str(pid))
    large = hello.hello_of_wire_size(65000)
    held = []
    with figures.Cpu(daemon.pid):
        for _ in range(2000):
            if not procfs.is_alive(victim):
                break
            held.append(clients.connect(daemon.port))
            try:
                held[-1].sendall(large[:64000])
            except OSError:
                pass
    begun = time.monotonic()
    for s in held:
        s.close()
    if procfs.is_alive(victim):
        pytest.skip("the group's limit did not end the worker")
    wait_until(lambda: daemon.workers() and victim not in daemon.workers(), what="a new worker")
    took = recovery(daemon.port) + time.monotonic() - begun
    assert procfs.is_alive(daemon.pid)
    figures.row("memory: a control group of 64 MiB, hellos of 64 KB that stop before the end, no cap on them",
                f"after {len(held)} the kernel kills the worker, and with it its connections", "the master, and new connections", "-", said(took))
    daemon.expects_failure = True
    daemon.stop()


@in_namespaces
def test_disk(new_daemon, admin, echo, tmp_path):
    listener = Listener(routes=[f"* {echo.address}"])
    daemon, filler = on_a_full_disk(new_daemon, listener, tmp_path)
    api = admin(f"unix:{tmp_path}/admin.sock")
    worker = daemon.workers()[0]
    with figures.Cpu(worker) as cpu:
        slowest, number = 0, 0
        with pytest.raises(grpc.RpcError) as refused:
            while number < 5000:
                number += 1
                begun = time.monotonic()
                api.add(listener.addr, f"h{number}.example.com", echo.address)
        slowest = time.monotonic() - begun
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        served = sum(clients.enters(listener.port, HELLO) for _ in range(100))
    assert served == 100 and slowest < 10
    os.unlink(filler)
    begun = time.monotonic()
    assert api.add(listener.addr, "again.example.com", echo.address) is True
    figures.row("disk: full", f"changes: UNAVAILABLE, after {slowest * 1000:.0f} ms", "all traffic: 100 of 100", f"{cpu.percent:.1f} %",
                f"{1000 * (time.monotonic() - begun):.0f} ms, the next change")


# ---- local ports, in a network namespace of its own

INSIDE = "TEST_INSIDE_A_NAMESPACE"
inside = pytest.mark.skipif(INSIDE not in os.environ, reason="run by test_ports")


@in_namespaces
@pytest.mark.skipif(shutil.which("ip") is None or INSIDE in os.environ, reason="needs ip; runs the other one")
def test_ports():
    script = ("ip link set lo up && echo 40000 40099 >/proc/sys/net/ipv4/ip_local_port_range && "
              'exec python3 -m pytest -q -s -x -p no:cacheprovider "$0" -k inside_')
    done = subprocess.run(["unshare", "-n", "sh", "-c", script.replace("python3", "/usr/bin/python3"), os.path.abspath(__file__)],
                          timeout=280, text=True, env={**os.environ, INSIDE: "1"}, capture_output=True, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr
    print(done.stdout)


@inside
def test_inside_a_namespace_of_a_hundred_ports(proxy, echo):
    ports = iter(range(50000, 60000))  # of the clients, whose own are neither among the hundred nor what free_port() gives

    def ask(answered=True):
        s = socket.create_connection(("127.0.0.1", daemon.port), 15, ("127.0.0.1", next(ports)))
        s.sendall(HELLO)
        if answered:
            assert clients.read_exactly(s, len(HELLO)) == HELLO
        return s
    daemon = proxy(f"* {echo.address}")
    held = [ask() for _ in range(100)]
    with figures.Cpu(daemon.workers()[0]) as cpu:
        for _ in range(200):
            clients.expect_reset(ask(answered=False))
    held[0].sendall(b"still here")
    assert clients.read_exactly(held[0], 10) == b"still here"
    daemon.wait_for_access(count=200, reason="no_ports")
    held.pop().shutdown(socket.SHUT_RDWR)
    begun = time.monotonic()
    free = [None]

    def is_served():
        s = ask(answered=False)
        try:
            free[0] = clients.read_exactly(s, len(HELLO))
        except OSError:
            pass
        s.close()
        return free[0]
    try:
        wait_until(is_served, 70, "a port", interval=0.2)
        took = said(time.monotonic() - begun)
    except AssertionError:
        took = "-"
    for s in held:
        s.close()
    figures.row("local ports: all 100 to the one backend in use", "new connections, RST (`no_ports`)", "the 100 that exist",
                f"{cpu.seconds * 1e6 / 200:.0f} us per refused connection", took)
