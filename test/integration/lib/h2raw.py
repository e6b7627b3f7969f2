"""A client that speaks HTTP/2 by the frame, and too much of it: every flood that a server should survive.

    with H2Raw.unix(path) as h2:
        outcome = flood(h2, FLOODS["PING"])

Nothing here depends on the service behind the server but `path`, a unary method that should not answer at once.
"""

import socket
import struct
import time

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
NO_ERROR, PROTOCOL_ERROR, CANCEL, COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 0, 1, 8, 9, 11
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def header(name, value):
    """A literal without indexing (RFC 7541 6.2.2), lengths without Huffman coding."""
    return b"\0" + _string(name) + _string(value)


def indexed_header(name, value):
    """A literal that goes into the dynamic table (6.2.1)."""
    return b"\x40" + _string(name) + _string(value)


def _string(text):
    text = text.encode() if isinstance(text, str) else text
    if len(text) < 127:
        return bytes((len(text),)) + text
    out, rest = b"\x7f", len(text) - 127
    while rest >= 128:
        out += bytes((rest % 128 + 128,))
        rest //= 128
    return out + bytes((rest,)) + text


def grpc_headers(path, *extra, method="POST", content_type="application/grpc"):
    pairs = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"), ("te", "trailers")]
    if content_type is not None:
        pairs.append(("content-type", content_type))
    return b"".join(header(*pair) for pair in [*pairs, *extra])


def message(body, flag=0, length=None):
    return struct.pack(">BI", flag, len(body) if length is None else length) + body


class H2Raw:
    def __init__(self, sock, path="/echo.Echo/Silent"):
        self.sock = sock
        self.path = path
        self.stream = -1
        self.frames = []  # (kind, flags, stream, payload), in the order in which they came
        self.closed = False
        self._buffer = b""

    @classmethod
    def unix(cls, where, **kwargs):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(20)
        sock.connect(where)
        return cls(sock, **kwargs)

    @classmethod
    def tcp(cls, port, context=None, host="127.0.0.1", name="localhost", **kwargs):
        """context: an ssl.SSLContext; None: without TLS."""
        sock = socket.create_connection((host, port), timeout=20)
        if context is not None:
            context.set_alpn_protocols(["h2"])
            sock = context.wrap_socket(sock, server_hostname=name)
        return cls(sock, **kwargs)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    # ---- sending

    def send(self, *parts):
        """False once the server has closed."""
        try:
            self.sock.sendall(b"".join(parts))
        except (BrokenPipeError, ConnectionError, OSError):
            self.closed = True
        return not self.closed

    def hello(self, *settings):
        payload = b"".join(struct.pack(">HI", *pair) for pair in settings)
        return self.send(PREFACE, frame(SETTINGS, 0, 0, payload))

    def next_stream(self):
        self.stream += 2
        return self.stream

    def open(self, *extra, flags=0, path=None):
        """The frame that begins a call on a new stream."""
        return frame(HEADERS, END_HEADERS | flags, self.next_stream(), grpc_headers(path or self.path, *extra))

    def call(self, path, body, *extra, timeout=20, **kwargs):
        """One call: (headers of all blocks, in one dictionary, where they can be read; body; RST_STREAM code or None)."""
        stream = self.next_stream()
        self.send(frame(HEADERS, END_HEADERS, stream, grpc_headers(path, *extra, **kwargs)),
                  *(frame(DATA, 0, stream, body[at:at + 16384]) for at in range(0, len(body), 16384)),
                  frame(DATA, END_STREAM, stream))
        self.wait(lambda: any(f[2] == stream and (f[0] == RST_STREAM or f[1] & END_STREAM and f[0] in (HEADERS, DATA))
                              for f in self.frames), timeout)
        mine = [f for f in self.frames if f[2] == stream]
        reset = next((struct.unpack(">I", f[3])[0] for f in mine if f[0] == RST_STREAM), None)
        return b"".join(f[3] for f in mine if f[0] == HEADERS), b"".join(f[3] for f in mine if f[0] == DATA), reset

    # ---- receiving

    def receive(self, timeout=0.0):
        """Take what has come; waits for the first byte up to timeout."""
        self.sock.settimeout(timeout if timeout > 0 else 0.0)
        try:
            while not self.closed:
                data = self.sock.recv(1 << 16)
                self.closed = data == b""
                self._buffer += data
                self.sock.settimeout(0.0)
        except (BlockingIOError, TimeoutError, socket.timeout):
            pass
        except OSError as error:  # TLS wants to read, or the end
            self.closed = "want" not in str(error).lower() and "did not complete" not in str(error).lower()
        self.sock.settimeout(20)
        while len(self._buffer) >= 9:
            length = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + length:
                break
            self.frames.append((self._buffer[3], self._buffer[4], int.from_bytes(self._buffer[5:9], "big"),
                                self._buffer[9:9 + length]))
            self._buffer = self._buffer[9 + length:]

    def wait(self, condition, timeout=20):
        """Receive until condition() holds or the server has closed; returns it."""
        deadline = time.monotonic() + timeout
        while not condition() and not self.closed and time.monotonic() < deadline:
            self.receive(0.05)
        return condition()

    def wait_for_end(self):
        """Receive until the server has closed. Where sending has failed already, what it said last may still be there to read."""
        self.closed = False
        self.wait(lambda: False)

    def count(self, kind):
        return sum(f[0] == kind for f in self.frames)

    @property
    def goaway(self):
        """The error code of the last GOAWAY; None."""
        codes = [struct.unpack(">I", f[3][4:8])[0] for f in self.frames if f[0] == GOAWAY]
        return codes[-1] if codes else None


# ---- floods: each gives the bytes of its next round; rounds count from 0


def _once(h2, first, each):
    """`first` in the first round, which opens a stream, `each` in all others."""
    return lambda round: first() if round == 0 else each(h2.stream)


def _streams_and_resets(h2):
    return lambda round: h2.open() + frame(RST_STREAM, 0, h2.stream, struct.pack(">I", CANCEL))


def _streams_with_resets_at_once(h2):
    """The whole request and its reset in one packet: the work is begun, the answer never wanted."""
    return lambda round: (h2.open() + frame(DATA, END_STREAM, h2.stream, message(b"x")) +
                          frame(RST_STREAM, 0, h2.stream, struct.pack(">I", CANCEL)))


def _provoked_resets(h2):
    return lambda round: h2.open() + frame(WINDOW_UPDATE, 0, h2.stream, struct.pack(">I", 0x7fffffff))


def _bad_requests(h2):
    return lambda round: frame(HEADERS, END_HEADERS | END_STREAM, h2.next_stream(), b"\x83")


def _streams(h2):
    return lambda round: h2.open()


def _unfinished(h2):
    return lambda round: h2.open(path="/nowhere/Nothing")


def _pings(h2):
    return lambda round: frame(PING, 0, 0, b"12345678")


def _settings(h2):
    return lambda round: frame(SETTINGS)


def _large_settings(h2):
    """As many settings in a frame as nghttp2 takes, each asking for other windows."""
    return lambda round: frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535 + round) * 30)


def _empty_data(h2):
    return _once(h2, h2.open, lambda stream: frame(DATA, 0, stream))


def _padding(h2):
    return _once(h2, h2.open, lambda stream: frame(DATA, PADDED, stream, b"\xff" + bytes(255)))


def _empty_continuations(h2):
    return _once(h2, lambda: frame(HEADERS, 0, h2.next_stream(), grpc_headers(h2.path)),
                 lambda stream: frame(CONTINUATION, 0, stream))


def _continuations(h2):
    return _once(h2, lambda: frame(HEADERS, 0, h2.next_stream(), grpc_headers(h2.path)),
                 lambda stream: frame(CONTINUATION, 0, stream, header("x", "y" * 16000)))


def _small_continuations(h2):
    return _once(h2, lambda: frame(HEADERS, 0, h2.next_stream(), grpc_headers(h2.path)),
                 lambda stream: frame(CONTINUATION, 0, stream, header("x", "")))


def _priorities(h2):
    return lambda round: frame(PRIORITY, 0, 2 * round + 1, struct.pack(">IB", 2 * round + 3, 255))


def _window_updates(h2):
    return lambda round: frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1))


def _unknown_frames(h2):
    return lambda round: frame(0xbe, 0, 0, bytes(100))


FLOODS = {
    "resets": _streams_and_resets,
    "requests reset at once": _streams_with_resets_at_once,
    "provoked resets": _provoked_resets,
    "bad requests": _bad_requests,
    "streams": _streams,
    "requests answered early": _unfinished,
    "PING": _pings,
    "SETTINGS": _settings,
    "large SETTINGS": _large_settings,
    "empty DATA": _empty_data,
    "padding": _padding,
    "empty CONTINUATION": _empty_continuations,
    "CONTINUATION": _continuations,
    "small CONTINUATION": _small_continuations,
    "PRIORITY": _priorities,
    "WINDOW_UPDATE": _window_updates,
    "unknown frames": _unknown_frames,
}


class Outcome:
    def __init__(self, rounds, seconds, goaway, closed):
        self.rounds = rounds
        self.seconds = seconds
        self.goaway = goaway
        self.closed = closed


def flood(h2, kind, rounds=100000, batch=50, reads=True):
    """
    Sends a flood until the server closes. reads=False: the answers are left where they are, so that the server's socket fills up.
    """
    next_round = kind(h2)
    began = time.monotonic()
    sent = 0
    while sent < rounds and not h2.closed:
        h2.send(b"".join(next_round(sent + i) for i in range(batch)))
        sent += batch
        if reads:
            h2.receive()
    if reads or h2.closed:
        h2.wait_for_end()
    return Outcome(sent, time.monotonic() - began, h2.goaway, h2.closed)
