"""SIGHUP: everything is read and checked first, then switched; no connection is lost, and a bad file changes nothing."""

import contextlib
import os
import signal
import socket
import threading
import time

import pytest

from lib import clients
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import is_sanitized
from lib.streams import HELLO, is_served
from lib.waiting import wait_until


def reload(daemon, text, expect="configuration reloaded", timeout=20):
    """Replace the configuration, send SIGHUP, and wait for the verdict of exactly this reload."""
    daemon.write_config(text)
    before = verdicts(daemon)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: len(verdicts(daemon)) > len(before), timeout, "the verdict of the reload")
    verdict = verdicts(daemon)[len(before)]
    assert verdict["msg"] == expect, daemon.log_text()
    return verdict


def verdicts(daemon):
    return [e for e in daemon.events() if e["msg"] in ("configuration reloaded", "not reloaded: the old configuration stays in force")]


REFUSED = "not reloaded: the old configuration stays in force"


@pytest.fixture
def running(new_daemon, backend, tmp_path):
    """running(options..., **sections): a daemon with one listener that routes everything to an echo backend."""
    echo = backend(EchoBackend)

    def make(options=None, **sections):
        listener = Listener([f"* {echo.address}"], options=options or {})
        daemon = new_daemon([listener], **sections).start()
        daemon.echo = echo
        daemon.directory_text = str(tmp_path)
        return daemon

    return make


def text_of(daemon, listeners=None, **sections):
    return config_text(daemon.directory_text, daemon.listeners if listeners is None else listeners, **sections)


def test_wrong_configuration_changes_nothing_and_says_where(running):
    daemon = running()
    bad = text_of(daemon, proxy={"idle_timeout": "5"}).replace("[log]", "[lag]")
    verdict = reload(daemon, bad, expect=REFUSED)
    assert "2 errors" in verdict["error"] or "errors" in verdict["error"]
    said = [e["error"] for e in daemon.events() if e["msg"] == "configuration error"]
    assert any("idle_timeout" in line and f"{daemon.config_path}:" in line for line in said), said
    assert any("lag" in line for line in said), said
    assert is_served(daemon.port)


def test_a_pipe_without_a_writer_is_refused_in_time(running):
    """To wait for its writer would be the end of the master: no worker replaced, no call answered, not even a stop."""
    daemon = running()
    good = text_of(daemon)
    os.unlink(daemon.config_path)
    os.mkfifo(daemon.config_path)
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: verdicts(daemon), 20, "the verdict of the reload")
    assert verdicts(daemon)[0]["msg"] == REFUSED
    said = [e["error"] for e in daemon.events() if e["msg"] == "configuration error"]
    assert said == [f"{daemon.config_path}: cannot be read: it is a pipe, and nobody has written all of it within 5 s; "
                    "expected a configuration file"]
    os.unlink(daemon.config_path)
    reload(daemon, good)
    assert is_served(daemon.port)


def test_open_connections_survive_and_go_on(running):
    daemon = running()
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        for _ in range(3):
            reload(daemon, text_of(daemon))
            s.sendall(b"still there?")
            assert clients.read_exactly(s, 12) == b"still there?"


def test_new_connections_never_fail_while_reloading(running):
    """A steady stream of connections; listeners and timeouts change with every reload."""
    daemon = running(server={"workers": 2})
    rounds = 40 if is_sanitized() else 150
    failures, served, stop = [], [0], threading.Event()

    def stream():
        while not stop.is_set():
            try:
                with clients.connect(daemon.port, timeout=10) as s:
                    s.sendall(HELLO)
                    assert clients.read_exactly(s, len(HELLO)) == HELLO
                    served[0] += 1
            except (OSError, AssertionError) as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=stream) for _ in range(4)]
    for thread in threads:
        thread.start()
    extra = Listener([f"* {daemon.echo.address}"], name="extra")
    try:
        for i in range(rounds):
            listeners = daemon.listeners + ([extra] if i % 2 else [])
            daemon.write_config(text_of(daemon, listeners, server={"workers": 2}, proxy={"idle_timeout": f"{60 + i}s"}))
            before = len(verdicts(daemon))
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: len(verdicts(daemon)) > before, 20, "the reload")
        wait_until(lambda: served[0] > rounds or failures, 60, "connections")
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    assert not failures, failures[:5]


def test_many_signals_at_once_are_few_reloads(running):
    daemon = running()
    for _ in range(200):
        daemon.signal(signal.SIGHUP)
    wait_until(lambda: verdicts(daemon), 10, "a reload")
    reload(daemon, text_of(daemon))
    assert len(verdicts(daemon)) <= 200
    assert is_served(daemon.port)


def test_listener_is_added_and_removed(running):
    daemon = running()
    extra = Listener([f"* {daemon.echo.address}"], name="extra")
    assert not is_served(extra.port)
    reload(daemon, text_of(daemon, daemon.listeners + [extra]))
    assert is_served(extra.port)
    with clients.connect(extra.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        reload(daemon, text_of(daemon))
        wait_until(lambda: not is_served(extra.port), 10, "the listener to be gone")
        s.sendall(b"old connection")
        assert clients.read_exactly(s, 14) == b"old connection"
    assert is_served(daemon.port)
    reload(daemon, text_of(daemon, daemon.listeners + [extra]))
    assert is_served(extra.port), "a listener that comes back has its routes from the database"


def test_port_in_use_refuses_the_whole_reload(running):
    daemon = running()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        extra = Listener([f"* {daemon.echo.address}"], name="extra", port=taken.getsockname()[1])
        other = Listener([f"* {daemon.echo.address}"], name="other")
        verdict = reload(daemon, text_of(daemon, daemon.listeners + [other, extra]), expect=REFUSED)
        assert "in use" in verdict["error"] and extra.addr in verdict["error"]
        assert not is_served(other.port), "nothing of a refused configuration takes effect"
    assert is_served(daemon.port)


def test_properties_of_a_listener_change(running):
    daemon = running()
    daemon.listeners[0].options["no_route"] = "alert"
    daemon.listeners[0].options["proxy_protocol"] = "required"
    reload(daemon, text_of(daemon))
    wait_until(lambda: not is_served(daemon.port), 10, "the listener to want a PROXY header")
    with clients.connect(daemon.port) as s:
        s.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 443\r\n" + HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
    daemon.wait_for_access(client="192.0.2.1:1000")


def go_on(worker):
    with contextlib.suppress(ProcessLookupError):  # stopped for so long that it was replaced
        os.kill(worker, signal.SIGCONT)


def test_who_comes_after_a_reload_meets_the_new_configuration(running):
    """Also at a worker that was busy meanwhile, and finds the news and the newcomer at once."""
    daemon = running()
    daemon.listeners[0].options["proxy_protocol"] = "required"
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
    worker = daemon.workers()[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        reload(daemon, text_of(daemon))
        with clients.connect(daemon.port) as s:
            s.sendall(HELLO)
            go_on(worker)
            clients.expect_reset(s)
    finally:
        go_on(worker)
    daemon.wait_for_access(reason="proxy_malformed")


def test_timeouts_hold_for_open_connections(running):
    daemon = running()
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        reload(daemon, text_of(daemon, proxy={"idle_timeout": "300ms"}))
        s.settimeout(10)
        assert s.recv(1) == b""
    assert daemon.wait_for_access()["reason"] == "idle_timeout"


def test_workers_come_and_go(running):
    daemon = running(server={"workers": 1})
    reload(daemon, text_of(daemon, server={"workers": 3}))
    wait_until(lambda: len(daemon.workers()) == 3, 10, "three workers")
    for _ in range(20):
        assert is_served(daemon.port)
    reload(daemon, text_of(daemon, server={"workers": 1}))
    for _ in range(20):
        assert is_served(daemon.port)
    wait_until(lambda: len(daemon.workers()) == 1, 15, "one worker")
    assert is_served(daemon.port)


def test_log_settings_change(running):
    daemon = running()
    reload(daemon, text_of(daemon, log={"format": "json", "access": "false"}))
    assert is_served(daemon.port)
    time.sleep(0.3)  # an access line would come within the drain's 100 ms
    assert not daemon.access_lines()
    assert '"msg":"configuration reloaded"' in daemon.log_text().replace('": "', '":"')


def test_rate_limit_changes_without_forgetting_who_is_over_it(running):
    daemon = running(firewall={"rate_limit": 2, "rate_window": "1h"})
    assert is_served(daemon.port) and is_served(daemon.port) and not is_served(daemon.port)
    reload(daemon, text_of(daemon, firewall={"rate_limit": 3, "rate_window": "1h"}))
    assert is_served(daemon.port), "one more than before"
    assert not is_served(daemon.port)
    reload(daemon, text_of(daemon, firewall={"rate_limit": 0}))
    assert is_served(daemon.port)


def test_routes_and_rules_of_the_file_are_not_taken_again(running):
    daemon = running()
    assert not differences(daemon), "what was just seeded"
    daemon.listeners[0].routes = ["other.example.com 127.0.0.1:1", "* 127.0.0.1:1"]
    reload(daemon, text_of(daemon, firewall={"blocked_ips": "127.0.0.1"}))
    assert is_served(daemon.port), "the database is the source of truth"
    rules, routes = differences(daemon)
    assert routes["listener"] == daemon.listeners[0].addr and (routes["missing"], routes["different"]) == ("1", "1")
    assert "mc-proxy routes import" in routes["msg"] and "mc-proxy firewall import" in rules["msg"]
    assert rules["missing"] == "1"


def differences(daemon):
    return [e for e in daemon.events() if "the database decides" in e["msg"]]


@pytest.mark.parametrize("sections, word", [({"database": {"path": "other.db"}}, "[database] path"),
                                            ({"server": {"user": "daemon"}}, "[server] user")])
def test_what_needs_a_restart_is_refused_in_words(running, sections, word):
    daemon = running()
    verdict = reload(daemon, text_of(daemon, **sections), expect=REFUSED)
    assert word in verdict["error"] and "restart" in verdict["error"]
    assert is_served(daemon.port)


def test_wrong_geoip_database_keeps_the_old_configuration(running, tmp_path):
    daemon = running()
    (tmp_path / "bad.mmdb").write_bytes(b"this is no database")
    verdict = reload(daemon, text_of(daemon, firewall={"geoip_db": str(tmp_path / "bad.mmdb")}), expect=REFUSED)
    assert "error" in verdict
    assert any("bad.mmdb" in e.get("error", "") for e in daemon.events())
    assert is_served(daemon.port)
