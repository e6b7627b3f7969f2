#!/usr/bin/python3
"""
The comparison: mc-proxy, its rivals and the yardstick side by side in one interleaved run.

Every proxy has one worker on CPU 0; all clients and backends are one process on CPU 1. Logs are off, timeouts are the same. Each round
measures every proxy once in every scenario, in random order; what is shown are medians over the rounds, and the median of the ratios
within a round. CPU time is that of the proxy's whole process tree, from /proc/PID/schedstat, divided by what was done.

    compare.py --build build [--rounds 9] [--only short,turns] [--json FILE] [--scale 1.0]
"""

import argparse
import dataclasses
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PROXY_CPU, LOAD_CPU = 0, 1
OURS, YARDSTICK = "mc-proxy", "yardstick"
BLOCKED = "127.0.0.66"
NAME = "www.example.com"


# ---- the proxies ----

class Proxy:
    """One proxy under test. Subclasses write its configuration and say how it is started."""

    name = ""
    rejects = True  # has a block list

    def __init__(self, folder, tools, port, backend):
        self.folder, self.tools, self.port, self.backend = pathlib.Path(folder) / self.name, tools, port, backend
        self.folder.mkdir()
        os.chmod(self.folder, 0o755)
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self):
        log = open(self.folder / "log", "w")
        self.process = subprocess.Popen(["taskset", "-c", str(PROXY_CPU), *self.command()], stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + 15
        while time.monotonic() < end:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise SystemExit(f"{self.name} does not start: {(self.folder / 'log').read_text()}")

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()

    def processes(self):
        """The process and all its descendants."""
        found, parents = [], [self.process.pid]
        while parents:
            pid = parents.pop()
            found.append(pid)
            try:
                parents += [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
            except FileNotFoundError:
                pass
        return found

    def cpu_ns(self):
        total = 0
        for pid in self.processes():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def private_bytes(self):
        total = 0
        for pid in self.processes():
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith(("Private_Clean", "Private_Dirty")):
                    total += int(line.split()[1]) * 1024
        return total

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)


class McProxy(Proxy):
    name = OURS

    def command(self):
        config = self.write("mc-proxy.ini", f"""
[server]
workers = 1
[database]
path = {self.folder}/mc-proxy.db
[log]
level = warn
access = false
[proxy]
hello_timeout = 30s
connect_timeout = 30s
idle_timeout = 5m
half_close_timeout = 5m
[firewall]
blocked_ips = {BLOCKED}
[listener main]
addr = 127.0.0.1:{self.port}
route = {NAME} 127.0.0.1:{self.backend}
route = other.example.com 127.0.0.1:1
""")
        return [str(self.tools / "mc-proxy"), "server", "-c", config]


class HAProxy(Proxy):
    name = "haproxy"

    def command(self):
        names = self.write("names.map", f"{NAME} main\nother.example.com other\n")
        config = self.write("haproxy.cfg", f"""
global
    nbthread 1
    maxconn 7000
defaults
    mode tcp
    timeout client 5m
    timeout server 5m
    timeout connect 30s
    option splice-auto
frontend in
    bind 127.0.0.1:{self.port} backlog 4096
    tcp-request connection reject if {{ src {BLOCKED} }}
    tcp-request inspect-delay 30s
    tcp-request content accept if {{ req.ssl_hello_type 1 }}
    use_backend %[req.ssl_sni,lower,map({names})]
backend main
    server a 127.0.0.1:{self.backend}
backend other
    server a 127.0.0.1:1
""")
        return [shutil.which("haproxy"), "-W", "-db", "-f", config]


class Nginx(Proxy):
    name = "nginx"

    def command(self):
        config = self.write("nginx.conf", f"""
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
user root;
worker_processes 1;
worker_rlimit_nofile 20000;
error_log /dev/null crit;
pid {self.folder}/pid;
events {{ worker_connections 18000; }}
stream {{
    access_log off;
    map $ssl_preread_server_name $target {{
        {NAME} main;
        other.example.com other;
    }}
    upstream main {{ server 127.0.0.1:{self.backend}; }}
    upstream other {{ server 127.0.0.1:1; }}
    server {{
        listen 127.0.0.1:{self.port} backlog=4096;
        deny {BLOCKED};
        ssl_preread on;
        preread_timeout 30s;
        proxy_connect_timeout 30s;
        proxy_timeout 5m;
        proxy_pass $target;
    }}
}}
""")
        return [shutil.which("nginx"), "-c", config, "-p", str(self.folder)]


class SniProxy(Proxy):
    name = "sniproxy"
    rejects = False

    def command(self):
        config = self.write("sniproxy.conf", f"""
user root
pidfile {self.folder}/pid
error_log {{ filename /dev/null }}
listener 127.0.0.1:{self.port} {{ proto tls
    table main
    access_log {{ filename /dev/null }}
}}
table main {{
    {NAME.replace('.', '[.]')} 127.0.0.1:{self.backend}
    other[.]example[.]com 127.0.0.1:1
}}
""")
        return [shutil.which("sniproxy"), "-f", "-n", "18000", "-c", config]


class Yardstick(Proxy):
    name = YARDSTICK
    rejects = False

    def command(self):
        return [str(self.tools / "test/bench/yardstick"), str(self.port), str(self.backend)]


PROXIES = [McProxy, HAProxy, Nginx, SniProxy, Yardstick]


# ---- the scenarios ----

@dataclasses.dataclass
class Scenario:
    """What the load does, and how its figure is made of the CPU time, or of the latencies, or of the memory."""

    name: str
    title: str
    load: list
    unit: str
    figure: str = "cpu"  # cpu, p50_us, p99_us, memory
    blocked: bool = False
    without: tuple = ()  # proxies that cannot take part

    def command(self, scale):
        words = []
        for word in self.load:
            key, _, value = word.partition("=")
            words.append(f"count={max(16, int(int(value) * scale))}" if key == "count" else word)
        return words


SCENARIOS = [
    Scenario("short", "short connection, hello 517 B", ["short", "count=8000"], "us CPU"),
    Scenario("short1800", "short connection, hello 1.8 KB", ["short", "count=8000", "hello=1800"], "us CPU"),
    Scenario("turn16", "turn of 256 B, 16 connections", ["turns", "count=60000"], "us CPU"),
    Scenario("turn1000", "turn of 256 B, 1,000 connections", ["turns", "count=60000", "open=1000"], "us CPU"),
    Scenario("turn16k", "turn of 16 KB, 16 connections", ["turns", "count=30000", "size=16384"], "us CPU",
             without=("sniproxy",)),  # sets no TCP_NODELAY: a turn that does not fit its buffer waits 40 ms for an acknowledgement
    Scenario("download", "bulk from backends, 4 connections", ["download", "count=2048", "open=4"], "s CPU per GB"),
    Scenario("upload", "bulk from clients, 4 connections", ["upload", "count=2048", "open=4"], "s CPU per GB"),
    Scenario("idle", "memory of an idle connection", ["idle", "open=3000"], "bytes", figure="memory"),
    Scenario("blocked", "blocked connection", ["blocked", "count=8000", f"from={BLOCKED}"], "us CPU", blocked=True),
    Scenario("p50", "added latency p50", ["rate", "count=6000", "rate=3000"], "us", figure="p50_us"),
    Scenario("p99", "added latency p99", ["rate", "count=6000", "rate=3000"], "us", figure="p99_us"),
]


class Load:
    """The process that plays clients and backends."""

    def __init__(self, tools, words, port, backend):
        self.process = subprocess.Popen(
            ["taskset", "-c", str(LOAD_CPU), str(tools / "test/bench/load"), *words, f"proxy={port}", f"backend={backend}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"the load does not start: {words}")

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self):
        line = self.process.stdout.readline()
        self.process.wait(30)
        if not line:
            raise SystemExit("the load failed, see above")
        return json.loads(line)


def settle(proxy):
    """Wait until the proxy has done what was left of the measurement before."""
    before = -1
    while (now := proxy.cpu_ns()) != before:
        before = now
        time.sleep(0.03)
    return now


def measure(proxy, scenario, tools, scale):
    """One figure."""
    if scenario.figure == "memory":
        before = proxy.private_bytes()
        load = Load(tools, scenario.command(scale), proxy.port, proxy.backend)
        load.tell()
        time.sleep(0.2)
        count = int(next(w for w in scenario.load if w.startswith("open="))[5:])
        figure = (proxy.private_bytes() - before) / count
        load.tell()
        load.result()
        return figure
    load = Load(tools, scenario.command(scale), proxy.port, proxy.backend)
    before = settle(proxy)
    load.tell()
    result = load.result()
    if result["failed"]:
        raise SystemExit(f"{proxy.name}, {scenario.name}: {result['failed']} failed")
    if scenario.figure != "cpu":
        return result[scenario.figure]
    cpu = settle(proxy) - before
    return cpu / result["bytes"] if result["bytes"] else cpu / result["done"] / 1000


# ---- a run ----

def run(arguments, folder):
    tools = pathlib.Path(arguments.build).absolute()
    wanted = [s for s in SCENARIOS if not arguments.only or s.name in arguments.only.split(",")]
    proxies = []
    port = arguments.port
    for kind in PROXIES:
        if kind in (HAProxy, Nginx, SniProxy) and shutil.which(kind.name) is None:
            print(f"{kind.name} is not installed", file=sys.stderr)
            continue
        proxies.append(kind(folder, tools, port, port + 1))
        port += 2
    figures = {s.name: {p.name: [] for p in proxies if (p.rejects or not s.blocked) and p.name not in s.without}
               for s in wanted}
    try:
        for p in proxies:
            p.start()
        for number in range(arguments.rounds + 1):  # the first is not counted: everything grows to its size
            for s in random.sample(wanted, len(wanted)):
                for p in random.sample(proxies, len(proxies)):
                    if p.name in figures[s.name]:
                        figure = measure(p, s, tools, arguments.scale)
                        if number > 0 or s.figure == "memory":  # memory is only taken once: later connections use it again
                            figures[s.name][p.name].append(figure)
            print(f"round {number} of {arguments.rounds}", file=sys.stderr)
    finally:
        for p in proxies:
            p.stop()
    return wanted, figures


def ratio(figures, a, b):
    return statistics.median(x / y for x, y in zip(figures[a], figures[b]) if y)


def summary(wanted, figures):
    """A row per scenario: medians, our ratio to the best rival and to the yardstick."""
    for s in wanted:
        row = figures[s.name]
        if s.figure == "memory":
            row = {name: values[:1] for name, values in row.items()}
        medians = {name: statistics.median(values) for name, values in row.items()}
        rivals = [name for name in row if name not in (OURS, YARDSTICK)]
        best = min(rivals, key=medians.get) if rivals else None
        yield {"scenario": s.name, "title": s.title, "unit": s.unit, "medians": medians, "best_rival": best,
               "of_best_rival": ratio(row, OURS, best) if best else None,
               "of_yardstick": ratio(row, OURS, YARDSTICK) if YARDSTICK in row and s.figure != "memory" else None}


def print_table(rows):
    names = [p.name for p in PROXIES]
    print(f"{'':36}{'unit':14}" + "".join(f"{n:>11}" for n in names) + f"{'/ best rival':>24}{'/ yardstick':>13}")
    for r in rows:
        cells = "".join(f"{r['medians'][n]:11.2f}" if n in r["medians"] else f"{'-':>11}" for n in names)
        best = f"{r['of_best_rival']:.3f} ({r['best_rival']})" if r["best_rival"] else "-"
        print(f"{r['title']:36}{r['unit']:14}{cells}{best:>24}" + (f"{r['of_yardstick']:13.3f}" if r["of_yardstick"] else f"{'-':>13}"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the counts")
    parser.add_argument("--only", default="", help="names of scenarios: " + ",".join(s.name for s in SCENARIOS))
    parser.add_argument("--json", default="")
    parser.add_argument("--port", type=int, default=21000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mc-proxy-bench-") as folder:
        os.chmod(folder, 0o755)
        wanted, figures = run(arguments, folder)
    rows = list(summary(wanted, figures))
    print_table(rows)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"rows": rows, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
