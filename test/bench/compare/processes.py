"""What a tree of processes has used, as the kernel counts it."""

import os
import pathlib


def tree(pid):
    """The process and all its descendants."""
    found, waiting = [], [pid]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            waiting += [int(p) for p in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        except OSError:
            pass
    return found


def cpu_ns(pids):
    """Time on a processor, in the kernel too, of all threads."""
    total = 0
    for pid in pids:
        for task in os.scandir(f"/proc/{pid}/task"):
            with open(f"{task.path}/schedstat", encoding="ascii") as f:
                total += int(f.read().split()[0])
    return total


def _memory(pids, keys):
    total = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(keys):
                total += int(line.split()[1]) * 1024
    return total


def private_bytes(pids):
    """Memory that no other process has."""
    return _memory(pids, ("Private_Clean:", "Private_Dirty:"))


def proportional_bytes(pids):
    """All memory, what several processes share counted once."""
    return _memory(pids, ("Pss:",))
