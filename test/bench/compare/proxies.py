"""What all proxies under test have in common: a folder, two ports, a tree of processes."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

from . import processes
from .load import Failed
from .machine import PROXY_CPU

BLOCKED = "127.0.0.66"
NAME, OTHER_NAME = "www.example.com", "other.example.com"  # to backend, and to the port above it
START_S = 60


class Proxy:
    """One proxy under test. Subclasses write its configuration and say how it is started."""

    name = ""
    program = ""  # looked for in PATH; empty: made here

    def __init__(self, bench, port, backend, *, workers=1, table=None):
        """
        table: routes.Table of many routes besides the two names; None: only those.
        """
        self.bench, self.port, self.backend, self.workers, self.table = bench, port, backend, workers, table
        self.folder = pathlib.Path(bench.folder) / f"{self.name}-{port}".replace(" ", "-")
        self.folder.mkdir()
        os.chmod(self.folder, 0o755)
        self.cpus, self.placement = PROXY_CPU, bench.placement
        self.process = None
        self.prepared = None

    def command(self):
        """Writes the configuration; the words that start the proxy."""
        raise NotImplementedError

    def prepare(self):
        """What need not be counted as a start."""
        self.prepared = self.prepared or self.command()

    def launch(self):
        self.prepare()
        with open(self.folder / "log", "w", encoding="utf-8") as log:
            self.process = subprocess.Popen([*self.placement.prefix(self.cpus), *self.prepared], stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd=self.folder)

    def start(self):
        self.launch()
        try:
            self.wait_until_open().close()
            self.settle()
        except Failed:
            self.stop()
            raise
        return self

    def wait_until_open(self):
        """A connection to it."""
        end = time.monotonic() + START_S
        while time.monotonic() < end and self.process.poll() is None:
            s = socket.socket()
            if s.connect_ex(("127.0.0.1", self.port)) == 0:
                return s
            s.close()
            time.sleep(0.001)
        raise Failed(f"{self.name} does not start: {self.log()}")

    def log(self):
        """The end of what it has said."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace")[-2000:] if path.exists() else "(no log)"

    def stop(self):
        """Its folder goes too: with many routes there is much in it."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def pids(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} has ended: {self.log()}")
        return processes.tree(self.process.pid)

    def traffic_pids(self):
        """The processes that carry connections, where they can be told from others."""
        return self.pids()

    def settle(self, pids=None):
        """
        Wait until it has done what was left to do, and has all its processes: some listen before they have made their workers. The CPU
        time of all of it, or of these processes.
        """
        before, end = None, time.monotonic() + 10
        while time.monotonic() < end:
            now = self.pids(), processes.cpu_ns(pids or self.pids())
            if now == before:
                break
            before = now
            time.sleep(0.03)
        return now[1]

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return str(path)
