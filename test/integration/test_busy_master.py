"""
Long work of the master on its database: workers that die or hang meanwhile are replaced before it ends, the watchdog is fed, and the work
ends as it should. Asserted by the order of the log and of what clients see, never by a time.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import threading

import pytest

from lib.admin import put
from lib.config import Listener
from lib.machine import require_ptrace
from lib.manager import Manager
from lib.streams import is_served
from lib.tries import in_one_of
from lib.waiting import wait_until

MANY = 200000  # more than a second of SQLite's work
SOME = 3000  # enough to be written aside
TRIES = 4  # a test that gets no processor may find the work done


class Call(threading.Thread):
    """A call beside the test; result() is its answer, or raises what it raised."""

    def __init__(self, call):
        super().__init__(daemon=True)
        self._call = call
        self._outcome = None
        self.start()

    def run(self):
        try:
            self._outcome = (self._call(), None)
        except Exception as error:  # pylint: disable=broad-exception-caught
            self._outcome = (None, error)

    def is_over(self):
        return not self.is_alive()

    def result(self):
        self.join(120)
        answer, error = self._outcome
        if error is not None:
            raise error
        return answer


@contextlib.contextmanager
def slow_disk(pid, seconds):
    """Every sync of this process, and of its threads, takes this long; a snapshot has seven, most of them SQLite's own."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    require_ptrace()
    calls = "fsync,fdatasync"
    tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "signal=none", "-o", os.devnull, "-e", f"trace={calls}", "-e",
                               f"inject={calls}:delay_enter={int(seconds * 1e6)}", "-p", str(pid)], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: _is_traced(pid), 10, "strace")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)


def _is_traced(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return not any(line.split() == ["TracerPid:", "0"] for line in f)


def replaced_before(daemon, victim, slot, end):
    """Was the victim's successor started before the log has the line `end`?"""
    wait_until(lambda: any(e["msg"] == end for e in daemon.events()), 120, end)
    events = daemon.events()
    died = next((i for i, e in enumerate(events) if e["msg"] == "worker died" and e["pid"] == str(victim)), len(events))
    started = next((i for i, e in enumerate(events) if i > died and e["msg"] == "worker started" and e["worker"] == slot), len(events))
    return started < max(i for i, e in enumerate(events) if e["msg"] == end)


def puts(addr, backend, count):
    return [put(addr, f"h{i}.example.com", backend) for i in range(count)]


def last_write(folder):
    """When the -wal was written last: by a transaction that does not fit into memory, or by its commit."""
    return os.stat(os.path.join(folder, "mc-proxy.db-wal")).st_mtime_ns


def snapshots(folder):
    path = os.path.join(folder, "backups")
    return os.listdir(path) if os.path.exists(path) else []


@pytest.fixture
def served(managed, echo):
    """A ready daemon with a listener whose default route is the echo: (daemon, api, listener)."""
    listener = Listener(routes=[f"* {echo.address}"])
    daemon, api = managed([listener], workers=1)
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
    return daemon, api, listener


@pytest.mark.parametrize("only", [False, True], ids=["made", "validated"])
def test_a_worker_that_dies_during_a_large_list_of_changes_is_replaced_before_it_ends(served, tmp_path, only):
    daemon, api, listener = served
    backends = (f"10.0.0.{i}:1" for i in itertools.count(1))

    def attempt():
        victim, before = daemon.workers()[0], last_write(tmp_path)
        changes = puts(listener.addr, next(backends), MANY)
        messages = [{"changes": changes[i:i + 20000], "validate_only": only} for i in range(0, MANY, 20000)]
        call = Call(lambda: api.apply(*messages, timeout=120))
        wait_until(lambda: last_write(tmp_path) > before, 60, "the changes to be under way", interval=0.001)
        os.kill(victim, signal.SIGKILL)
        has_served = is_served(daemon.port)  # its successor
        was_over = call.is_over()
        answer = call.result()
        assert answer.routes_added + answer.routes_replaced == MANY
        assert has_served and not was_over
        assert only or replaced_before(daemon, victim, "0", "changes applied")

    in_one_of(TRIES, attempt)
    assert is_served(daemon.port)
    assert len(api.routes(listener.addr)) == (1 if only else MANY + 1)


@pytest.mark.parametrize("work", ["snapshot", "changes"])
def test_a_worker_that_dies_while_the_disk_is_slow_is_replaced_before_it_has_synced(served, tmp_path, work):
    daemon, api, listener = served
    backends = (f"10.0.0.{i}:1" for i in itertools.count(1))

    def begin():
        before = last_write(tmp_path), len(snapshots(tmp_path))
        if work == "snapshot":
            call = Call(lambda: api.Snapshot(timeout=60))
            wait_until(lambda: len(snapshots(tmp_path)) > before[1], 30, "the snapshot to be under way")
        else:
            call = Call(lambda: api.apply({"changes": puts(listener.addr, next(backends), SOME)}))
            wait_until(lambda: last_write(tmp_path) > before[0], 30, "the changes to be written")
        return call

    def attempt():
        victim = daemon.workers()[0]
        with slow_disk(daemon.pid, 0.4):
            call = begin()
            os.kill(victim, signal.SIGKILL)
            call.result()
        wait_until(lambda: daemon.workers() not in ([], [victim]) and is_served(daemon.port), what="its successor")
        assert replaced_before(daemon, victim, "0", "snapshot written" if work == "snapshot" else "changes applied")

    in_one_of(TRIES, attempt)
    assert len(api.routes(listener.addr)) == (1 if work == "snapshot" else SOME + 1)


def test_a_worker_that_hangs_while_the_disk_is_slow_is_replaced_before_it_has_synced(served, tmp_path):
    daemon, api, _ = served

    def attempt():
        victim, before = daemon.workers()[0], len(snapshots(tmp_path))
        with slow_disk(daemon.pid, 1):
            call = Call(lambda: api.Snapshot(timeout=60))
            wait_until(lambda: len(snapshots(tmp_path)) > before, 30, "the snapshot to be under way")
            os.kill(victim, signal.SIGSTOP)
            call.result()
        wait_until(lambda: daemon.workers() not in ([], [victim]) and is_served(daemon.port), what="its successor")
        assert replaced_before(daemon, victim, "0", "snapshot written")

    in_one_of(TRIES, attempt)


def test_the_watchdog_is_fed_while_the_disk_is_slow(new_daemon, admin, echo, tmp_path):
    systemd = Manager(tmp_path, watchdog_s=0.6)
    listener = Listener(routes=[f"* {echo.address}"])
    daemon = new_daemon([listener], env=systemd.env, grpc={"addr": f"unix:{tmp_path}/admin.sock"}).start()

    def attempt():
        before = len(snapshots(tmp_path))
        with slow_disk(daemon.pid, 0.5):
            call = Call(lambda: api.Snapshot(timeout=60))
            wait_until(lambda: len(snapshots(tmp_path)) > before, 30, "the snapshot to be under way")
            fed = len(systemd.messages("WATCHDOG"))
            wait_until(lambda: len(systemd.messages("WATCHDOG")) >= fed + 4 or call.is_over(), 30, "the watchdog's food")
            was_over = call.is_over()
            call.result()
        assert not was_over

    try:
        systemd.wait_for("READY")
        api = admin(f"unix:{tmp_path}/admin.sock")
        in_one_of(TRIES, attempt)
        daemon.stop()
    finally:
        systemd.close()


def test_a_stop_and_a_reload_in_the_middle_come_after_it(served, tmp_path):
    daemon, api, _ = served
    with slow_disk(daemon.pid, 0.4):
        call = Call(lambda: api.Snapshot(timeout=60))
        wait_until(lambda: snapshots(tmp_path), 30, "the snapshot to be under way")
        victim = daemon.workers()[0]
        os.kill(victim, signal.SIGKILL)
        daemon.signal(signal.SIGHUP)
        path = call.result().path
        daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
        call = Call(lambda: api.Snapshot(timeout=60))
        wait_until(lambda: len(snapshots(tmp_path)) == 2, 30, "the next one to be under way")
        daemon.signal(signal.SIGTERM)
        assert call.result().path != path
    assert daemon.wait() == 0
    order = [e["msg"] for e in daemon.events() if e["msg"] in ("snapshot written", "configuration reloaded", "server stopped") or
             e["msg"].startswith("stopping")]
    assert [msg.split(":")[0] for msg in order] == ["snapshot written", "configuration reloaded", "snapshot written", "stopping", "server stopped"]
    assert replaced_before(daemon, victim, "0", "configuration reloaded")
