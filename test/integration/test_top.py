"""`mc-proxy top`: what it shows is what happens, on a terminal and elsewhere, and it leaves the terminal as it was."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import threading

import pytest

from lib import clients, hello
from lib.backends import EchoBackend
from lib.config import Listener
from lib.daemon import BINARY, environment, run_command
from lib.tries import in_one_of
from lib.waiting import wait_until


@pytest.fixture
def daemon(managed, backend):
    echo = backend(EchoBackend)
    one, _ = managed([Listener(routes=[f"www.example.com {echo.address}", f"*.apps.example.com {echo.address}"])])
    return one


@contextlib.contextmanager
def again_and_again(visit):
    """Every few milliseconds, beside what happens within; what it raises is raised at the end."""
    is_over, errors = threading.Event(), []

    def run():
        try:
            while not is_over.wait(0.02):
                visit()
        except Exception as error:  # told below
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
    assert not errors, errors


@pytest.fixture
def load(daemon):
    """Connections all the time: three of the route, one of the wildcard, one of nobody."""
    counts = {}

    def visit():
        for name in [b"www.example.com"] * 3 + [b"a.apps.example.com", b"nobody.example.com"]:
            clients.enters(daemon.port, hello.client_hello(name))
            counts[name] = counts.get(name, 0) + 1

    with again_and_again(visit):
        yield counts


def amount(text):
    number, unit = re.fullmatch(r"([\d.]+)([kMGTPE]?)", text).groups()
    return float(number) * 1000 ** " kMGTPE".index(unit or " ")


def top(daemon, *args, **kwargs):
    done = run_command("top", "-c", daemon.config_path, *args, **kwargs)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout


def test_pages_of_plain_text(daemon, load):
    wait_until(lambda: load.get(b"nobody.example.com", 0) > 2, what="some load")
    in_one_of(5, lambda: look_at_three_pages(daemon))


def look_at_three_pages(daemon):
    """Of a load that goes on all the time, which it may not on a busy machine."""
    text = top(daemon, "--pages", "3", "--interval", "0.5")
    assert "\033" not in text and all(len(line) <= 80 for line in text.splitlines())
    pages = text.split("\n\nmc-proxy ")
    assert len(pages) == 3
    for page in pages:
        rows = {line.split()[0]: line.split()[1:] for line in page.splitlines() if line}
        assert {"www.example.com", "*.apps.example.com"} <= set(rows), page
        assert list(rows).index("www.example.com") < list(rows).index("*.apps.example.com")
        routed, wildcard = amount(rows["www.example.com"][0]), amount(rows["*.apps.example.com"][0])
        assert 1.5 * wildcard <= routed <= 6 * wildcard, page  # three to one, with one more or less at either end
        assert {"finished", "no_route"} <= set(rows)
        new = amount(re.search(r"   new ([\d.kM]+)/s", page).group(1))
        assert new >= routed + wildcard - 2 and amount(re.search(r"rejected ([\d.kM]+)/s", page).group(1)) > 0
        assert amount(rows["www.example.com"][2]) > 100


@pytest.mark.parametrize("by,expected", [("route", "www.example.com"), ("reason", "finished"), ("listener", "127.0.0.1:")])
def test_one_table(daemon, load, by, expected):
    wait_until(lambda: load.get(b"nobody.example.com", 0) > 2, what="some load")

    def attempt():
        lines = top(daemon, "--by", by, "-n", "1", "--pages", "1", "-i", "0.3").splitlines()
        assert len(lines) == 5 and lines[3].startswith(by.upper()) and lines[4].startswith(expected)

    in_one_of(5, attempt)


def test_by_client(daemon, load):
    """Who connects, told by the stream of ended connections; nothing is left running."""
    def knock():
        clients.expect_reset(clients.connect(daemon.port, source="127.0.0.7"), hello.client_hello(b"nobody.example.com"))

    with again_and_again(knock):
        in_one_of(5, lambda: look_at_clients(daemon))


def look_at_clients(daemon):
    text = top(daemon, "--by", "client", "--pages", "4", "-i", "0.5")
    rows = {line.split()[0]: line.split()[1:] for line in text.split("\n\nmc-proxy ")[-1].splitlines() if line}
    assert rows["CLIENT"] == ["ENDED/s", "FAILED/s", "IN/s", "OUT/s", "TOTAL"]
    assert {"127.0.0.1", "127.0.0.7"} <= set(rows), text
    assert amount(rows["127.0.0.7"][1]) > 0 and rows["127.0.0.7"][3] == "0"
    served = rows["127.0.0.1"]
    assert amount(served[0]) > 2 * amount(served[1]) > 0 and amount(served[2]) > 100, rows


@pytest.mark.parametrize("args", [["--by", "colour"], ["--interval", "0"], ["--interval", "1e3"], ["--interval", "nan"],
                                  ["--interval", "9999"], ["-n", "0"], ["-n", "x"], ["--pages", "0"], ["more"]])
def test_what_it_refuses(daemon, args):
    done = run_command("top", "-c", daemon.config_path, *args)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and not done.stdout


class Terminal:
    """A terminal with `top` in it, and what its user sees."""

    def __init__(self, daemon, *args, rows=24, columns=80):
        self.ours, theirs = pty.openpty()
        self.before = termios.tcgetattr(theirs)
        self.resize(rows, columns)
        self.process = subprocess.Popen([BINARY, "top", "-c", daemon.config_path, *args], stdin=theirs, stdout=theirs,
                                        stderr=theirs, env=environment(), preexec_fn=self._take_terminal)
        self.theirs = theirs
        self.seen = ""

    @staticmethod
    def _take_terminal():
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def resize(self, rows, columns):
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        while select.select([self.ours], [], [], 0.05)[0]:
            self.seen += os.read(self.ours, 65536).decode()
        return self.seen

    def page(self):
        """The lines of the last whole page."""
        pages = self.read().split("\033[H")
        return [line.replace("\033[K", "").rstrip("\r") for line in pages[-2].split("\n")] if len(pages) > 2 else []

    def end(self):
        wait_until(lambda: self.read() is not None and self.process.poll() is not None, 20, "its end")  # a full terminal would hold it up
        code = self.process.returncode
        after = termios.tcgetattr(self.theirs)
        os.close(self.ours)
        os.close(self.theirs)
        assert after == self.before, "the terminal is not as it was"
        return code


@pytest.mark.parametrize("how", ["q", "interrupt", "signal"])
def test_on_a_terminal_it_ends_when_asked(daemon, how):
    terminal = Terminal(daemon, "-i", "30")
    wait_until(lambda: "mc-proxy" in terminal.read(), what="the first page")
    if how == "signal":
        terminal.process.send_signal(signal.SIGTERM)
    else:
        os.write(terminal.ours, b"q" if how == "q" else b"\x03")
    assert terminal.end() == 0


def test_a_terminal_that_changes_its_size(daemon, load):
    terminal = Terminal(daemon, "-i", "0.2", rows=30, columns=120)
    wait_until(lambda: any(len(line) > 100 for line in terminal.page()), what="a wide page")
    terminal.resize(8, 50)
    wait_until(lambda: 0 < len(terminal.page()) <= 9 and max(map(len, terminal.page())) <= 50, what="a small page")
    os.write(terminal.ours, b"q")
    assert terminal.end() == 0


def test_a_server_that_is_away_comes_back(daemon, tmp_path):
    process = subprocess.Popen([BINARY, "top", "-c", daemon.config_path, "-i", "0.2"], stdout=subprocess.PIPE, text=True,
                               stdin=subprocess.DEVNULL, env=environment())
    with process:
        lines = iter(process.stdout.readline, "")
        assert next(lines).startswith("mc-proxy 0.")
        daemon.stop()
        assert any("cannot reach the server" in line for line in lines)
        daemon.start()
        assert any(line.startswith("mc-proxy 0.") for line in lines)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 0
