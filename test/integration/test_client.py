"""The client commands against another implementation of gRPC: what they ask, print, and say when something is wrong."""

import fcntl
import json
import os
import pty
import shutil
import signal
import socket
import struct
import subprocess
import termios
import threading

import grpc
import pytest

from lib import fake_admin
from lib.daemon import BINARY, environment, expect_command, run_command
from lib.fake_admin import FakeAdmin
from lib.waiting import wait_until

fake_admin.quiet_grpc()


@pytest.fixture
def socket_path(open_dir):
    return f"{open_dir}/admin.sock"


@pytest.fixture
def fake(socket_path):
    server = FakeAdmin(path=socket_path, listeners=(":443", "[::1]:8443"))
    server.set_routes(":443", "www.example.com 10.0.0.5:8443", "*.apps.example.com [2001:db8::5]:443 send_proxy_protocol")
    server.address = f"unix:{socket_path}"
    yield server
    server.close()


@pytest.fixture
def run(fake):
    """run("routes", "list"): the command asking the fake, which must end with 0; fails=1 for another status."""

    def command(*args, fails=0, **kwargs):
        return expect_command(*args, "--addr", fake.address, fails=fails, **kwargs)

    return command


def no_server(*args, addr, env=None):
    return expect_command(*args, "--addr", addr, fails=1, env=env).stderr


# ---- status


def test_status_is_a_table_for_people(run):
    assert run("status").stdout == """\
mc-proxy 9.8.7, up 1d 2h since 2026-11-22T18:00:00Z
connections: 56 active, 1234 total; firewall rules: 0; generation: 3
workers: 1, 2 restarted; log records dropped: 0

LISTENER    NAME   ROUTES  ACTIVE  TOTAL  MAX  PROXY PROTOCOL
:443        https       2      56   1234    -  off
[::1]:8443  https       0      56   1234    -  off

LISTENER    TOTAL  REJECTED  BLOCKED  FAILED     IN    OUT  NO ROUTE
:443         1234         7        0       0  1.23M  45.6G  reset
[::1]:8443   1234         7        0       0  1.23M  45.6G  reset

WORKER   PID  STATE    ACTIVE  TOTAL    MAX  FILES
     0  4242  running      56   1234  32000    150
"""


def test_status_is_json_for_programs(run, fake):
    fake.max_connections[":443"] = 9
    status = json.loads(run("status", "--json").stdout)
    assert status["version"] == "9.8.7" and status["started_at"] == "2026-11-22T18:00:00.125Z"
    assert status["total_connections"] == 1234 and status["active_connections"] == 56
    assert status["uptime_seconds"] == 93784 and status["is_draining"] is False
    assert status["listeners"][0] == {
        "addr": ":443", "name": "https", "route_count": 2, "active_connections": 56, "total_connections": 1234,
        "max_connections": 9, "proxy_protocol": "off", "no_route": "reset", "rejected_connections": 7, "blocked_connections": 0,
        "failed_connections": 0, "bytes_in": 1234567, "bytes_out": 45678901234, "closed": {"no_route": 7}}
    assert status["workers"] == [{"slot": 0, "pid": 4242, "state": "running", "active_connections": 56, "total_connections": 1234,
                                  "max_connections": 32000, "descriptors": 150}]


def test_a_server_that_goes_down_is_shown_so(run, fake):
    fake.status["is_draining"] = True
    assert ", draining\n" in run("status").stdout
    assert json.loads(run("status", "--json").stdout)["is_draining"] is True


def test_text_of_a_server_cannot_move_the_cursor(run, fake):
    fake.status["version"] = "1\033[2J\n"
    assert "mc-proxy 1\\x1b[2J\\x0a," in run("status").stdout
    assert json.loads(run("status", "--json").stdout)["version"] == "1\033[2J\n"


class Watcher:
    """`status --watch` with its output collected."""

    def __init__(self, fake, *args, stdout=subprocess.PIPE, reader=None):
        self.process = subprocess.Popen([BINARY, "status", "--watch", *args, "--addr", fake.address], env=environment(),
                                        stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)
        self.output, self.errors = b"", b""
        self._readers = [threading.Thread(target=self._read, args=(fd, name), daemon=True) for fd, name in
                         ((reader or self.process.stdout.fileno(), "output"), (self.process.stderr.fileno(), "errors"))]
        for thread in self._readers:
            thread.start()

    def _read(self, fd, name):
        try:
            while data := os.read(fd, 65536):
                setattr(self, name, getattr(self, name) + data)
        except OSError:
            pass  # the terminal is gone

    def stop(self, number=signal.SIGINT):
        """The status; everything that it said has been read."""
        self.process.send_signal(number)
        status = self.process.wait(30)
        for thread in self._readers:
            thread.join(30)
        return status


def test_watch_prints_page_after_page_and_ends_well(fake):
    watcher = Watcher(fake)
    wait_until(lambda: watcher.output.count(b"LISTENER") >= 2, what="two pages")
    assert b"\033" not in watcher.output
    assert watcher.stop() == 0 and not watcher.errors


def test_watch_prints_one_document_a_line(fake):
    watcher = Watcher(fake, "--json")
    wait_until(lambda: watcher.output.count(b"\n") >= 3, what="three documents")
    assert all(json.loads(line)["version"] == "9.8.7" for line in watcher.output.split(b"\n")[:3])
    assert watcher.stop(signal.SIGTERM) == 0


def test_watch_refreshes_in_place_on_a_terminal(fake):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 5, 30, 0, 0))
    watcher = Watcher(fake, stdout=theirs, reader=ours)
    os.close(theirs)
    wait_until(lambda: watcher.output.count(b"\033[H") >= 2, what="two pages")
    pages = watcher.output.split(b"\033[H")[1:]
    assert len(pages[0].splitlines()) == 5 and b"WORKER" not in pages[0]  # no more than the terminal has
    assert all(len(line.replace(b"\033[K", b"")) <= 30 for line in pages[0].replace(b"\033[J", b"").splitlines())
    assert watcher.stop() == 0
    os.close(ours)


def test_watch_outlives_a_restart_of_the_server(fake, socket_path):
    watcher = Watcher(fake, "--json")
    wait_until(lambda: watcher.output.count(b"\n") >= 1, what="a document")
    fake.close()
    wait_until(lambda: b"is the server running?" in watcher.errors, what="a word about the server")
    again = FakeAdmin(path=socket_path)
    try:
        again.status["version"] = "10"
        wait_until(lambda: b'"version":"10"' in watcher.output, what="the new server's documents")
        assert watcher.stop() == 0
    finally:
        again.close()


# ---- routes, firewall, listeners


def test_routes_are_listed(run):
    assert run("routes", "list", ":443").stdout == """\
LISTENER  HOSTNAME            BACKEND            SEND PROXY PROTOCOL
:443      www.example.com     10.0.0.5:8443      no
:443      *.apps.example.com  [2001:db8::5]:443  yes
"""
    assert json.loads(run("routes", "list", "--json").stdout) == [
        {"listener_addr": ":443", "hostname": "www.example.com", "backend": "10.0.0.5:8443", "send_proxy_protocol": False},
        {"listener_addr": ":443", "hostname": "*.apps.example.com", "backend": "[2001:db8::5]:443",
         "send_proxy_protocol": True}]
    assert json.loads(run("routes", "list", "[::1]:8443", "--json").stdout) == []


def test_long_lists_come_in_pages(run, fake):
    fake.set_routes(":443", *(f"h{i}.example.com 10.0.0.5:8443" for i in range(25000)))
    listed = json.loads(run("routes", "list", ":443", "--json").stdout)
    assert [row["hostname"] for row in listed] == [f"h{i}.example.com" for i in range(25000)]
    assert [c.page_token for name, c in fake.calls if name == "ListRoutes"] == ["", "10000", "20000"]


def test_a_route_is_added_replaced_and_removed(run, fake):
    assert run("routes", "add", ":443", "new.example.com", "10.0.0.6:1").stdout == "added :443 new.example.com -> 10.0.0.6:1\n"
    done = run("routes", "add", "--send-proxy-protocol", ":443", "new.example.com", "10.0.0.7:1")
    assert done.stdout == "replaced :443 new.example.com -> 10.0.0.7:1 send_proxy_protocol\n"
    assert fake.route_texts()[2] == "new.example.com 10.0.0.7:1 send_proxy_protocol"
    assert json.loads(run("routes", "add", ":443", "j.example.com", "10.0.0.7:1", "--json").stdout) == {"created": True}
    assert run("routes", "remove", ":443", "new.example.com").stdout == "removed :443 new.example.com\n"
    assert "new.example.com" not in "".join(fake.route_texts())


def test_firewall_rules_are_added_listed_and_removed(run, fake):
    assert run("firewall", "add", "ip", "192.0.2.7").stdout == "added ip 192.0.2.7\n"
    run("firewall", "add", "cidr", "2001:db8::/32")
    run("firewall", "add", "country", "KP")
    assert [call[1].rule.type for call in fake.calls] == [1, 2, 3]
    assert run("firewall", "list").stdout == "TYPE     VALUE\nip       192.0.2.7\ncidr     2001:db8::/32\ncountry  KP\n"
    assert json.loads(run("firewall", "list", "--json").stdout)[1] == {"type": "cidr", "value": "2001:db8::/32"}
    assert run("firewall", "remove", "ip", "192.0.2.7").stdout == "removed ip 192.0.2.7\n"
    assert fake.rule_texts() == ["cidr 2001:db8::/32", "country KP"]


def test_listeners_are_listed_and_limited(run, fake):
    assert run("listeners", "set-max-connections", ":443", "1000").stdout == ":443 takes at most 1000 connections now\n"
    assert fake.max_connections == {":443": 1000}
    listed = json.loads(run("listeners", "list", "--json").stdout)
    assert [(one["addr"], one["max_connections"]) for one in listed] == [(":443", 1000), ("[::1]:8443", 0)]
    assert run("listeners", "list").stdout.splitlines()[1].split() == [":443", "https", "2", "56", "1234", "1000", "off"]
    assert run("listeners", "set-max-connections", ":443", "0").stdout == ":443 has no limit of connections now\n"


def test_snapshot_paths_are_the_callers(run, fake, tmp_path):
    assert run("snapshot", "--keep", "3").stdout == "/var/backups/new.db\n"
    assert run("snapshot", "-o", "copy.db", cwd=tmp_path).stdout == f"{tmp_path}/copy.db\n"
    assert json.loads(run("snapshot", "-o", "/elsewhere/copy.db", "--json").stdout) == {"path": "/elsewhere/copy.db"}
    asked = [(call.output_path, call.keep) for _, call in fake.calls]
    assert asked == [("", 3), (f"{tmp_path}/copy.db", 0), ("/elsewhere/copy.db", 0)]


# ---- how a call goes


def test_options_may_stand_anywhere(fake):
    for args in (["list", "--addr", fake.address, ":443"], ["--addr", fake.address, "list", ":443"],
                 ["list", ":443", f"--addr={fake.address}"], ["-a", fake.address, "--json", "list", ":443"]):
        assert run_command("routes", *args).returncode == 0


def test_the_deadline_goes_to_the_server(run, fake):
    run("status")
    run("status", "--timeout", "40s")
    run("routes", "list", ":443", "--timeout", "1h")
    assert 1 < fake.deadlines[0] <= 10 and 20 < fake.deadlines[1] <= 40 and 3000 < fake.deadlines[2] <= 3600


def test_a_late_answer_is_not_waited_for(run, fake):
    fake.delay = 3
    assert "status: " in run("status", "--timeout", "300ms", fails=1).stderr


@pytest.mark.parametrize("code,message,expected", [
    ("NOT_FOUND", "no listener :444", "no listener :444"),
    ("INVALID_ARGUMENT", "route.hostname: must not be empty", "hostname: must not be empty"),
    ("UNAVAILABLE", "database: disk full\nreally", "database: disk full?really"),
    ("INTERNAL", "", "ListRoutes: INTERNAL"),
    ("UNKNOWN", "caf\u00e9 100% \033[2J", "caf\u00e9 100% ?[2J"),
])
def test_errors_of_the_server_are_one_line(run, fake, code, message, expected):
    fake.failures["ListRoutes"] = (getattr(grpc.StatusCode, code), message)
    assert run("routes", "list", ":443", fails=1).stderr == f"mc-proxy routes: {expected}\n"


def test_a_very_long_error_is_cut(run, fake):
    fake.failures["GetStatus"] = (grpc.StatusCode.INTERNAL, "x" * 6000)
    assert len(run("status", fails=1).stderr) < 6000


# ---- no server, or another one


def test_no_socket(tmp_path):
    assert no_server("status", addr=f"unix:{tmp_path}/none") == (
        f"mc-proxy status: cannot reach the server at unix:{tmp_path}/none: there is no such socket; is the server running?\n")


def test_a_socket_that_nobody_serves(tmp_path):
    path = f"{tmp_path}/stale.sock"
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(path)
    assert "nobody listens there; is the server running?" in no_server("routes", "list", addr=path)


def test_no_permission(fake, socket_path, open_dir):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    os.chmod(socket_path, 0o600)
    program = shutil.copy(BINARY, open_dir)  # the build may be in a folder that others cannot enter
    os.chmod(program, 0o755)
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", program, "status", "--addr",
                           fake.address], env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert "permission denied; the socket belongs to root: run this as that user, or with sudo" in done.stderr


@pytest.mark.parametrize("addr", ["unix:" + "x" * 108, "unix:"])
def test_impossible_paths(addr):
    assert "the path of a Unix socket has 1 to 107 bytes" in no_server("status", addr=addr)


def read_request(connection):
    """Reads until the frame that ends the client's side of its first stream."""
    data = b""
    at = len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    while True:
        while len(data) >= at + 9 and len(data) >= at + 9 + int.from_bytes(data[at:at + 3], "big"):
            kind, flags = data[at + 3], data[at + 4]
            if kind == 0 and flags & 1:
                return
            at += 9 + int.from_bytes(data[at:at + 3], "big")
        more = connection.recv(65536)
        if not more:
            return
        data += more


def serve_bytes(path, answer):
    """A Unix socket where each request is answered with these bytes; then the connection is closed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                read_request(connection)
                connection.sendall(answer)

    threading.Thread(target=serve, daemon=True).start()
    return listener


SETTINGS = bytes.fromhex("000000040000000000")


@pytest.mark.parametrize("answer,expected", [
    (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", "does not speak HTTP/2"),
    (b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "does not speak HTTP/2"),
    (b"", "the server closed the connection"),
    (SETTINGS, "the server closed the connection"),
    (SETTINGS + bytes.fromhex("00000807000000000000000000" "00000000"), "the server is going down or being replaced"),
    (SETTINGS + bytes.fromhex("0000040300000000010000000b"), "the server broke the call off: ENHANCE_YOUR_CALM"),
    (SETTINGS + bytes.fromhex("00000403000000000100000007"), "the server takes no more calls on this connection"),
    (SETTINGS + bytes.fromhex("000001010500000001") + b"\x8d", "no gRPC server (HTTP status 404)"),
    (SETTINGS + bytes.fromhex("000001010500000001") + b"\x88", "no gRPC server (HTTP status 200)"),
    (SETTINGS + bytes.fromhex("000001010500000001") + b"\x00", "does not speak HTTP/2"),
], ids=["http1", "ssh", "nothing", "settings-only", "goaway", "reset", "refused", "404", "no-trailers", "bad-hpack"])
def test_something_else_answers(tmp_path, answer, expected):
    path = f"{tmp_path}/other.sock"
    with serve_bytes(path, answer):
        assert expected in no_server("status", addr=path)


def test_a_server_that_closes_with_a_request_unread(tmp_path):
    """The kernel says reset here and not end; for whoever asked it is the same."""
    path = f"{tmp_path}/other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def close_unread():
            connection, _ = listener.accept()
            with connection:
                connection.recv(1, socket.MSG_PEEK)

        thread = threading.Thread(target=close_unread)
        thread.start()
        assert "the server closed the connection" in no_server("status", addr=path)
        thread.join()


def answer_with(body, trailers=b"\x00\x0bgrpc-status\x010", flags="00"):
    """Frames of a 200 with this body of DATA and literal trailers."""
    def frame(kind, kind_flags, payload):
        return len(payload).to_bytes(3, "big") + bytes([kind]) + bytes.fromhex(kind_flags) + b"\0\0\0\1" + payload

    return SETTINGS + frame(1, "04", b"\x88") + frame(0, flags, body) + frame(1, "05", trailers)


@pytest.mark.parametrize("body,expected", [
    (b"", "the answer is no message of gRPC"),
    (b"\0\0\0\0", "the answer is no message of gRPC"),
    (b"\0\0\0\0\2x", "the answer is no message of gRPC"),
    (b"\0\0\0\0\0\0\0\0\0\0", "the answer is no message of gRPC"),
    (b"\1\0\0\0\0", "the answer is no message of gRPC"),
    (b"\0\0\0\0\2\xff\xff", "the answer cannot be read"),
], ids=["none", "cut-prefix", "cut-message", "two", "compressed", "no-protobuf"])
def test_bodies_that_are_no_answer(tmp_path, body, expected):
    path = f"{tmp_path}/other.sock"
    with serve_bytes(path, answer_with(body)):
        assert expected in no_server("status", addr=path)


@pytest.mark.parametrize("trailers,expected", [
    (b"\x00\x0bgrpc-status\x02xx", "GetStatus: UNKNOWN"),
    (b"\x00\x0bgrpc-status\x0299", "GetStatus: status 99"),
    (b"\x00\x0bgrpc-status\x015\x00\x0cgrpc-message\x0ano%20such%", "no such%"),
], ids=["no-number", "unknown-number", "message"])
def test_trailers(tmp_path, trailers, expected):
    path = f"{tmp_path}/other.sock"
    with serve_bytes(path, answer_with(b"", trailers)):
        assert no_server("status", addr=path) == f"mc-proxy status: {expected}\n"


def test_an_answer_of_nothing_but_defaults_is_an_answer(tmp_path):
    path = f"{tmp_path}/other.sock"
    with serve_bytes(path, answer_with(b"\0\0\0\0\0")):
        done = run_command("status", "--addr", path)
        assert done.returncode == 0 and "connections: 0 active" in done.stdout, done


# ---- usage and configurations


@pytest.mark.parametrize("args,expected", [
    (["status"], "which server? Give --config FILE or --addr ADDR"),
    (["status", "--addr", "nonsense"], "--addr nonsense: "),
    (["status", "--addr", "host:0"], "--addr host:0: port"),
    (["status", "--addr", "unix:/x", "--timeout", "5"], "--timeout 5: needs a unit"),
    (["status", "--addr", "unix:/x", "--timeout", "0s"], "--timeout 0s"),
    (["status", "--addr", "unix:/x", "--key", "k"], "--key needs --cert"),
    (["status", "--addr", "unix:/x", "extra"], "unexpected argument extra"),
    (["routes"], "an action is missing: expected list, add, remove, import or export"),
    (["routes", "show"], "there is no action show: expected list"),
    (["routes", "add", ":443", "a.b"], "an argument is missing: expected add ADDR NAME BACKEND"),
    (["routes", "list", "--dry-run"], "list does not take --dry-run"),
    (["routes", "export", "--format", "xml", "--addr", "unix:/x"], "--format xml: expected text, csv or json"),
    (["firewall", "add", "address", "192.0.2.7"], "there is no type address: expected ip, cidr or country"),
    (["listeners", "set-max-connections", ":443", "-1", "--addr", "unix:/x"], "there is no option -1"),
    (["listeners", "set-max-connections", ":443", "many", "--addr", "unix:/x"], "many is no number of connections"),
    (["listeners", "set-max-connections", ":443", "4294967296", "--addr", "unix:/x"], "is no number of connections"),
    (["snapshot", "--addr", "unix:/x", "--keep", "0"], "--keep 0: expected 1 to"),
    (["snapshot", "--addr", "unix:/x", "--keep", "x"], "--keep x: expected 1 to"),
    (["snapshot", "--addr", "unix:/x", "-o", ""], "--output needs a file's name"),
])
def test_wrong_usage(args, expected):
    done = expect_command(*args, fails=2)
    assert expected in done.stderr and f"see mc-proxy {args[0]} --help" in done.stderr


def test_the_configuration_says_where_the_server_is(fake, socket_path, tmp_path):
    config = tmp_path / "mc-proxy.ini"
    config.write_text("[grpc]\naddr = unix:" + socket_path + "\n")
    assert run_command("status", "-c", config).returncode == 0
    assert run_command("routes", "-c", config, "list").returncode == 0
    config.write_text(f"[grpc]\naddr = unix:{tmp_path}/none.sock\naddr = unix:{socket_path}\n")
    assert run_command("status", "-c", config).returncode == 0  # the first is not there
    config.write_text("[grpc]\naddr = unix:none\n")
    done = run_command("status", "-c", config, env={"MCPROXY_GRPC_ADDR": "x"})
    assert done.returncode in (1, 78) and done.stderr


def test_configurations_that_do_not_help(tmp_path):
    done = run_command("status", "-c", tmp_path / "none.ini")
    assert done.returncode == 78 and "none.ini: cannot be read" in done.stderr
    config = tmp_path / "mc-proxy.ini"
    config.write_text("[grpc]\naddr = 1\n")
    done = run_command("status", "-c", config)
    assert done.returncode == 78 and f"{config}:2: [grpc] addr" in done.stderr
    config.write_text("[database]\npath = x.db\n")
    done = run_command("status", "-c", config)
    assert done.returncode == 1 and "has no [grpc] addr: that server has no admin API" in done.stderr
