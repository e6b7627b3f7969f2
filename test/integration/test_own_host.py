"""Backends on the proxy's own host, and hosts that are short of something: each in a network namespace of its own."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from lib import clients, hello
from lib.machine import in_namespaces
from lib.ports import free_port

HELLO = hello.client_hello(b"www.example.com")
INSIDE = "MCPROXY_TEST_INSIDE"
outside = pytest.mark.skipif(INSIDE in os.environ, reason="runs the others")
inside = pytest.mark.skipif(INSIDE not in os.environ, reason="run within a namespace by the others")
needs_ip = pytest.mark.skipif(shutil.which("ip") is None, reason="needs ip")


def run_inside(setup, name):
    """Runs one test of this file in a new network namespace, after some commands."""
    script = f'{setup} && exec "$0" -m pytest -q -x -p no:cacheprovider "$1" -k {name}'
    done = subprocess.run(["unshare", "-n", "sh", "-c", script, sys.executable, os.path.abspath(__file__)], timeout=100, text=True,
                          env={**os.environ, INSIDE: "1"}, capture_output=True, check=False)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


def ask(port, source_port=0):
    s = socket.create_connection(("127.0.0.1", port), 15, ("127.0.0.1", source_port or free_port()))
    s.sendall(HELLO)
    return s


@outside
@needs_ip
@in_namespaces
def test_proxy_does_not_talk_to_itself_when_a_backend_is_down():
    """Of a range of four ports, connect() soon takes the one that it connects to."""
    run_inside("ip link set lo up && echo 40000 40003 >/proc/sys/net/ipv4/ip_local_port_range", "self_connection")


@inside
def test_inside_self_connection_counts_as_refused(proxy):
    for port in (40000, 40001, 40002, 40003):
        daemon = proxy(f"* 127.0.0.1:{port}")
        for _ in range(25):
            clients.expect_reset(ask(daemon.port))
        daemon.wait_for_access(count=25, reason="backend_refused")
        daemon.stop()


@outside
@needs_ip
@in_namespaces
def test_host_without_ipv6_is_not_short_of_ports():
    run_inside("ip link set lo up && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6 && echo 1 >/proc/sys/net/ipv6/conf/lo/disable_ipv6",
               "without_ipv6")


@inside
def test_inside_without_ipv6_such_a_backend_is_unreachable(proxy):
    daemon = proxy("one.example.com [::1]:443", "* [2001:db8::1]:443")
    for name in (b"one.example.com", b"two.example.com"):
        with clients.connect(daemon.port) as s:
            clients.expect_reset(s, hello.client_hello(name))
    daemon.wait_for_access(count=2, reason="backend_unreachable")
