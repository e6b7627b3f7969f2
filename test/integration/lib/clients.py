"""Clients: raw sockets with exact segments, and the TLS programs that people use."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

from lib.ports import require_ipv6

SEGMENT_PAUSE = 0.003


def connect(port, host="127.0.0.1", timeout=15, receive_buffer=None, source=None):
    """A connected socket that sends every write at once (TCP_NODELAY). source: the address it comes from."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if family == socket.AF_INET6:
        require_ipv6()
    s = socket.socket(family, socket.SOCK_STREAM)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(timeout)
    if source:
        s.bind((source, 0))
    s.connect((host, port))
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def send_segments(s, data, *cuts):
    """Sends data cut at these positions, each part in a segment of its own and given time to be read."""
    ends = [0, *cuts, len(data)]
    for a, b in zip(ends, ends[1:]):
        s.sendall(data[a:b])
        if b < len(data):
            time.sleep(SEGMENT_PAUSE)


def read_all(s):
    """Everything until the end of file."""
    parts = []
    while data := s.recv(1 << 20):
        parts.append(data)
    return b"".join(parts)


def read_exactly(s, size):
    data = b""
    while len(data) < size:
        chunk = s.recv(size - len(data))
        assert chunk, f"ended after {len(data)} of {size} bytes: {data[:100]!r}"
        data += chunk
    return data


def expect_reset(s, sending=b""):
    """Sends, then demands ECONNRESET and not one byte before it."""
    try:
        s.sendall(sending)
        data = s.recv(65536)
    except ConnectionResetError:
        return
    finally:
        s.close()
    raise AssertionError(f"no reset but {data[:100]!r}" if data else "a FIN and no reset")


def expect_refused_entry(port, sending=b"", **kwargs):
    """A connection that is reset as soon as it is accepted, which may be before connect() has returned."""
    try:
        s = connect(port, **kwargs)
    except ConnectionResetError:
        return
    expect_reset(s, sending)


def enters(port, hello, header=b"", **kwargs):
    """Is a client let in? True: the backend echoes its hello. False: a reset without one byte. Anything else is an error."""
    try:
        with connect(port, **kwargs) as s:
            s.sendall(header + hello)
            assert read_exactly(s, len(hello)) == hello
            return True
    except (ConnectionResetError, BrokenPipeError):
        return False


def exchange(port, hello, host="127.0.0.1"):
    """Sends a hello and returns all that comes back."""
    with connect(port, host) as s:
        s.sendall(hello)
        return read_all(s)


# ---- programs

def _run(command, stdin="", timeout=40):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, input=stdin, timeout=timeout, text=True, capture_output=True, check=False,
                          errors="replace")


REQUEST = "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"


def python_ssl(pki, port, name, version=None):
    with connect(port) as s, pki.client_context(version).wrap_socket(s, server_hostname=name) as tls:
        tls.sendall(REQUEST.encode())
        try:
            return read_all(tls).decode()
        except ConnectionResetError as error:
            raise AssertionError(f"reset before the end: {error}") from error


def curl(pki, port, name, version=None):
    options = {"1.2": ["--tls-max", "1.2"], "1.3": ["--tlsv1.3"], None: []}[version]
    done = _run(["curl", "-sS", "--max-time", "20", "--resolve", f"{name}:{port}:127.0.0.1", "--cacert", pki.ca, *options,
                 f"https://{name}:{port}/"])
    assert done.returncode == 0, done.stderr
    return done.stdout


def openssl_s_client(pki, port, name, version=None):
    options = {"1.2": ["-tls1_2"], "1.3": ["-tls1_3"], None: []}[version]
    done = _run(["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", name, "-CAfile", pki.ca,
                 "-verify_return_error", "-verify_hostname", name, "-quiet", "-ign_eof", *options], stdin=REQUEST)
    assert "HTTP/1." in done.stdout, done.stderr
    return done.stdout


def gnutls_cli(pki, port, name, version=None):
    priority = "NORMAL" + (f":-VERS-ALL:+VERS-TLS{version}" if version else "")
    done = _run(["gnutls-cli", "--port", str(port), "--sni-hostname", name, "--verify-hostname", name, "--x509cafile",
                 pki.ca, "--priority", priority, "--logfile", os.devnull, "127.0.0.1"], stdin=REQUEST)
    assert "HTTP/1." in done.stdout, done.stdout + done.stderr
    return done.stdout


_NODE = """
const tls = require('tls'), fs = require('fs'), o = JSON.parse(process.argv[1]);
const version = o.version ? {minVersion: o.version, maxVersion: o.version} : {};
const s = tls.connect({host: '127.0.0.1', port: o.port, servername: o.name, ca: fs.readFileSync(o.ca), ...version},
                      () => s.write(o.request));
s.setEncoding('utf8');
s.on('data', d => process.stdout.write(d));
s.on('error', e => { console.error(e); process.exit(1); });
"""


def node_tls(pki, port, name, version=None):
    options = {"port": port, "name": name, "ca": pki.ca, "request": REQUEST, "version": version and f"TLSv{version}"}
    done = _run(["node", "-e", _NODE, json.dumps(options)])
    assert done.returncode == 0, done.stderr
    return done.stdout


def chromium(port, name):
    """The page's DOM as headless Chromium sees it; every name is 127.0.0.1 to it."""
    profile = tempfile.mkdtemp(prefix="mc-proxy-chromium-")
    try:
        done = _run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                     "--disable-background-networking", "--disable-component-update", "--disable-sync",
                     "--disable-dev-shm-usage", "--no-first-run", "--ignore-certificate-errors",
                     f"--user-data-dir={profile}", "--host-resolver-rules=MAP * 127.0.0.1",
                     "--dump-dom", f"https://{name}:{port}/"], timeout=90)
        return done.stdout
    finally:
        shutil.rmtree(profile, ignore_errors=True)
