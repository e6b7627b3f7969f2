"""What systemd is told: readiness, reloads, the stop, status and watchdog, by a stand-in for its socket."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from lib import clients, procfs
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import BINARY, environment
from lib.manager import Manager
from lib.streams import established
from lib.waiting import wait_until


@pytest.fixture
def manager(tmp_path):
    made = []

    def make(**kwargs):
        made.append(Manager(tmp_path, **kwargs))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def start(new_daemon, backend):
    """start(manager, **sections): a daemon that tells this manager, with one listener that routes to an echo."""
    def make(manager, env=None, **sections):
        listener = Listener([f"* {backend(EchoBackend).address}"])
        return new_daemon([listener], env={**manager.env, **(env or {})}, **sections).start()

    return make


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_ready_comes_once_when_every_worker_serves(manager, start, kind):
    systemd = manager(kind=kind)
    daemon = start(systemd, server={"workers": 2})
    ready = systemd.wait_for("READY")
    assert ready["READY"] == "1"
    assert int(ready["MAINPID"]) == daemon.pid == ready.pid
    assert ready["STATUS"] == "2 workers, 1 listener, 0 connections"
    first = systemd.messages()[0]
    assert first["STATUS"] == "starting" and int(first["EXTEND_TIMEOUT_USEC"]) >= 60_000_000
    os.kill(daemon.workers()[0], signal.SIGKILL)
    wait_until(lambda: len([e for e in daemon.events() if e["msg"] == "worker ready"]) == 3, what="the replacement")
    time.sleep(0.3)
    assert len(systemd.messages("READY")) == 1


def test_a_start_that_fails_says_nothing_of_readiness(manager, new_daemon):
    systemd = manager()
    with clients.socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = new_daemon([Listener(["* 127.0.0.1:1"], port=taken.getsockname()[1])], env=systemd.env)
        daemon.expects_failure = True
        assert daemon.launch().wait() == 1
    assert not systemd.messages("READY")


def test_status_follows_the_connections(manager, start):
    systemd = manager()
    daemon = start(systemd)
    systemd.wait_for("READY")
    with established(daemon.port), established(daemon.port):
        systemd.wait_for(STATUS="1 worker, 1 listener, 2 connections")
    systemd.wait_for(STATUS="1 worker, 1 listener, 0 connections", count=1)
    time.sleep(3.5)
    said = [m["STATUS"] for m in systemd.messages("STATUS")]
    assert all(a != b for a, b in zip(said, said[1:])), "nothing is told twice"


def test_each_reload_is_reloading_with_its_time_and_then_ready(manager, start):
    systemd = manager()
    daemon = start(systemd)
    systemd.wait_for("READY")
    good = config_text(daemon.directory, daemon.listeners, server={"workers": 2})
    for text, problem in ((good, ""), ("[bad", "; the last reload failed: "), (good, "")):
        ready, reloading = len(systemd.messages("READY")), len(systemd.messages("RELOADING"))
        daemon.write_config(text)
        before = time.monotonic_ns() // 1000
        daemon.signal(signal.SIGHUP)
        answer = systemd.wait_for("READY", count=ready + 1)
        begin = systemd.wait_for("RELOADING", count=reloading + 1)
        assert before <= int(begin["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
        assert begin.time <= answer.time
        assert problem in answer["STATUS"] and bool(problem) == ("failed" in answer["STATUS"]), answer
    time.sleep(1.5)
    assert len(systemd.messages("READY")) == len(systemd.messages("RELOADING")) + 1


def test_the_log_has_what_is_told(tmp_path):
    """Standard error is a file, so what has been written can be seen without waiting for anybody to read it."""
    path, config = str(tmp_path / "told.sock"), tmp_path / "mc-proxy.ini"
    config.write_text(config_text(str(tmp_path), [Listener(["* 127.0.0.1:1"])]))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, open(tmp_path / "log", "w+", encoding="utf-8") as log:
        told.bind(path)
        told.settimeout(15)
        with subprocess.Popen([BINARY, "server", "-c", str(config)], cwd=tmp_path, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=log, env=environment({"NOTIFY_SOCKET": path})) as process:
            def log_at(word):
                while word not in told.recv(8192):
                    pass
                with open(log.name, encoding="utf-8") as f:
                    return f.read()

            try:
                assert 'msg="server is ready"' in log_at(b"READY=1")
                for turn in range(1, 6):
                    config.write_text("[bad")
                    process.send_signal(signal.SIGHUP)
                    assert log_at(b"READY=1").count('msg="not reloaded') == turn
                process.terminate()
                assert 'msg="stopping' in log_at(b"STOPPING=1")
            finally:
                process.terminate()
                assert process.wait(20) == 0


def test_a_refused_reload_holds_no_address_when_it_is_told(new_daemon, tmp_path):
    path = str(tmp_path / "told.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, clients.socket.create_server(("127.0.0.1", 0)) as taken:
        told.bind(path)
        told.settimeout(15)
        daemon = new_daemon([Listener(["* 127.0.0.1:1"])], env={"NOTIFY_SOCKET": path}).start()
        in_vain = [Listener(["* 127.0.0.1:1"], name=f"vain{i}") for i in range(20)]
        last = Listener(["* 127.0.0.1:1"], name="taken", port=taken.getsockname()[1])
        daemon.write_config(config_text(daemon.directory, [*daemon.listeners, *in_vain, last]))
        for begin in (b"READY=1", b"RELOADING=1"):
            while begin not in told.recv(8192):
                pass
            if begin == b"READY=1":
                daemon.signal(signal.SIGHUP)
        while b"the last reload failed" not in told.recv(8192):
            pass
        assert not {listener.port for listener in in_vain} & procfs.listening_ports()


def test_stopping_counts_what_is_left_and_asks_for_time(manager, start):
    systemd = manager()
    daemon = start(systemd, proxy={"shutdown_timeout": "30s"})
    systemd.wait_for("READY")
    first, second = established(daemon.port), established(daemon.port)
    daemon.signal(signal.SIGTERM)
    stopping = systemd.wait_for("STOPPING")
    assert stopping["STATUS"] == "stopping, 2 connections left"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) >= 2_000_000
    first.close()
    systemd.wait_for(STATUS="stopping, 1 connection left")
    told = len(systemd.messages("EXTEND_TIMEOUT_USEC"))
    systemd.wait_for("EXTEND_TIMEOUT_USEC", count=told + 2)
    second.close()
    assert daemon.wait() == 0


def test_watchdog_is_fed_at_a_third_of_its_time(manager, start):
    systemd = manager(watchdog_s=0.6)
    daemon = start(systemd)
    systemd.wait_for("READY")
    fed = systemd.wait_for("WATCHDOG", count=2)

    def is_as_often_as_that():  # in one of some tries: on a busy machine the daemon may be late, and so may we
        count = len(systemd.messages("WATCHDOG"))
        time.sleep(2)
        return 7 <= len(systemd.messages("WATCHDOG")) - count <= 11

    wait_until(is_as_often_as_that, 20, "ten times in two seconds")
    assert fed["WATCHDOG"] == "1"
    with established(daemon.port):
        daemon.signal(signal.SIGTERM)
        systemd.wait_for("STOPPING")
        count = len(systemd.messages("WATCHDOG"))
        systemd.wait_for("WATCHDOG", count=count + 2)
    assert daemon.wait() == 0


def test_watchdog_of_another_process_is_not_ours(manager, start):
    systemd = manager(watchdog_s=0.3)
    start(systemd, env={"WATCHDOG_PID": "1"})
    systemd.wait_for("READY")
    time.sleep(0.7)
    assert not systemd.messages("WATCHDOG")


_STOPPER = """
import os, signal, sys, time
master, good, parent = map(int, sys.argv[1:])
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))  # a worker is born within milliseconds
except OSError:
    pass
while os.getppid() == parent:
    with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as f:
        pids = {int(pid) for pid in f.read().split()}
    for pid in pids - {good}:
        try:
            os.kill(pid, signal.SIGSTOP)
        except ProcessLookupError:
            pass
    time.sleep(0.0005)
"""


@contextlib.contextmanager
def all_stopped_but(daemon, good):
    """Every worker but one stands still, and whoever replaces it, as soon as it is born. They go on at the end."""
    stopper = subprocess.Popen([sys.executable, "-c", _STOPPER, str(daemon.pid), str(good), str(os.getpid())])
    try:
        yield
        assert stopper.poll() is None
    finally:
        stopper.kill()
        stopper.wait()
    for pid in daemon.workers():
        with contextlib.suppress(ProcessLookupError):  # killed, as it hung
            os.kill(pid, signal.SIGCONT)


def test_watchdog_starves_when_a_worker_does_not_answer_and_cannot_be_replaced(manager, start):
    """One that is replaced in time is no reason; one slot in which nobody comes to life for 15 s is."""
    systemd = manager(watchdog_s=0.9)
    daemon = start(systemd, server={"workers": 2})
    systemd.wait_for("READY")
    begun = time.monotonic()
    with all_stopped_but(daemon, daemon.workers()[0]):
        daemon.wait_for_log(lambda e: "watchdog is not fed" in e["msg"], timeout=120)  # one that is stopped too late begins it anew
        assert time.monotonic() - begun > 10, "a replacement within its time is tolerated"

        def starves():
            count = len(systemd.messages("WATCHDOG"))
            time.sleep(1.5)
            return len(systemd.messages("WATCHDOG")) == count

        wait_until(starves, 60, "silence")
        wait_until(lambda: "a worker does not answer" in systemd.status(), 60, "the status")
        count = len(systemd.messages("WATCHDOG"))
    systemd.wait_for("WATCHDOG", count=count + 2, timeout=30)


def test_workers_never_see_the_managers_socket(manager, start):
    systemd = manager(watchdog_s=5)
    daemon = start(systemd)
    systemd.wait_for("READY")  # a worker that was only just forked has its master's
    for pid in daemon.workers():
        with open(f"/proc/{pid}/environ", "rb") as f:
            assert b"NOTIFY" not in f.read()
    with open(f"/proc/{daemon.pid}/environ", "rb") as f:
        assert b"NOTIFY_SOCKET" in f.read(), "the test looks at something"
    assert procfs.is_alive(daemon.pid)


def test_a_manager_that_went_away_stops_nothing(manager, start):
    systemd = manager()
    daemon = start(systemd)
    systemd.wait_for("READY")
    systemd.close()
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
    established(daemon.port).close()
