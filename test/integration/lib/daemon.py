"""The daemon under test: start, watch its log, stop, and hold it to a clean end."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time

from lib import logs, procfs
from lib.waiting import wait_until

_SOURCE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
BINARY = os.path.abspath(os.environ.get("MCPROXY_BIN", os.path.join(_SOURCE_ROOT, "build", "mc-proxy")))
_ACTIVATE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "activate.py")
_BAD_OUTPUT = re.compile(r"AddressSanitizer|LeakSanitizer|UndefinedBehavior|runtime error:|panic:|dumped core")


def is_sanitized():
    """Is the binary under test built with the address sanitizer? Bulk tests then move less."""
    return _has_symbol(b"__asan_init")


def is_shipped():
    """Is it as it is shipped: without sanitizers and without counters of coverage? Either needs what the sandbox takes away."""
    return not is_sanitized() and not _has_symbol(b"__gcov_exit")


def _has_symbol(name):
    if not os.path.exists(BINARY):
        return False  # every test will say so
    with open(BINARY, "rb") as f:
        return name in f.read()


def environment(extra=None):
    """What the daemon is started with: nothing in it that would change its configuration or make it talk to systemd."""
    kept = {key: value for key, value in os.environ.items()
            if not key.startswith(("MCPROXY_", "LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_", "JOURNAL_STREAM"))}
    return {**kept, **(extra or {})}


def run_command(*args, env=None, timeout=60, **kwargs):
    """A subcommand that ends by itself; returns the CompletedProcess with text output."""
    return subprocess.run([BINARY, *args], env=environment(env), timeout=timeout, text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, check=False, **kwargs)


def expect_command(*args, fails=0, **kwargs):
    """The same, which must end with this status: 0 without a word on standard error, else with one line there and nothing else."""
    done = run_command(*args, **kwargs)
    assert done.returncode == fails, done
    if fails:
        assert done.stderr.count("\n") == 1 and not done.stdout, done
    else:
        assert not done.stderr, done
    return done


class Daemon:
    """One `mc-proxy server`. Use it through the `proxy` fixture, which stops it and checks its end."""

    def __init__(self, directory, text, listeners=(), env=None, name="mc-proxy", binary=None):
        self.directory = str(directory)
        self.binary = binary or BINARY
        self.listeners = list(listeners)
        self.config_path = os.path.join(self.directory, f"{name}.ini")
        self.lines = []
        self.env = env or {}
        self.sockets = []  # (name, descriptor or socket) to be passed to it as systemd does
        self.expects_failure = False  # set by a test that kills it or makes it fail
        self._lock = threading.Condition()
        self._may_read = threading.Event()
        self._may_read.set()
        self._process = None
        self._reader = None
        self.write_config(text)

    # ---- starting

    def write_config(self, text):
        """Replaces the file at once: a reload that an earlier signal caused never sees half of it."""
        fresh = f"{self.config_path}.new"
        with open(fresh, "w", encoding="utf-8") as f:
            f.write(text)
        os.replace(fresh, self.config_path)

    def launch(self):
        """Start it without waiting."""
        fds = [s if isinstance(s, int) else s.fileno() for _, s in self.sockets]
        command = [self.binary, "server", "-c", self.config_path]
        if fds:
            command = [sys.executable, _ACTIVATE, ":".join(name for name, _ in self.sockets), ",".join(map(str, fds)),
                       *command]
        self._process = subprocess.Popen(command, cwd=self.directory, env=environment(self.env), pass_fds=fds,
                                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        return self

    def start(self, timeout=60):
        """Start it and wait until all its listeners listen and there is a worker, which may still be starting."""
        self.launch()
        wanted = {listener.port for listener in self.listeners}
        wait_until(lambda: self._fail_if_ended() or wanted <= procfs.listening_ports(), timeout,
                   f"listening on {sorted(wanted)}")
        wait_until(lambda: self._fail_if_ended() or self.workers(), timeout, "a worker")
        return self

    def _fail_if_ended(self):
        if self._process.poll() is not None:
            self._reader.join(5)
            raise AssertionError(f"mc-proxy ended with {self._process.returncode} while starting:\n{self.log_text()}")
        return False

    def _read_stderr(self):
        for raw in self._process.stderr:
            self._may_read.wait()
            with self._lock:
                self.lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))
                self._lock.notify_all()

    @contextlib.contextmanager
    def unread(self):
        """Nobody reads its standard error meanwhile."""
        self._may_read.clear()
        try:
            yield
        finally:
            self._may_read.set()

    # ---- looking

    @property
    def pid(self):
        return self._process.pid

    @property
    def port(self):
        """The port of the only (or first) listener."""
        return self.listeners[0].port

    @property
    def returncode(self):
        return self._process and self._process.poll()

    def workers(self):
        return procfs.children(self.pid)

    def is_running(self):
        return self._process is not None and self._process.poll() is None

    def log_text(self):
        with self._lock:
            return "\n".join(self.lines)

    def events(self):
        """All log lines that are ours, parsed."""
        with self._lock:
            lines = list(self.lines)
        return [fields for fields in map(logs.parse_line, lines) if fields is not None]

    def wait_for_log(self, predicate, timeout=20, what="the log line"):
        """The first event for which predicate(fields) holds; waits for it."""
        return wait_until(lambda: next((e for e in self.events() if predicate(e)), None), timeout, what)

    def access_lines(self, **wanted):
        """Lines of finished connections whose fields have these values."""
        wanted = {key: str(value) for key, value in wanted.items()}
        return [e for e in self.events() if logs.is_access(e) and all(e.get(k) == v for k, v in wanted.items())]

    def wait_for_access(self, count=1, timeout=20, **wanted):
        """Waits for `count` lines of finished connections with these fields; returns the first."""
        wait_until(lambda: len(self.access_lines(**wanted)) >= count, timeout, f"{count} access line(s) with {wanted}")
        return self.access_lines(**wanted)[0]

    def wait_ready(self):
        """Until all its workers serve, all names are known and the database is as it stays."""
        self.wait_for_log(lambda e: e["msg"] == "server is ready", timeout=60, what="readiness")
        return self

    # ---- its only worker

    def replace_worker(self):
        """Kills it once it is ready; returns the pid of its successor when that one is. It has the limits that the master has now."""
        self.wait_ready()
        old = self.workers()[0]
        os.kill(old, signal.SIGKILL)
        return int(self.wait_for_log(lambda e: e["msg"] == "worker ready" and int(e["pid"]) != old, what="a new worker")["pid"])

    # ---- stopping

    def signal(self, number):
        self._process.send_signal(number)

    def kill_master(self):
        """SIGKILL to the master alone. Its workers, whose pids are returned, live on for a while, and hold standard error open."""
        self.expects_failure = True
        workers = self.workers()
        self._process.kill()
        self._process.wait(30)
        return workers

    def wait(self, timeout=25):
        """Waits for its end; returns the exit code."""
        code = self._process.wait(timeout)
        self._reader.join(10)
        return code

    def seconds_to_end(self, number):
        """Signals; how long it takes to end, which must be with 0."""
        begun = time.monotonic()
        self.signal(number)
        assert self.wait() == 0
        return time.monotonic() - begun

    def stop(self):
        """SIGTERM, and a clean end."""
        if self.is_running():
            self.signal(signal.SIGTERM)
        self.wait()
        self.check_end()

    def check_end(self):
        """Ended with 0 unless the test expects otherwise, and never with a sanitizer's or a panic's last words."""
        bad = [line for line in self.lines if _BAD_OUTPUT.search(line)]
        assert not bad, "\n".join(bad)
        if not self.expects_failure:
            assert self._process.returncode == 0, f"exit code {self._process.returncode}"

    def kill(self):
        """The last resort after a failed test: it and its workers."""
        if self._process is None:
            return
        workers = self.workers()
        if self.is_running():
            self._process.kill()
            self._process.wait()
        for pid in workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
