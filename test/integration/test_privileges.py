"""What master and workers may do, read back from /proc; what each privilege of the master is for; and what the server needs of its host."""

import errno
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

from lib import clients, hello, procfs
from lib.config import Listener, config_text
from lib.daemon import BINARY, environment, is_shipped
from lib.machine import in_namespaces, require_ptrace
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
CAPABILITIES = {"CHOWN": 0, "DAC_OVERRIDE": 1, "KILL": 5, "SETGID": 6, "SETUID": 7, "SETPCAP": 8, "NET_BIND_SERVICE": 10,
                "NET_ADMIN": 12}
KEPT = sum(1 << number for number in CAPABILITIES.values())
SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
whole_sandbox = pytest.mark.skipif(not is_shipped(), reason="this build needs what the sandbox takes away; shipped.privileges is with the release binary")


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def limits_of(pid):
    with open(f"/proc/{pid}/limits", encoding="ascii") as f:
        return {m[1]: (m[2], m[3]) for m in (re.match(r"(Max .*?)  +(\S+) +(\S+)", line) for line in f) if m}


def is_dumpable(pid):
    """The kernel gives the folder of a process that is not to root."""
    return os.stat(f"/proc/{pid}/environ").st_uid != 0


def unprivileged_user():
    return next(pwd.getpwnam(name) for name in ("mc-proxy", "nobody") if name in {p.pw_name for p in pwd.getpwall()})


def ready_workers(daemon):
    """All workers, each in its sandbox: a process that was only just forked is still what the master is."""
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
    return daemon.workers()


# ---- workers

@as_root
def test_worker_is_another_user_without_groups_or_capabilities(proxy, echo):
    daemon = proxy(f"* {echo.address}", server={"workers": 2})
    user = unprivileged_user()
    for pid in ready_workers(daemon):
        status = status_of(pid)
        assert set(status["Uid"].split()) == {str(user.pw_uid)}
        assert set(status["Gid"].split()) == {str(user.pw_gid)}
        assert status["Groups"].split() == []
        assert {name: int(status[name], 16) for name in SETS} == dict.fromkeys(SETS, 0)
        assert status["NoNewPrivs"] == "1"


@whole_sandbox
def test_worker_has_a_filter_no_processes_no_files_and_no_core(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    pid = ready_workers(daemon)[0]
    status, limits = status_of(pid), limits_of(pid)
    assert status["Seccomp"] == "2" and status["Seccomp_filters"] >= "1"
    for name in ("Max processes", "Max file size", "Max core file size"):
        assert limits[name] == ("0", "0"), name
    assert status["Threads"] == "1"
    assert not is_dumpable(pid)


def kind_of(target):
    return re.sub(r"\[\d+\]", "", target)


def test_worker_holds_only_the_descriptors_that_it_needs(managed, echo):
    """No file at all: neither database nor keys nor the admin API's socket, and no descriptor of shared memory."""
    daemon, _ = managed([Listener(routes=[f"* {echo.address}"])], workers=2)
    for pid in ready_workers(daemon):
        links = procfs.descriptors(pid)
        assert {fd for fd, to in links.items() if to == "/dev/null"} >= {0, 1}
        rest = [kind_of(to) for fd, to in links.items() if fd > 2 and to != "/dev/null"]
        assert set(rest) <= {"socket:", "anon_inode:[eventpoll]", "anon_inode:[eventfd]", "anon_inode:[timerfd]"}, links
        assert rest.count("socket:") == 2, "the control socket and one listener"


def test_worker_maps_the_tables_read_only_and_nothing_both_writable_and_executable(proxy, echo):
    require_ptrace()
    daemon = proxy(f"* {echo.address}")
    with open(f"/proc/{ready_workers(daemon)[0]}/maps", encoding="ascii") as f:
        maps = [line.split(None, 5) for line in f]
    shared = {m[5].strip(): m[1] for m in maps if m[1][3] == "s"}
    tables = [protection for name, protection in shared.items() if "tables" in name]
    assert tables == ["r--s"], shared
    assert not [m for m in maps if "w" in m[1] and "x" in m[1]]
    assert not [m for m in maps if len(m) > 5 and (".db" in m[5] or ".pem" in m[5])]


# ---- the master

@as_root
def test_master_of_root_keeps_only_what_it_uses(proxy, echo):
    status = status_of(proxy(f"* {echo.address}").pid)
    assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == int(status["CapBnd"], 16) == KEPT
    assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"


@whole_sandbox
def test_memory_of_the_master_is_for_nobody_and_no_file(proxy, echo):
    """It holds the key of the admin API."""
    daemon = proxy(f"* {echo.address}")
    assert limits_of(daemon.pid)["Max core file size"] == ("0", "0")
    assert not is_dumpable(daemon.pid)


class Crippled:
    """The server as root, but without one capability from the very beginning."""

    def __init__(self, new_daemon, tmp_path, without):
        self.binary = str(tmp_path / "mc-proxy-crippled")
        with open(self.binary, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\nexec setpriv --bounding-set -{without} --inh-caps -all "{BINARY}" "$@"\n')
        os.chmod(self.binary, 0o755)
        self.new_daemon, self.tmp_path = new_daemon, tmp_path

    def daemon(self, listener, **sections):
        return self.new_daemon([listener], binary=self.binary, **sections)

    def fails(self, listener, *words, **sections):
        """It does not start, and says why."""
        daemon = self.daemon(listener, **sections)
        daemon.expects_failure = True
        daemon.launch()
        daemon.wait()  # and for all that it said
        text = daemon.log_text()
        assert daemon.returncode == 1 and all(word in text for word in words), text


def other_users_folder(tmp_path):
    user = unprivileged_user()
    folder = tmp_path / "of-another-user"
    folder.mkdir(mode=0o700)
    os.chown(folder, user.pw_uid, user.pw_gid)
    return str(folder), user


def without_setuid(crippled, listener):
    """Workers refuse to live as root. It says so once and ends, rather than to start them again and again."""
    crippled.fails(listener, "cannot become the user", "CAP_SETUID")


def without_setgid(crippled, listener):
    crippled.fails(listener, "cannot become the user", "CAP_SETGID")


def without_net_bind_service(crippled, listener):
    listener.port = next(p for p in range(700, 1000) if p not in procfs.listening_ports())
    crippled.fails(listener, "CAP_NET_BIND_SERVICE")


def without_setpcap(crippled, listener):
    """Workers keep a bounding set, which means nothing: they have no_new_privs. It works all the same."""
    daemon = crippled.daemon(listener).start()
    assert clients.enters(daemon.port, HELLO)
    status = status_of(ready_workers(daemon)[0])
    assert int(status["CapBnd"], 16) != 0 and int(status["CapPrm"], 16) == 0


def without_net_admin(crippled, listener):
    """Where the kernel wants it for a socket filter, a listener closes without holding newcomers back, and the log says so."""
    daemon = crippled.daemon(listener).start()
    assert clients.enters(daemon.port, HELLO)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert may_filter_without_privilege() != any("cannot hold new connections back" in e["msg"] for e in daemon.events())


def may_filter_without_privilege():
    script = ("import ctypes, socket, struct; s = socket.socket(); b = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 65535)); "
              "s.setsockopt(1, 26, struct.pack('HxxxxxxQ', 1, ctypes.addressof(b)))")
    command = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "/usr/bin/python3", "-c", script]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def without_kill(crippled, listener):
    """A worker that hangs cannot be replaced."""
    daemon = crippled.daemon(listener).start()
    worker = ready_workers(daemon)[0]
    os.kill(worker, signal.SIGSTOP)
    time.sleep(5)
    assert worker in ready_workers(daemon)
    os.kill(worker, signal.SIGCONT)
    daemon.expects_failure = True
    daemon.kill()


def without_dac_override(crippled, listener):
    folder, _ = other_users_folder(crippled.tmp_path)
    crippled.fails(listener, "mc-proxy.db", database={"path": f"{folder}/mc-proxy.db"})


def without_chown(crippled, listener):
    """The files beside the database belong to root, and its owner could not go on with them."""
    folder, user = other_users_folder(crippled.tmp_path)
    path = f"{folder}/mc-proxy.db"
    with open(path, "wb"):
        os.chown(path, user.pw_uid, user.pw_gid)
    crippled.daemon(listener, database={"path": path}).start()
    assert os.stat(path + "-wal").st_uid == 0 != user.pw_uid


BREAKS = {"setuid": without_setuid, "setgid": without_setgid, "net_bind_service": without_net_bind_service,
          "setpcap": without_setpcap, "net_admin": without_net_admin, "kill": without_kill, "dac_override": without_dac_override, "chown": without_chown}


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.parametrize("name", sorted(BREAKS))
def test_what_breaks_without(new_daemon, echo, tmp_path, name):
    assert {n.upper() for n in BREAKS} == set(CAPABILITIES)
    BREAKS[name](Crippled(new_daemon, tmp_path, name), Listener(routes=[f"* {echo.address}"]))


@as_root
def test_files_beside_another_users_database_become_that_users(new_daemon, echo, tmp_path):
    folder, user = other_users_folder(tmp_path)
    path = f"{folder}/mc-proxy.db"
    with open(path, "wb"):
        os.chown(path, user.pw_uid, user.pw_gid)
    new_daemon([Listener(routes=[f"* {echo.address}"])], database={"path": path}).start()
    assert {os.stat(path + end).st_uid for end in ("", "-wal")} == {user.pw_uid}


def privileged_socket():
    """One that listens on some port below 1024; another test may take ports there at the same time."""
    for port in range(700, 1000):
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise AssertionError("no port below 1024 is free")


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_behind_socket_activation_it_needs_no_privilege_at_all(new_daemon, echo, open_dir):
    """Another user, no capability in any set, and a port below 1024 that was opened before."""
    user = unprivileged_user()
    os.chown(open_dir, user.pw_uid, user.pw_gid)
    opened = privileged_socket()
    port = opened.getsockname()[1]
    listener = Listener(routes=[f"* {echo.address}"], port=port)
    binary = os.path.join(open_dir, "mc-proxy-unprivileged")
    copy = shutil.copy(BINARY, os.path.join(open_dir, "mc-proxy"))
    with open(binary, "w", encoding="ascii") as f:
        f.write(f'#!/bin/sh\nexport LISTEN_PID=$$\nexec setpriv --reuid {user.pw_uid} --regid {user.pw_gid} --clear-groups --bounding-set -all '
                f'--inh-caps -all "{copy}" "$@"\n')
    os.chmod(binary, 0o755)
    with opened:
        daemon = new_daemon([listener], binary=binary, directory=open_dir)
        daemon.sockets = [("https", opened)]
        daemon.start()
        assert clients.enters(port, HELLO)
        for pid in (daemon.pid, *ready_workers(daemon)):
            status = status_of(pid)
            assert {name: int(status[name], 16) for name in SETS} == dict.fromkeys(SETS, 0)
            assert status["NoNewPrivs"] == "1" and set(status["Uid"].split()) == {str(user.pw_uid)}
        daemon.stop()


# ---- what the server needs of its host

@as_root
@in_namespaces
def test_without_proc_it_says_so(tmp_path):
    path = tmp_path / "mc-proxy.ini"
    path.write_text(config_text(str(tmp_path), [Listener(routes=["* 127.0.0.1:1"])]), encoding="ascii")
    script = 'mount -t tmpfs none /proc && exec "$0" server -c "$1"'
    done = subprocess.run(["unshare", "-m", "sh", "-c", script, BINARY, str(path)], env=environment(), capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert "is /proc mounted?" in done.stderr


@as_root
@in_namespaces
def test_as_the_first_process_it_serves_replaces_workers_and_stops(tmp_path, echo):
    listener = Listener(routes=[f"* {echo.address}"])
    path = tmp_path / "mc-proxy.ini"
    path.write_text(config_text(str(tmp_path), [listener]), encoding="ascii")
    process = subprocess.Popen(["unshare", "-p", "-f", "--kill-child", "--mount-proc", BINARY, "server", "-c", str(path)],
                               env=environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: procfs.children(process.pid) and procfs.children(procfs.children(process.pid)[0]), 20, "a worker")
        first = procfs.children(process.pid)[0]
        wait_until(lambda: listener.port in procfs.listening_ports() and clients.enters(listener.port, HELLO), 10, "service")
        assert status_of(first)["NSpid"].split()[-1] == "1"
        worker = procfs.children(first)[0]
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: procfs.children(first) not in ([], [worker]), 10, "a new worker")
        assert clients.enters(listener.port, HELLO)
        os.kill(first, signal.SIGTERM)
        assert process.wait(20) == 0
        text = process.stderr.read()
        assert "server stopped" in text
        assert "AddressSanitizer" not in text and "LeakSanitizer" not in text
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        process.stderr.close()
