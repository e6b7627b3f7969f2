"""Under systemd, log records are entries of the journal, with their fields; and the journal never stalls anybody."""

import json
import re

import pytest

from lib import clients, hello, logs
from lib.backends import EchoBackend
from lib.config import Listener
from lib.daemon import BINARY
from lib.journal import FakeJournal
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")


@pytest.fixture
def journal(open_dir):
    one = FakeJournal(open_dir)
    yield one
    one.close()
    assert not [line for line in one.text if "Sanitizer" in line or "runtime error" in line], one.text


@pytest.fixture
def journaled(new_daemon, journal, backend):
    """journaled(**sections): a running daemon that is connected to the journal, with an echo behind every name."""

    def start(**sections):
        one = Listener(routes=[f"* {backend(EchoBackend).address}"])
        return new_daemon([one], binary=journal.program(BINARY), **sections).start()

    return start


def one_connection(daemon):
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        clients.read_exactly(s, len(HELLO))


def test_a_record_is_an_entry_with_its_fields(journaled, journal):
    daemon = journaled()
    one_connection(daemon)
    wait_until(lambda: journal.find(MCPROXY_SNI="www.example.com"), what="the access entry")
    (entry,) = journal.find(MCPROXY_SNI="www.example.com")
    line = logs.parse_logfmt(entry["MESSAGE"])
    for key, value in line.items():
        if key not in ("time", "level", "msg"):
            assert entry[f"MCPROXY_{key.upper()}"] == value, key
    assert entry["MCPROXY_MESSAGE"] == line["msg"] and entry["SYSLOG_IDENTIFIER"] == "mc-proxy" and entry["PRIORITY"] == "6"
    assert entry["MCPROXY_REASON"] and entry["MCPROXY_WORKER"] == "0" and entry["MCPROXY_BYTES_IN"] == str(len(HELLO))
    assert all(re.fullmatch(r"[A-Z][A-Z_]*", key) for one in journal.entries for key in one)
    daemon.stop()
    assert not journal.text, "the same again as text"


def test_priorities_and_json(journaled, journal):
    daemon = journaled(log={"format": "json"})
    daemon.write_config("[nonsense]\n")
    daemon.signal(1)
    wait_until(lambda: journal.find(PRIORITY="3"), what="an error")
    assert all(json.loads(entry["MESSAGE"])["msg"] == entry["MCPROXY_MESSAGE"] for entry in journal.entries)


def test_without_the_socket_lines_go_to_standard_error(journaled, journal):
    daemon = journaled()
    journal.vanish()
    one_connection(daemon)
    wait_until(lambda: any("sni=www.example.com" in line for line in journal.text), what="the access line as text")
    assert not journal.find(MCPROXY_SNI="www.example.com")
    journal.appear()
    one_connection(daemon)
    wait_until(lambda: journal.find(MCPROXY_SNI="www.example.com"), what="the access entry")


def test_a_variable_that_means_another_descriptor_is_not_believed(new_daemon, backend):
    daemon = new_daemon([Listener(routes=[f"* {backend(EchoBackend).address}"])], env={"JOURNAL_STREAM": "1:2"}).start()
    one_connection(daemon)
    daemon.wait_for_access()


def test_a_journal_that_is_stuck_costs_lines_and_no_traffic(journaled, journal):
    """Nobody reads, neither entries nor text: every connection is served, and what is missing is counted to the last line."""
    daemon = journaled()
    wait_until(lambda: journal.find(MCPROXY_MESSAGE="server is ready"), what="the start")
    journal.goes_on.clear()
    for _ in range(3000):
        one_connection(daemon)
    journal.goes_on.set()

    def accounted():
        texts = [logs.parse_logfmt(line) for line in list(journal.text)]
        dropped = sum(int(line["dropped"]) for line in texts if "dropped" in line)
        dropped += sum(int(entry["MCPROXY_DROPPED"]) for entry in journal.find() if "MCPROXY_DROPPED" in entry)
        seen = len(journal.find(MCPROXY_SNI="www.example.com")) + sum(line.get("sni") == "www.example.com" for line in texts)
        return seen + dropped >= 3000 and (seen, dropped)

    wait_until(accounted, timeout=20, what="an account of every connection")
    seen, dropped = accounted()
    assert seen + dropped == 3000, (seen, dropped)
