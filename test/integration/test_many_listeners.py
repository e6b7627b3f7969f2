"""Many listeners and few descriptors: what fits is served, what does not is refused before anything has changed."""

import resource
import subprocess

import pytest

from lib import clients, procfs
from lib.config import Listener, config_text
from lib.daemon import is_sanitized, run_command
from lib.reloads import REFUSED, Reloads
from lib.streams import HELLO, Relay, Stream, is_served
from lib.waiting import wait_until


def test_hundreds_of_listeners_and_workers_come_and_go_at_once(new_daemon, echo, tmp_path):
    count, workers = (100, 4) if is_sanitized() else (300, 8)
    kept = Listener([f"* {echo.address}"])
    many = [Listener([f"*.{i}.example.com {echo.address}", f"www.example.com {echo.address}"], name=f"l{i}") for i in range(count)]
    daemon = new_daemon([kept]).start()
    relay, reloads = Relay(kept.port), Reloads(daemon)
    with Stream(kept.port) as stream:
        reloads.reload(config_text(str(tmp_path), [kept, *many], server={"workers": workers}))
        wait_until(lambda: len(daemon.workers()) == workers, 20, f"{workers} workers")
        for listener in many:
            assert is_served(listener.port)
        relays = [Relay(listener.port) for listener in many[::10]]
        reloads.reload(config_text(str(tmp_path), [kept], server={"workers": 1}))
        wait_until(lambda: not {listener.port for listener in many} & procfs.listening_ports(), 30, "the listeners to be closed")
        for one in [relay, *relays]:
            one.expect_alive()
            one.close()
        wait_until(lambda: len(daemon.workers()) == 1, 30, "one worker")
    assert not stream.failed, stream.failed[:5]
    assert not [e for e in daemon.events() if e["msg"] in ("worker died", "worker killed")]


def test_too_few_descriptors_refuse_the_reload_and_change_nothing(new_daemon, echo, tmp_path):
    kept = Listener([f"* {echo.address}"])
    many = [Listener([f"* {echo.address}"], name=f"l{i}") for i in range(60)]
    daemon = new_daemon([kept], server={"workers": 2}).start()
    hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (100, hard))
    relay, reloads = Relay(kept.port), Reloads(daemon)
    with Stream(kept.port) as stream:
        for _ in range(3):
            for sections in ({"server": {"workers": 2}}, {"server": {"workers": 60}}, {"server": {"workers": 200}}):
                listeners = [kept, *many] if sections["server"]["workers"] == 2 else [kept, *many[:1]]
                text = config_text(str(tmp_path), listeners, proxy={"idle_timeout": "300ms"}, **sections)
                verdict = reloads.reload(text, expect=REFUSED)
                assert "LimitNOFILE" in verdict["error"], verdict
                assert not {listener.port for listener in many} & procfs.listening_ports()
    assert not stream.failed, stream.failed[:5]
    assert len(daemon.workers()) == 2
    relay.expect_alive()
    relay.close()
    resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (hard, hard))
    reloads.reload(config_text(str(tmp_path), [kept, *many], server={"workers": 2}))
    assert is_served(many[-1].port)


def limited(limit):
    return {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))}


def test_start_with_too_few_descriptors_says_what_to_raise(tmp_path):
    path = tmp_path / "mc-proxy.ini"
    path.write_text(config_text(str(tmp_path), [Listener(name=f"l{i}") for i in range(60)], server={"workers": 4}))
    done = run_command("server", "-c", str(path), **limited(128))
    assert done.returncode == 1 and "LimitNOFILE" in done.stderr, done.stderr


@pytest.mark.parametrize("limit, options, said", [(1024, {}, {"limit": "1024", "connections": "960"}), (1024, {"max_connections": 900}, {"connections": "960"}),
                                                  (16384, {}, None), (16384, {"max_connections": 50000}, {"connections": "16320"})])
def test_limit_of_descriptors_that_is_low_for_the_configuration_is_told(new_daemon, monkeypatch, limit, options, said):
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: popen(*args, **limited(limit), **kwargs))
    daemon = new_daemon([Listener(options=options)], server={"workers": 2}).start()
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
    told = [e for e in daemon.events() if "limit of open files is low" in e["msg"]]
    assert len(told) == (said is not None), told
    for key, value in (said or {}).items():
        assert told[0][key] == value and told[0]["level"] == "WARN"


def test_worker_keeps_descriptors_for_its_listeners(new_daemon, echo, monkeypatch):
    """Connections beyond what the descriptors suffice for wait in the queue; none is refused for want of one."""
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: popen(*args, **limited(256), **kwargs))
    listeners = [Listener([f"* {echo.address}"], name=f"l{i}") for i in range(150)]
    daemon = new_daemon(listeners, proxy={"shutdown_timeout": "30s"}).start()
    waiting = []
    for i in range(80):
        s = clients.connect(listeners[i].port)
        s.sendall(HELLO)
        waiting.append(s)
    for s in waiting:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        s.close()
    daemon.wait_for_access(count=80, reason="finished")
