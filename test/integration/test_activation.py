"""Sockets from before the server's time: from a socket unit, and from systemd's store across a restart."""

import os
import signal
import socket
import time

import pytest

from lib import clients, procfs
from lib.config import Listener, config_text
from lib.manager import Manager
from lib.ports import free_port, require_ipv6
from lib.streams import HELLO, Stream, is_served
from lib.waiting import wait_until


def listening(port=0, host="127.0.0.1", reuse_port=False, v6only=None):
    """A listening socket as systemd makes them."""
    s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if v6only is not None:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6only)
    s.bind((host, port or free_port()))
    s.listen(4096)
    return s


def port_of(s):
    return s.getsockname()[1]


def queues(port):
    """How many listening sockets the port has."""
    count = 0
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(path):
            with open(path, encoding="ascii") as f:
                rows = [line.split() for line in f.readlines()[1:]]
            count += sum(r[3] == "0A" and int(r[1].rpartition(":")[2], 16) == port for r in rows)
    return count


@pytest.fixture
def systemd(tmp_path):
    manager = Manager(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def activated(new_daemon, echo):
    """activated(sockets, listeners...): a running daemon that was passed these (name, socket)s."""
    def make(sockets, *listeners, env=None, **sections):
        for listener in listeners:
            listener.routes = [f"* {echo.address}"]
        daemon = new_daemon(list(listeners), env=env, **sections)
        daemon.sockets = sockets
        return daemon.start().wait_ready()

    return make


# ---- a socket unit

def test_one_socket_is_shared_by_all_workers(activated):
    s = listening()
    daemon = activated([("mc-proxy.socket", s)], Listener(port=port_of(s)), server={"workers": 3})
    assert queues(daemon.port) == 1
    for _ in range(30):
        assert is_served(daemon.port)
    os.kill(daemon.workers()[0], signal.SIGKILL)
    for _ in range(30):
        assert is_served(daemon.port)


def test_what_waits_in_a_passed_socket_is_served(activated):
    s = listening()
    waiting = [clients.connect(port_of(s)) for _ in range(20)]
    for c in waiting:
        c.sendall(HELLO)
    activated([("mc-proxy.socket", s)], Listener(port=port_of(s)), server={"workers": 2})
    for c in waiting:
        assert clients.read_exactly(c, len(HELLO)) == HELLO
        c.close()


def test_a_socket_that_may_have_company_gets_one_for_each_further_worker(activated):
    s = listening(reuse_port=True)
    daemon = activated([("mc-proxy.socket", s)], Listener(port=port_of(s)), server={"workers": 3})
    assert queues(daemon.port) == 3
    for _ in range(60):
        assert is_served(daemon.port)
    daemon.wait_for_access(count=60)
    assert {line["worker"] for line in daemon.access_lines()} == {"0", "1", "2"}


@pytest.mark.skipif(os.geteuid() != 0, reason="opens a socket as another user")
def test_a_socket_of_another_user_is_shared_though_it_may_have_company(activated):
    port = free_port()
    os.seteuid(65534)
    try:
        s = listening(port, reuse_port=True)
    finally:
        os.seteuid(0)
    daemon = activated([("mc-proxy.socket", s)], Listener(port=port_of(s)), server={"workers": 2})
    assert queues(daemon.port) == 1
    daemon.wait_for_log(lambda e: "all workers share it" in e["msg"])
    for _ in range(20):
        assert is_served(daemon.port)


def test_addresses_decide_and_not_names_or_order(activated):
    require_ipv6()
    sockets = [listening(host="::", v6only=0), listening(host="::", v6only=1), listening(host="::1"), listening()]
    hosts = ["", "[::]", "[::1]", "127.0.0.1"]
    listeners = [Listener(name=f"l{i}", port=port_of(s), host=host) for i, (s, host) in enumerate(zip(sockets, hosts))]
    names = ["x", "", "x", "listener-7-elsewhere"]
    daemon = activated(list(zip(names, sockets))[::-1], *listeners, server={"workers": 2})
    for s, listener, host in zip(sockets, listeners, ["127.0.0.1", "::1", "::1", "127.0.0.1"]):
        assert queues(listener.port) == 1
        s.close()
        assert is_served(listener.port, host)
    assert not [e for e in daemon.events() if "fits no listener" in e["msg"]]


def test_what_fits_no_listener_is_said_and_closed(activated, tmp_path):
    other, file = listening(), open(tmp_path / "file", "w+", encoding="ascii")
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "unix.sock"))
    unix.listen()
    mine = Listener()
    daemon = activated([("other.socket", other), ("file", file.fileno()), ("unix.socket", unix)], mine)
    said = [e for e in daemon.events() if "fits no listener" in e["msg"]]
    assert [e["detail"] for e in said] == ["other.socket", "file", "unix.socket"]
    assert said[0]["listener"] == f"127.0.0.1:{port_of(other)}"
    port = port_of(other)
    other.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert is_served(mine.port)
    file.close()
    unix.close()


def test_neither_environment_nor_passed_descriptors_reach_workers(activated):
    s, other = listening(), listening()
    daemon = activated([("mc-proxy.socket", s), ("other", other)], Listener(port=port_of(s)))
    worker = daemon.workers()[0]
    with open(f"/proc/{worker}/environ", "rb") as f:
        assert b"LISTEN_" not in f.read()
    inodes = [os.fstat(x.fileno()).st_ino for x in (s, other)]
    held = procfs.open_files(worker)
    assert f"socket:[{inodes[0]}]" in held and f"socket:[{inodes[1]}]" not in held


def test_sockets_for_another_process_are_left_alone(new_daemon, echo):
    s = listening()
    daemon = new_daemon([Listener([f"* {echo.address}"], port=port_of(s))], env={"LISTEN_PID": "1"})
    daemon.sockets = [("mc-proxy.socket", s)]
    # activate.py lets the environment of the test win.
    daemon.expects_failure = True
    assert daemon.launch().wait() == 1
    assert "already in use" in daemon.log_text()


@pytest.mark.parametrize("count", ["x", "-1", "99999999999999999999", "1000000000", ""])
def test_a_count_that_is_none_is_refused(new_daemon, echo, count):
    daemon = new_daemon([Listener([f"* {echo.address}"])])
    with open(os.path.join(daemon.directory, "start.sh"), "w", encoding="ascii") as f:
        f.write(f'#!/bin/sh\nLISTEN_PID=$$ LISTEN_FDS="{count}" exec "{daemon.binary}" "$@"\n')
    os.chmod(f.name, 0o755)
    daemon.binary = f.name
    daemon.expects_failure = True
    assert daemon.launch().wait() == 1
    assert "LISTEN_FDS" in daemon.log_text()


def test_an_address_that_is_passed_twice_is_refused(new_daemon, echo):
    first = listening(reuse_port=True)
    second = listening(port_of(first), reuse_port=True)
    daemon = new_daemon([Listener([f"* {echo.address}"], port=port_of(first))])
    daemon.sockets = [("a.socket", first), ("b.socket", second)]
    daemon.expects_failure = True
    assert daemon.launch().wait() == 1
    assert "must list it once" in daemon.log_text()


# ---- the store

def names_for(port, slots):
    return sorted(f"listener-{slot}-127.0.0.1_{port}" for slot in range(slots))


def wait_stored(systemd, port, slots):
    wait_until(lambda: systemd.stored_names() == names_for(port, slots), what=f"{slots} sockets in the store")


def test_store_holds_every_slots_socket_under_a_legal_name(activated, systemd):
    daemon = activated([], Listener(), env=systemd.env, server={"workers": 3})
    systemd.wait_for("READY")
    wait_until(lambda: systemd.stored_names() == names_for(daemon.port, 3), what="three sockets in the store")
    assert all(m["FDPOLL"] == "0" for m in systemd.messages("FDSTORE"))


def test_who_reads_no_further_than_ready_holds_no_socket_open(new_daemon, echo, tmp_path):
    path = str(tmp_path / "narrow.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(path)
        supervisor.settimeout(15)
        listener = Listener([f"* {echo.address}"])
        daemon = new_daemon([listener], env={"NOTIFY_SOCKET": path}, server={"workers": 2}).start()
        while b"READY=1" not in supervisor.recv(8192):
            pass
        daemon.kill_master()
        wait_until(lambda: queues(listener.port) == 0, 10, "the port to be free, with messages unread")


def test_store_follows_listeners_and_workers(activated, systemd, echo):
    one = Listener(name="one")
    two = Listener([f"* {echo.address}"], name="two")
    daemon = activated([], one, env=systemd.env, server={"workers": 1})

    def reload(listeners, workers, expected):
        daemon.write_config(config_text(daemon.directory, listeners, server={"workers": workers}))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: systemd.stored_names() == sorted(expected), what=f"{expected} in the store")

    reload([one, two], 1, names_for(one.port, 1) + names_for(two.port, 1))

    def seconds_to_forget():
        reload([one, two], 3, names_for(one.port, 3) + names_for(two.port, 3))
        begun = time.monotonic()
        reload([one, two], 2, names_for(one.port, 2) + names_for(two.port, 2))
        return time.monotonic() - begun
    # Before the sockets are given up, which is 2 s later, or the kernel would steer to nobody. A busy machine is late now and then.
    assert any(seconds_to_forget() < 1.8 for _ in range(5))
    reload([two], 2, names_for(two.port, 2))
    wait_until(lambda: not is_served(one.port), what="the removed listener to be gone, from the store too")
    reload([two, one], 2, names_for(one.port, 2) + names_for(two.port, 2))
    for _ in range(20):
        assert is_served(one.port) and is_served(two.port)
    for name, fd in systemd.store:
        with socket.socket(fileno=os.dup(fd)) as s:
            assert name.endswith(f"_{port_of(s)}")


def test_restarts_with_the_store_refuse_no_connection(activated, new_daemon, systemd):
    listener = Listener()
    daemon = activated([], listener, env=systemd.env, server={"workers": 2})
    systemd.wait_for("READY")
    wait_until(lambda: len(systemd.stored_names()) == 2, what="the store")
    stream = Stream(listener.port, threads=3, every=0.004).start()
    for _ in range(3):
        daemon.stop()
        assert len(systemd.stored_names()) == 2, "a stop leaves the store alone"
        done = stream.served
        ready = len(systemd.messages("READY"))
        daemon = new_daemon([listener], env=systemd.env, server={"workers": 2})
        daemon.sockets = systemd.store
        daemon.start()
        systemd.wait_for("READY", count=ready + 1)
        wait_until(lambda d=done: stream.served > d + 20, what="connections to go on")
    stream.stop()
    assert not stream.failed, stream.failed[:5]
    assert queues(listener.port) == 2


def test_a_restart_with_fewer_workers_serves_what_waits_in_all_sockets(activated, new_daemon, systemd):
    listener = Listener()
    daemon = activated([], listener, env=systemd.env, server={"workers": 3})
    wait_until(lambda: len(systemd.stored_names()) == 3, what="the store")
    daemon.stop()
    waiting = [clients.connect(listener.port) for _ in range(60)]
    for c in waiting:
        c.sendall(HELLO)
    second = new_daemon([listener], env=systemd.env, server={"workers": 1})
    second.sockets = systemd.store[::-1]
    second.start()
    for c in waiting:
        assert clients.read_exactly(c, len(HELLO)) == HELLO
        c.close()
    stream = Stream(listener.port, threads=3, every=0.004).start()
    wait_until(lambda: len(second.workers()) == 1 and queues(listener.port) == 1, what="one worker and one socket")
    wait_stored(systemd, listener.port, 1)
    done = stream.served
    wait_until(lambda: stream.served > done + 50, what="connections to go on")
    stream.stop()
    assert not stream.failed, stream.failed[:5]


def test_a_restart_with_more_workers_adds_sockets(activated, new_daemon, systemd):
    listener = Listener()
    first = activated([], listener, env=systemd.env, server={"workers": 1})
    wait_stored(systemd, listener.port, 1)
    first.stop()
    second = new_daemon([listener], env=systemd.env, server={"workers": 3})
    second.sockets = systemd.store
    second.start()
    wait_until(lambda: systemd.stored_names() == names_for(listener.port, 3), what="three sockets in the store")
    for _ in range(60):
        assert is_served(listener.port)
    second.wait_for_access(count=60)
    assert {line["worker"] for line in second.access_lines()} == {"0", "1", "2"}


def test_a_restart_without_a_listener_takes_it_out_of_the_store(activated, new_daemon, systemd, echo):
    one, two = Listener(name="one"), Listener(name="two")
    first = activated([], one, two, env=systemd.env)
    wait_until(lambda: len(systemd.stored_names()) == 2, what="both in the store")
    first.stop()
    second = new_daemon([two], env=systemd.env)
    second.sockets = list(systemd.store)
    second.start()
    wait_until(lambda: systemd.stored_names() == names_for(two.port, 1), what="the store without it")
    wait_until(lambda: not queues(one.port), what="the socket to be closed")
    assert is_served(two.port)


def test_a_socket_that_comes_from_unit_and_store_is_one(activated, new_daemon, systemd):
    s = listening(reuse_port=True)
    listener = Listener(port=port_of(s))
    first = activated([("mc-proxy.socket", s)], listener, env=systemd.env, server={"workers": 2})
    wait_stored(systemd, listener.port, 2)
    first.stop()
    second = new_daemon([listener], env=systemd.env, server={"workers": 2})
    second.sockets = [("mc-proxy.socket", s)] + systemd.store
    second.start()
    second.wait_for_log(lambda e: e["msg"] == "server is ready")
    wait_until(lambda: systemd.stored_names() == names_for(listener.port, 2), what="both in the store")
    assert queues(listener.port) == 2
    for _ in range(40):
        assert is_served(listener.port)


def test_nothing_is_stored_without_a_manager_and_a_shared_socket_never(activated, systemd):
    s = listening()
    activated([("mc-proxy.socket", s)], Listener(port=port_of(s)), env=systemd.env)
    systemd.wait_for("READY")
    time.sleep(1.3)
    assert systemd.stored_names() == []
    assert not systemd.messages("FDSTORE")
