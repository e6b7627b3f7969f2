"""Free TCP ports, from below the ephemeral range so that no outgoing connection takes one meanwhile."""

import errno
import functools
import random
import socket

import pytest

FIRST, LAST = 15000, 30000
_given = set()


def free_port():
    """A port on which nothing listens, on IPv4 nor IPv6, and which this run has not given out yet."""
    while True:
        port = random.randint(FIRST, LAST)
        if port not in _given and _is_free(port):
            _given.add(port)
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
