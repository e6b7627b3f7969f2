"""What a test may do on this machine. A container often lets even root do less; such tests say that they were skipped."""

import functools
import subprocess

import pytest

_CAP_SYS_PTRACE = 19


def may_ptrace():
    """May processes of other users (workers are) be looked into: their descriptors, memory and system calls?"""
    with open("/proc/self/status", encoding="ascii") as f:
        effective = next(int(line.split()[1], 16) for line in f if line.startswith("CapEff:"))
    return bool(effective & 1 << _CAP_SYS_PTRACE)


def require_ptrace():
    """Skips the test if they may not."""
    if not may_ptrace():
        pytest.skip("no right to look into processes of other users (CAP_SYS_PTRACE)")


@functools.cache
def may_unshare():
    """May mount, network and process namespaces be made? Not in most containers, and not in a changed root."""
    try:
        return subprocess.run(["unshare", "-m", "-n", "-p", "-f", "true"], stdin=subprocess.DEVNULL, capture_output=True,
                              check=False).returncode == 0
    except FileNotFoundError:
        return False


in_namespaces = pytest.mark.skipif(not may_unshare(), reason="namespaces cannot be made here")
