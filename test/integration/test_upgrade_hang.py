"""A new program that neither serves nor ends is killed after a minute. By itself, as it takes that minute."""

import signal

import pytest

from lib import logs, procfs
from lib.backends import EchoBackend
from lib.config import Listener
from lib.streams import Stream
from lib.upgrading import Upgradable, hang_script, python_script


@pytest.mark.parametrize("script", [hang_script(), python_script("say('GIVE-DATABASE'); hear(); time.sleep(600)")])
def test_a_program_that_hangs_is_killed_after_a_minute(new_daemon, backend, script):
    server = Upgradable(new_daemon([Listener([f"* {backend(EchoBackend).address}"])])).start()
    stream = Stream(server.daemon.port, threads=1, every=0.004).start()
    server.replace(script=script)
    verdict = server.fail_to_upgrade(timeout=120)
    begun = server.events("upgrading: the new program starts")[-1]
    assert 59 < logs.time_of(verdict) - logs.time_of(begun) < 90, "a minute, by the old one's own clock"
    assert verdict["reason"] == "it was not ready in time" and verdict["signal"] == "9"
    assert not procfs.is_alive(int(verdict["pid"]))
    server.daemon.signal(signal.SIGHUP)
    server.daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
    stream.stop()
    assert not stream.failed, stream.failed[:5]
