"""SIGUSR2: a new program takes over without a lost connection, and one that fails leaves the old one serving."""

import http.client
import os
import random
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import time

import pytest

from lib import clients, procfs
from lib.config import Listener, config_text
from lib.daemon import BINARY, environment, run_command
from lib.machine import require_ptrace
from lib.manager import Manager
from lib.metrics import scrape
from lib.ports import free_port
from lib.streams import HELLO, Stream, established, is_served
from lib.upgrading import FAILED, TAKEN_OVER, Relays, Upgradable, hang_script, python_script
from lib.waiting import wait_until


def queues(port):
    """How many listening sockets the port has."""
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f.readlines()[1:]]
    return sum(r[3] == "0A" and int(r[1].rpartition(":")[2], 16) == port for r in rows)


@pytest.fixture
def upgradable(new_daemon, echo):
    """upgradable(**sections): a running server of its own program file; all its processes end cleanly after the test."""
    made = []

    def make(listeners=None, env=None, sockets=(), **sections):
        listeners = listeners or [Listener()]
        for listener in listeners:
            listener.routes = [f"* {echo.address}"]
        daemon = new_daemon(listeners, env=env, **sections)
        daemon.sockets = list(sockets)
        made.append(Upgradable(daemon))
        return made[-1].start()

    yield make
    try:
        for one in made:
            if one.pids():
                one.stop()
    finally:
        for one in made:
            one.kill()


# ---- what works

def test_twenty_upgrades_fail_no_connection(upgradable):
    """A stream of short connections, and relays that are older than several processes."""
    server = upgradable(server={"workers": 2}, proxy={"shutdown_timeout": "1s"})
    port = server.daemon.port
    stream, relays = Stream(port, threads=3, every=0.004).start(), Relays(lambda: established(port))
    relays.add(3)
    try:
        for _ in range(20):
            before = stream.served
            server.upgrade()
            relays.add(1)
            wait_until(lambda b=before: stream.served > b + 20, 20, "connections to go on")
    finally:
        stream.stop()
    assert not stream.failed, stream.failed[:5]
    relays.check_and_close()
    wait_until(lambda: len(server.pids()) == 1, 20, "the old processes to end")
    assert server.wait_for_end(server.daemon.pid) == 0
    wait_until(lambda: queues(port) == 2, what="two queues")


def test_who_watches_connections_hears_that_the_server_goes(upgradable, tmp_path):
    server = upgradable(grpc={"addr": f"unix:{tmp_path}/admin.sock"})
    tail = subprocess.Popen([BINARY, "tail", "--addr", f"unix:{tmp_path}/admin.sock"], env=environment(), text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: is_served(server.daemon.port) and select.select([tail.stdout], [], [], 0.2)[0], 30, "a connection that is seen")
    assert "www.example.com" in tail.stdout.readline()
    with established(server.daemon.port):
        server.upgrade()
        _, said = tail.communicate(timeout=20)
        assert (tail.returncode, said) == (1, "mc-proxy tail: the server is stopping\n")
        again = run_command("tail", "--addr", f"unix:{tmp_path}/admin.sock", "--timeout", "300ms")
        assert again.returncode == 1 and "the server is stopping" not in again.stderr  # the successor's API


def test_the_file_that_is_there_is_what_runs(upgradable):
    server = upgradable()
    server.replace(copy_of=BINARY)
    require_ptrace()
    assert os.readlink(f"/proc/{server.main}/exe").endswith("(deleted)")
    server.upgrade()
    assert os.readlink(f"/proc/{server.main}/exe") == server.program
    assert all(os.readlink(f"/proc/{pid}/exe") == server.program for pid in server.workers())


def test_what_waits_in_the_queues_is_served_by_the_new_process(upgradable):
    server = upgradable(server={"workers": 2})
    port = server.daemon.port
    for pid in server.workers():
        os.kill(pid, signal.SIGSTOP)
    waiting = [clients.connect(port) for _ in range(30)]
    for s in waiting:
        s.sendall(HELLO)
    server.upgrade()
    for s in waiting:
        assert clients.read_exactly(s, len(HELLO)) == HELLO
        s.close()


def test_relays_outlive_shutdown_timeout_and_the_old_process_ends_with_the_last(upgradable):
    server = upgradable(proxy={"shutdown_timeout": "500ms"})
    s = established(server.daemon.port)
    old = server.upgrade()
    time.sleep(2)
    s.sendall(b"still here")
    assert clients.read_exactly(s, 10) == b"still here"
    assert procfs.is_alive(old)
    s.close()
    assert server.wait_for_end(old) == 0
    assert is_served(server.daemon.port)


def test_a_stop_of_the_old_process_ends_its_relays_after_shutdown_timeout(upgradable):
    server = upgradable(proxy={"shutdown_timeout": "1s"})
    s = established(server.daemon.port)
    old = server.upgrade()
    begun = time.monotonic()
    os.kill(old, signal.SIGTERM)
    assert server.wait_for_end(old) == 0
    assert time.monotonic() - begun > 0.8
    s.close()
    assert is_served(server.daemon.port)


ENDED = "the new process has ended"


def test_a_successor_that_hands_over_in_its_turn_is_no_error(upgradable):
    """Two upgrades while a relay holds the first process, which sees its successor end as it should. One that crashes is an error."""
    server = upgradable()
    relays = Relays(lambda: established(server.daemon.port))
    relays.add()
    server.upgrade()
    second = server.main
    server.upgrade()
    ended = wait_until(lambda: server.events(ENDED), 20, "the first process to see its successor end")[0]
    assert (ended["level"], ended["pid"], ended["status"]) == ("INFO", str(second), "0")
    relays.check_and_close()
    assert server.wait_for_end(server.daemon.pid) == 0


def test_a_successor_that_dies_is_an_error(upgradable):
    server = upgradable(proxy={"shutdown_timeout": "500ms"})
    relays = Relays(lambda: established(server.daemon.port))
    relays.add()
    server.upgrade()
    os.kill(server.main, signal.SIGKILL)
    ended = wait_until(lambda: server.events(ENDED), 20, "the first process to see its successor die")[0]
    assert (ended["level"], ended["signal"]) == ("ERROR", "9")
    server.main = server.daemon.pid  # all that is left
    relays.check_and_close()


def test_the_configuration_is_read_anew(upgradable, echo):
    """Fewer workers, a listener less and one more, other time-outs."""
    kept, gone = Listener(name="kept"), Listener(name="gone")
    server = upgradable([kept, gone], server={"workers": 3})
    fresh = Listener([f"* {echo.address}"], name="fresh")
    stream = Stream(kept.port, threads=3, every=0.004).start()
    server.daemon.write_config(config_text(server.daemon.directory, [kept, fresh], server={"workers": 2}))
    server.upgrade()
    assert is_served(fresh.port)
    wait_until(lambda: queues(gone.port) == 0, 10, "the listener to be gone")
    wait_until(lambda: len(server.workers()) == 2 and queues(kept.port) == 2, 15, "two workers and two sockets")
    done = stream.served
    wait_until(lambda: stream.served > done + 50, 15, "connections to go on")
    server.daemon.write_config(config_text(server.daemon.directory, [kept, fresh], server={"workers": 4}))
    server.upgrade()
    wait_until(lambda: len(server.workers()) == 4 and queues(kept.port) == 4, 15, "four workers and four sockets")
    stream.stop()
    assert not stream.failed, stream.failed[:5]


def test_a_shared_socket_stays_shared(upgradable):
    with socket.create_server(("127.0.0.1", 0)) as s:
        server = upgradable([Listener(port=s.getsockname()[1])], sockets=[("mc-proxy.socket", s)], server={"workers": 2})
        stream = Stream(server.daemon.port, threads=3, every=0.004).start()
        for _ in range(3):
            server.upgrade()
        wait_until(lambda: queues(server.daemon.port) == 1, what="one queue")
        stream.stop()
    assert not stream.failed, stream.failed[:5]


def test_routes_are_those_of_the_database(upgradable):
    server = upgradable()
    with open(server.daemon.config_path, encoding="utf-8") as f:
        text = f.read()
    server.daemon.write_config(text.replace("route = *", "route = nobody.example.com"))
    server.upgrade()
    assert is_served(server.daemon.port)


def test_metrics_are_those_of_the_process_that_serves(upgradable):
    """Also for a monitoring that keeps its connection; an upgrade that fails leaves them with the old process."""
    port = free_port()
    server = upgradable(metrics={"addr": f"127.0.0.1:{port}"})

    def connections():
        try:
            return scrape(port).sum("mcproxy_connections_total")
        except (OSError, http.client.HTTPException):
            return None  # between the two processes

    with socket.create_connection(("127.0.0.1", port), timeout=10) as kept:
        kept.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        assert kept.recv(12) == b"HTTP/1.1 200"
        established(server.daemon.port).close()
        wait_until(lambda: connections() == 1, what="the connection to be counted")
        server.upgrade()
        wait_until(lambda: connections() == 0, what="the new process to answer")
        while kept.recv(65536):
            pass  # the end, and no reset
    established(server.daemon.port).close()
    wait_until(lambda: connections() == 1, what="the new process to count")
    server.replace(script=python_script("say('GIVE-DATABASE'); hear(); sys.exit(1)"))
    server.fail_to_upgrade()
    wait_until(lambda: connections() == 1, what="the old process to answer again")


def test_admin_socket_answers_before_and_after(upgradable, open_dir):
    path = os.path.join(open_dir, "admin.sock")
    server = upgradable(grpc={"addr": f"unix:{path}"})

    def answers_now():
        with socket.socket(socket.AF_UNIX) as s:
            s.settimeout(5)
            s.connect(path)
            s.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
            return s.recv(9)[3:4] == b"\4"

    def answers():
        try:
            return answers_now()
        except OSError:
            return False  # between the two processes

    assert answers_now()
    for _ in range(2):
        server.upgrade()
        wait_until(answers, 20, "the new process to answer")
        assert answers_now()
    server.replace(script="#!/bin/sh\nexit 1\n")
    server.fail_to_upgrade()
    assert answers_now(), "it has never been away"
    server.replace(script=python_script("say('GIVE-DATABASE'); hear(); sys.exit(1)"))
    server.fail_to_upgrade()
    wait_until(answers, 20, "the old process to answer again")


def test_systemd_hears_of_the_new_main_process_from_the_old_one(upgradable, tmp_path):
    systemd = Manager(tmp_path, watchdog_s=5)
    server = upgradable(env=systemd.env, server={"workers": 2})
    systemd.wait_for("READY")
    wait_until(lambda: len(systemd.stored_names()) == 2, 20, "the store")
    first = server.main
    for _ in range(2):
        told = len(systemd.messages("READY"))
        old = server.upgrade()
        systemd.wait_for("READY", count=told + 1)
        assert systemd.main_pid == server.main
        assert [m.pid for m in systemd.messages("MAINPID", MAINPID=server.main)][0] == old
    main, workers = first, 0
    for message in systemd.messages():  # NotifyAccess=main: whoever else speaks is not heard
        assert message.pid == main, f"{message} of {message.pid}, when {main} was the main process"
        main = int(message.get("MAINPID", main))
        workers += "READY" in message
    assert workers == 3
    fed = len(systemd.messages("WATCHDOG"))
    systemd.wait_for("WATCHDOG", count=fed + 1)
    wait_until(lambda: len(systemd.stored_names()) == 2, what="as many as before")
    server.stop()
    assert not systemd.wait_for("STOPPING").fds
    systemd.close()


# ---- what fails

@pytest.mark.parametrize("script, said", [
    ("#!/bin/sh\nexit 1\n", "it ended without saying why"),
    ("#!/bin/sh\nkill -SEGV $$\n", "it ended without saying why"),
    ("#!/bin/sh\nexec 3>&- 4>&- 5>&- 6>&-\nsleep 30 >/dev/null 2>&1\n", "it was not ready in time"),
    (python_script("say('FAILED the moon is full'); time.sleep(100)"), "the moon is full"),
    (python_script("say('GIVE-DATABASE'); hear(); say('FAILED no time'); sys.exit(3)"), "no time"),
    (python_script("say('HELLO from the future'); say('READY'); say('x' * 2000); sys.exit(1)"), "it ended without"),
])
def test_a_program_that_fails_leaves_the_old_one_serving(upgradable, script, said):
    server = upgradable()
    relays = Relays(lambda: established(server.daemon.port))
    relays.add(2)
    stream = Stream(server.daemon.port, threads=3, every=0.004).start()
    server.replace(script=script)
    verdict = server.fail_to_upgrade()
    assert said in verdict["reason"], verdict
    stream.stop()
    assert not stream.failed, stream.failed[:5]
    relays.check_and_close()
    server.daemon.signal(signal.SIGHUP)  # which needs the database
    server.daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
    server.replace(copy_of=BINARY)
    server.upgrade()
    assert is_served(server.daemon.port)


def test_a_wrong_configuration_is_told_with_its_line(upgradable):
    server = upgradable()
    with open(server.daemon.config_path, encoding="utf-8") as f:
        good = f.read()
    server.daemon.write_config(good.replace("hello_timeout = 10s", "hello_timeout = 10"))
    verdict = server.fail_to_upgrade()
    assert "hello_timeout" in verdict["reason"] and verdict["status"] == "78"
    server.daemon.write_config(good)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = Listener(["* 127.0.0.1:1"], name="other", port=taken.getsockname()[1])
        server.daemon.write_config(good + other.text())
        verdict = server.fail_to_upgrade()
        assert "already in use" in verdict["reason"] and verdict["status"] == "1"
    assert is_served(server.daemon.port)


@pytest.mark.parametrize("break_it, said", [(lambda s: os.unlink(s.program), "No such file"),
                                            (lambda s: os.chmod(s.program, 0o644), "Permission denied"),
                                            (lambda s: s.replace(script="no program"), "Exec format error")])
def test_a_file_that_cannot_be_executed_is_said_at_once(upgradable, break_it, said):
    server = upgradable()
    break_it(server)
    server.ask()
    refused = server.daemon.wait_for_log(lambda e: "cannot be started" in e["msg"])
    assert said in refused["error"]
    assert is_served(server.daemon.port)


def test_a_newer_schema_that_was_left_behind_stops_changes_and_no_traffic(upgradable):
    server = upgradable()
    path = os.path.join(server.daemon.directory, "mc-proxy.db")
    server.replace(script=python_script(
        "say('GIVE-DATABASE'); hear()\n"
        f"import sqlite3; db = sqlite3.connect({path!r}); db.execute('PRAGMA user_version = 99'); db.commit(); db.close()\n"
        "sys.exit(1)"))
    server.fail_to_upgrade()
    refused = server.daemon.wait_for_log(lambda e: "cannot be changed until" in e["msg"])
    assert "newer" in refused["error"] or "later" in refused["error"], refused
    assert is_served(server.daemon.port)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 1")
    db.close()
    server.daemon.wait_for_log(lambda e: e["msg"] == "the database is open again", timeout=30)
    server.replace(copy_of=BINARY)
    server.upgrade()
    assert is_served(server.daemon.port)


# ---- signals in the middle

def test_a_second_upgrade_is_refused_and_a_reload_waits(upgradable):
    server = upgradable()
    done = f"{server.program}.done"
    server.replace(script=python_script(f"while not os.path.exists({done!r}):\n    time.sleep(0.05)\nsys.exit(1)"))
    server.ask()
    server.daemon.wait_for_log(lambda e: e["msg"] == "upgrading: the new program starts")
    server.ask()
    refused = server.daemon.wait_for_log(lambda e: e["msg"] == "not upgrading")
    assert "under way" in refused["error"]
    os.kill(server.main, signal.SIGHUP)
    server.daemon.wait_for_log(lambda e: "reload waits" in e["msg"])
    with open(done, "wb"):
        pass
    server.daemon.wait_for_log(lambda e: e["msg"] == FAILED)
    server.daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")
    assert len(server.events("upgrading: the new program starts")) == 1


def test_a_reload_that_comes_during_an_upgrade_reaches_the_new_process(upgradable):
    server = upgradable()
    shutil.copy(BINARY, f"{server.program}.real")
    goes_on = f"{server.program}.goes-on"
    server.replace(script=f'#!/bin/sh\nwhile [ ! -e "{goes_on}" ]; do sleep 0.05; done\nexec "{server.program}.real" "$@"\n')
    server.ask()
    server.daemon.wait_for_log(lambda e: e["msg"] == "upgrading: the new program starts")
    os.kill(server.main, signal.SIGHUP)
    server.daemon.wait_for_log(lambda e: "reload waits" in e["msg"])
    with open(goes_on, "wb"):
        pass
    server.daemon.wait_for_log(lambda e: e["msg"] == TAKEN_OVER, timeout=30)
    server.main = int(server.events("upgrading: the new program starts")[-1]["pid"])
    server.daemon.wait_for_log(lambda e: e["msg"] == "configuration reloaded")


def test_an_upgrade_waits_for_a_change_of_workers(upgradable):
    server = upgradable(server={"workers": 3})
    port = server.daemon.port
    stream = Stream(port, threads=3, every=0.004).start()
    waits = "the upgrade waits until the last reload's workers and listeners have settled"
    for count in (1, 3, 1, 3, 1):  # they may have settled before we can ask for the upgrade
        if count == 1 and server.events(waits):
            break
        reloaded = len(server.events("configuration reloaded"))
        server.daemon.write_config(config_text(server.daemon.directory, server.daemon.listeners, server={"workers": count}))
        os.kill(server.main, signal.SIGHUP)
        wait_until(lambda n=reloaded: len(server.events("configuration reloaded")) > n, 20, "the reload", interval=0.001)
        server.upgrade()
        wait_until(lambda n=count: len(server.workers()) == n and queues(port) == n, 20, f"{count} worker(s)")
    assert server.events(waits)
    stream.stop()
    assert not stream.failed, stream.failed[:5]


@pytest.mark.parametrize("script", [hang_script(), "#!/bin/sh\ntrap '' TERM\nexec sleep 600\n", None,
                                    python_script("say('GIVE-DATABASE'); time.sleep(600)")])
def test_a_stop_in_the_middle_ends_both(upgradable, script):
    server = upgradable(proxy={"shutdown_timeout": "3s"})
    if script:
        server.replace(script=script)
    server.ask()
    server.daemon.wait_for_log(lambda e: e["msg"] == "upgrading: the new program starts")
    if script is None:
        time.sleep(random.random() * 0.3)
    os.kill(server.daemon.pid, signal.SIGTERM)
    assert server.wait_for_end(server.daemon.pid, 20) == 0
    started = int(server.events("upgrading: the new program starts")[-1]["pid"])
    done = "upgraded: the new process has taken over, this one serves its connections to their end"
    wait_until(lambda: server.events(done) or not procfs.is_alive(started), 20, "the new process to end, or to be the main one")
    if server.events(done):
        server.main = started  # it was done already: the new one is not asked to stop
        server.stop()
    wait_until(lambda: not procfs.is_alive(started), 15, "the new process to end")


# ---- death in the middle

@pytest.mark.parametrize("seed", range(6))
def test_a_new_process_that_is_killed_at_any_moment_costs_no_connection(upgradable, seed):
    server = upgradable(server={"workers": 2})
    stream = Stream(server.daemon.port, threads=3, every=0.004).start()
    chance = random.Random(seed)
    server.ask()
    started = server.daemon.wait_for_log(lambda e: e["msg"] == "upgrading: the new program starts")
    time.sleep(chance.random() * 0.12)
    os.kill(int(started["pid"]), signal.SIGKILL)
    wait_until(lambda: server.events(FAILED) or not server.daemon.is_running(), 20, "the verdict")
    stream.stop()
    if server.events(FAILED):
        assert not stream.failed, stream.failed[:5]
        server.upgrade()
        assert is_served(server.daemon.port)
    else:  # it was the main process already
        assert server.wait_for_end(server.daemon.pid) == 0


@pytest.mark.parametrize("seed", range(6))
def test_when_the_old_process_is_killed_the_new_one_goes_on(upgradable, seed):
    server = upgradable(server={"workers": 2}, proxy={"shutdown_timeout": "60s"})
    relays = Relays(lambda: established(server.daemon.port))
    relays.add(2)
    chance = random.Random(seed)
    server.ask()
    started = server.daemon.wait_for_log(lambda e: e["msg"] == "upgrading: the new program starts")
    time.sleep(chance.random() * 0.12)
    server.daemon.kill_master()
    server.main = int(started["pid"])
    wait_until(lambda: len(server.events("server is ready")) == 2, 20, "the new process to be ready")
    stream = Stream(server.daemon.port, threads=3, every=0.004).start()
    wait_until(lambda: stream.served > 50, 15, "connections")
    stream.stop()
    assert not stream.failed, stream.failed[:5]
    relays.check_and_close()
    server.upgrade()
    assert is_served(server.daemon.port)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes a process namespace")
def test_the_first_process_of_a_container_refuses_in_words(new_daemon, echo):
    daemon = new_daemon([Listener([f"* {echo.address}"])])
    wrapper = os.path.join(daemon.directory, "container.sh")
    with open(wrapper, "w", encoding="ascii") as f:
        f.write(f'#!/bin/sh\nexec unshare --pid --fork --mount-proc --kill-child "{daemon.binary}" "$@"\n')
    os.chmod(wrapper, 0o755)
    if subprocess.run(["unshare", "--pid", "--fork", "--mount-proc", "true"], check=False, capture_output=True).returncode:
        pytest.skip("no process namespace can be made here")
    daemon.binary = wrapper
    daemon.expects_failure = True
    daemon.launch()
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
    first = procfs.children(daemon.pid)[0]
    os.kill(first, signal.SIGUSR2)
    refused = daemon.wait_for_log(lambda e: e["msg"] == "not upgrading")
    assert "container" in refused["error"]
    assert is_served(daemon.port)
    os.kill(first, signal.SIGTERM)
    assert daemon.wait() == 0
