#!/usr/bin/python3
"""
The soak: one server under everything at once for an hour, and proof that it stays as small as it was and fails nobody.

At the same time: a stream of short connections and open relays that must be served; floods of blocked clients and of bytes that are no
hello, which must be reset; routes added, replaced and removed, firewall rules too, in batches as well; a reload every ten seconds with
other timeouts, listeners and workers; a snapshot, a scrape and a status now and then; and workers killed, all but the one in slot 0,
whose memory is to be watched for the whole time. Every half minute: anonymous memory and descriptors of the master and of that worker,
shared memory, size of the database.

    soak.py [--minutes 60] [--seed N] [--json FILE]

Ends with 1 if a connection failed that no kill explains, if anything grew, or if the server did not end cleanly, and with 77 (skipped)
where workers may not be looked into. The binary is build/mc-proxy, or MCPROXY_BIN.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from lib import clients, hello, metrics, procfs  # noqa: E402
from lib.admin import CIDR, Admin, put  # noqa: E402
from lib.backends import EchoBackend  # noqa: E402
from lib.config import Listener, config_text  # noqa: E402
from lib.daemon import Daemon, is_sanitized  # noqa: E402
from lib.machine import may_ptrace  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.reloads import REFUSED, Reloads  # noqa: E402
from lib.streams import Relay  # noqa: E402
from lib.waiting import wait_until  # noqa: E402

HELLO = hello.client_hello(b"www.example.com")
BLOCKED = "127.0.0.66"
NAMES = 2000
RULES = 500
SKIPPED = 77  # what ctest is told with SKIP_RETURN_CODE
SAMPLE_S = 30
WARM_UP = 0.2          # of the time: until then caches and pools may grow
GROWTH = 0.05          # of what there was after the warm-up
GROWTH_BYTES = {"database": 8 << 20}  # the write-ahead log before it is taken into the file
GROWTH_BYTES_USUAL = 512 << 10  # an allocator's steps
RELAYS = 40
GROWTH_DESCRIPTORS = 2 * RELAYS + 8  # relays gather in the worker that is never killed


@dataclasses.dataclass
class Sample:
    """Bytes, but for the times and numbers."""

    second: float
    master_memory: int
    master_descriptors: int
    worker_memory: int
    worker_descriptors: int
    shared_memory: int
    database: int


class Account:
    """What happened, by kind, and what should not have."""

    def __init__(self):
        self.counts = {}
        self.failures = []  # (begun, ended, what)
        self.kills = []  # (when it was begun, when the worker was gone)
        self._lock = threading.Lock()

    def count(self, kind, n=1):
        with self._lock:
            self.counts[kind] = self.counts.get(kind, 0) + n

    def fail(self, begun, what, is_explicable=True):
        """is_explicable: by a worker that was killed meanwhile."""
        with self._lock:
            self.failures.append((begun if is_explicable else float("inf"), time.monotonic(), what))

    def unexplained(self):
        """Failures of connections during whose life no worker was killed."""
        return [f for f in self.failures if not any(f[0] <= gone and begun <= f[1] for begun, gone in self.kills)]


class Soak:
    def __init__(self, directory, seed, account):
        self.random = random.Random(seed)
        self.account = account
        self.directory = directory
        self.stop = threading.Event()
        self.echo = EchoBackend()
        self.main = Listener([f"* {self.echo.address}"])
        self.extra = Listener([f"* {self.echo.address}"], name="extra")
        self.metrics_port = free_port()
        self.socket = os.path.join(directory, "admin.sock")
        self.daemon = Daemon(directory, self.config(), [self.main]).start()
        self.keeper = int(self.daemon.wait_for_log(lambda e: e["msg"] == "worker started" and e["worker"] == "0")["pid"])
        self.reloads = Reloads(self.daemon)

    def config(self):
        pick = self.random.choice
        listeners = [self.main, self.extra] if pick([True, False]) else [self.main]
        return config_text(
            self.directory, listeners,
            server={"workers": pick([2, 3])},
            log={"level": "info", "access": "false", "format": pick(["text", "json"])},
            proxy={"idle_timeout": pick(["1m", "5m"]), "hello_timeout": pick(["5s", "10s"]), "shutdown_timeout": "5s"},
            firewall={"blocked_ips": BLOCKED, "rate_limit": pick([0, 1000000])},
            grpc={"addr": f"unix:{self.socket}"},
            metrics={"addr": f"127.0.0.1:{self.metrics_port}"})

    # ---- what goes on, each in a thread of its own

    def guarded(self, job):
        """A job that breaks would be missing from then on: that is a failure."""
        begun = time.monotonic()
        try:
            job()
        except Exception as error:
            self.account.fail(begun, f"{job.__name__} broke: {error!r}", is_explicable=False)

    def short_connections(self):
        while not self.stop.wait(0.01):
            begun = time.monotonic()
            try:
                with clients.connect(self.main.port, timeout=20) as s:
                    s.sendall(HELLO)
                    assert clients.read_exactly(s, len(HELLO)) == HELLO
                self.account.count("short connections")
            except (OSError, AssertionError) as error:
                self.account.fail(begun, f"short connection: {error!r}")

    def relays(self):
        held = []
        while not self.stop.wait(0.2):
            begun = time.monotonic()
            try:
                while len(held) < RELAYS:
                    held.append((begun, Relay(self.main.port)))
                begun, relay = held[0]
                relay.expect_alive()
                held.append(held.pop(0))
                if len(held) == RELAYS:
                    held.pop(0)[1].close()
                self.account.count("turns of relays")
            except (OSError, AssertionError) as error:
                self.account.fail(begun, f"relay: {error!r}")
                held = [h for h in held if h[0] != begun]

    def must_be_reset(self, kind, payload, source=None):
        begun = time.monotonic()
        try:
            with clients.connect(self.main.port, timeout=20, source=source) as s:
                s.sendall(payload)
                answer = s.recv(1)
            self.account.fail(begun, f"{kind}: answered {answer!r}")
        except ConnectionError:
            self.account.count(kind)
        except OSError as error:
            self.account.fail(begun, f"{kind}: {error!r}")

    def floods(self):
        while not self.stop.wait(self.random.uniform(2, 6)):
            for _ in range(self.random.randrange(100, 400)):
                self.must_be_reset("blocked connections", HELLO, source=BLOCKED)
            for _ in range(100):
                self.must_be_reset("bytes that are no hello", b"GET / HTTP/1.1\r\n\r\n")

    def route_changes(self):
        admin = Admin(f"unix:{self.socket}")
        pick = random.Random(self.random.random())
        while not self.stop.wait(0.02):
            name = f"n{pick.randrange(NAMES)}.example.com"
            choice = pick.random()
            try:
                if choice < 0.45:
                    admin.add(self.main.addr, name, self.echo.address, pick.random() < 0.5)
                elif choice < 0.9:
                    admin.apply({"changes": [{"remove_route": {"listener_addr": self.main.addr, "hostname": name},
                                              "allow_unchanged": True}]})
                elif choice < 0.97:
                    admin.apply({"changes": [put(self.main.addr, f"n{i}.example.com", "127.0.0.1:1", allow_unchanged=True)
                                             for i in pick.sample(range(NAMES), 200)]})
                else:
                    rule = {"rule": {"type": CIDR, "value": f"203.0.{pick.randrange(RULES) % 256}.0/24"}}
                    admin.apply({"changes": [{pick.choice(["add_rule", "remove_rule"]): rule, "allow_unchanged": True}]})
                self.account.count("changes")
            except Exception as error:  # grpc raises its own kinds
                self.account.fail(time.monotonic(), f"change: {error!r}")
        admin.close()

    def questions(self):
        admin = Admin(f"unix:{self.socket}")
        asked = 0
        while not self.stop.wait(5):
            try:
                metrics.scrape(self.metrics_port)
                admin.GetStatus()
                admin.routes(self.main.addr)
                if asked % 12 == 0:
                    admin.Snapshot(keep=2)
                self.account.count("rounds of scrape, status, list and snapshot")
            except Exception as error:
                self.account.fail(time.monotonic(), f"question: {error!r}")
            asked += 1
        admin.close()

    def kills(self):
        while not self.stop.wait(self.random.uniform(5, 12)):
            victims = [pid for pid in self.daemon.workers() if pid != self.keeper]
            if not victims:
                continue
            victim, begun = self.random.choice(victims), time.monotonic()
            with contextlib.suppress(ProcessLookupError):  # a reload was quicker
                os.kill(victim, signal.SIGKILL)
                self.account.count("workers killed")
            wait_until(lambda: not procfs.is_alive(victim), what="the end of a killed worker", interval=0.001)
            self.account.kills.append((begun, time.monotonic()))

    def reload(self):
        try:
            self.reloads.reload(self.config())
            self.account.count("reloads")
        except AssertionError as error:
            self.account.fail(time.monotonic(), f"reload: {error}")

    # ---- looking

    def sample(self, second):
        database = 0
        for name in os.listdir(self.directory):
            if name.startswith("mc-proxy.db"):
                with contextlib.suppress(FileNotFoundError):  # SQLite removes some of its files
                    database += os.path.getsize(os.path.join(self.directory, name))
        return Sample(round(second, 1), procfs.rss_bytes(self.daemon.pid), len(procfs.open_files(self.daemon.pid)),
                      procfs.rss_bytes(self.keeper), len(procfs.open_files(self.keeper)), procfs.shared_bytes(self.daemon.pid),
                      database)

    def run(self, seconds):
        jobs = [self.short_connections] * 3 + [self.relays, self.floods, self.route_changes, self.questions, self.kills]
        threads = [threading.Thread(target=self.guarded, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        samples, begun = [], time.monotonic()
        interval = min(SAMPLE_S, seconds / 20)
        next_reload = next_sample = begun
        while time.monotonic() < begun + seconds:
            now = time.monotonic()
            if now >= next_reload:
                self.reload()
                next_reload = now + 10
            if now >= next_sample:
                samples.append(self.sample(now - begun))
                next_sample = now + interval
            time.sleep(0.2)
        self.stop.set()
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                self.account.fail(time.monotonic(), "a job does not end", is_explicable=False)
        return samples

    def end(self):
        try:
            self.daemon.stop()
        finally:
            self.daemon.kill()
            self.echo.close()


def grown(samples, is_memory_told=True):
    """
    The fields whose largest value in the last third is beyond what the third behind the warm-up had, as sentences. A sanitizer keeps
    freed memory for a while, so there memory tells nothing.
    """
    warm = samples[int(len(samples) * WARM_UP):]
    third = max(1, len(warm) // 3)
    found = []
    for field in dataclasses.fields(Sample)[1:]:
        before = max(getattr(s, field.name) for s in warm[:third])
        after = max(getattr(s, field.name) for s in warm[-third:])
        slack = GROWTH_DESCRIPTORS if field.name.endswith("descriptors") else GROWTH_BYTES.get(field.name, GROWTH_BYTES_USUAL)
        if not is_memory_told and field.name.endswith("memory"):
            continue
        if after > before + max(slack, before * GROWTH):
            found.append(f"{field.name} grew from {before} to {after}")
    return found


def print_report(samples, account):
    names = [f.name for f in dataclasses.fields(Sample)]
    print(" ".join(f"{name:>18}" for name in names))
    for sample in samples[::max(1, len(samples) // 12)] + samples[-1:]:
        print(" ".join(f"{getattr(sample, name):>18}" for name in names))
    for kind, n in sorted(account.counts.items()):
        print(f"{n:>12} {kind}")
    cut = len(account.failures) - len(account.unexplained())
    print(f"{cut:>12} connections cut by a killed worker")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--json")
    options = parser.parse_args()
    if not may_ptrace():
        print("skipped: no right to look into processes of other users (CAP_SYS_PTRACE), so nothing could be said of descriptors")
        return SKIPPED
    print(f"seed {options.seed}", flush=True)
    account = Account()
    with tempfile.TemporaryDirectory(prefix="mc-proxy-soak-") as directory:
        os.chmod(directory, 0o755)
        soak = Soak(directory, options.seed, account)
        try:
            samples = soak.run(options.minutes * 60)
        finally:
            soak.end()
    print_report(samples, account)
    idle = {"short connections", "turns of relays", "changes", "reloads"} - account.counts.keys()
    problems = grown(samples, not is_sanitized()) + [f"failed: {f[2]}" for f in account.unexplained()]
    problems += [f"no {kind}" for kind in sorted(idle)]
    if soak.reloads.count[REFUSED]:
        problems.append(f"{soak.reloads.count[REFUSED]} reloads refused")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as f:
            json.dump({"seed": options.seed, "minutes": options.minutes, "samples": [dataclasses.asdict(s) for s in samples],
                       "counts": account.counts, "problems": problems}, f, indent=1)
    for problem in problems[:20]:
        print(problem)
    print("flat, and nobody failed" if not problems else f"{len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
