#!/usr/bin/python3
"""
What long work of the master does to what must not wait: with a large table, each kind of it is done twice. Once while the metrics are asked
for all the time, whose slowest answer is the longest time between two turns of the master's loop; once with the only worker killed in the
middle: how long until its successor was started, by the log, and until it served a client that came right after the kill.

    busy_master.py [ROUTES [FOLDER]]          default: 1,000,000, the system's folder for temporary files

Starts MCPROXY_BIN (default build/mc-proxy). Debian's python3-grpcio.
"""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import urllib.request

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(_ROOT, "test", "integration"))
from lib import clients, logs  # noqa: E402
from lib.admin import Admin, message, put  # noqa: E402
from lib.config import Listener, config_text  # noqa: E402
from lib.daemon import BINARY, Daemon  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.streams import HELLO  # noqa: E402
from lib.waiting import wait_until  # noqa: E402

BATCH = 100000  # changes in one call, to begin with
MESSAGE = 20000  # of these in one message of the stream, about 2 MB
BIG_FILE = 200000  # routes of the file that a reload reads
QUIET_S = 11  # after which no earlier death makes a replacement wait


def name(number):
    return f"sv{number * 7919 % 1000003:07}.z{number % 100:02}.example.com"


def puts(addr, numbers, subnet):
    return [put(addr, name(i), f"10.{subnet}.{i % 100}.1:8443") for i in numbers]


class Scrapes:
    """Asks for the metrics again and again; the longest answer, in seconds."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}/metrics"
        self.longest = 0.0
        self._is_over = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        while not self._is_over:
            began = time.perf_counter()
            with urllib.request.urlopen(self.url, timeout=60) as answer:
                answer.read()
            self.longest = max(self.longest, time.perf_counter() - began)
            time.sleep(0.01)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over = True
        self._thread.join()


class Bench:
    def __init__(self, daemon, api, addr, metrics_port, routes):
        self.daemon, self.api, self.addr, self.metrics_port, self.routes = daemon, api, addr, metrics_port, routes
        self.turn = 1

    def apply(self, changes):
        """The call, with its requests put together beforehand; the call itself is what is returned."""
        request = message("mc_proxy.v1.ApplyChangesRequest")
        messages = [request(changes=changes[i:i + MESSAGE]).SerializeToString() for i in range(0, len(changes), MESSAGE)]
        return lambda: self.api.channel.stream_unary("/mc_proxy.v1.ProxyAdminService/ApplyChanges")(iter(messages), timeout=120)

    def load(self):
        for first in range(0, self.routes, BATCH):
            self.apply(puts(self.addr, range(first, min(first + BATCH, self.routes)), 0))()

    def count(self, msg):
        return sum(e["msg"] == msg for e in self.daemon.events())

    def reload(self):
        def call():
            before = self.count("configuration reloaded")
            self.daemon.signal(signal.SIGHUP)
            wait_until(lambda: self.count("configuration reloaded") > before, 120, "the reload")
        return call

    def measure(self, what, make):
        """make() gets ready and returns what is to be measured."""
        call = make()
        with Scrapes(self.metrics_port) as scrapes:
            time.sleep(0.1)
            began = time.perf_counter()
            call()
            took = time.perf_counter() - began
        delay = self.kill_in(make(), took / 3)
        print(f"{what:46} {took:7.2f} s {1e3 * scrapes.longest:9.0f} ms {delay}", flush=True)

    def kill_in(self, call, after):
        """Kills the worker while call() runs; from then to its successor's start and first deed."""
        time.sleep(QUIET_S)
        thread = threading.Thread(target=call)
        thread.start()
        time.sleep(after)
        victim = self.daemon.workers()[0]
        killed = time.time()
        os.kill(victim, signal.SIGKILL)
        with clients.connect(self.daemon.port, timeout=60) as s:
            clients.expect_reset(s, HELLO)  # a name without a route
            served = time.time()
        thread.join()
        started = self.daemon.wait_for_log(lambda e: e["msg"] == "worker started" and logs.time_of(e) >= killed - 0.001, 60)
        return f"{1e3 * (logs.time_of(started) - killed):9.0f} ms {1e3 * (served - killed):9.0f} ms"

    def batch(self, count):
        def make():
            self.turn += 1
            step = max(1, self.routes // count)
            return self.apply(puts(self.addr, range(0, count * step, step), self.turn))
        return make

    def list_all(self):
        return lambda: self.api.list_raw(self.addr)

    def reload_big(self, text):
        def make():
            self.turn += 1
            self.daemon.write_config(text(self.turn))
            return self.reload()
        return make


class RawAdmin(Admin):
    """Lists whose answers are not unpacked: that is the client's time."""

    def list_raw(self, addr):
        return self.raw("ListRoutes", message("mc_proxy.v1.ListRoutesRequest")(listener_addr=addr).SerializeToString(), timeout=120)


def main():
    routes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    folder = tempfile.mkdtemp(prefix="mc-proxy-bench-", dir=sys.argv[2] if len(sys.argv) > 2 else None)
    listener = Listener()
    port = free_port()
    sections = {"server": {"workers": 1}, "log": {"level": "info", "access": "false"}, "grpc": {"addr": f"unix:{folder}/admin.sock"},
                "metrics": {"addr": f"127.0.0.1:{port}"}}

    def with_file(turn):
        """A configuration with a listener that nobody has seen, so that all its routes are seeded."""
        more = Listener(name="other", routes=[f"f{i}.example.org 10.{turn}.0.1:443" for i in range(BIG_FILE)])
        return config_text(folder, [listener, more], **sections)

    daemon = Daemon(folder, config_text(folder, [listener], **sections), [listener])
    print(f"{BINARY}, {routes} routes in {folder}", flush=True)
    try:
        daemon.start()
        api = RawAdmin(f"unix:{folder}/admin.sock")
        bench = Bench(daemon, api, listener.addr, port, routes)
        bench.load()
        print(f"{'':46} {'takes':>9} {'no turn':>12} {'started':>12} {'served':>12}")
        bench.measure("nothing (a health check)", lambda: api.check)
        bench.measure("Snapshot", lambda: api.Snapshot)
        bench.measure("ListRoutes, all", bench.list_all)
        bench.measure("ApplyChanges, 40,000 (4 MiB)", bench.batch(40000))
        bench.measure("ApplyChanges, 400,000", bench.batch(400000))
        bench.measure("reload, nothing new", bench.reload)
        bench.measure(f"reload, {BIG_FILE} routes of the file seeded", bench.reload_big(with_file))
        api.close()
        daemon.stop()
    finally:
        daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
