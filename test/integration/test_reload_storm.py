"""
Reloads one after another while connections come in: whatever changes, none of them fails, and what is open stays open. The full number
of reloads, 1,000, is done with RELOADS=1000; a sanitized build does fewer by itself. RELOAD_SEED repeats a run.
"""

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import is_sanitized
from lib.reloads import REFUSED, RELOADED, Reloads
from lib.streams import Relay, Stream
from lib.waiting import wait_until

RELOADS = int(os.environ.get("RELOADS", "200" if is_sanitized() else "400"))
MAKE_MMDB = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools", "make_mmdb.py")


@pytest.fixture
def databases(tmp_path):
    """Two GeoIP databases to change between; nobody's country is blocked."""
    paths = [str(tmp_path / f"{name}.mmdb") for name in ("one", "two")]
    for path, network in zip(paths, ("192.0.2.0/24=KP", "198.51.100.0/24=IR")):
        subprocess.run([sys.executable, MAKE_MMDB, path, network], check=True)
    return paths


class Storm:
    """Configurations by chance, all of which serve the kept listener's plain clients."""

    def __init__(self, daemon, extras, databases, directory, seed):
        self.random = random.Random(seed)
        self.daemon = daemon
        self.extras = extras
        self.databases = databases
        self.directory = str(directory)

    def sections(self):
        pick = self.random.choice
        sections = {
            "server": {"workers": pick([1, 2, 3, 4])},
            "log": {"level": pick(["debug", "info"]), "format": pick(["text", "json"]), "access": pick(["true", "false", "false", "false"])},
            "proxy": {"hello_timeout": pick(["5s", "10s"]), "connect_timeout": pick(["3s", "5s"]), "idle_timeout": pick(["60s", "5m"]),
                      "half_close_timeout": pick(["20s", "1m"]), "shutdown_timeout": pick(["5s", "9s"])},
            "firewall": {"rate_limit": pick([0, 1000000]), "rate_window": pick(["1s", "1m"])},
        }
        if database := pick([None, *self.databases]):
            sections["firewall"]["geoip_db"] = database
        return sections

    def listeners(self):
        pick = self.random.choice
        main = self.daemon.listeners[0]
        main.options = {"no_route": pick(["reset", "alert"]), "max_connections": pick([0, 5000])}
        if pick([True, False]):
            main.options.update({"proxy_protocol": "mixed", "proxy_trusted": pick(["192.0.2.0/24", "192.0.2.1, 198.51.100.0/24"])})
        for extra in self.extras:
            extra.options = {"no_route": pick(["reset", "alert"])}
        return [main, *(extra for extra in self.extras if pick([True, False]))]

    def text(self):
        return config_text(self.directory, self.listeners(), **self.sections())


def test_reloads_under_load_lose_no_connection(new_daemon, backend, databases, tmp_path):
    seed = os.environ.get("RELOAD_SEED", str(random.SystemRandom().randrange(1 << 32)))
    print(f"RELOAD_SEED={seed}")
    echo = backend(EchoBackend)
    extras = [Listener([f"* {echo.address}"], name=f"extra{i}") for i in range(4)]
    daemon = new_daemon([Listener([f"* {echo.address}"])], server={"workers": 2}).start()
    storm, reloads = Storm(daemon, extras, databases, tmp_path, seed), Reloads(daemon)
    relays = [Relay(daemon.port) for _ in range(8)]
    with Stream(daemon.port, threads=3) as kept, Stream(extras[0].port, threads=2, may_be_refused=True) as coming_and_going:
        begun = time.monotonic()
        for done in range(RELOADS):
            reloads.reload(storm.text())
            relays[done % len(relays)].expect_alive()
        took = time.monotonic() - begun
        # The last file is in force, also when its number of workers had to wait for an earlier change.
        reloads.reload(config_text(str(tmp_path), daemon.listeners, server={"workers": 2}))
        wait_until(lambda: len(daemon.workers()) >= 2, 20, "two workers")
        served = kept.served
        wait_until(lambda: kept.served > served + 10, 20, "more connections")
    for relay in relays:
        relay.expect_alive()
        relay.close()
    wait_until(lambda: len(daemon.workers()) == 2, 20, "two workers, and none that still relays")
    assert reloads.count[REFUSED] == 0, daemon.log_text()
    assert not kept.failed and not coming_and_going.failed, (kept.failed[:5], coming_and_going.failed[:5])
    assert kept.served > RELOADS and coming_and_going.served > 0 and coming_and_going.refused > 0
    died = [e for e in daemon.events() if e["msg"] in ("worker died", "worker killed")]
    assert not died, died
    print(f"{RELOADS} reloads in {took:.1f} s; {kept.served} connections, {coming_and_going.served} to a listener that came and went, "
          f"0 failed")


def test_a_storm_of_signals_becomes_few_reloads_and_the_last_file_is_in_force(new_daemon, backend, tmp_path):
    echo = backend(EchoBackend)
    daemon = new_daemon([Listener([f"* {echo.address}"])]).start()
    extra = Listener([f"* {echo.address}"], name="extra")
    reloads = Reloads(daemon)
    with Stream(daemon.port) as stream:
        begun = time.monotonic()
        for i in range(200):
            listeners = daemon.listeners + ([extra] if i % 2 else [])
            daemon.write_config(config_text(str(tmp_path), listeners, proxy={"idle_timeout": f"{i + 60}s"}))
            daemon.signal(signal.SIGHUP)
            time.sleep(max(0.0, begun + 0.01 * (i + 1) - time.monotonic()))
        with Stream(extra.port, threads=1, may_be_refused=True) as last:
            wait_until(lambda: last.served > 3, 20, "the listener of the last file")
    reloads.read()
    assert not stream.failed and reloads.count[REFUSED] == 0, (stream.failed, daemon.log_text())
    # At most one in 10 ms, and after a few of those one in 200 ms; who asks slowly, as we have to on a busy machine, is answered each time.
    took = time.monotonic() - begun
    assert 2 <= reloads.count[RELOADED] <= (60 if took < 5 else 200), (reloads.count, took)
