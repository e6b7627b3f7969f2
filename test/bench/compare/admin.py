"""
Clients that change routes of a running proxy: of mc-proxy's admin API, by HTTP/2 frames put together here so that the client costs little,
and of HAProxy's runtime API.

    python3 -m compare.admin SOCKET LISTENER BACKEND RATE     adds and removes routes, so many changes a second; each line of input is
                                                              answered with how many were made
"""

import os
import select
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "integration"))
from lib.h2raw import (ACK, END_HEADERS, END_STREAM, DATA, HEADERS, PREFACE, SETTINGS, WINDOW_UPDATE,  # noqa: E402
                       frame, grpc_headers, message)

SERVICE = "/mc_proxy.v1.ProxyAdminService/"
OK_TRAILER = b"grpc-status"
CHURNED = 1000  # names that come and go


def _field(number, data):
    """A field of bytes, shorter than 16 KiB (protocol buffers' wire format)."""
    data = data.encode() if isinstance(data, str) else data
    size = bytes([len(data)]) if len(data) < 128 else bytes([len(data) & 127 | 128, len(data) >> 7])
    return bytes([number << 3 | 2]) + size + data


class McProxyAdmin:
    """AddRoute and RemoveRoute, one call after another."""

    def __init__(self, path, listener):
        self.listener = listener
        self.headers = {name: grpc_headers(SERVICE + name) for name in ("AddRoute", "RemoveRoute")}
        self.stream = -1
        self.rest = b""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        most = 0x7fffffff
        self.sock.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, most)) +
                          frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", most - 65535)) + frame(SETTINGS, ACK))

    def close(self):
        self.sock.close()

    def add(self, name, backend):
        self._call("AddRoute", _field(1, self.listener) + _field(2, _field(1, name) + _field(2, backend)))

    def remove(self, name):
        self._call("RemoveRoute", _field(1, self.listener) + _field(2, name))

    def _call(self, method, request):
        self.stream += 2
        self.sock.sendall(frame(HEADERS, END_HEADERS, self.stream, self.headers[method]) +
                          frame(DATA, END_STREAM, self.stream, message(request)))
        has_message = False
        while True:
            kind, flags, stream, payload = self._receive()
            if stream == self.stream:
                has_message |= kind == DATA and len(payload) >= 5
                if flags & END_STREAM and kind in (DATA, HEADERS):
                    break
        if not has_message:  # an error is told in trailers alone
            raise RuntimeError(f"{method} was refused: {payload!r}")

    def _receive(self):
        while len(self.rest) < 9 or len(self.rest) < 9 + int.from_bytes(self.rest[:3], "big"):
            data = self.sock.recv(65536)
            if not data:
                raise RuntimeError("the admin API has closed the connection")
            self.rest += data
        length = int.from_bytes(self.rest[:3], "big")
        kind, flags, stream = self.rest[3], self.rest[4], int.from_bytes(self.rest[5:9], "big")
        payload, self.rest = self.rest[9:9 + length], self.rest[9 + length:]
        return kind, flags, stream, payload


class HAProxyAdmin:
    """`add map` and `del map` on the runtime socket, in one interactive session."""

    def __init__(self, path, map_file):
        self.map_file = map_file
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(path)
        self._say("prompt")
        self._say("set timeout cli 1h")

    def close(self):
        self.sock.close()

    def add(self, name, backend):
        self._call(f"add map {self.map_file} {name} {backend}")

    def remove(self, name):
        self._call(f"del map {self.map_file} {name}")

    def _call(self, line):
        answer = self._say(line).strip(" >\n")
        if answer:
            raise RuntimeError(f"{line}: {answer}")

    def _say(self, line):
        self.sock.sendall(line.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n> "):
            data = self.sock.recv(65536)
            if not data:
                raise RuntimeError(f"HAProxy has closed its runtime socket: {answer!r}")
            answer += data
        return answer.decode()


def churn(admin, backend, rate):
    """Changes `rate` times a second until standard input ends. A change that comes late is not made up for in a burst."""
    made, interval = 0, 1 / rate
    due = time.monotonic()
    while True:
        name = f"churn{made // 2 % CHURNED}.example.com"
        if made % 2 == 0:
            admin.add(name, backend)
        else:
            admin.remove(name)
        made += 1
        due = max(due + interval, time.monotonic() - 10 * interval)
        if select.select([sys.stdin], [], [], max(0.0, due - time.monotonic()))[0]:
            if not sys.stdin.readline():
                return
            print(made, flush=True)


if __name__ == "__main__":
    churn(McProxyAdmin(sys.argv[1], sys.argv[2]), sys.argv[3], int(sys.argv[4]))
