"""Counts that do not depend on the machine: system calls (strace), instructions (callgrind), private memory (/proc)."""

import collections
import re
import signal
import subprocess
import time

from lib.machine import require_ptrace
from lib.waiting import wait_until

_CALL = re.compile(r"^(?:\[pid +\d+\] )?([a-z_0-9]+)\(")
_COLLECTED = re.compile(r"^==\d+== Collected *: *(\d+)", re.MULTILINE)


class Strace:
    """with Strace(pid, file) as calls: ... - afterwards calls.names has the system calls of that process, in order."""

    def __init__(self, pid, path):
        self.names = []
        self._pid = pid
        self._path = str(path)
        self._process = None

    def __enter__(self):
        require_ptrace()
        self._process = subprocess.Popen(["strace", "-e", "signal=none", "-o", self._path, "-p", str(self._pid)],
                                         stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        said = self._process.stderr.readline()
        assert "attached" in said, f"strace cannot look at process {self._pid}: {said}"
        return self

    def __exit__(self, *_exception):
        self._process.send_signal(signal.SIGINT)
        self._process.wait(60)
        self._process.stderr.close()
        with open(self._path, encoding="ascii", errors="replace") as f:
            self.names = [match.group(1) for match in map(_CALL.match, f) if match]

    def table(self, connections):
        """The calls by name, per connection."""
        counts = collections.Counter(self.names)
        return "\n".join(f"{name:<16} {count:>7} {count / connections:8.3f}" for name, count in counts.most_common())

    def count(self, *but):
        return sum(name not in but for name in self.names)


def private_bytes(pid):
    """Memory that is this process's alone: what it wrote to, and shared mappings nobody else has touched."""
    require_ptrace()
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
        return sum(int(line.split()[1]) * 1024 for line in f if line.startswith(("Private_Dirty", "Private_Clean")))


def settled_private_bytes(pid):
    """private_bytes() once it no longer moves."""
    seen = [private_bytes(pid)]

    def is_settled():
        time.sleep(0.3)
        seen.append(private_bytes(pid))
        return seen[-1] == seen[-2]

    wait_until(is_settled, 60, "the worker's memory to settle")
    return seen[-1]


def callgrind_total(output):
    """Instructions, from what callgrind says at the end."""
    found = _COLLECTED.findall(output)
    assert len(found) == 1, f"callgrind has not said how many instructions it counted:\n{output}"
    return int(found[0])


def callgrind(*command):
    """Instructions of a program from start to end."""
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return callgrind_total(done.stderr)
