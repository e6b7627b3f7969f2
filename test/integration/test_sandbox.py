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


def text_of(path):
    with open(os.path.join(os.path.dirname(__file__), "../..", path), encoding="utf-8") as f:
        return f.read()


def plain_and_narrow_calls():
    """What worker/sandbox.c lets pass whatever its arguments, and what it lets pass in certain forms only."""
    plain, _, narrow = text_of("worker/sandbox.c").partition("plain_calls[] = {")[2].partition("};")
    return [set(re.findall(r"SCMP_SYS\((\w+)\)", part)) for part in (plain, narrow)]


def test_documents_have_the_numbers_of_calls_that_pass():
    plain, narrow = plain_and_narrow_calls()
    assert f"| system calls | {len(plain)} freely, {len(narrow)} in certain forms only;" in text_of("docs/security.md")
    assert f"lets {len(plain)} system calls pass and {len(narrow)} more in certain forms only;" in text_of("SECURITY.md").replace("\n", " ")


def test_every_allowed_call_is_one_that_was_thought_about():
    """What is let pass whatever its arguments is a list to be looked at when it grows."""
    allowed, narrow = plain_and_narrow_calls()
    assert len(allowed) == 34, sorted(allowed)
    assert narrow == {"socket", "setsockopt", "mmap", "mprotect", "ioctl", "fcntl", "tgkill"}
    assert not allowed & {"open", "openat", "execve", "clone", "fork", "socket", "bind", "listen", "ioctl", "fcntl", "mmap", "mprotect",
                          "prctl", "kill", "pipe2", "splice", "tgkill", "setsockopt", "getsockopt"}
