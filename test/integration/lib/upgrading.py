"""A daemon that is upgraded: its program file, its successive main processes, and how to end them all."""

import contextlib
import ctypes
import os
import shutil
import signal
import time

from lib import procfs
from lib.daemon import BINARY
from lib.waiting import wait_until

PR_SET_CHILD_SUBREAPER = 36
TAKEN_OVER = "taken over from the server that was to be replaced"
FAILED = "not upgraded: the new process has failed, this one goes on"


class Upgradable:
    """Wraps a Daemon whose program is a file of its own, `program`, to be replaced. `main` is the pid of the main process."""

    def __init__(self, daemon):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # successors become our children: their status is ours
        self.daemon = daemon
        self.program = os.path.join(daemon.directory, "mc-proxy")
        self.replace(copy_of=BINARY)
        daemon.binary = self.program
        self.main = None
        self.statuses = {}

    def start(self):
        self.daemon.start()
        self.daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
        self.main = self.daemon.pid
        return self

    # ---- the program

    def replace(self, copy_of=None, script=None, mode=0o755):
        """Another file under the same name, as a package manager does it."""
        fresh = self.program + ".new"
        if copy_of:
            shutil.copy(copy_of, fresh)
        else:
            with open(fresh, "w", encoding="utf-8") as f:
                f.write(script)
        os.chmod(fresh, mode)
        os.rename(fresh, self.program)

    # ---- upgrades

    def ask(self):
        os.kill(self.main, signal.SIGUSR2)

    def events(self, message):
        return [e for e in self.daemon.events() if e["msg"] == message]

    def upgrade(self, timeout=40):
        """One that works; returns the pid of the process that is replaced."""
        done, old = len(self.events(TAKEN_OVER)), self.main
        self.ask()
        wait_until(lambda: len(self.events(TAKEN_OVER)) > done, timeout, "the new process to take over")
        starts = self.events("upgrading: the new program starts")
        self.main = int(starts[-1]["pid"])
        assert procfs.is_alive(self.main)
        return old

    def fail_to_upgrade(self, timeout=40):
        """One that does not; returns what the old process says about it."""
        failed = len(self.events(FAILED))
        self.ask()
        wait_until(lambda: len(self.events(FAILED)) > failed, timeout, "the verdict of the upgrade")
        assert procfs.is_alive(self.main)
        return self.events(FAILED)[-1]

    def workers(self):
        return procfs.children(self.main)

    # ---- the end

    def wait_for_end(self, pid, timeout=30):
        """Its exit status, negative for a signal."""
        if pid == self.daemon.pid:
            return self.daemon._process.wait(timeout)
        return wait_until(lambda: self._reap(pid), timeout, f"process {pid} to end")[0]

    def _reap(self, pid):
        if pid not in self.statuses:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done == pid:
                self.statuses[pid] = (os.waitstatus_to_exitcode(status),)
        return self.statuses.get(pid)

    def pids(self):
        """All processes that ever were the main one, and live."""
        started = [int(e["pid"]) for e in self.events("upgrading: the new program starts")]
        return [pid for pid in [self.daemon.pid, *started] if procfs.is_alive(pid)]

    def stop(self):
        """A clean end of all: the replaced ones, whose children their successors are, and then the main process by SIGTERM."""
        wait_until(lambda: self.pids() in ([self.main], []), 30, "the old processes to end")
        if procfs.is_alive(self.main):
            os.kill(self.main, signal.SIGTERM)
        assert self.wait_for_end(self.main) == 0
        wait_until(lambda: not self.pids(), 30, "all processes to end")

    def kill(self):
        for pid in self.pids():
            for one in [*procfs.children(pid), pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)


class Relays:
    """Long connections through the proxy; each must still echo at the end."""

    def __init__(self, establish):
        self._establish = establish
        self.open = []

    def add(self, count=1):
        self.open += [self._establish() for _ in range(count)]

    def check_and_close(self):
        for number, s in enumerate(self.open):
            text = b"still here %d" % number
            s.sendall(text)
            data = b""
            while len(data) < len(text):
                chunk = s.recv(len(text) - len(data))
                assert chunk, f"relay {number} was cut"
                data += chunk
            s.close()
        self.open = []


def hang_script(seconds=600):
    """A program that starts and never says anything."""
    return f"#!/bin/sh\nexec sleep {seconds}\n"


def python_script(body):
    """A program that speaks with its predecessor: say(text), hear() -> text."""
    return f"""#!/usr/bin/python3
import os, socket, sys, time
names = os.environ["LISTEN_FDNAMES"].split(":")
link = socket.socket(fileno=3 + names.index("upgrade"))
assert os.environ["LISTEN_PID"] == str(os.getpid()) and len(names) == int(os.environ["LISTEN_FDS"])
link.setblocking(True)
def say(text):
    link.send(text.encode())
def hear():
    return link.recv(1024).decode()
{body}
"""


def sleep_until(moment):
    time.sleep(max(0, moment - time.monotonic()))
