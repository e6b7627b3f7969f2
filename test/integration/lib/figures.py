"""Rows of the table in docs/reliability.md, as tests of exhaustion measure them."""

import json
import os
import time

ROWS = os.environ.get("EXHAUSTION_ROWS")  # a file that rows are added to; see docs/reliability.md
SIZE = int(os.environ.get("EXHAUSTION", "0"))  # how many attackers; 0: a number that suits every day
COLUMNS = ("what is short", "refused", "goes on", "CPU of the worker meanwhile", "time to recover")


def size(ordinary):
    return SIZE or ordinary


def cpu_seconds(pid):
    """Of all time, to the nanosecond that the scheduler counts."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as f:
        return int(f.read().split()[0]) / 1e9


class Cpu:
    """`with Cpu(pid) as cpu: ...; cpu.percent` of one processor."""

    def __init__(self, pid):
        self._pid = pid

    def __enter__(self):
        self._wall, self._cpu = time.monotonic(), cpu_seconds(self._pid)
        return self

    def __exit__(self, *_):
        self.seconds = cpu_seconds(self._pid) - self._cpu
        self.percent = 100 * self.seconds / (time.monotonic() - self._wall)


def row(*cells):
    assert len(cells) == len(COLUMNS)
    print("| " + " | ".join(cells) + " |")
    if ROWS:
        with open(ROWS, "a", encoding="utf-8") as f:
            f.write(json.dumps(cells) + "\n")
