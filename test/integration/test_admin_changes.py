"""Many changes as one, and what happens when the disk does not take them."""

import os
import re
import shutil
import signal
import subprocess

import grpc
import pytest

from lib import clients, hello
from lib.admin import IP, Code, put, refused
from lib.backends import EchoBackend
from lib.config import Listener
from lib.daemon import is_sanitized
from lib.disk import on_a_full_disk
from lib.figures import Cpu
from lib.machine import in_namespaces, require_ptrace

MANY = 10000 if is_sanitized() else 100000


def in_messages(changes, size=5000, **more):
    return [{"changes": changes[i:i + size], **more} for i in range(0, len(changes), size)]


def test_all_or_nothing(managed):
    listener = Listener(routes=["a.example.com 10.0.0.1:1"])
    _, api = managed([listener], workers=1)
    good = put(listener.addr, "b.example.com", "10.0.0.2:2")
    rule = {"add_rule": {"rule": {"type": IP, "value": "192.0.2.1"}}}
    with refused(Code.NOT_FOUND, "changes[2].remove_route.hostname: "):
        api.apply({"changes": [good, rule]},
                  {"changes": [{"remove_route": {"listener_addr": listener.addr, "hostname": "x.example.com"}}, {}]})
    with refused(Code.INVALID_ARGUMENT, "changes[1].put_route.route.backend: "):
        api.apply({"changes": [good, put(listener.addr, "c.example.com", "10.0.0.2")]})
    with refused(Code.INVALID_ARGUMENT, "changes[1].change: is missing"):
        api.apply({"changes": [good, {}]})
    assert api.routes(listener.addr) == [("a.example.com", "10.0.0.1:1", False)] and not api.rules()
    done = api.apply({"changes": [good, rule, good, put(listener.addr, "a.example.com", "10.0.0.9:9"),
                                  {"remove_rule": {"rule": {"type": IP, "value": "192.0.2.2"}}, "allow_unchanged": True}]})
    assert (done.routes_added, done.routes_replaced, done.rules_added, done.unchanged) == (1, 1, 1, 2)
    assert api.rules() == [(IP, "192.0.2.1")]
    with refused(Code.ALREADY_EXISTS, "changes[0].add_rule.rule: "):
        api.apply({"changes": [rule]})


def test_validate_only_says_what_would_change(managed):
    listener = Listener(routes=["a.example.com 10.0.0.1:1"])
    _, api = managed([listener], workers=1)
    before = api.GetStatus().generation
    done = api.apply({"changes": [put(listener.addr, "b.example.com", "10.0.0.2:2")], "validate_only": True},
                     {"changes": [{"remove_route": {"listener_addr": listener.addr, "hostname": "b.example.com"}}]})
    assert (done.routes_added, done.routes_removed) == (1, 1)
    assert api.GetStatus().generation == before and len(api.routes(listener.addr)) == 1
    assert api.apply() == api.apply({})  # an empty list is a list


@pytest.mark.measures
def test_a_hundred_thousand_routes_in_one_call_within_seconds(managed, backend):
    echo = backend(EchoBackend)
    listener = Listener()
    daemon, api = managed([listener])
    changes = [put(listener.addr, f"h{i}.example.com", echo.address) for i in range(MANY)]
    with Cpu(daemon.pid) as cpu:
        done = api.apply(*in_messages(changes), timeout=120)
    assert done.routes_added == MANY
    assert cpu.seconds < 20, f"{cpu.seconds:.1f} s of a processor for {MANY} changes"
    for i in (0, MANY // 2, MANY - 1):
        assert clients.enters(listener.port, hello.client_hello(f"h{i}.example.com".encode()))
    listed = api.routes(listener.addr)
    assert [r[0] for r in listed] == [f"h{i}.example.com" for i in range(MANY)]
    paged = api.ListRoutes(listener_addr=listener.addr, page_size=MANY - 1, timeout=60)
    assert len(paged.routes) == MANY - 1
    rest = api.ListRoutes(listener_addr=listener.addr, page_size=MANY, page_token=paged.next_page_token)
    assert [r.hostname for r in rest.routes] == [f"h{MANY - 1}.example.com"] and not rest.next_page_token
    assert api.GetStatus().listeners[0].route_count == MANY
    summary = daemon.wait_for_log(lambda e: e["msg"] == "changes applied")
    assert summary["routes_added"] == str(MANY) and summary["peer"] == "unix"
    print(f"{MANY} routes in {cpu.seconds:.2f} s of a processor")


def test_too_many_are_refused_before_anything_happens(managed):
    listener = Listener()
    _, api = managed([listener], workers=1)
    empty = api._call("mc_proxy.v1.ProxyAdminService", "ApplyChanges")[1]  # pylint: disable=protected-access
    block = empty.FromString(b"\x0a\x00" * 500000)
    call = api.channel.stream_unary("/mc_proxy.v1.ProxyAdminService/ApplyChanges", lambda m: m.SerializeToString())
    with refused(Code.INVALID_ARGUMENT, "changes[0].change: is missing"):
        call(iter([block]), timeout=60)
    with refused(Code.RESOURCE_EXHAUSTED, "more than 1000000 changes"):
        call(iter([empty.FromString(b"\x0a\x00" * 1000001)]), timeout=60)


# ---- the disk

def test_sync_comes_before_the_answer(managed, tmp_path):
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    require_ptrace()
    listener = Listener()
    daemon, api = managed([listener], workers=1)
    api.add(listener.addr, "warm.example.com", "10.0.0.1:1")
    trace = str(tmp_path / "trace")
    tracer = subprocess.Popen(["strace", "-y", "-e", "signal=none", "-o", trace, "-e",
                               "trace=fdatasync,fsync,pwrite64,sendto,sendmsg,write,writev,recvfrom,read,recvmsg", "-p", str(daemon.pid)],
                              stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert "attached" in tracer.stderr.readline()
    for i in range(5):
        api.add(listener.addr, f"h{i}.example.com", "10.0.0.1:1")
    tracer.send_signal(signal.SIGINT)
    tracer.wait(60)
    tracer.stderr.close()
    with open(trace, encoding="utf-8", errors="replace") as f:
        steps = [line.split("(")[0] + (" wal" if ".db-wal>" in line else "") +
                 (" socket" if re.search(r"\(\d+<(socket|UNIX)", line) else "") for line in f]
    answers = 0
    synced = False
    for step in steps:
        if step == "fdatasync wal":
            synced = True
        elif step.startswith(("pwrite", "write")) and " wal" in step:
            synced = False
        elif step.startswith(("send", "write")) and " socket" in step and synced:
            answers, synced = answers + 1, False
    assert steps.count("fdatasync wal") >= 5, steps
    assert answers >= 5, steps


@in_namespaces
def test_full_disk_is_unavailable_changes_nothing_and_works_again(new_daemon, admin, backend, tmp_path):
    echo = backend(EchoBackend)
    listener = Listener(routes=[f"a.example.com {echo.address}"])
    daemon, filler = on_a_full_disk(new_daemon, listener, tmp_path)
    api = admin(f"unix:{tmp_path}/admin.sock")
    added, failure = 0, None
    while failure is None:
        assert added < 5000, "the disk never was full"
        try:
            api.add(listener.addr, f"h{added}.example.com", echo.address)
            added += 1
        except grpc.RpcError as error:
            failure = error
    assert failure.code() == Code.UNAVAILABLE, failure.details()
    missed = f"h{added}.example.com"
    names = ["a.example.com"] + [f"h{i}.example.com" for i in range(added)]
    assert [r[0] for r in api.routes(listener.addr)] == names
    clients.expect_reset(clients.connect(listener.port), hello.client_hello(missed.encode()))
    assert clients.enters(listener.port, hello.client_hello(b"a.example.com"))
    with refused(Code.UNAVAILABLE):
        api.apply({"changes": [put(listener.addr, f"n{i}.example.com", echo.address) for i in range(3000)]})
    with refused(Code.UNAVAILABLE):
        api.Snapshot()
    assert [r[0] for r in api.routes(listener.addr)] == names
    daemon.wait_for_log(lambda e: e["level"] == "WARN" and e["msg"] == "a call of the admin API failed")
    os.unlink(filler)
    assert api.add(listener.addr, missed, echo.address) is True
    assert clients.enters(listener.port, hello.client_hello(missed.encode()))
    assert [r[0] for r in api.routes(listener.addr)] == [*names, missed]
