"""The scenarios with many routes and rules, and with more than one worker."""

import statistics
import subprocess
import sys
import time
import pathlib

from . import processes
from .admin import HAProxyAdmin, McProxyAdmin
from .client import Backend, ask
from .contestants import OURS
from .load import Failed, Load
from .machine import BOTH_CPUS, CLIENT_PRIORITY, LOAD_CPU, PROXY_CPU
from .proxies import OTHER_NAME
from .routes import BACKENDS, name
from .scenarios import Figure, Scenario, cpu_of, rate_at

SPREAD_OUT = ["sources=60000", f"backends={BACKENDS}"]  # so that look-ups of addresses and backends are not always the same
MAPPED = (OURS, "haproxy", "nginx")
EMPTY, FULL, AT_REST, CHANGING = "empty", "a million", "at rest", "changing"


class Loaded(Scenario):
    """
    Short connections to names by chance, with a million routes and a million rules, or with a hundred routes: one for each backend,
    so that the sockets behind are the same.
    """

    def __init__(self):
        super().__init__("loaded", [Figure("loaded", "short connection, a million routes and rules", "us CPU per connection")],
                         [EMPTY, FULL])

    def measure(self, bench, contestant):
        count = BACKENDS if contestant == EMPTY else bench.many
        table = bench.table(count, 0 if contestant == EMPTY else bench.many)
        words = ["short", "count=16000", f"names={count}", *SPREAD_OUT]
        result, cpu = cpu_of(bench, bench.standing(OURS, table=table), words)
        return {self.name: cpu / result["done"] / 1000}


class Changing(Scenario):
    """
    Short connections while routes come and go 1,000 times a second among a million: the workers' part, and with the master's. Master and
    worker share the CPU, so connections come at a fixed rate that leaves room for both.
    """

    RATE, TOLERANCE, SHARE = 1000, 0.1, 0.5

    def __init__(self):
        super().__init__("changing", [Figure("changing", "short connection, 1,000 changes/s", "us CPU of the worker"),
                                      Figure("changing_all", "the same, the changes' own work counted", "us CPU of all processes")],
                         [AT_REST, CHANGING])

    def measure(self, bench, contestant):
        table = bench.table(bench.many, bench.many)
        proxy = bench.standing(OURS, table=table)
        words = ["rate", "count=8000", f"rate={rate_at(bench, self.SHARE)}", f"names={bench.many}", *SPREAD_OUT]
        proxy.settle()
        if contestant == AT_REST:
            return self._measure(bench, proxy, words)
        with subprocess.Popen([*bench.placement.prefix(LOAD_CPU, CLIENT_PRIORITY), sys.executable, "-m", "compare.admin",
                               proxy.admin_socket, proxy.listener, table.address(0), str(self.RATE)],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
                              cwd=pathlib.Path(__file__).parent.parent) as churn:
            try:
                first, began = self._made(churn), time.monotonic()
                figures = self._measure(bench, proxy, words)
                rate = (self._made(churn) - first) / (time.monotonic() - began)
            finally:
                churn.stdin.close()
        if abs(rate - self.RATE) > self.TOLERANCE * self.RATE:
            raise Failed(f"{rate:.0f} changes a second instead of {self.RATE}")
        return figures

    @staticmethod
    def _made(churn):
        churn.stdin.write("\n")
        return int(churn.stdout.readline() or -1)

    def _measure(self, bench, proxy, words):
        """No waiting for rest: there is none. What the processes do besides connections while the load starts is left out."""
        workers, everybody = proxy.traffic_pids(), proxy.pids()
        with Load(bench, bench.scaled(words), proxy) as load:
            before = processes.cpu_ns(workers), processes.cpu_ns(everybody)
            load.tell()
            done = load.result()["done"]
            after = processes.cpu_ns(workers), processes.cpu_ns(everybody)
        return {"changing": (after[0] - before[0]) / done / 1000, "changing_all": (after[1] - before[1]) / done / 1000}


class Change(Scenario):
    """
    One route added among a million, from the request to the answer, which comes when the next connection sees it; and removed again.
    Every fiftieth time a connection is made to see that it does. The database is in memory: nothing waits for a disk.
    """

    COUNT, LOOK_EVERY = 1000, 50

    def __init__(self):
        super().__init__("change", [Figure("change_median", "one route added among a million, median", "ms"),
                                    Figure("change_p99", "one route added among a million, p99", "ms"),
                                    Figure("change_remove", "one route removed among a million, median", "ms")], [OURS, "haproxy"])

    def measure(self, bench, contestant):
        table = bench.table(bench.many, bench.many if contestant == OURS else 0)
        proxy = bench.standing(contestant, table=table)
        if contestant == OURS:
            admin, backend = McProxyAdmin(proxy.admin_socket, proxy.listener), table.address(0)
        else:
            admin, backend = HAProxyAdmin(proxy.admin_socket, proxy.map), "b0"
        count = max(20, int(self.COUNT * bench.scale))
        if contestant != OURS:
            count = min(count, 200)  # its removals take milliseconds
        try:
            with Backend(table.address(0)) as listening:
                adds, removals = self._times(admin, backend, proxy, listening, count)
        except (OSError, RuntimeError) as error:
            raise Failed(f"{contestant}: {error}") from error
        finally:
            admin.close()
        return {"change_median": 1000 * statistics.median(adds), "change_p99": 1000 * sorted(adds)[int(0.99 * (count - 1))],
                "change_remove": 1000 * statistics.median(removals)}

    def _times(self, admin, backend, proxy, listening, count):
        adds, removals = [], []
        for number in range(count):
            wanted = f"new{number:06}.example.com"
            began = time.perf_counter()
            admin.add(wanted, backend)
            adds.append(time.perf_counter() - began)
            if number % self.LOOK_EVERY == 0:
                ask(proxy, wanted, listening)
            began = time.perf_counter()
            admin.remove(wanted)
            removals.append(time.perf_counter() - began)
        return adds, removals


class Start(Scenario):
    """From the start of the program with a million routes until the first connection to one of them has its backend's answer."""

    def __init__(self):
        super().__init__("start", [Figure("start", "start with a million routes", "s")], MAPPED)

    def measure(self, bench, contestant):
        table = bench.table(bench.many)
        proxy = bench.new(contestant, table=table)
        proxy.prepare()
        with Backend(table.address(bench.many // 2)) as listening:
            try:
                began = time.perf_counter()
                proxy.launch()
                ask(proxy, name(bench.many // 2), listening)
                return {self.name: time.perf_counter() - began}
            finally:
                proxy.stop()


class RouteMemory(Scenario):
    """
    What a million routes add to the memory of two workers and whatever is beside them, after connections to names by chance. Shared
    memory counts once, by the kernel's proportional set size.
    """

    rounds_at_most = 3

    def __init__(self):
        super().__init__("route_memory", [Figure("route_memory", "memory per route, a million, two workers", "bytes")], MAPPED)

    def measure(self, bench, contestant):
        return {self.name: (self._memory(bench, contestant, bench.many) - self._memory(bench, contestant, BACKENDS)) /
                (bench.many - BACKENDS)}

    def _memory(self, bench, contestant, count):
        with bench.new(contestant, workers=2, table=bench.table(count)) as proxy:
            with Load(bench, bench.scaled(["short", "count=4000", f"names={count}", *SPREAD_OUT]), proxy) as load:
                load.tell()
                load.result()
            proxy.settle()
            return processes.proportional_bytes(proxy.pids())


class Scaling(Scenario):
    """
    Short connections a second with two workers and two loads on two cores, by those with one worker and one load on one core: the
    load is a part of both.
    """

    def __init__(self):
        super().__init__("workers", [Figure("workers", "two workers and loads on two cores / one on one", "times", True)], MAPPED)

    def measure(self, bench, contestant):
        one = self._rate(bench, bench.standing(contestant), [PROXY_CPU])
        two = self._rate(bench, bench.standing(contestant, workers=2, cpus=BOTH_CPUS), [PROXY_CPU, LOAD_CPU])
        return {self.name: two / one}

    @staticmethod
    def _rate(bench, proxy, cpus):
        words = bench.scaled(["short", "count=12000"])
        with Load(bench, words, proxy, cpus=cpus[0]) as first:
            if len(cpus) == 1:
                first.tell()
                result = first.result()
                return result["done"] / result["seconds"]
            with Load(bench, [*words, f"name={OTHER_NAME}"], proxy, cpus=cpus[1], backend=proxy.backend + 1) as second:
                first.tell()
                second.tell()
                return sum(r["done"] / r["seconds"] for r in (first.result(), second.result()))


def of_tables():
    return [Loaded(), Changing(), Change(), Start(), RouteMemory(), Scaling()]
