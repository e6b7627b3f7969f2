"""Standard error that nobody reads: everything is served, and every line that is missing is counted, and told."""

import json
import os
import subprocess
import sys
import threading

from lib import clients, hello, logs, procfs
from lib.admin import Admin
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.daemon import BINARY, environment, is_sanitized
from lib.waiting import wait_until

CONNECTIONS = 6000 if is_sanitized() else 20000
LONG_NAME = b".".join([b"x" * 61] * 4)


def dropped_lines(api):
    status = api.GetStatus()
    return status.log_records_dropped + status.log_lines_dropped


def test_all_are_served_and_every_missing_line_is_accounted_for(tmp_path, backend):
    echo = backend(EchoBackend)
    listener = Listener(routes=[f"* {echo.address}"])
    config = tmp_path / "mc-proxy.ini"
    config.write_text(config_text(str(tmp_path), [listener], grpc={"addr": f"unix:{tmp_path}/admin.sock"}))
    read_end, write_end = os.pipe()
    process = subprocess.Popen([BINARY, "server", "-c", str(config)], stderr=write_end, stdin=subprocess.DEVNULL, env=environment())
    os.close(write_end)
    lines = []

    def read():
        with os.fdopen(read_end, encoding="ascii") as stream:
            lines.extend(line.rstrip("\n") for line in stream)

    reader = threading.Thread(target=read, daemon=True)
    try:
        wait_until(lambda: process.poll() is not None or listener.port in procfs.listening_ports(), 60, "listening")
        long_hello = hello.client_hello(LONG_NAME)
        for _ in range(CONNECTIONS):
            with clients.connect(listener.port) as s:
                s.sendall(long_hello)
                assert clients.read_exactly(s, len(long_hello)) == long_hello
        api = Admin(f"unix:{tmp_path}/admin.sock")
        wait_until(lambda: api.GetStatus().total_connections == CONNECTIONS and api.GetStatus().active_connections == 0, what="the last one")
        assert dropped_lines(api) > 0, "the pipe took everything"
        reader.start()
        wait_until(lambda: any("dropped=" in line for line in list(lines)), what="word of the dropped lines")
        api.close()
        process.terminate()
        assert process.wait(30) == 0
        reader.join(60)
        assert not reader.is_alive()
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    events = [logs.parse_line(line) for line in lines]
    assert None not in events, lines[:3]
    seen = sum(logs.is_access(event) for event in events)
    told = sum(int(event.get("dropped", 0)) for event in events)
    assert seen + told >= CONNECTIONS and seen < CONNECTIONS, (seen, told)  # a few lines of the server's own may be among those told
    assert seen + told <= CONNECTIONS + 50, (seen, told)


def test_the_measurement_runs():
    """test/bench/blocked_log.py, small: it says what it promises, and its blocked server has really dropped lines."""
    bench = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bench", "blocked_log.py")
    load = os.path.join(os.path.dirname(BINARY), "test", "bench", "load")
    assert os.path.exists(load), "build the target load"
    done = subprocess.run([sys.executable, bench, "--rounds", "1", "--count", "200", "--rate", "500", "--json"], timeout=200, text=True,
                          capture_output=True, check=True)
    result = json.loads(done.stdout)
    assert result["blocked"]["dropped"] > 0 == result["read"]["dropped"]
    assert all(result[mode][key] > 0 for mode in ("read", "blocked") for key in ("p50_us", "p99_us", "p999_us"))
