"""
A whole life on a machine that boots systemd: the package is installed, serves traffic, reloads, is upgraded and restarted without a
connection lost, is backed up, recovers, and is purged. The tests go on from each other in this order.
"""

import json
import os
import re
import socket
import time

import pytest
from deploylib import machine as machines
from deploylib import tree
from deploylib.traffic import Stream, get
from lib.backends import TlsBackend
from lib.waiting import wait_until

PORT = 443
NAME = "www.example.com"
INI = "/etc/mc-proxy/mc-proxy.ini"
CONFIG = """[server]
workers = 2
[database]
path = /srv/mc-proxy/mc-proxy.db
[grpc]
addr = unix:/run/mc-proxy/admin.sock
[listener https]
addr = :443
"""


@pytest.fixture(scope="module")
def machine(base_tree, deb, tmp_path_factory):
    """Booted, with the package installed, as installed."""
    copy = tree.copy(base_tree, str(tmp_path_factory.mktemp("machine") / "mc-proxy-test"))
    one = machines.boot(copy)
    try:
        one.install(deb)
        yield one
    finally:
        one.close()


@pytest.fixture(scope="module")
def backend(machine, pki):
    with machine.network():
        one = TlsBackend(pki, NAME, port=18443)
    yield one
    one.close()


@pytest.fixture
def stream(machine, pki):
    return lambda: Stream(machine, pki.client_context(), PORT, NAME)


@pytest.fixture(autouse=True)
def show_journal(request, machine):
    yield
    if getattr(request.node, "failed", False):
        print(machine.journal())


def reach(machine, pki, port=PORT, name=NAME):
    with machine.network():
        return get(pki.client_context(), port, name)


def hold(machine, pki):
    """A relayed connection that has not asked for anything yet."""
    with machine.network():
        raw = socket.create_connection(("127.0.0.1", PORT), timeout=30)
    return pki.client_context().wrap_socket(raw, server_hostname=NAME)


def finish(held):
    """The answer on a connection that was held."""
    with held:
        held.sendall(f"GET / HTTP/1.1\r\nHost: {NAME}\r\nConnection: close\r\n\r\n".encode())
        return held.recv(65536)


# ---- installed


def test_it_runs_after_the_installation_and_serves_nobody(machine):
    assert machine.property("ActiveState") == "active"
    assert machine.read("systemctl is-enabled mc-proxy.service mc-proxy-backup.timer").split() == ["enabled", "enabled"]
    assert machine.run("systemctl is-enabled mc-proxy.socket", check=False).stdout.strip() == "disabled"
    assert machine.property("ActiveState", "mc-proxy-backup.timer") == "active"
    with machine.network(), socket.create_connection(("127.0.0.1", 8443), timeout=5):
        pass


def test_user_and_folders_have_the_right_modes(machine):
    assert machine.read("stat -c '%U:%G %a' /srv/mc-proxy /srv/mc-proxy/certs /srv/mc-proxy/backups /run/mc-proxy "
                        "/srv/mc-proxy/mc-proxy.db /run/mc-proxy/admin.sock").splitlines() == [
        "mc-proxy:mc-proxy 750", "mc-proxy:mc-proxy 750", "mc-proxy:mc-proxy 700", "mc-proxy:mc-proxy 750",
        "mc-proxy:mc-proxy 600", "mc-proxy:mc-proxy 600"]
    assert machine.read("getent passwd mc-proxy").endswith(":/srv/mc-proxy:/usr/sbin/nologin")


def test_no_process_of_it_is_root_or_may_become_so(machine):
    pids = machine.read("pgrep --full '^/usr/bin/mc-proxy|^mc-proxy'").split()
    assert len(pids) >= 3 and str(machine.main_pid()) in pids
    for pid in pids:
        status = dict(line.split(":\t", 1) for line in machine.read(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)
        assert status["Uid"].split()[0] == machine.read("id -u mc-proxy")
        is_main = pid == str(machine.main_pid())
        assert int(status["CapPrm"], 16) in ((0, 1 << 10) if is_main else (0,)), "the master CAP_NET_BIND_SERVICE at most"
        assert is_main or int(status["CapAmb"], 16) == 0
        assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"


def test_the_sandbox_of_the_running_service_is_as_tight_as_promised(machine):
    text = machine.read("systemd-analyze security mc-proxy.service")
    assert float(text.split("Overall exposure level for mc-proxy.service: ")[1].split()[0]) <= 1.5


# ---- serving


def test_a_reload_brings_a_listener_and_traffic_flows(machine, pki, backend):
    machine.write(INI, CONFIG + f"route = {NAME} {backend.address}\n")
    machine.run("systemctl reload mc-proxy")
    assert f"{NAME} sni={NAME}".encode() in wait_until(lambda: _or_none(lambda: reach(machine, pki)), 10, "an answer")
    assert machine.property("ActiveState") == "active"


def _or_none(call):
    try:
        return call()
    except OSError:
        return None


def test_a_bad_reload_fails_in_words_and_changes_nothing(machine, pki, stream):
    good = open(machine.path(INI), encoding="utf-8").read()
    machine.write(INI, good + "no_such_key = 1\n")
    with stream() as running:
        assert machine.run("systemctl reload mc-proxy", check=False).returncode != 0
        running.wait_for(20)
    assert "no_such_key" in machine.journal()
    machine.write(INI, good)
    machine.run("systemctl reload mc-proxy")
    assert running.failures == []
    assert machine.property("ActiveState") == "active"


def test_reloads_lose_no_connection(machine, stream):
    with stream() as running:
        for _ in range(10):
            machine.run("systemctl reload mc-proxy")
            running.wait_for(10)
    assert running.failures == [], running.count


def test_the_operators_commands_work(machine, backend):
    assert "443" in machine.read(f"mc-proxy status -c {INI}")
    machine.run(f"mc-proxy routes add :443 two.example.com {backend.address} -c {INI}")
    assert "two.example.com" in machine.read(f"mc-proxy routes list :443 -c {INI}")
    machine.run(f"mc-proxy routes remove :443 two.example.com -c {INI}")


def test_the_journal_knows_the_fields(machine, pki, backend):
    """Entries of the journal's own protocol, from within the unit's sandbox, and of the unit."""
    reach(machine, pki)

    def entries():
        text = machine.read(f"journalctl --no-pager -u mc-proxy -o json MCPROXY_REASON=finished MCPROXY_SNI={NAME}")
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    wait_until(entries, what="an entry of the access record")
    entry = entries()[-1]
    assert entry["_TRANSPORT"] == "journal" and entry["PRIORITY"] == "6" and entry["SYSLOG_IDENTIFIER"] == "mc-proxy"
    assert entry["_PID"] == str(machine.main_pid()) and entry["MCPROXY_BACKEND"] == backend.address
    assert f"sni={NAME}" in entry["MESSAGE"] and int(entry["MCPROXY_BYTES_IN"]) > 200


def test_systemd_shows_what_the_server_does(machine):
    assert "2 workers" in machine.property("StatusText")


# ---- upgrade, restart


def test_an_upgrade_of_the_package_loses_no_connection(machine, newer_deb, pki, stream):
    before = machine.main_pid()
    held = hold(machine, pki)  # relayed by the old server until it has its answer
    with stream() as running:
        said = machine.install(newer_deb)
        running.wait_for(50)
    assert running.failures == [], running.count
    assert machine.main_pid() != before, said
    assert machine.property("ActiveState") == "active"
    assert machine.property("NRestarts") == "0"
    assert ":443" in machine.read(f"mc-proxy status -c {INI}"), "the successor has the admin API"
    assert b"200 OK" in finish(held)


def test_the_old_server_goes_when_it_has_drained(machine):
    wait_until(lambda: machine.read("pgrep --count --full '^[^ ]*mc-proxy server'") == "1", 45, "one server", interval=0.5)
    assert machine.read(f"cat /proc/{machine.main_pid()}/comm") == "mc-proxy"


def test_an_upgrade_to_a_broken_program_leaves_the_old_one_serving(machine, pki, stream):
    before = machine.main_pid()
    machine.run("cp --preserve=all /usr/bin/mc-proxy /root/good && rm /usr/bin/mc-proxy && cp /bin/false /usr/bin/mc-proxy")
    with stream() as running:
        failed = machine.run("/usr/libexec/mc-proxy/upgrade", check=False)
        running.wait_for(20)
    machine.run("rm /usr/bin/mc-proxy && cp --preserve=all /root/good /usr/bin/mc-proxy")
    assert failed.returncode == 1 and f"{before} goes on" in failed.stdout
    assert running.failures == []
    assert machine.main_pid() == before and machine.property("ActiveState") == "active"


def test_a_restart_refuses_no_connection(machine, stream):
    """The sockets wait in systemd's store. What was being relayed drains; what comes meanwhile waits."""
    before = machine.main_pid()
    with stream() as running:
        machine.run("systemctl restart mc-proxy")
        running.wait_for(50)
    assert running.failures == [], running.count
    assert machine.main_pid() != before


def test_behind_the_socket_unit_it_needs_no_capability(machine, pki, stream):
    machine.write("/etc/systemd/system/mc-proxy.service.d/socket-only.conf",
                  open(machine.path("/usr/share/doc/mc-proxy/examples/socket-only.conf"), encoding="utf-8").read())
    machine.run("systemctl daemon-reload && systemctl stop mc-proxy && systemctl enable --now mc-proxy.socket")
    assert b"200 OK" in reach(machine, pki), "the connection starts the server"
    status = machine.read(f"cat /proc/{machine.main_pid()}/status")
    assert "CapPrm:\t0000000000000000" in status
    with stream() as running:
        machine.run("systemctl restart mc-proxy")
        running.wait_for(50)
    assert running.failures == [], running.count


def test_and_back_without_the_socket_unit(machine, pki):
    machine.run("rm -r /etc/systemd/system/mc-proxy.service.d && systemctl disable --now mc-proxy.socket && systemctl daemon-reload")
    machine.run("systemctl restart mc-proxy")
    assert b"200 OK" in reach(machine, pki)


# ---- trouble


def test_the_watchdog_replaces_a_server_that_hangs(machine, pki):
    machine.write("/etc/systemd/system/mc-proxy.service.d/fast.conf", "[Service]\nWatchdogSec=2s\n")
    machine.run("systemctl daemon-reload && systemctl restart mc-proxy")
    before = machine.main_pid()
    machine.kill(before, 19)  # SIGSTOP
    wait_until(lambda: machine.main_pid() not in (0, before) and machine.property("ActiveState") == "active", 90, "a new server",
               interval=0.2)
    assert "watchdog" in machine.run("journalctl --no-pager -u mc-proxy -o cat").stdout.lower()
    assert b"200 OK" in reach(machine, pki)
    machine.run("rm -r /etc/systemd/system/mc-proxy.service.d && systemctl daemon-reload && systemctl restart mc-proxy")


def test_a_killed_server_comes_back_while_its_workers_still_drain(machine, pki):
    held = hold(machine, pki)
    before = machine.main_pid()
    machine.kill(before, 9)
    began = time.monotonic()
    wait_until(lambda: machine.main_pid() not in (0, before) and machine.property("ActiveState") == "active", 60, "a new server",
               interval=0.2)
    assert time.monotonic() - began < 10, "it waited for the workers"
    assert b"200 OK" in reach(machine, pki)
    assert b"200 OK" in finish(held)


def test_a_wrong_configuration_is_not_tried_again(machine, pki):
    good = open(machine.path(INI), encoding="utf-8").read()
    machine.write(INI, good.replace("addr = :443", "addr = nowhere"))
    assert machine.run("systemctl restart mc-proxy", check=False).returncode != 0
    time.sleep(3)  # longer than RestartSec
    assert machine.property("ActiveState") == "failed"
    assert machine.property("ExecMainStatus") == "78"
    machine.write(INI, good)
    machine.run("systemctl start mc-proxy")
    assert b"200 OK" in reach(machine, pki)


# ---- backups


def backups(machine):
    return sorted(name for name in os.listdir(machine.path("/srv/mc-proxy/backups")) if name.endswith(".db"))


def test_the_backup_runs_beside_the_server_and_without_it(machine):
    machine.run("systemctl start mc-proxy-backup.service")
    assert len(backups(machine)) == 1
    machine.run("systemctl stop mc-proxy && systemctl start mc-proxy-backup.service")
    assert len(backups(machine)) == 2
    assert machine.read("stat -c '%U %a' /srv/mc-proxy/backups/*.db").splitlines() == ["mc-proxy 600"] * 2


def test_a_backup_can_be_restored(machine, pki):
    """The runbook's commands."""
    machine.run("rm /srv/mc-proxy/mc-proxy.db && "
                f"install -o mc-proxy -g mc-proxy -m 600 /srv/mc-proxy/backups/{backups(machine)[-1]} /srv/mc-proxy/mc-proxy.db && "
                "systemctl start mc-proxy")
    assert NAME in machine.read(f"mc-proxy routes list -c {INI}")
    assert b"200 OK" in reach(machine, pki)


def test_fourteen_backups_are_kept(machine):
    newest = backups(machine)[-1]
    older = re.sub(r"20\d\d", "20{year}", newest, count=1)
    for year in range(10, 24):
        machine.run(f"cp --preserve=all /srv/mc-proxy/backups/{newest} /srv/mc-proxy/backups/{older.format(year=year)}")
    before = backups(machine)
    machine.run("systemctl start mc-proxy-backup.service")
    kept = backups(machine)
    assert len(kept) == 14 and newest in kept and before[0] not in kept


# ---- the end


def test_removing_it_leaves_configuration_and_data(machine):
    machine.run("dpkg --remove mc-proxy")
    assert machine.run("systemctl is-active mc-proxy", check=False).stdout.strip() in ("inactive", "unknown")
    assert os.path.exists(machine.path(INI))
    assert os.path.exists(machine.path("/srv/mc-proxy/mc-proxy.db"))


def test_installing_it_again_finds_everything(machine, deb, pki):
    machine.install(deb)
    machines.wait_active(machine)
    assert b"200 OK" in reach(machine, pki)


def test_purging_it_removes_the_configuration_and_never_the_data(machine):
    said = machine.run("dpkg --purge mc-proxy").stdout
    assert "/srv/mc-proxy" in said
    assert not os.path.exists(machine.path("/etc/mc-proxy"))
    assert os.path.exists(machine.path("/srv/mc-proxy/mc-proxy.db"))
    assert machine.read("find /etc/systemd /lib/systemd /usr -name '*mc-proxy*'") == ""
    assert machine.run("pgrep mc-proxy", check=False).stdout == ""
