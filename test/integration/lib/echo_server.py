"""test/tools/grpc_echo_server: the admin API's transport with a service that only echoes."""

import os
import select
import signal
import subprocess

import pytest

from lib.ports import free_port
from lib.procfs import rss_bytes

BINARY = os.environ.get("GRPC_ECHO_BIN", os.path.join(os.path.dirname(__file__), "../../../build-dev/test/tools/grpc_echo_server"))


class EchoServer:
    """EchoServer(directory, tcp=port, cert=, key=, ca=, handshake_ms=...): running, at `path` and on `port`."""

    def __init__(self, directory, tcp=None, **options):
        self.path = os.path.join(str(directory), "echo.sock")
        self.port = tcp
        self.log_path = os.path.join(str(directory), "echo.log")
        args = [BINARY, "--unix", self.path]
        if tcp is not None:
            args += ["--tcp", f"127.0.0.1:{tcp}"]
        for name, value in options.items():
            args += [f"--{name}", str(value)]
        # What was freed would count as used for a long time.
        env = {**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=1"}
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=log, env=env)
        self.expect("ready")

    def expect(self, line, timeout=30):
        ready, _, _ = select.select([self.process.stdout], [], [], timeout)
        assert ready, f"the echo server does not say {line}"
        said = self.process.stdout.readline().decode().strip()
        assert said == line, f"{said!r} instead of {line!r}\n{self.log_text()}"

    def reload(self, line="reloaded"):
        self.process.send_signal(signal.SIGHUP)
        self.expect(line)

    def rss(self):
        return rss_bytes(self.process.pid)

    def log_text(self):
        with open(self.log_path, encoding="utf-8") as f:
            return f.read()

    def stop(self):
        """Ends it; it must not have leaked a call, and the sanitizers must have nothing to say."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.process.stdout.close()
        assert self.process.returncode == 0, self.log_text()
        assert not os.path.exists(self.path)


@pytest.fixture
def echo(tmp_path):
    """echo(...): a running EchoServer, stopped and checked after the test."""
    made = []

    def start(**options):
        made.append(EchoServer(tmp_path, **options))
        return made[-1]

    yield start
    for server in made:
        server.stop()
        print(server.log_text())  # shown if the test failed


@pytest.fixture
def tls_echo(echo, pki):
    """The same, on a TCP port with TLS."""
    def start(**options):
        cert, key = pki.cert("localhost")
        return echo(tcp=free_port(), cert=cert, key=key, **options)

    return start
