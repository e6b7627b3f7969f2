"""
Hostile clients of the real admin API while connections are proxied: the flooding connection ends, the master's memory stays, another
client of the API is answered, and no proxied connection fails. `pytest -s` prints what proxied connections took before and during
each flood; FLOOD_SECONDS=10 gives each more time, for figures.
"""

import os
import socket
import ssl
import subprocess
import sys
import time

import grpc
import pytest

from lib import procfs
from lib.admin import Admin, put
from lib.background import Background
from lib.config import Listener
from lib.daemon import is_sanitized
from lib.h2raw import END_STREAM, DATA, ENHANCE_YOUR_CALM, FLOODS, H2Raw, flood, frame, message
from lib.ports import free_port
from lib.steady import Steady, percentile
from lib.waiting import wait_until

MIB = 1 << 20
SPARE = (24 if is_sanitized() else 8) * MIB  # what allocators keep, and the sanitizers' shadow of it
NO_QUARANTINE = {"ASAN_OPTIONS": "quarantine_size_mb=1:thread_local_quarantine_size_kb=64"}  # memory that is freed, and only not reused
SECONDS = float(os.environ.get("FLOOD_SECONDS", "0.7"))  # of each flood
RATE = 200  # proxied connections a second
SLOW_METHOD = "/grpc.health.v1.Health/Watch"
ROUTES = 5000 if is_sanitized() else 20000  # 20 connections with 10 lists of so many are more than the budget of answers
OVER_TLS = ["PING", "SETTINGS", "resets", "CONTINUATION"]


class Witness(Background):
    """Another client of the API, which calls all the time: every call must be answered."""

    def __init__(self, target):
        self._api = Admin(target)
        self.answered = 0
        self.errors = []
        super().__init__(self._run)

    def _run(self):
        while not self.pause(0.02):
            try:
                self._api.GetStatus(timeout=20)
                self.answered += 1
            except grpc.RpcError as error:
                self.errors.append(str(error))

    def stop(self):
        super().stop()
        self._api.close()


class Scene:
    """A daemon with traffic through it and a witness beside it; attack() runs one flood and judges what it did to the API."""

    def __init__(self, daemon, traffic, witness):
        self.daemon = daemon
        self.traffic = traffic
        self.witness = witness
        self.rows = []

    def attack(self, name, once, spare=SPARE):
        """once() again and again for SECONDS; returns how often."""
        before, answered, most, count = procfs.rss_bytes(self.daemon.pid), self.witness.answered, 0, 0
        self.traffic.phase(name)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            once()
            count += 1
            most = max(most, procfs.rss_bytes(self.daemon.pid))
        wait_until(lambda: self.witness.answered > answered or self.witness.errors, 30, "an answer to another client")
        self.traffic.phase("between")
        assert not self.witness.errors, (name, self.witness.errors)
        assert most - before < spare, (name, most - before)
        self.rows.append((name, count, most - before))

    def report(self):
        times = self.traffic.finish()
        print(f"\n{'proxied connections':30} count   p50 ms   p99 ms   max ms  attackers  more memory")
        for name, count, growth in [("before", 0, 0), *self.rows]:
            mine = times.get(name, [])
            assert mine, name
            p50, p99, most = (1000 * percentile(mine, share) for share in (0.5, 0.99, 1))
            print(f"{name:30} {len(mine):5} {p50:8.2f} {p99:8.2f} {most:8.2f} {count:10} {growth / MIB:8.1f} MiB")


@pytest.fixture
def scene(new_daemon, tmp_path):
    """scene(**grpc keys): with traffic that has been running for a while."""
    open_ones = []

    def start(**grpc_keys):
        target = f"unix:{tmp_path}/admin.sock"
        traffic = Steady(RATE)
        open_ones.append(traffic)
        listener = Listener(routes=[f"www.example.com {traffic.address}"])
        daemon = new_daemon([listener], server={"workers": 2}, log={"access": "false", "level": "info"}, env=NO_QUARANTINE,
                            grpc={**grpc_keys, "addr": [target, *grpc_keys.get("addr", [])]}).start()
        witness = Witness(target)
        witness.__enter__()
        open_ones.append(witness)
        traffic.aim(listener.port)
        wait_until(lambda: witness.answered > 10, what="answers")
        time.sleep(SECONDS)
        traffic.phase("between")
        return Scene(daemon, traffic, witness)

    yield start
    for one in reversed(open_ones):
        one.__exit__()


def expect_ended(h2, name):
    h2.hello()
    outcome = flood(h2, FLOODS[name])
    assert outcome.closed and outcome.goaway == ENHANCE_YOUR_CALM, (name, outcome.rounds, outcome.goaway)


def busy():
    """No attack: two programs that are busy, as an attacker and the master are. What that costs the others where processors are few."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            pass
        other.kill()


def test_floods_over_the_unix_socket(scene, tmp_path):
    stage = scene()
    stage.attack("(two busy programs, no flood)", busy)
    for name in FLOODS:
        def once(name=name):
            with H2Raw.unix(f"{tmp_path}/admin.sock", path=SLOW_METHOD) as h2:
                expect_ended(h2, name)

        stage.attack(name, once)
    stage.report()


def test_floods_over_tls(scene, pki):
    port = free_port()
    cert, key = pki.cert("localhost")
    stage = scene(addr=[f"127.0.0.1:{port}"], tls_cert=cert, tls_key=key)
    for name in OVER_TLS:
        def once(name=name):
            with H2Raw.tcp(port, ssl.create_default_context(cafile=pki.ca), path=SLOW_METHOD) as h2:
                expect_ended(h2, name)

        stage.attack(f"{name} over TLS", once)
    half = []

    def half_a_handshake():
        for _ in range(33 - len(half) if len(half) < 33 else 1):  # more than there are places, however slow the machine is
            s = socket.create_connection(("127.0.0.1", port), timeout=20)
            half.append(s)
            s.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
            time.sleep(0.005)

    stage.attack("half-open TLS", half_a_handshake)
    assert len(half) > 32  # and the witness was answered all the same
    for s in half:
        s.close()
    stage.report()


def test_answers_that_nobody_takes(scene, admin, tmp_path):
    """Windows that stay shut: 20 connections ask for all routes again and again and read nothing."""
    stage = scene()
    api = admin(f"unix:{tmp_path}/admin.sock")
    addr = stage.daemon.listeners[0].addr
    api.apply({"changes": [put(addr, f"h{i}.example.com", "10.0.0.1:1") for i in range(ROUTES)]})
    request = message(b"\x0a" + bytes((len(addr),)) + addr.encode())
    readers = [H2Raw.unix(f"{tmp_path}/admin.sock") for _ in range(20)]
    for h2 in readers:
        h2.hello((4, 0))  # SETTINGS_INITIAL_WINDOW_SIZE

    def ask():
        for h2 in readers:
            if h2.stream < 19:
                h2.send(h2.open(path="/mc_proxy.v1.ProxyAdminService/ListRoutes") + frame(DATA, END_STREAM, h2.stream, request))
        time.sleep(0.05)

    stage.attack("answers never taken", ask, spare=SPARE + 128 * MIB)  # the budget of answers, docs/decisions/0008
    for h2 in readers:
        h2.sock.close()
    stage.report()
