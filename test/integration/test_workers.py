"""Life and death of workers and master: what traffic notices of it."""

import contextlib
import os
import signal
import socket
import time

import pytest

from lib import clients, logs, procfs
from lib.config import Listener
from lib.streams import HELLO, established, is_served
from lib.tries import in_one_of
from lib.waiting import wait_until


def expect_alive(s, text=b"still here"):
    s.sendall(text)
    assert clients.read_exactly(s, len(text)) == text


def wait_for_workers(daemon, count, timeout=10):
    wait_until(lambda: len(daemon.workers()) == count, timeout, f"{count} workers")
    return daemon.workers()


def test_number_of_workers_is_as_configured(proxy, echo):
    daemon = proxy(f"* {echo.address}", server={"workers": 3})
    assert len(wait_for_workers(daemon, 3)) == 3


def test_workers_share_the_connections(proxy, echo):
    daemon = proxy(f"* {echo.address}", server={"workers": 2})
    wait_for_workers(daemon, 2)
    for _ in range(60):
        established(daemon.port).close()
    daemon.wait_for_access(count=60)
    assert len({line["worker"] for line in daemon.access_lines()}) == 2


def test_killed_worker_is_replaced_at_once(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")

    def attempt():  # of five deaths each is answered at once; the master may have to wait for a processor
        victim = wait_for_workers(daemon, 1)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: daemon.workers() and victim not in daemon.workers(), 20, "a new worker")
        established(daemon.port).close()
        died = daemon.wait_for_log(lambda e: e["msg"] == "worker died" and e["pid"] == str(victim))
        started = daemon.wait_for_log(lambda e: e["msg"] == "worker started" and logs.time_of(e) >= logs.time_of(died))
        assert logs.time_of(started) - logs.time_of(died) < 1, "as for a worker that dies again and again"

    in_one_of(4, attempt)


def test_killed_worker_costs_only_its_own_connections(proxy, echo):
    daemon = proxy(f"* {echo.address}", server={"workers": 2})
    victim = wait_for_workers(daemon, 2)[0]
    open_connections = [established(daemon.port) for _ in range(40)]
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: victim not in daemon.workers() and len(daemon.workers()) == 2, what="the replacement")
    alive = 0
    for s in open_connections:
        try:
            expect_alive(s)
            alive += 1
        except (OSError, AssertionError):
            pass
        s.close()
    assert 0 < alive < 40


def test_connections_in_the_queue_of_a_killed_worker_are_served_by_its_replacement(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    victim = wait_for_workers(daemon, 1)[0]
    os.kill(victim, signal.SIGSTOP)
    queued = [clients.connect(daemon.port) for _ in range(20)]
    for s in queued:
        s.sendall(HELLO)
    with contextlib.suppress(ProcessLookupError):  # stood still for so long that the master has killed it
        os.kill(victim, signal.SIGKILL)
    for s in queued:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        s.close()


def test_workers_hold_neither_database_nor_admin_descriptors(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    worker = wait_for_workers(daemon, 1)[0]
    established(daemon.port).close()
    targets = procfs.open_files(worker)
    assert targets and not [t for t in targets if ".db" in t or ".sock" in t or ".pem" in t], targets


# ---- the master's death

def test_killed_master_leaves_running_connections_alone_and_workers_exit_after_them(proxy, echo):
    daemon = proxy(f"* {echo.address}", server={"workers": 2}, proxy={"shutdown_timeout": "30s"})
    workers = wait_for_workers(daemon, 2)
    s = established(daemon.port)
    daemon.kill_master()
    wait_until(lambda: _refuses(daemon.port), 20, "the workers to stop accepting")
    expect_alive(s)
    s.close()
    wait_until(lambda: not any(procfs.is_alive(pid) for pid in workers), 20, "the workers to exit")


def test_new_server_starts_at_once_beside_the_workers_of_a_killed_master(new_daemon, echo, tmp_path):
    listener = Listener(routes=[f"* {echo.address}"])
    first = new_daemon([listener], proxy={"shutdown_timeout": "30s"}).start()
    s = established(first.port)
    orphan = first.workers()[0]
    first.kill_master()
    second = new_daemon([listener], proxy={"shutdown_timeout": "30s"}).start()
    wait_until(lambda: is_served(second.port), 20, "new connections")
    assert procfs.is_alive(orphan), "then it would be no wonder"
    for _ in range(20):
        established(second.port).close()
    expect_alive(s)
    s.close()
    wait_until(lambda: not procfs.is_alive(orphan), 20, "the old worker to exit")
    second.wait_for_access(count=20)


def _refuses(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()  # a SYN that came with the signal is repeated after 1 s
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    except TimeoutError:
        return False


# ---- stopping

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_drains_refuses_new_connections_and_exits_with_0(proxy, echo, number):
    daemon = proxy(f"* {echo.address}", server={"workers": 2}, proxy={"shutdown_timeout": "30s"})
    s = established(daemon.port)
    daemon.signal(number)
    wait_until(lambda: _refuses(daemon.port), 20, "new connections to be refused")
    expect_alive(s)
    assert daemon.is_running()
    s.close()
    assert daemon.wait(20) == 0, "it waits for nothing once the last connection has ended, and not for half a minute"


def test_connections_accepted_by_the_kernel_before_the_stop_are_served(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    burst = [clients.connect(daemon.port) for _ in range(50)]
    daemon.signal(signal.SIGTERM)
    for s in burst:
        s.sendall(HELLO)
    for s in burst:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        s.close()
    assert daemon.wait() == 0


def test_connection_that_comes_when_a_worker_has_closed_its_listener_and_the_master_not_yet_hurts_no_other(proxy, echo):
    """The master's copy of the socket is the same one to the kernel: it goes on being reported to the worker."""
    def attempt():
        daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "30s"})
        worker = wait_for_workers(daemon, 1)[0]
        s = established(daemon.port)
        os.kill(worker, signal.SIGSTOP)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_log(lambda e: "stopping" in e["msg"])
        time.sleep(0.5)  # the stopped worker cannot show when it was told; the heartbeat allows 2 s
        daemon.signal(signal.SIGSTOP)
        is_in_time = procfs.is_alive(worker)
        try:
            if is_in_time:
                os.kill(worker, signal.SIGCONT)
                wait_until(lambda: not _accepts(daemon.port), 20, "the worker to close its listener")
                for _ in range(3):
                    expect_alive(s)
        finally:
            daemon.signal(signal.SIGCONT)
        if is_in_time:
            expect_alive(s)
        s.close()
        daemon.stop()
        os.unlink(os.path.join(daemon.directory, "mc-proxy.db"))
        return is_in_time and not [e for e in daemon.events() if e["msg"] == "worker killed"] and daemon

    # Who is kept waiting for two seconds finds the worker killed, as one that hangs: that says nothing.
    daemon = wait_until(attempt, 60, "a worker that stood still for less than two seconds")
    assert not [e for e in daemon.events() if e["msg"] == "worker died"]


def _accepts(port):
    """Is a connection served, and not only taken by the kernel?"""
    try:
        with clients.connect(port, timeout=0.3) as s:
            s.sendall(HELLO)
            return bool(s.recv(1))
    except TimeoutError:
        return False


def test_connections_that_do_not_end_are_closed_after_shutdown_timeout(proxy, echo):
    daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "1s"})
    s = established(daemon.port)
    assert 0.8 < daemon.seconds_to_end(signal.SIGTERM)
    assert daemon.access_lines()[0]["reason"] == "shutdown"
    s.close()


def test_second_signal_stops_at_once(proxy, echo):
    daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "60s"})
    s = established(daemon.port)
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: _refuses(daemon.port), 20, "draining")
    assert daemon.seconds_to_end(signal.SIGTERM) < 20, "and not a minute"
    s.close()


def test_idle_server_stops_at_once(proxy, echo):
    daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "60s"})
    assert daemon.seconds_to_end(signal.SIGTERM) < 20, "and not a minute"


def test_nothing_is_left_behind_after_a_stop(proxy, echo):
    daemon = proxy(f"* {echo.address}", server={"workers": 2})
    workers = wait_for_workers(daemon, 2)
    daemon.stop()
    assert not [pid for pid in workers if procfs.is_alive(pid)]
    assert daemon.port not in procfs.listening_ports()
