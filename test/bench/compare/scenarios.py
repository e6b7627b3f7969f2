"""
What is measured. A scenario has contestants, and gives its figures for one of them at a time; failing raises load.Failed.
"""

import dataclasses

from .contestants import (DIRECT, KINDS, OURS, RIVALS, SPLICING_YARDSTICK, YARDSTICK, is_installed, private_bytes)
from .load import Failed, Load
from .machine import connections_most
from .proxies import BLOCKED

GB = 1e9


@dataclasses.dataclass(frozen=True)
class Figure:
    key: str
    title: str
    unit: str
    higher_is_better: bool = False


class Scenario:
    """name: for --only; figures: what measure() gives, by their keys; contestants: who takes part."""

    rounds_at_most = 1000

    def __init__(self, name, figures, contestants):
        self.name, self.figures = name, figures
        self.contestants = [c for c in contestants if c not in KINDS or is_installed(c)]

    def measure(self, bench, contestant):
        """{figure's key: value}"""
        raise NotImplementedError


ALL = (OURS, *RIVALS, YARDSTICK)


def cpu_of(bench, proxy, words):
    """What the load did, and the CPU time in nanoseconds that the proxy took for it."""
    with Load(bench, bench.scaled(words), proxy) as load:
        before, pids = proxy.settle(), proxy.pids()
        load.tell()
        result = load.result()
        cpu = proxy.settle() - before
    if proxy.pids() != pids:
        raise Failed(f"{proxy.name}: other processes than before")
    return result, cpu


def rate_at(bench, share):
    """Short connections a second that load mc-proxy's core so much; the first who asks measures what it can do."""
    if bench.capacity is None:
        result, cpu = cpu_of(bench, bench.standing(OURS), ["short", "count=8000"])
        bench.capacity = 1e9 * result["done"] / cpu
    return max(100, int(share * bench.capacity / 100) * 100)


class Traffic(Scenario):
    """CPU time of the proxy for what a load does: per connection or turn, or per GB."""

    def __init__(self, name, title, words, contestants=ALL, per="connection"):
        unit = "s CPU per GB" if per == "GB" else f"us CPU per {per}"
        super().__init__(name, [Figure(name, title, unit)], contestants)
        self.words, self.per = words, per

    def measure(self, bench, contestant):
        result, cpu = cpu_of(bench, bench.standing(contestant), self.words)
        return {self.name: cpu / result["bytes"] if self.per == "GB" else cpu / result["done"] / 1000}


class Idle(Scenario):
    """
    Memory that only the proxy's processes have, of connections that have had their answer: those beyond the first WARM, on a proxy
    that was just started, so that nothing is left over from earlier ones.
    """

    WARM = 500

    def __init__(self, name, title, count):
        super().__init__(name, [Figure(name, title, "bytes")], ALL)
        self.count = count

    def measure(self, bench, contestant):
        share = min(1.0, bench.scale)
        warm = max(20, int(self.WARM * share))
        count = max(2 * warm, int(self.count * share))
        with bench.new(contestant) as proxy, Load(bench, ["idle", f"open={count}", f"warm={warm}"], proxy) as load:
            before = private_bytes(proxy)
            load.tell()
            load.expect("open")
            proxy.settle()
            after = private_bytes(proxy)
            load.tell()
            if (answered := load.result()["bytes"]) != count:
                raise Failed(f"{answered} of {count} idle connections are alive")
        return {self.name: (after - before) / (count - warm)}


class Latency(Scenario):
    """
    From a connection's intended start to its answer, at a fixed rate: a connection that has to wait for its turn to be opened counts
    that too. The rate is 30 % of what mc-proxy's CPU time per short connection lets one core do, the same for all.
    """

    SHARE = 0.30
    CONTESTANTS = (*ALL, DIRECT)
    PERCENTILES = ("p50", "p99", "p999")

    def __init__(self):
        figures = [Figure(f"latency_{p}", f"latency {p.replace('999', '99.9')}, load 30 %", "us") for p in self.PERCENTILES]
        super().__init__("latency", figures, self.CONTESTANTS)

    def measure(self, bench, contestant):
        rate, count = rate_at(bench, self.SHARE), max(16, int(15000 * bench.scale))
        if bench.placement.realtime:  # the kernel lets others have 50 ms of a busy CPU when they have waited for a second
            count = min(count, int(0.7 * rate))
        words = ["rate", f"count={count}", f"rate={rate}"]
        with Load(bench, words, bench.standing(contestant)) as load:
            load.tell()
            result = load.result()
        return {f"latency_{p}": result[f"{p}_us"] for p in self.PERCENTILES}


class Blocked(Traffic):
    def __init__(self):
        super().__init__("blocked", "blocked connection", ["blocked", "count=16000", f"from={BLOCKED}"],
                         (OURS, "haproxy", "nginx"))


def everyday():
    """The scenarios that need nothing but a proxy."""
    no_sniproxy = tuple(c for c in ALL if c != "sniproxy")  # sets no TCP_NODELAY: a turn beyond its buffer waits 40 ms
    bulk = (*ALL, SPLICING_YARDSTICK)
    return [
        Traffic("short", "short connection, hello 517 B", ["short", "count=8000"]),
        Traffic("short1800", "short connection, hello 1.8 KB", ["short", "count=8000", "hello=1800"]),
        Traffic("turn16", "turn of 256 B, 16 connections", ["turns", "count=60000"], per="turn"),
        Traffic("turn1000", "turn of 256 B, 1,000 connections", ["turns", "count=60000", "open=1000"], per="turn"),
        Traffic("turn16k", "turn of 16 KB, 16 connections", ["turns", "count=30000", "size=16384"], no_sniproxy, per="turn"),
        Traffic("turn16k1000", "turn of 16 KB, 1,000 connections", ["turns", "count=20000", "size=16384", "open=1000"], no_sniproxy,
                per="turn"),
        Traffic("download", "bulk from backends, 4 connections", ["download", "count=1024", "open=4"], bulk, per="GB"),
        Traffic("upload", "bulk from clients, 4 connections", ["upload", "count=1024", "open=4"], bulk, per="GB"),
        Idle("idle", "memory per idle connection, 3,000", 3000),
        Idle("idle_most", f"memory per idle connection, {connections_most():,}", connections_most()),
        Blocked(),
        Latency(),
    ]
