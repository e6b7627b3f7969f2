"""`mc-proxy check`, and what a wrong configuration does to `server`."""

import os
import re
import threading

import pytest

from lib.config import Listener, config_text
from lib.daemon import run_command

BROKEN = """\
[server]
workers = many
colour = red
[database]
path = {path}
[proxy]
idle_timeout = 5
hello_timeout = 10s
hello_timeout = 11s
[paint]
x = 1
[firewall]
blocked_cidrs = 198.51.100.7/24
blocked_countries = kp
[listener a]
addr = 127.0.0.1:99999
route = www.example.com 127.0.0.1:1
route = WWW.example.com. 127.0.0.1:2
route = bad..name 127.0.0.1:1
route = x.example.com 10.0.0.256:1
no_route = maybe
"""
LINES_WITH_ERRORS = (2, 3, 7, 9, 10, 13, 14, 16, 18, 19, 20, 21)


@pytest.fixture
def write(tmp_path):
    def write_config(text):
        path = tmp_path / "mc-proxy.ini"
        path.write_text(text)
        return str(path)

    return write_config


def good(tmp_path, **sections):
    return config_text(str(tmp_path), [Listener(routes=["www.example.com 127.0.0.1:1"])], **sections)


@pytest.mark.parametrize("options", [["-c"], ["--config"]])
def test_good_configuration_is_0_and_writes_nothing(write, tmp_path, options):
    path = write(good(tmp_path))
    done = run_command("check", *options, path)
    assert done.returncode == 0, done.stderr
    assert os.listdir(tmp_path) == ["mc-proxy.ini"]


@pytest.mark.parametrize("command", ["check", "server"])
def test_every_error_is_named_with_its_line(write, tmp_path, command):
    path = write(BROKEN.format(path=tmp_path / "mc-proxy.db"))
    done = run_command(command, "-c", path)
    assert done.returncode == 78
    for line in LINES_WITH_ERRORS:
        assert f":{line}:" in done.stderr or f"line={line} " in done.stderr, f"line {line} is missing:\n{done.stderr}"
    for key in ("workers", "colour", "idle_timeout", "hello_timeout", "paint", "no_route"):
        assert key in done.stderr
    assert os.listdir(tmp_path) == ["mc-proxy.ini"]


@pytest.mark.parametrize("text, words", [
    ("[database]\n", ["path"]),
    ("[listener a]\naddr = 127.0.0.1:1\n", ["path"]),
    ("[database]\npath = /tmp/x.db\n[database]\npath = /tmp/y.db\n", ["path"]),
    ("[database]\npath = /tmp/x.db\nno equals sign here\n", [":3"]),
    ("[database]\npath = /tmp/x.db\n[listener a]\naddr = 127.0.0.1:1\n[listener b]\naddr = 127.0.0.1:1\n", ["127.0.0.1:1"]),
    ("[database]\npath = /tmp/x.db\n[listener a]\naddr = 127.0.0.1:1\nproxy_protocol = mixed\n", ["proxy_trusted"]),
    ("[database]\npath = /tmp/x.db\n[listener a]\nroute = a.example.com 127.0.0.1:1\n", ["addr"]),
    ("[database]\npath = /tmp/x.db\n[proxy]\nidle_timeout = 99999d\n", [":4", "idle_timeout"]),
    ("[database]\npath = /tmp/x.db\n[" + "s" * 60 + "]\nx = 1\n", [":3"]),
    ("[database]\npath = /tmp/x.db\n[proxy]\n" + "k" * 60 + " = 1\n", [":4"]),
    ("[database]\npath = /tmp/x.db\n[grpc]\naddr = 127.0.0.1:9090\n", ["tls_"]),
])
def test_wrong_configuration_is_78(write, text, words):
    done = run_command("check", "-c", write(text))
    assert done.returncode == 78, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("length", [200, 218, 3300])
def test_line_too_long_for_the_ini_library_is_refused_and_later_lines_keep_their_numbers(write, tmp_path, length):
    """libinih would cut the value, take the rest for a line of its own, and count on from there."""
    start = "blocked_cidrs = "
    networks = ", ".join(f"10.0.{n}.0/24" for n in range(255))
    long_line = start + networks[:length - len(start)]
    done = run_command("check", "-c", write(f"[database]\npath = {tmp_path}/mc-proxy.db\n[firewall]\n{long_line}\n"
                                            "blocked_ips = 192.0.2.7\nblocked_ips = nonsense\n"))
    assert done.returncode == 78
    for wanted in (":4:", "199", ":6:", "nonsense"):
        assert wanted in done.stderr, done.stderr
    assert ":5:" not in done.stderr


def test_list_over_repeated_keys_is_taken_whole(write, tmp_path):
    networks = [f"198.51.{n}.0/24, 203.0.{n}.0/24" for n in range(100)]
    done = run_command("check", "-c", write(good(tmp_path, firewall={"blocked_cidrs": networks})))
    assert done.returncode == 0, done.stderr
    done = run_command("check", "-c", write(good(tmp_path, firewall={"blocked_cidrs": [*networks, "198.51.100.1/24"]})))
    assert done.returncode == 78 and "198.51.100.1/24" in done.stderr


def test_missing_file_is_78(tmp_path):
    done = run_command("check", "-c", str(tmp_path / "none.ini"))
    assert done.returncode == 78
    assert "none.ini" in done.stderr


def test_a_configuration_may_come_through_a_pipe(tmp_path):
    """As in `mc-proxy check -c <(envsubst <template)`; its writer takes its time."""
    text = good(tmp_path)
    read_end, write_end = os.pipe()
    half = len(text) // 2
    timer = threading.Timer(0.3, lambda: (os.write(write_end, text[half:].encode()), os.close(write_end)))
    os.write(write_end, text[:half].encode())
    timer.start()
    done = run_command("check", "-c", f"/dev/fd/{read_end}", pass_fds=[read_end])
    timer.join()
    os.close(read_end)
    assert done.returncode == 0, done


@pytest.mark.parametrize("command", ["check", "server"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: open(path, "x").close()], ids=["folder", "fifo", "file"])
def test_what_is_no_socket_is_not_taken_for_one(write, tmp_path, command, make):
    make(tmp_path / "taken")
    addrs = [f"unix:{tmp_path}/free.sock", f"unix:{tmp_path}/taken"]
    path = write(good(tmp_path, grpc={"addr": addrs}))
    done = run_command(command, "-c", path)
    assert done.returncode == 78, done.stderr
    with open(path, encoding="ascii") as f:
        line = f.read().splitlines().index(f"addr = {addrs[1]}") + 1
    assert f"{path}:{line}: [grpc] addr: {addrs[1]}: something that is no socket is there" in done.stderr


def test_check_opens_the_named_files(write, tmp_path):
    done = run_command("check", "-c", write(good(tmp_path, firewall={"geoip_db": str(tmp_path / "none.mmdb")})))
    assert done.returncode == 78
    assert "none.mmdb" in done.stderr


@pytest.mark.parametrize("variable, value, code", [
    ("MCPROXY_PROXY_IDLE_TIMEOUT", "30s", 0),
    ("MCPROXY_PROXY_IDLE_TIMEOUT", "30", 78),
    ("MCPROXY_SERVER_WORKERS", "0", 78),
    ("MCPROXY_LOG_LEVEL", "loud", 78),
    ("MCPROXY_LOG_COLOUR", "red", 78),
])
def test_environment_overrides_and_is_checked_like_the_file(write, tmp_path, variable, value, code):
    done = run_command("check", "-c", write(good(tmp_path)), env={variable: value})
    assert done.returncode == code, done.stderr
    if code != 0:
        assert variable in done.stderr


def test_environment_override_decides_where_the_database_is(new_daemon, tmp_path):
    other = tmp_path / "other.db"
    daemon = new_daemon([Listener()], env={"MCPROXY_DATABASE_PATH": str(other)}).start().wait_ready()
    assert other.exists()
    assert not (tmp_path / "mc-proxy.db").exists()
    daemon.stop()


def test_check_beside_a_running_server_disturbs_nothing(new_daemon, tmp_path):
    daemon = new_daemon([Listener(routes=["* 127.0.0.1:1"])]).start().wait_ready()
    before = sorted(os.listdir(tmp_path))
    done = run_command("check", "-c", daemon.config_path)
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("arguments", [["frobnicate"], ["check"], ["server", "--nonsense"], ["routes", "add"], []])
def test_wrong_usage_is_2(arguments):
    done = run_command(*arguments)
    assert done.returncode == 2
    assert done.stderr.strip()


@pytest.mark.parametrize("before", [["-c"], ["--config"], ["--timeout", "3s", "-c"]])
def test_options_may_stand_before_the_command(tmp_path, before):
    done = run_command(*before, str(tmp_path / "missing.ini"), "listeners", "list")
    assert done.returncode == 78 and "missing.ini: cannot be read" in done.stderr


@pytest.mark.parametrize("arguments", [["-c", "x.ini"], ["--json"], ["-c"], ["--config=x.ini", "--json"]])
def test_options_without_a_command_are_wrong_usage(arguments):
    done = run_command(*arguments)
    assert done.returncode == 2 and "a command is missing" in done.stderr


def test_every_command_that_is_listed_has_help():
    listed = re.findall(r"^  ([a-z-]+)  ", run_command("--help").stdout, re.MULTILINE)
    assert {"server", "check", "version"} <= set(listed)
    for command in listed:
        done = run_command(command, "--help")
        assert done.returncode == 0 and command in done.stdout, command


def test_version_names_itself_and_its_libraries():
    done = run_command("version")
    assert done.returncode == 0
    for word in ("mc-proxy", "sqlite", "openssl", "c-ares", "libev"):
        assert word in done.stdout.lower(), done.stdout
