"""Log lines: their format, what they say, and that they never stall traffic."""

import fcntl
import json
import os
import re
import select
import subprocess
import time

import pytest

from lib import clients, hello, logs, procfs
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import BINARY, environment
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
ACCESS_KEYS = ("listener", "client", "sni", "backend", "bytes_in", "bytes_out", "duration_ms", "worker", "reason")


def one_connection(daemon):
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO + b"0123456789")
        clients.read_exactly(s, len(HELLO) + 10)
        return "%s:%d" % s.getsockname()


def test_text_lines_are_logfmt_with_time_level_and_message(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    one_connection(daemon)
    daemon.wait_for_access()
    daemon.stop()
    assert len(daemon.lines) >= 3
    for line in daemon.lines:
        assert re.match(rf'time={TIME} level=(DEBUG|INFO|WARN|ERROR) msg=("[^"]+"|\w+)( |$)', line), line
        logs.parse_logfmt(line)


def test_json_lines_have_the_same_fields(proxy, echo):
    daemon = proxy(f"* {echo.address}", log={"format": "json"})
    one_connection(daemon)
    line = daemon.wait_for_access()
    daemon.stop()
    for text in daemon.lines:
        event = json.loads(text)
        assert re.fullmatch(TIME, event["time"]) and event["level"] in ("DEBUG", "INFO", "WARN", "ERROR") and event["msg"]
    raw = next(e for e in map(json.loads, daemon.lines) if "bytes_in" in e)
    for key in ("bytes_in", "bytes_out", "duration_ms"):
        assert isinstance(raw[key], int), key
    assert all(key in line for key in ACCESS_KEYS)


@pytest.mark.parametrize("form", ["text", "json"])
def test_access_line_says_what_happened(proxy, echo, form):
    daemon = proxy(f"* {echo.address}", log={"format": form})
    client = one_connection(daemon)
    line = daemon.wait_for_access()
    size = str(len(HELLO) + 10)
    assert line["listener"] == daemon.listeners[0].addr
    assert line["client"] == client
    assert line["sni"] == "www.example.com"
    assert line["backend"] == echo.address
    assert (line["bytes_in"], line["bytes_out"]) == (size, size)
    assert 0 <= int(line["duration_ms"]) < 5000
    assert line["worker"].isdigit()
    assert line["reason"] == "finished"


def test_time_is_utc_now(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    text = daemon.wait_for_log(lambda e: True)["time"]
    seconds = time.mktime(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone
    assert abs(seconds - time.time()) < 60


def test_without_access_there_is_no_line_per_connection(proxy, echo):
    daemon = proxy(f"* {echo.address}", log={"access": "false"})
    for _ in range(5):
        one_connection(daemon)
    daemon.stop()
    assert daemon.access_lines() == []


def test_level_error_is_silent_in_good_times(proxy, echo):
    daemon = proxy(f"* {echo.address}", log={"level": "error"})
    one_connection(daemon)
    daemon.stop()
    assert daemon.lines == []


def test_bytes_from_outside_cannot_forge_a_line(proxy, echo):
    daemon = proxy(f"www.example.com {echo.address}")
    for name in (b'x"\nlevel=ERROR msg="forged" reason=finished', b"x y=z", b"\x1b[31mred", b"\xff\xfe"):
        clients.expect_reset(clients.connect(daemon.port), hello.client_hello(name))
    daemon.wait_for_access(count=4)
    daemon.stop()
    for line in daemon.lines:
        assert "\x1b" not in line and logs.parse_line(line) is not None, line
        assert logs.parse_line(line)["msg"] != "forged"


@pytest.mark.parametrize("leaves", ["stalled", "closed"])
def test_reader_of_standard_error_that_stops_reading_never_stalls_traffic(tmp_path, backend, leaves):
    """6 MB of lines, more than pipe and buffers hold; connections go on as before, and when reading goes on the loss is told."""
    long_hello = hello.client_hello(b".".join([b"x" * 61] * 4))
    echo = backend(EchoBackend)
    listener = Listener(routes=[f"* {echo.address}"])
    config = tmp_path / "mc-proxy.ini"
    config.write_text(config_text(str(tmp_path), [listener]))
    read_end, write_end = os.pipe()
    fcntl.fcntl(read_end, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen([BINARY, "server", "-c", str(config)], stderr=write_end, stdin=subprocess.DEVNULL,
                               env=environment())
    os.close(write_end)
    try:
        wait_until(lambda: process.poll() is not None or listener.port in procfs.listening_ports(), 20, "listening")
        assert process.poll() is None
        if leaves == "closed":
            os.close(read_end)
        slowest = 0.0
        for _ in range(120):
            begun = time.monotonic()
            batch = [clients.connect(listener.port) for _ in range(100)]
            for s in batch:
                s.sendall(long_hello)
            for s in batch:
                assert clients.read_exactly(s, len(long_hello)) == long_hello
                s.close()
            slowest = max(slowest, time.monotonic() - begun)
        assert slowest < 5
        assert process.poll() is None
        if leaves == "stalled":
            _expect_dropped(read_end, listener)
        process.terminate()
        assert process.wait(30) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if leaves == "stalled":
            os.close(read_end)


def _expect_dropped(read_end, listener):
    """Reading goes on: whole lines come, one of them with how many were lost."""
    text, deadline = bytearray(), time.monotonic() + 30
    while b"dropped=" not in text:
        assert time.monotonic() < deadline, "dropped=N never came"
        if select.select([read_end], [], [], 0.3)[0]:
            text.extend(os.read(read_end, 65536))
        else:  # nothing more to read: one more event
            with clients.connect(listener.port) as s:
                clients.expect_reset(s, b"something to write a line about")
    while not text.endswith(b"\n"):
        text.extend(os.read(read_end, 65536))
    lines = text.decode().split("\n")[:-1]
    assert all(logs.parse_line(line) is not None for line in lines), [x for x in lines if logs.parse_line(x) is None][:3]
    assert any(int((logs.parse_line(line) or {}).get("dropped", 0)) > 0 for line in lines)
