"""The end: who had begun to connect is served, who comes later is not, and every way to stop ends with 0."""

import os
import signal
import socket
import time

import pytest

from lib import clients, procfs
from lib.config import Listener, config_text
from lib.daemon import is_sanitized
from lib.reloads import Reloads
from lib.streams import HELLO, Relay, Stream, go_on, half_open
from lib.waiting import wait_until


def expect_served(s):
    s.sendall(HELLO)
    assert clients.read_exactly(s, len(HELLO)) == HELLO
    s.close()


def wait_connected(sockets):
    for s in sockets:
        wait_until(lambda: _is_connected(s), what="the handshake to complete")


def _is_connected(s):
    error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    assert error == 0, os.strerror(error)
    try:
        s.getpeername()
        return True
    except OSError:
        return False


def is_refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 20).close()
        return False
    except (ConnectionRefusedError, ConnectionResetError):
        return True


def stop_events(daemon):
    return [e for e in daemon.events() if e["msg"].startswith("stopping")]


# ---- handshakes under way

class TooLate(Exception):
    """Their SYN-ACK was repeated while this process had to wait for a processor; the next time the server has not waited for them."""


def half_open_while(port, action):
    """40 handshakes that are under way while action() runs, and go on behind it. Raises TooLate."""
    first = time.monotonic()
    begun = [half_open(port) for _ in range(40)]
    action()
    for s in begun:
        go_on(s)
    if time.monotonic() - first > 0.95:
        raise TooLate
    return begun


def in_time(attempt):
    """What attempt() returns, which a busy machine may make too late now and then."""
    for _ in range(9):
        try:
            return attempt()
        except TooLate:
            pass
    return attempt()


def test_handshakes_under_way_at_a_stop_are_served(proxy, echo):
    """Their SYN-ACK was lost; it is repeated a second later, when the stop has long begun."""
    def stop_meanwhile():
        daemon = proxy(f"* {echo.address}", server={"workers": 2}, proxy={"shutdown_timeout": "20s"})
        late = []

        def stop():
            daemon.signal(signal.SIGTERM)
            daemon.wait_for_log(lambda e: "stopping" in e["msg"])
            time.sleep(0.1)
            late.append(half_open(daemon.port))
        try:
            return daemon, half_open_while(daemon.port, stop), late[0]
        except TooLate:
            daemon.stop()
            raise
    daemon, begun, late = in_time(stop_meanwhile)
    wait_connected(begun)
    for s in begun:
        expect_served(s)
    go_on(late)
    with pytest.raises(ConnectionRefusedError):
        wait_until(lambda: _refusal(late), what="the late one to be refused")
    assert daemon.wait() == 0
    daemon.wait_for_access(count=40, reason="finished")


def _refusal(s):
    error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))
    return False


def test_handshakes_under_way_at_a_removal_are_served_and_the_listener_can_come_back(new_daemon, echo, tmp_path):
    kept, leaving = Listener([f"* {echo.address}"]), Listener([f"* {echo.address}"], name="leaving")
    daemon = new_daemon([kept, leaving], server={"workers": 2}).start()
    reloads = Reloads(daemon)

    def remove_meanwhile():
        try:
            return half_open_while(leaving.port, lambda: reloads.reload(config_text(str(tmp_path), [kept], server={"workers": 2})))
        except TooLate:
            reloads.reload(config_text(str(tmp_path), [kept, leaving], server={"workers": 2}))
            raise
    begun = in_time(remove_meanwhile)
    # Back again before it has gone: the reload waits for that, and is not refused.
    reloads.reload(config_text(str(tmp_path), [kept, leaving], server={"workers": 2}))
    assert any("the reload waits" in e["msg"] for e in daemon.events())
    wait_connected(begun)
    for s in begun:
        expect_served(s)
    with clients.connect(leaving.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO


def test_idle_server_refuses_new_connections_at_once(proxy, echo):
    """Without handshakes nothing is waited for, for which there would be 2 s; a busy machine is late now and then."""
    def seconds_to_close():
        daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "20s"})
        relay = Relay(daemon.port)
        daemon.signal(signal.SIGTERM)
        daemon.wait_for_log(lambda e: "stopping" in e["msg"])
        begun = time.monotonic()
        wait_until(lambda: daemon.port not in procfs.listening_ports(), what="the listener to be closed")
        took = time.monotonic() - begun
        assert is_refused(daemon.port)
        relay.expect_alive()
        relay.close()
        assert daemon.wait() == 0
        return took
    assert any(seconds_to_close() < 1.9 for _ in range(5))


@pytest.mark.parametrize("round_", range(3))
def test_stop_under_load_resets_nobody(new_daemon, echo, round_):
    daemon = new_daemon([Listener([f"* {echo.address}"])], server={"workers": 2}).start()
    with Stream(daemon.port, threads=6, may_be_refused=True) as stream:
        wait_until(lambda: stream.served > 200, 120, "a steady stream")
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: stream.refused > 6, 60, "the end of service")
    assert not stream.failed, stream.failed[:5]
    assert daemon.wait() == 0


# ---- ways to stop

@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_open_connections_are_counted_in_the_log_and_a_second_signal_ends_them(proxy, echo, number):
    daemon = proxy(f"* {echo.address}", server={"workers": 2}, proxy={"shutdown_timeout": "10m"})
    relays = [Relay(daemon.port) for _ in range(5)]
    daemon.signal(number)
    first = daemon.wait_for_log(lambda e: e["msg"].startswith("stopping"))
    assert first["connections"] == "5" and first["signal"] == signal.Signals(number).name
    relays.pop().close()
    daemon.wait_for_access(reason="finished")
    assert daemon.seconds_to_end(number) < 25  # and not the 10 minutes
    second = stop_events(daemon)[1]
    assert second["msg"] == "stopping at once" and second["connections"] == "4"
    assert len(daemon.access_lines(reason="shutdown")) == 4
    for relay in relays:
        relay.close()


def test_shutdown_timeout_of_the_last_reload_counts(proxy, echo, tmp_path):
    daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "10m"})
    relay = Relay(daemon.port)
    Reloads(daemon).reload(config_text(str(tmp_path), daemon.listeners, proxy={"shutdown_timeout": "700ms"}))
    assert 0.5 < daemon.seconds_to_end(signal.SIGTERM) < 25  # and not the 10 minutes, nor the default of 30 s
    relay.close()


def test_shutdown_timeout_of_nothing_ends_at_once(proxy, echo):
    daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "0s"})
    relay = Relay(daemon.port)
    assert daemon.seconds_to_end(signal.SIGTERM) < 25  # and not the default of 30 s
    relay.close()


def test_reload_of_a_server_that_stops_is_refused_in_words(proxy, echo, tmp_path):
    daemon = proxy(f"* {echo.address}", proxy={"shutdown_timeout": "10m"})
    relay = Relay(daemon.port)
    daemon.signal(signal.SIGTERM)
    daemon.wait_for_log(lambda e: e["msg"].startswith("stopping"))
    daemon.write_config(config_text(str(tmp_path), daemon.listeners, proxy={"shutdown_timeout": "1s"}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log(lambda e: e["msg"] == "not reloading: the server is stopping")
    relay.expect_alive()
    relay.close()
    assert daemon.wait() == 0


def is_leak_check(event):
    """Was an ending worker killed for its search for leaks, which on a busy machine takes longer than the second that it has?"""
    is_late = event["msg"] == "worker killed" and "did not exit" in event["reason"]
    return is_sanitized() and (is_late or event["msg"] == "worker died" and event.get("signal") == "9")


@pytest.mark.parametrize("order", [[signal.SIGHUP, signal.SIGTERM], [signal.SIGTERM, signal.SIGHUP], [signal.SIGHUP] * 5 + [signal.SIGINT]])
def test_stop_and_reload_at_once_ends_with_0(new_daemon, echo, tmp_path, order):
    for workers in (1, 4):
        listeners = [Listener([f"* {echo.address}"]), Listener([f"* {echo.address}"], name="second")]
        daemon = new_daemon(listeners, server={"workers": 2}).start()
        daemon.write_config(config_text(str(tmp_path), listeners[:1], server={"workers": workers}))
        for number in order:
            daemon.signal(number)
        assert daemon.wait() == 0
        assert not [e for e in daemon.events() if e["msg"] in ("worker died", "worker killed") and not is_leak_check(e)], daemon.log_text()


def test_stop_while_the_number_of_workers_changes(new_daemon, echo, tmp_path):
    daemon = new_daemon([Listener([f"* {echo.address}"])], server={"workers": 4}).start()
    wait_until(lambda: len(daemon.workers()) == 4, what="four workers")
    relays = [Relay(daemon.port) for _ in range(8)]
    Reloads(daemon).reload(config_text(str(tmp_path), daemon.listeners, server={"workers": 1}, proxy={"shutdown_timeout": "30s"}))
    daemon.signal(signal.SIGTERM)
    daemon.wait_for_log(lambda e: e["msg"].startswith("stopping"))
    for relay in relays:
        relay.expect_alive()
        relay.close()
    assert daemon.wait() == 0


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3])
def test_stop_at_any_moment_of_the_start_ends_with_0(new_daemon, delay):
    """Also with a backend whose name is not known yet, for which workers are waited with."""
    daemon = new_daemon([Listener(["* backend.invalid:443"])], server={"workers": 3}).launch()
    if delay > 0.005:  # before main() nobody can catch a signal
        wait_until(lambda: daemon.log_text(), what="the first line", interval=0.001)
    else:
        wait_until(lambda: _catches(daemon.pid, signal.SIGTERM), what="the signal to be held", interval=0.0005)
    time.sleep(delay)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0, daemon.log_text()
    assert not [e for e in daemon.events() if e["level"] == "ERROR" and not is_leak_check(e)], daemon.log_text()


def _catches(pid, number):
    """Is the signal blocked or caught?"""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        masks = {line.split()[0]: int(line.split()[1], 16) for line in f if line.startswith(("SigBlk:", "SigCgt:"))}
    return any(mask & 1 << number - 1 for mask in masks.values())


def test_reload_asked_for_during_the_start_comes_after_it(new_daemon, echo, tmp_path):
    listener, extra = Listener([f"* {echo.address}", "slow.example.com backend.invalid:443"]), Listener([f"* {echo.address}"], name="extra")
    daemon = new_daemon([listener]).launch()
    wait_until(lambda: _catches(daemon.pid, signal.SIGHUP), what="the signal to be held", interval=0.0005)
    daemon.write_config(config_text(str(tmp_path), [listener, extra]))
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: extra.port in procfs.listening_ports(), 60, "the listener of the second file")
    with clients.connect(extra.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO
