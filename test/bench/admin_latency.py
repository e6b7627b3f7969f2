#!/usr/bin/python3
"""
What an RPC of the admin API takes with many routes in the table, as a client on the Unix socket sees it: from the request to the
answer, the change written, synced and shown to the workers in between.

    admin_latency.py [ROUTES [FOLDER]]          default: 1,000,000, the system's folder for temporary files

Starts MCPROXY_BIN (default build/mc-proxy) with two workers and its database in a new folder in FOLDER, loads the table through
ApplyChanges, and prints the median and the 99th percentile. With and without the sync: once on a disk, once with FOLDER on a tmpfs
(/dev/shm), where fdatasync has nothing to wait for. Debian's python3-grpcio; what it takes by itself is the row of health checks.
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(_ROOT, "test", "integration"))
from lib.admin import Admin, put  # noqa: E402
from lib.config import Listener, config_text  # noqa: E402
from lib.daemon import BINARY, Daemon  # noqa: E402

BATCH = 100000  # changes in one call; 1,000,000 is the most
MESSAGE = 20000  # of these in one message of the stream, about 2 MB
SINGLES = 4000


def percentile(times, share):
    return times[min(len(times) - 1, int(len(times) * share))]


def report(what, times):
    times.sort()
    print(f"{what:38} {1e6 * percentile(times, 0.5):9.0f} us {1e6 * percentile(times, 0.99):9.0f} us {1e3 * times[-1]:8.1f} ms", flush=True)


def each(what, count, call):
    times = []
    for i in range(count):
        began = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - began)
    report(what, times)


def name(number):
    return f"sv{number:07}.z{number % 100:02}.example.com"


def backend(number):
    return f"10.0.{number % 100}.1:8443"


class Bench:
    def __init__(self, api, addr, routes):
        self.api = api
        self.addr = addr
        self.routes = routes
        self.rng = random.Random(1)

    def batch(self, what, changes):
        messages = [self.api.ready({"changes": changes[i:i + MESSAGE]}) for i in range(0, len(changes), MESSAGE)]
        began = time.perf_counter()
        self.api.apply_ready(messages)
        took = time.perf_counter() - began
        print(f"{what:38} {took:9.2f} s   {len(changes) / took:11,.0f} changes a second", flush=True)
        return took

    def load(self):
        order = list(range(self.routes))
        self.rng.shuffle(order)
        began, spent = time.perf_counter(), 0.0
        for first in range(0, self.routes, BATCH):
            spent += self.batch(f"put {min(BATCH, self.routes - first)} in one call, {first} there",
                                [put(self.addr, name(i), backend(i)) for i in order[first:first + BATCH]])
        print(f"{self.routes} routes: {spent:.2f} s in calls ({time.perf_counter() - began:.1f} s with the client's own work)", flush=True)

    def singles(self):
        print(f"{'':38} {'median':>12} {'99 %':>12} {'longest':>11}")
        each("health check", SINGLES, lambda i: self.api.check())
        picked = [self.rng.randrange(self.routes) for _ in range(SINGLES)]
        each("AddRoute, new", SINGLES, lambda i: self.api.add(self.addr, f"new{i}.example.com", backend(i)))
        each("AddRoute, replacing", SINGLES, lambda i: self.api.add(self.addr, name(picked[i]), backend(picked[i] + 1)))
        each("RemoveRoute", SINGLES, lambda i: self.api.remove(self.addr, f"new{i}.example.com"))
        each("GetStatus", SINGLES, lambda i: self.api.GetStatus())
        each("ListRoutes, first page of 1,000", 200, lambda i: self.api.ListRoutes(listener_addr=self.addr, page_size=1000))
        far = str(self.routes // 2)
        each("ListRoutes, 1,000 in the middle", 200, lambda i: self.api.ListRoutes(listener_addr=self.addr, page_size=1000, page_token=far))

    def removal(self):
        """And back, so that the table has its size again."""
        some = self.rng.sample(range(self.routes), min(BATCH, self.routes))
        self.batch(f"remove {len(some)} in one call",
                   [{"remove_route": {"listener_addr": self.addr, "hostname": name(i)}} for i in some])
        self.batch(f"put {len(some)} in one call", [put(self.addr, name(i), backend(i)) for i in some])

    def everything(self):
        began, count, token = time.perf_counter(), 0, ""
        while True:
            page = self.api.ListRoutes(listener_addr=self.addr, page_size=100000, page_token=token)
            count, token = count + len(page.routes), page.next_page_token
            if not token:
                break
        print(f"{'ListRoutes, all in pages of 100,000':38} {time.perf_counter() - began:9.2f} s   {count:11,} routes", flush=True)


class ReadyAdmin(Admin):
    """ApplyChanges with requests that are put together beforehand, so that the client's work is not counted."""

    def ready(self, fields):
        return self._call("mc_proxy.v1.ProxyAdminService", "ApplyChanges")[1](**fields).SerializeToString()

    def apply_ready(self, messages):
        self.channel.stream_unary("/mc_proxy.v1.ProxyAdminService/ApplyChanges")(iter(messages), timeout=120)


def master_memory(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return ", ".join(" ".join(line.split()) for line in f if line.startswith(("RssAnon", "RssShmem")))


def main():
    routes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000000
    folder = tempfile.mkdtemp(prefix="mc-proxy-bench-", dir=sys.argv[2] if len(sys.argv) > 2 else None)
    kind = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True, check=True).stdout.split()[-1]
    listener = Listener()
    text = config_text(folder, [listener], server={"workers": 2}, log={"level": "warn", "access": "false"},
                       grpc={"addr": f"unix:{folder}/admin.sock"})
    daemon = Daemon(folder, text, [listener])
    print(f"{BINARY}, database on {kind}", flush=True)
    try:
        daemon.start()
        api = ReadyAdmin(f"unix:{folder}/admin.sock")
        bench = Bench(api, listener.addr, routes)
        bench.load()
        bench.singles()
        bench.everything()
        bench.removal()
        print(f"master: {master_memory(daemon.pid)}; database {os.stat(folder + '/mc-proxy.db').st_size >> 20} MiB")
        api.close()
        daemon.stop()
    finally:
        daemon.kill()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
