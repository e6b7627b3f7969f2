"""A snapshot that is taken while several clients change routes is whole, and shows one moment of the database."""

import sqlite3
import threading
import time

from lib.admin import Admin, put
from lib.config import Listener
from lib.waiting import wait_until

WRITERS = 4
SNAPSHOTS = 8


class Writer(threading.Thread):
    """Adds routes one after another, each in a call with its twin; `calls` has (names, when asked, when answered or None)."""

    def __init__(self, target, addr, number):
        super().__init__(daemon=True)
        self.calls = []
        self.is_over = threading.Event()
        self._api = Admin(target)
        self._addr = addr
        self._number = number

    def run(self):
        turn = 0
        while not self.is_over.is_set():
            names = [f"w{self._number}-{turn}-{twin}.example.com" for twin in "ab"]
            call = [names, time.monotonic(), float("inf")]
            self.calls.append(call)
            self._api.apply({"changes": [put(self._addr, name, "10.0.0.1:1") for name in names]})
            call[2] = time.monotonic()
            turn += 1
        self._api.close()


def names_in(path):
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in db.execute("SELECT hostname FROM routes")}


def expect_one_moment(names, calls, asked, answered):
    """calls: those of all writers. asked, answered: when the snapshot was."""
    seen = [set(wanted) & names for wanted, _, _ in calls]
    assert all(len(found) in (0, 2) for found in seen), "half of a transaction"
    present = [call for call, found in zip(calls, seen) if found]
    absent = [call for call, found in zip(calls, seen) if not found]
    assert names == {name for wanted, _, _ in present for name in wanted}
    # What was acknowledged before the snapshot was asked for is in it, what was asked for after its answer is not; and nothing
    # that is in it began after something that is not had been acknowledged.
    assert not [call for call in absent if call[2] < asked]
    assert not [call for call in present if call[1] > answered]
    assert max(call[1] for call in present) <= min(call[2] for call in absent), "two moments"


def test_a_snapshot_during_writes_equals_one_moment(managed, tmp_path):
    listener = Listener()
    _, api = managed([listener], workers=1)
    writers = [Writer(f"unix:{tmp_path}/admin.sock", listener.addr, i) for i in range(WRITERS)]
    for writer in writers:
        writer.start()
    taken = []
    for i in range(SNAPSHOTS):
        wait_until(lambda: all(len(writer.calls) > 10 * (i + 1) for writer in writers), 30, "changes")
        asked = time.monotonic()
        path = api.Snapshot().path
        taken.append((path, asked, time.monotonic()))
    goal = [len(writer.calls) + 2 for writer in writers]
    wait_until(lambda: all(len(writer.calls) >= n for writer, n in zip(writers, goal)), 30, "changes after the last snapshot")
    for writer in writers:
        writer.is_over.set()
        writer.join(30)
    calls = [call for writer in writers for call in writer.calls]
    contents = [names_in(path) for path, _, _ in taken]
    for names, (_, asked, answered) in zip(contents, taken):
        assert names
        expect_one_moment(names, calls, asked, answered)
    assert all(earlier < later for earlier, later in zip(contents, contents[1:]))
    everything = {name for wanted, _, _ in calls for name in wanted}
    assert {name for name, _, _ in api.routes(listener.addr)} == everything and contents[-1] < everything
