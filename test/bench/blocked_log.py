#!/usr/bin/python3
"""
What a reader of standard error who stops reading costs the traffic: the latency of short connections with standard error blocked (a
full pipe that nobody reads) against one that takes everything (/dev/null), both with a line for each connection.

    blocked_log.py [--rounds N] [--count N] [--rate N] [--json]       default: 21 rounds of 1,000 connections at 2,000 a second

Two servers of MCPROXY_BIN (default build/mc-proxy) with one worker each stand side by side and are measured in turn, the order
changing with every short round, so that whatever else the machine does meets both. Medians of the rounds' percentiles, in microseconds from
the intended beginning of a connection to its complete answer; and the lines that the blocked one dropped and counted. `load` is
built by the target `bench`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(_ROOT, "test", "integration"))
from lib import procfs  # noqa: E402
from lib.config import Listener, config_text  # noqa: E402
from lib.daemon import BINARY, environment, run_command  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.waiting import wait_until  # noqa: E402

LOAD = os.path.join(os.path.dirname(BINARY), "test", "bench", "load")
WARM_UP = 30000  # lines: more than pipe, output and ring hold


class Server:
    """One server; stderr as the mode says."""

    def __init__(self, folder, mode):
        self.mode, self.backend = mode, free_port()
        self.listener = Listener(routes=[f"* 127.0.0.1:{self.backend}"])
        self.config = os.path.join(folder, f"{mode}.ini")
        os.mkdir(os.path.join(folder, mode))
        text = config_text(os.path.join(folder, mode), [self.listener], log={"level": "info"},
                           grpc={"addr": f"unix:{folder}/{mode}.sock"})
        with open(self.config, "w", encoding="utf-8") as f:
            f.write(text)
        self._reader = None
        stderr = subprocess.DEVNULL
        if mode == "blocked":
            self._reader, stderr = os.pipe()
        self.process = subprocess.Popen([BINARY, "server", "-c", self.config], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=stderr, env=environment())
        if mode == "blocked":
            os.close(stderr)
        wait_until(lambda: self.listener.port in procfs.listening_ports(), 20, "the server")

    def run(self, *words):
        """The load's figures for one round."""
        command = [LOAD, *words, f"proxy={self.listener.port}", f"backend={self.backend}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as load:
            assert load.stdout.readline() == "ready\n"
            load.stdin.write("go\n")
            load.stdin.flush()
            result = json.loads(load.stdout.readline())
            load.stdin.close()
        assert load.returncode == 0, result
        return result

    def dropped(self):
        status = json.loads(run_command("status", "-c", self.config, "--json").stdout)
        return status["log_records_dropped"] + status["log_lines_dropped"]

    def close(self):
        self.process.terminate()
        if self._reader is not None:
            os.close(self._reader)
        self.process.wait(20)


def measure(servers, arguments):
    figures = {server.mode: [] for server in servers}
    for server in servers:
        server.run("short", f"count={WARM_UP}", "open=32")
    for turn in range(arguments.rounds):
        for server in servers if turn % 2 == 0 else servers[::-1]:
            figures[server.mode].append(server.run("rate", f"count={arguments.count}", f"rate={arguments.rate}"))
    return {"connections": arguments.rounds * arguments.count, "rate": arguments.rate,
            **{server.mode: {"dropped": server.dropped(), **{key: statistics.median(one[key] for one in figures[server.mode])
                                                              for key in PERCENTILES}} for server in servers}}


PERCENTILES = ("p50_us", "p99_us", "p999_us")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--rate", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        servers = [Server(folder, "read"), Server(folder, "blocked")]
        try:
            result = measure(servers, arguments)
        finally:
            for server in servers:
                server.close()
    if arguments.json:
        print(json.dumps(result))
        return
    print(f"{'standard error':16}" + "".join(f"{key.replace('_us', ' us'):>10}" for key in PERCENTILES) + f"{'lines dropped':>16}")
    for mode in ("read", "blocked"):
        one = result[mode]
        print(f"{mode:16}" + "".join(f"{one[key]:10.0f}" for key in PERCENTILES) + f"{one['dropped']:16}")


if __name__ == "__main__":
    main()
