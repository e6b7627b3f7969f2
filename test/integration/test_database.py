"""The database: made with care, seeded once, and refused untouched when it is not ours to use."""

import hashlib
import os
import shutil
import socket
import sqlite3
import stat

import pytest

from lib import clients, hello
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import run_command
from lib.ports import free_port
from lib.procfs import is_alive
from lib.waiting import wait_until


def reached(port, name=b"www.example.com"):
    """The greeting of the backend that a name leads to."""
    with clients.connect(port) as s:
        s.sendall(hello.client_hello(name))
        return clients.read_exactly(s, 6)


@pytest.fixture
def two(backend):
    return backend(EchoBackend, greeting=b"first\n"), backend(EchoBackend, greeting=b"second")


@pytest.fixture
def existing(new_daemon, tmp_path):
    """(path of a database that a server made and left, its listener)"""
    listener = Listener(routes=["www.example.com 127.0.0.1:1"])
    new_daemon([listener]).start().stop()
    return tmp_path / "mc-proxy.db", listener


def digest_of(directory):
    """Names and content of everything that belongs to the database."""
    return {name: hashlib.sha256(open(os.path.join(directory, name), "rb").read()).hexdigest()
            for name in sorted(os.listdir(directory)) if ".db" in name}


def test_is_made_with_mode_0600_whatever_the_umask(new_daemon, tmp_path):
    old = os.umask(0)
    try:
        new_daemon([Listener()]).start().wait_ready()
    finally:
        os.umask(old)
    files = [name for name in os.listdir(tmp_path) if name.startswith("mc-proxy.db")]
    assert "mc-proxy.db" in files
    for name in files:
        assert stat.S_IMODE(os.stat(tmp_path / name).st_mode) == 0o600, name


def test_clean_stop_leaves_one_file(existing, tmp_path):
    assert [name for name in os.listdir(tmp_path) if ".db" in name] == ["mc-proxy.db"]


def test_routes_are_seeded_when_a_listener_is_first_seen_and_never_again(new_daemon, two):
    first, second = two
    listener = Listener(routes=[f"www.example.com {first.address}"])
    daemon = new_daemon([listener]).start()
    assert reached(listener.port) == b"first\n"
    daemon.stop()
    changed = Listener(port=listener.port, routes=[f"www.example.com {second.address}",
                                                   f"new.example.com {second.address}"])
    added = Listener(name="added", routes=[f"www.example.com {second.address}"])
    new_daemon([changed, added]).start()
    assert reached(changed.port) == b"first\n"
    clients.expect_reset(clients.connect(changed.port), hello.client_hello(b"new.example.com"))
    assert reached(added.port) == b"second"


def test_routes_of_a_listener_taken_out_are_kept_for_its_return(new_daemon, two):
    first, second = two
    gone = Listener(name="gone", routes=[f"www.example.com {first.address}"])
    stays = Listener(name="stays", routes=[f"www.example.com {second.address}"])
    new_daemon([gone, stays]).start().stop()
    daemon = new_daemon([stays]).start()
    daemon.wait_for_log(lambda e: e["level"] == "WARN" and "unused" in e["msg"] and e.get("routes") == "1",
                        what="the unused routes to be reported")
    daemon.stop()
    back = Listener(name="gone", port=gone.port, routes=[])
    new_daemon([back, stays]).start()
    assert reached(back.port) == b"first\n"


def test_firewall_rules_are_seeded_on_the_very_first_run_only(new_daemon, two):
    listener = Listener(routes=[f"* {two[0].address}"])
    new_daemon([listener]).start().stop()
    daemon = new_daemon([listener], firewall={"blocked_ips": "127.0.0.1"}).start()
    assert reached(listener.port) == b"first\n"
    daemon.stop()


def test_seeded_rules_outlive_their_removal_from_the_configuration(new_daemon, two):
    listener = Listener(routes=[f"* {two[0].address}"])
    new_daemon([listener], firewall={"blocked_ips": "127.0.0.1"}).start().stop()
    new_daemon([listener]).start()
    clients.expect_refused_entry(listener.port, hello.client_hello())


def test_start_that_fails_for_a_port_in_use_seeds_nothing(new_daemon, two):
    with socket.create_server(("127.0.0.1", free_port())) as taken:
        listener = Listener(routes=["* 127.0.0.1:1"], port=taken.getsockname()[1])
        daemon = new_daemon([listener]).launch()
        daemon.expects_failure = True
        assert daemon.wait() == 1
    listener.routes = [f"* {two[0].address}"]
    new_daemon([listener]).start()
    with clients.connect(listener.port) as s:
        s.sendall(hello.client_hello())
        assert clients.read_exactly(s, 6) == b"first\n", "the corrected route counts"


def _newer(path):
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {db.execute('PRAGMA user_version').fetchone()[0] + 1}")
    db.close()


def _foreign(path):
    os.unlink(path)
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE recipes (name TEXT)")
        db.execute("INSERT INTO recipes VALUES ('soup')")
    db.close()


def _corrupt(path):
    size = os.path.getsize(path)
    with open(path, "r+b") as f:
        f.seek(4096)  # the first page stays: the header says that the file is ours
        f.write(os.urandom(size - 4096))


def _no_database_at_all(path):
    with open(path, "wb") as f:
        f.write(b"this is a text file\n" * 500)


def _truncated(path):
    os.truncate(path, 4096 + 17)


@pytest.mark.parametrize("spoil", [_newer, _foreign, _corrupt, _no_database_at_all, _truncated])
def test_database_that_is_not_ours_to_use_is_refused_and_left_untouched(existing, tmp_path, spoil):
    path, listener = existing
    spoil(path)
    before = digest_of(tmp_path)
    config = tmp_path / "again.ini"
    config.write_text(config_text(str(tmp_path), [listener]))
    for command in ("server", "check"):
        done = run_command(command, "-c", str(config))
        assert done.returncode == 1, f"{command}: {done.returncode} {done.stderr}"
        assert "mc-proxy.db" in done.stderr
        assert digest_of(tmp_path) == before, command


def test_database_in_use_is_refused_and_its_server_goes_on(new_daemon, two, tmp_path):
    listener = Listener(routes=[f"* {two[0].address}"])
    new_daemon([listener]).start()
    other = tmp_path / "other.ini"
    other.write_text(config_text(str(tmp_path), [Listener()]))
    done = run_command("server", "-c", str(other))
    assert done.returncode == 1, done.stderr
    assert "in use" in done.stderr
    assert reached(listener.port) == b"first\n"


def test_database_in_a_missing_directory_is_one_clear_line(tmp_path):
    config = tmp_path / "mc-proxy.ini"
    config.write_text(config_text(str(tmp_path / "nowhere"), [Listener()]))
    done = run_command("server", "-c", str(config))
    assert done.returncode in (1, 78)
    assert "nowhere" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_routes_survive_a_killed_master(new_daemon, two, tmp_path):
    listener = Listener(routes=[f"www.example.com {two[0].address}"])
    daemon = new_daemon([listener]).start()
    workers = daemon.kill_master()
    wait_until(lambda: not any(map(is_alive, workers)), what="its workers to follow, which are on its port")
    new_daemon([Listener(port=listener.port)]).start()
    assert reached(listener.port) == b"first\n"


def test_copy_taken_of_a_stopped_servers_file_works_elsewhere(existing, new_daemon, tmp_path):
    path, listener = existing
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(path, elsewhere / "mc-proxy.db")
    daemon = new_daemon([Listener(port=listener.port)], directory=elsewhere).start()
    clients.expect_reset(clients.connect(listener.port), hello.client_hello(b"www.example.com"))
    assert daemon.wait_for_access()["reason"] == "backend_refused"  # so the route is there
