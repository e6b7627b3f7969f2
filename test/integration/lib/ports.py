"""Free TCP ports, from outside of the ephemeral range so that no outgoing connection takes one meanwhile."""

import errno
import fcntl
import functools
import os
import socket
import tempfile

import pytest


def _window():
    """First and last port to give: 15000 to 30000, or what is below or above a wider ephemeral range of this machine, where that is enough."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as f:
            low, high = map(int, f.read().split())
    except OSError:
        low, high = 32768, 60999
    for first, last in ((15000, min(30000, low - 1)), (5000, min(30000, low - 1)), (max(15000, high + 1), 65535)):
        if last - first >= 4000:
            return first, last
    return 15000, 30000


FIRST, LAST = _window()
# Tests run side by side, and a port is free until its server listens: all of them count through the ports in one file.
_COUNTER = os.path.join(tempfile.gettempdir(), f"mc-proxy-test-port.{os.getuid()}")


def free_port():
    """A port on which nothing listens, on IPv4 nor IPv6, and which no test has been given for a long time."""
    with open(os.open(_COUNTER, os.O_RDWR | os.O_CREAT, 0o600), "r+", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        port = max(FIRST, int(f.read() or FIRST))
        while not _is_free(port := port + 1 if port < LAST else FIRST):
            pass
        f.seek(0)
        f.truncate()
        f.write(str(port))
    return port


def _is_free(port):
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as s:
                if family == socket.AF_INET6:
                    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                s.bind((host, port))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):  # no IPv6 here: nobody can be in the way
                return False
    return True


@functools.cache
def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        return False
    return True


def require_ipv6():
    """Skips the test on a machine without ::1, as containers often are. Called by whatever is about to use it."""
    if not has_ipv6():
        pytest.skip("no IPv6 on this machine")
