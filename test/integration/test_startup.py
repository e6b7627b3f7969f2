"""What an operator meets in the first hour: a start that cannot succeed says why in one line, and odd surroundings do no harm."""

import os
import pathlib
import resource
import signal
import socket
import subprocess
import sys

import pytest

from lib import clients, hello, procfs
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import BINARY, environment, is_sanitized, run_command
from lib.machine import in_namespaces
from lib.waiting import wait_until

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def write(tmp_path):
    """write(listener, **sections): the path of a configuration whose database lies beside it."""

    def write_config(listener=None, directory=tmp_path, **sections):
        path = directory / "mc-proxy.ini"
        path.write_text(config_text(str(directory), [listener or Listener(routes=["* 127.0.0.1:1"])], **sections))
        return str(path)

    return write_config


@pytest.fixture
def nobodys_dir(open_dir):
    """A directory that belongs to an unprivileged user."""
    os.chown(open_dir, NOBODY, NOBODY)
    return pathlib.Path(open_dir)


def children_and_zombies(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return sorted(map(int, f.read().split()))


def errors_of(done):
    return [line for line in done.stderr.splitlines() if "level=ERROR" in line]


def expect_one_error(done, code, *words):
    assert done.returncode == code, done.stderr
    errors = errors_of(done)
    assert len(errors) == 1, done.stderr
    for word in words:
        assert word in errors[0], errors[0]


def test_port_of_another_program_is_named(write):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        expect_one_error(run_command("server", "-c", write(Listener(port=port))), 1, f"127.0.0.1:{port}", "already in use")


def test_port_of_another_mc_proxy_is_named(new_daemon, write, tmp_path):
    running = new_daemon([Listener()]).start()
    (tmp_path / "second").mkdir()
    done = run_command("server", "-c", write(Listener(port=running.port), directory=tmp_path / "second"))
    expect_one_error(done, 1, f"127.0.0.1:{running.port}", "already in use")
    clients.connect(running.port).close()


def test_address_of_another_host_is_refused(write):
    expect_one_error(run_command("server", "-c", write(Listener(host="192.0.2.77"))), 1, "192.0.2.77", "no such address")


@as_root
@pytest.mark.skipif(int(open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii").read()) <= 999,
                    reason="every port is free for all here")
def test_privileged_port_without_permission_says_what_is_needed(write, nobodys_dir):
    done = run_command("server", "-c", write(Listener(port=999), directory=nobodys_dir), user=NOBODY, group=NOBODY, extra_groups=[])
    expect_one_error(done, 1, "127.0.0.1:999", "CAP_NET_BIND_SERVICE")


@pytest.mark.parametrize("command, code", [("check", 1), ("server", 1)])
def test_missing_folder_of_the_database_is_named(write, tmp_path, command, code):
    done = run_command(command, "-c", write(database={"path": f"{tmp_path}/none/mc-proxy.db"}))
    assert done.returncode == code
    assert f"{tmp_path}/none" in done.stderr and "must exist" in done.stderr
    assert not (tmp_path / "none").exists()


@as_root
@pytest.mark.parametrize("command", ["check", "server"])
def test_workers_as_root_are_refused_before_anything_is_made(write, tmp_path, command):
    done = run_command(command, "-c", write(server={"user": "root"}))
    assert done.returncode == 78
    assert "user" in done.stderr and "root" in done.stderr
    assert os.listdir(tmp_path) == ["mc-proxy.ini"]


@as_root
def test_user_of_an_unprivileged_server_has_no_effect_and_that_is_said(write, nobodys_dir):
    path = write(directory=nobodys_dir, server={"user": "daemon"})
    done = run_command("check", "-c", path, user=NOBODY, group=NOBODY, extra_groups=[])
    assert done.returncode == 0, done.stderr
    assert "warning" in done.stderr and "daemon" in done.stderr


@as_root
def test_unprivileged_server_serves(new_daemon, backend, nobodys_dir, monkeypatch):
    echo = backend(EchoBackend)
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **kwargs: popen(*args, user=NOBODY, group=NOBODY, extra_groups=[], **kwargs))
    daemon = new_daemon([Listener(routes=[f"* {echo.address}"])], directory=nobodys_dir).start()
    data = hello.client_hello(b"www.example.com")
    with clients.connect(daemon.port) as s:
        s.sendall(data)
        assert clients.read_exactly(s, len(data)) == data


def test_relative_paths_begin_at_the_folder_of_the_configuration(write, tmp_path):
    done = run_command("check", "-c", os.path.relpath(write(database={"path": "sub/mc-proxy.db"}), "/"), cwd="/")
    assert done.returncode == 1 and f"{tmp_path}/sub" in done.stderr


@pytest.mark.skipif(is_sanitized(), reason="the sanitizers need /proc")
@in_namespaces
def test_without_proc_the_server_says_so(write):
    path = write()
    done = subprocess.run(["unshare", "-m", "sh", "-c", f"umount -l /proc && exec {BINARY} server -c {path}"], env=environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    expect_one_error(done, 1, "/proc")


@pytest.mark.parametrize("closed", [[2], [0, 1, 2]])
def test_closed_standard_streams_do_no_harm(write, tmp_path, closed):
    """Nothing for people may end up in the file that gets the number of standard error."""
    listener = Listener(routes=["* 127.0.0.1:1"])
    process = subprocess.Popen([BINARY, "server", "-c", write(listener)], env=environment(),
                               preexec_fn=lambda: [os.close(fd) for fd in closed])
    try:
        wait_until(lambda: process.poll() is not None or listener.port in procfs.listening_ports(), 20, "the listener")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert (tmp_path / "mc-proxy.db").read_bytes().startswith(b"SQLite format 3\0")
    finally:
        process.kill()


def test_standard_error_that_nobody_reads_stalls_nothing(new_daemon, write):
    listener = Listener()
    read_end, write_end = os.pipe()
    process = subprocess.Popen([BINARY, "server", "-c", write(listener)], env=environment(), stderr=write_end)
    os.close(write_end)
    try:
        wait_until(lambda: process.poll() is not None or listener.port in procfs.listening_ports(), 20, "the listener")
        for _ in range(1000):  # 200 KB of access lines, over three times what a pipe holds
            clients.connect(listener.port).close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        os.close(read_end)


def limited_files(size):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_log_file_that_may_not_grow_ends_nobody(write, tmp_path, backend):
    """As with LimitFSIZE= or a shell's ulimit -f: the line is lost, and the kernel's SIGXFSZ hurts nobody."""
    listener = Listener(routes=[f"* {backend(EchoBackend).address}"])
    size = 2 << 30
    with open(tmp_path / "log", "ab") as log:
        log.truncate(size)
        process = subprocess.Popen([BINARY, "server", "-c", write(listener)], env=environment(), stderr=log, preexec_fn=limited_files(size))
    try:
        wait_until(lambda: process.poll() is not None or listener.port in procfs.listening_ports(), 20, "the listener")
        for _ in range(5):
            assert clients.enters(listener.port, hello.client_hello(b"www.example.com"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert (tmp_path / "log").stat().st_size == size
    finally:
        process.kill()


def test_too_low_a_limit_of_files_is_named(write):
    done = run_command("server", "-c", write(), preexec_fn=limited_files(1 << 20))
    expect_one_error(done, 1, "LimitFSIZE")


@pytest.mark.skipif(is_sanitized(), reason="sanitizers need all of the address space themselves")
def test_too_low_a_limit_of_address_space_is_named(write):
    done = run_command("server", "-c", write(), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20)))
    expect_one_error(done, 1, "LimitAS")


def test_sigusr1_ends_nobody(new_daemon):
    """Scripts that rotate logs send it."""
    daemon = new_daemon([Listener()]).start()
    daemon.signal(signal.SIGUSR1)
    daemon.wait_for_log(lambda e: e["msg"].startswith("SIGUSR1 does nothing"))
    daemon.stop()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_before_the_configuration_is_read_waits(write, tmp_path, number):
    """The file is a pipe at first, so the server waits in the middle of its very first step when the signal comes."""
    text = pathlib.Path(write()).read_bytes()
    pipe, log = tmp_path / "pipe.ini", tmp_path / "log"
    os.mkfifo(pipe)
    with open(log, "wb") as out:
        process = subprocess.Popen([BINARY, "server", "-c", str(pipe)], env=environment(), stderr=out)
    try:
        with open(pipe, "wb") as writing:  # waits for the server to open it
            process.send_signal(number)
            (tmp_path / "mc-proxy.ini").rename(pipe)  # for the reload
            writing.write(text)
        if number == signal.SIGHUP:
            wait_until(lambda: process.poll() is not None or "configuration reloaded" in log.read_text(), 20, "the reload")
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0, log.read_text()
    finally:
        process.kill()
        process.wait()


@in_namespaces
def test_process_1_of_a_container_leaves_no_zombie(write, tmp_path):
    """Orphans of a container are given to its first process: it must serve, reap them, and end like any other."""
    listener = Listener()
    outer = subprocess.Popen(["unshare", "-p", "-f", "--mount-proc", "--kill-child", BINARY, "server", "-c", write(listener)],
                             env=environment(), stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: outer.poll() is not None or procfs.children(outer.pid), 20, "the server")
        master = procfs.children(outer.pid)[0]
        wait_until(lambda: outer.poll() is not None or listener.port in procfs.listening_ports(), 20, "the listener")
        workers = wait_until(lambda: children_and_zombies(master), 20, "a worker")
        seen = tmp_path / "seen"
        orphan_maker = (f"import os, time\nif os.fork() == 0:\n    while not os.path.exists({str(seen)!r}):\n        time.sleep(0.05)\n"
                        "    os._exit(0)\n")
        subprocess.run(["nsenter", "-t", str(master), "-p", "-m", sys.executable, "-c", orphan_maker], check=True)
        wait_until(lambda: len(children_and_zombies(master)) > len(workers), 20, "the orphan to be handed over")
        seen.touch()
        wait_until(lambda: children_and_zombies(master) == workers, 10, "the orphan to be reaped")
        os.kill(master, signal.SIGTERM)
        assert outer.wait(20) == 0, outer.stderr.read()
    finally:
        outer.kill()


@in_namespaces
def test_port_for_both_families_works_where_ipv6_is_off(write):
    listener = Listener(host="")
    path, port = write(listener), listener.port
    script = ("ip link set lo up; echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; "
              f"{BINARY} server -c {path} & "
              f"for i in $(seq 100); do ss -Hltn | grep -q ':{port} ' && break; sleep 0.1; done; "
              f"ss -Hltn | grep -c ':{port} '; kill $!; wait $!")
    done = subprocess.run(["unshare", "-n", "sh", "-c", script], env=environment(), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and int(done.stdout) > 0, done.stdout + done.stderr


@pytest.mark.parametrize("arguments", [["help"], ["--help"], ["help", "--help"], ["help", "check"], ["check", "--help"]])
def test_help_is_given_whichever_way_it_is_asked_for(arguments):
    done = run_command(*arguments)
    assert done.returncode == 0 and done.stdout.startswith("Usage: mc-proxy"), done
