"""`tail` and `connections` against a real server: what they print, how they end."""

import json
import os
import re
import select
import signal
import subprocess

import pytest

from lib import hello
from lib.backends import EchoBackend
from lib.clients import connect, enters, expect_refused_entry, read_exactly
from lib.config import Listener
from lib.daemon import BINARY, environment, run_command
from lib.waiting import wait_until

NAME = "www.example.com"
HELLO = hello.client_hello(NAME.encode())


@pytest.fixture
def server(managed, backend, tmp_path):
    echo = backend(EchoBackend)
    daemon, api = managed([Listener(routes=[f"{NAME} {echo.address}"])])
    daemon.api, daemon.echo, daemon.admin_address = api, echo, f"unix:{tmp_path}/admin.sock"
    return daemon


PROBE = b"probe.example.net"


class Tail:
    """A `tail`. It says nothing before the first connection ends: watching() makes some until it has seen one, and those do not count."""

    def __init__(self, server, *args, stdout=subprocess.PIPE):
        self._server = server
        self.process = subprocess.Popen([BINARY, "tail", "--addr", server.admin_address, *args], env=environment(), stdout=stdout,
                                        stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)

    def watching(self):
        probes = 0

        def is_heard():
            nonlocal probes
            expect_refused_entry(self._server.port, hello.client_hello(PROBE))
            probes += 1
            return select.select([self.process.stdout], [], [], 0.2)[0]

        wait_until(is_heard, 30, "a line of tail")
        self._server.wait_for_access(count=probes)  # all of them are in the log; what is still to be printed of them comes before the next
        return self

    def line(self):
        while PROBE.decode() in (line := self.process.stdout.readline()):
            pass
        return line

    def end(self, number=None):
        if number:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=20)
        out = out and "".join(line for line in out.splitlines(True) if PROBE.decode() not in line)
        return self.process.returncode, out, err


@pytest.fixture
def tail(server):
    made = []

    def start(*args, **kwargs):
        made.append(Tail(server, *args, **kwargs))
        return made[-1]

    yield start
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()


def opened(port):
    s = connect(port)
    s.sendall(HELLO)
    assert read_exactly(s, len(HELLO)) == HELLO
    return s


def ask(server, *args, status=0):
    done = run_command("connections", *args, "--addr", server.admin_address)
    assert done.returncode == status, done
    return done.stdout if status == 0 else done.stderr


# ---- tail


def test_a_line_a_connection_until_ctrl_c(server, tail):
    one = tail().watching()
    assert enters(server.port, HELLO)
    line = one.line()
    assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d\d\dZ \w+ 127\.0\.0\.1:\d+ {NAME} -> {server.echo.address} in=\d+ out=\d+ ms=\d+.*\n", line), line
    assert len(line) <= 120
    expect_refused_entry(server.port, hello.client_hello(b"nobody.example.com"))
    assert " no_route 127.0.0.1:" in (line := one.line()) and " nobody.example.com -> - in=" in line
    assert one.end(signal.SIGINT) == (0, "", "")


def test_filters_lines_and_json(server, tail):
    one = tail("--sni", "*.example.com", "--client", "127.0.0.0/8", "--reason", "no_route", "--listener", server.listeners[0].addr,
               "--json", "-n", "2")
    rounds = 0
    while one.process.poll() is None:  # it may begin to watch in the middle of a round
        rounds += 1
        assert rounds < 100 and enters(server.port, HELLO)
        for name in (b"a.example.com", b"example.net", b"b.example.com"):
            expect_refused_entry(server.port, hello.client_hello(name))
        server.wait_for_access(count=3 * rounds, reason="no_route")
    status, out, err = one.end()
    assert (status, err) == (0, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 2 and {r["sni"] for r in rows} <= {"a.example.com", "b.example.com"}
    assert {r["reason"] for r in rows} == {"no_route"} and "backend" not in rows[0] and rows[0]["bytes_out"] == 0


def test_the_end_of_the_server_is_a_failure(server, tail):
    one = tail().watching()
    server.stop()
    status, out, err = one.end()
    assert (status, out, err) == (1, "", "mc-proxy tail: the server is stopping\n")


def test_nobody_reads_any_more(server, tail):
    reading, writing = os.pipe()
    one = tail(stdout=writing)
    os.close(writing)
    os.close(reading)
    wait_until(lambda: one.process.poll() is not None or not enters(server.port, HELLO), 30, "it to notice", interval=0.1)
    assert one.end() == (0, None, "")


@pytest.mark.parametrize("args,status,said", [
    (["--reason", "bored"], 1, "mc-proxy tail: reason: "), (["--sni", "a..b"], 1, "mc-proxy tail: sni_pattern: "),
    (["--listener", ":1"], 1, "mc-proxy tail: listener_addr: "), (["-n", "many"], 2, "mc-proxy tail: --lines many: "),
    (["--timeout", "300ms"], 1, "mc-proxy tail: "),
])
def test_what_ends_it_at_once(server, args, status, said):
    done = run_command("tail", "--addr", server.admin_address, *args)
    assert done.returncode == status and done.stderr.startswith(said) and done.stderr.count("\n") == 1, done


# ---- connections


def test_list(server):
    assert ask(server) == ask(server, "list") and ask(server).split() == "ID STATE AGE IDLE IN OUT CLIENT NAME -> BACKEND".split()
    assert json.loads(ask(server, "--json")) == []
    with opened(server.port) as a, opened(server.port):
        rows = ask(server).splitlines()
        assert len(rows) == 3 and all(len(row) <= 120 for row in rows)
        assert re.fullmatch(rf" *\d+  relay +\d+ms +\d+ms +{len(HELLO)} +{len(HELLO)}  127\.0\.0\.1:\d+ +{NAME} -> {server.echo.address}",
                            rows[1]), rows
        found = json.loads(ask(server, "list", "--json", "--route", NAME, "--listener", server.listeners[0].addr))
        assert {f["client"] for f in found} >= {"{}:{}".format(*a.getsockname())} and len(found) == 2
        assert len(json.loads(ask(server, "--json", "--limit", "1"))) == 1
        assert json.loads(ask(server, "--json", "--client", "192.0.2.0/24")) == []


def test_close(server):
    with opened(server.port) as a, opened(server.port) as b, opened(server.port) as c:
        number = next(f["conn"] for f in json.loads(ask(server, "--json")) if f["client"] == "{}:{}".format(*a.getsockname()))
        assert ask(server, "close", "--id", str(number), "--dry-run") == "nothing was closed; it would be: 1 connection\n"
        assert ask(server, "close", "--id", str(number)) == "closed 1 connection\n"
        with pytest.raises(ConnectionResetError):
            a.recv(1)
        assert ask(server, "close", "--id", str(number), status=1) == "mc-proxy connections: conn: no open connection has this number\n"
        assert json.loads(ask(server, "close", "--client", "127.0.0.1", "--json", "--dry-run")) == {"matched": 2, "closed": 0}
        assert ask(server, "close", "--route", "other.example.com") == "closed 0 connections\n"
        assert ask(server, "close", "--route", NAME, "--listener", server.listeners[0].addr) == "closed 2 connections\n"
        for s in (b, c):
            with pytest.raises(ConnectionResetError):
                s.recv(1)


@pytest.mark.parametrize("args", [[], ["--id", "0"], ["--id", "x"], ["--client", ""], ["--id", "1", "--client", "::1"], ["--route", ""],
                                  ["--id", "1", "--limit", "3"], ["--listener", ":443"]])
def test_what_close_does_not_take(args):
    done = run_command("connections", "close", "--addr", "unix:/nonexistent", *args)
    assert done.returncode == 2 and done.stderr.startswith("mc-proxy connections: ") and done.stderr.count("\n") == 1, done


def test_a_long_list_comes_whole(server):
    count = 1500
    held = [connect(server.port) for _ in range(count)]
    for s in held:
        s.sendall(HELLO[:9])
    wait_until(lambda: len(ask(server, "list").splitlines()) == count + 1, timeout=30, what="all of them")
    for s in held:
        s.close()
