"""
Each system call that a broken worker might try, made once from within the sandbox: it has to be the end of the process. The table
is in test/tools/sandbox_probe.c, which has the worker's own sandbox.
"""

import os
import re
import signal
import subprocess

import pytest

PROBE = os.environ.get("SANDBOX_PROBE_BIN", os.path.join(os.path.dirname(__file__), "../../build-dev/test/tools/sandbox_probe"))


def probes():
    done = subprocess.run([PROBE, "--list"], capture_output=True, text=True, check=True)
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.parametrize("name, expected", probes())
def test_call(name, expected):
    done = subprocess.run([PROBE, name], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == {"killed": -signal.SIGSYS, "done": 0}[expected], done.stderr


def test_the_table_holds_what_was_promised():
    killed = {name for name, expected in probes() if expected == "killed"}
    assert {"open", "execve", "execveat", "fork", "socket_netlink", "socket_packet", "socket_raw", "socket_udp", "ptrace_parent", "bind",
            "listen", "memfd_create", "mmap_exec", "mprotect_exec", "kill_parent", "prctl", "keyctl", "bpf", "io_uring_setup",
            "setuid", "capset"} <= killed
    assert len(killed) > 80


def test_every_allowed_call_is_one_that_was_thought_about():
    """What is let pass whatever its arguments is a list to be looked at when it grows."""
    path = os.path.join(os.path.dirname(__file__), "../../worker/sandbox.c")
    with open(path, encoding="utf-8") as f:
        plain = f.read().partition("plain_calls[] = {")[2].partition("};")[0]
    allowed = set(re.findall(r"SCMP_SYS\((\w+)\)", plain))
    assert len(allowed) == 34, sorted(allowed)
    assert not allowed & {"open", "openat", "execve", "clone", "fork", "socket", "bind", "listen", "ioctl", "fcntl", "mmap", "mprotect",
                          "prctl", "kill", "pipe2", "splice", "tgkill", "setsockopt", "getsockopt"}
