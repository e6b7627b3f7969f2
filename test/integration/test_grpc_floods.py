"""Hostile clients of the admin API: the connection ends, memory stays, others are served meanwhile."""

import os
import socket
import ssl
import struct
import threading
import time

import grpc
import pytest

from lib.background import Background
from lib.echo_server import echo, tls_echo  # fixtures
from lib.h2raw import (COMPRESSION_ERROR, CONTINUATION, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, FLOODS, HEADERS, PING, RST_STREAM, SETTINGS,
                       WINDOW_UPDATE, H2Raw, PREFACE, flood, frame, grpc_headers, header, indexed_header, message)
from lib.waiting import wait_until

MIB = 1 << 20
SPARE = 16 * MIB  # what allocators keep, and the sanitizers' shadow of it


def channel(server):
    return grpc.insecure_channel(f"unix:{server.path}", [("grpc.use_local_subchannel_pool", 1),
                                                        ("grpc.max_receive_message_length", -1)])


class Witness(Background):
    """Another client, which calls all the time: every call must be answered, and as a rule soon."""

    def __init__(self, server):
        self._channel = channel(server)
        self._call = self._channel.unary_unary("/echo.Echo/Unary")
        self.times = []
        self.errors = []
        self._call(b"", timeout=30)
        super().__init__(self._run)

    def _run(self):
        while not self.is_over():
            began = time.monotonic()
            try:
                self._call(b"x", timeout=20)
                self.times.append(time.monotonic() - began)
            except grpc.RpcError as error:
                self.errors.append(str(error))
            self.pause(0.002)

    def stop(self):
        try:
            wait_until(lambda: self.times or self.errors, what="an answer to the witness")
        finally:
            super().stop()
            self._channel.close()
        assert not self.errors, self.errors
        # A machine that is busy with other things holds up a call now and then, a flood would hold up most.
        assert sorted(self.times)[len(self.times) // 2] < 1, self.times


class Memory(Background):
    """The most that a process had while somebody watched."""

    def __init__(self, server):
        self._server = server
        self.before = self.most = server.rss()
        super().__init__(self._run)

    def _run(self):
        while not self.pause(0.005):
            self.most = max(self.most, self._server.rss())

    @property
    def growth(self):
        return self.most - self.before


def report(name, memory, **more):
    """For docs/decisions/0008: pytest -s shows it."""
    print(f"{name}: {memory.growth / MIB:.1f} MiB more than {memory.before / MIB:.1f} MiB", *(f"{k}={v}" for k, v in more.items()))


@pytest.mark.parametrize("name", FLOODS)
def test_a_flood_ends_the_connection(echo, name):
    server = echo()
    with Witness(server), Memory(server) as memory:
        for _ in range(3):
            with H2Raw.unix(server.path) as h2:
                h2.hello()
                outcome = flood(h2, FLOODS[name])
                assert outcome.closed and outcome.goaway == ENHANCE_YOUR_CALM, (outcome.rounds, outcome.goaway)
    report(name, memory, rounds=outcome.rounds, seconds=round(outcome.seconds, 2))
    assert memory.growth < SPARE
    assert "sends too many of a kind" in server.log_text()


@pytest.mark.parametrize("name", ["PING", "SETTINGS", "resets", "requests answered early"])
def test_a_flood_over_tls(tls_echo, pki, name):
    server = tls_echo()
    with Witness(server), Memory(server) as memory, H2Raw.tcp(server.port, ssl.create_default_context(cafile=pki.ca)) as h2:
        h2.hello()
        outcome = flood(h2, FLOODS[name])
        assert outcome.closed and outcome.goaway == ENHANCE_YOUR_CALM
    report(f"{name} over TLS", memory)
    assert memory.growth < SPARE


def test_thirty_floods_at_once(echo):
    server = echo()
    names = list(FLOODS)

    def attack(i):
        with H2Raw.unix(server.path) as h2:
            h2.hello()
            flood(h2, FLOODS[names[i % len(names)]])

    with Witness(server), Memory(server) as memory:
        threads = [threading.Thread(target=attack, args=(i,)) for i in range(30)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    report("thirty at once", memory)
    assert memory.growth < 2 * SPARE


@pytest.mark.parametrize("name", ["PING", "SETTINGS", "streams"])
def test_one_that_never_reads_is_no_burden(echo, name):
    """Slower than any budget and never reading: the answers fill the socket, then the server reads no more and cuts it."""
    server = echo(stall_ms=1000)
    with Witness(server), Memory(server) as memory, H2Raw.unix(server.path) as h2:
        h2.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        h2.hello()
        flood(h2, FLOODS[name], rounds=900, reads=False)
    report(f"{name}, never read", memory)
    assert memory.growth < SPARE


def test_answers_that_nobody_takes_are_bounded_and_dropped(echo):
    """Windows of HTTP/2 that never open: what waits behind them is limited in all, and not for long."""
    server = echo(stall_ms=1500, answer_bytes=32 * MIB, answer_reserve=8 * MIB)
    with Memory(server) as memory, H2Raw.unix(server.path) as h2:
        h2.hello()
        for _ in range(100):
            h2.send(frame(HEADERS, END_HEADERS, h2.next_stream(), grpc_headers("/echo.Echo/Stream")),
                    frame(DATA, END_STREAM, h2.stream, message(b"1 1000000")))
        with channel(server) as ch:
            counts = ch.unary_unary("/echo.Echo/Counts")
            wait_until(lambda: b"buffered=" in counts(b"", timeout=20) and b"open_calls=1 " in counts(b"", timeout=20))
        assert h2.wait(lambda: h2.count(RST_STREAM) > 10)
    report("answers not taken", memory)
    assert memory.growth < 32 * MIB + SPARE


def test_requests_that_never_end_are_bounded_and_ended(tls_echo, pki):
    """From a network: the witness, at a Unix socket, has a part of the memory that strangers cannot use up."""
    server = tls_echo(request_ms=4000, request_bytes=4 * MIB, request_reserve=MIB)
    part = message(bytes(3 * MIB), length=4 * MIB)
    with Witness(server), Memory(server) as memory, H2Raw.tcp(server.port, ssl.create_default_context(cafile=pki.ca)) as h2:
        h2.hello((4, 1 << 30))
        wait_until(lambda: h2.receive() or h2.count(SETTINGS) >= 2)
        streams = []
        for _ in range(60):
            streams.append(h2.next_stream())
            h2.send(frame(HEADERS, END_HEADERS, streams[-1], grpc_headers("/echo.Echo/Unary")))
        # The server's windows have to be kept to: 256 KiB a stream, and as many of the connection as it gives back.
        sent = {s: 0 for s in streams}
        stop = time.monotonic() + 1.2
        while (time.monotonic() < stop or sum(sent.values()) <= MIB) and time.monotonic() < stop + 30 and not h2.closed:
            h2.receive()
            total = (1 << 20) + sum(int.from_bytes(f[3], "big") for f in h2.frames if f[0] == WINDOW_UPDATE and f[2] == 0) - 983041
            for s in streams:
                room = (256 << 10) + sum(int.from_bytes(f[3], "big") for f in h2.frames if f[0] == WINDOW_UPDATE and f[2] == s)
                size = min(16384, room - sent[s], total - sum(sent.values()), len(part) - sent[s])
                if size > 0:
                    h2.send(frame(DATA, 0, s, part[sent[s]:sent[s] + size]))
                    sent[s] += size
        assert sum(sent.values()) > MIB
        ended = lambda: sum(f[0] == HEADERS and bool(f[1] & END_STREAM) for f in h2.frames)
        assert h2.wait(lambda: ended() == 60, timeout=30), ended()
    report("requests that never end", memory)
    assert memory.growth < 4 * MIB + SPARE


def test_a_bomb_of_headers_is_counted_and_not_kept(echo):
    """4 KB in the dynamic table, then one byte for each use: 60 KB on the wire are 240 MB of headers."""
    server = echo()
    with Witness(server), Memory(server) as memory, H2Raw.unix(server.path) as h2:
        h2.hello()
        for i in range(20):
            bomb = grpc_headers("/echo.Echo/Silent") + (indexed_header("x", b"y" * 4000) if i == 0 else b"") + b"\xbe" * 12000
            h2.send(frame(HEADERS, END_STREAM, h2.next_stream(), bomb[:16000]),
                    *(frame(CONTINUATION, 0, h2.stream, b"\xbe" * 16000) for _ in range(3)),
                    frame(CONTINUATION, END_HEADERS, h2.stream, b"\xbe"))
        assert h2.wait(lambda: h2.count(HEADERS) == 20)
    report("bomb of headers", memory)
    assert memory.growth < SPARE


def test_a_header_of_a_megabyte_never_arrives(echo):
    server = echo()
    with Witness(server), Memory(server) as memory, H2Raw.unix(server.path) as h2:
        h2.hello()
        block = grpc_headers("/echo.Echo/Silent") + header("x", b"y" * MIB)
        h2.send(frame(HEADERS, 0, h2.next_stream(), block[:16000]),
                *(frame(CONTINUATION, 0, h2.stream, block[at:at + 16000]) for at in range(16000, len(block), 16000)))
        h2.wait_for_end()
        assert h2.closed and h2.goaway in (ENHANCE_YOUR_CALM, COMPRESSION_ERROR)
    assert memory.growth < SPARE


HEADER_MAX = 65536  # of one name or value, in nghttp2's HPACK decoder: NGHTTP2_HD_MAX_NV, fixed when it was built


def call_with_long_header(h2, length):
    block = grpc_headers("/echo.Echo/Unary") + header("x", b"y" * length)
    stream = h2.next_stream()
    h2.send(frame(HEADERS, END_STREAM, stream, block[:16384]),
            *(frame(CONTINUATION, 0, stream, block[at:at + 16384]) for at in range(16384, len(block), 16384)),
            frame(CONTINUATION, END_HEADERS, stream))
    return stream


def test_a_header_of_64_kib_ends_its_call_alone(echo):
    server = echo()
    with Witness(server), Memory(server) as memory, H2Raw.unix(server.path) as h2:
        h2.hello()
        h2.send(h2.open())
        stream = call_with_long_header(h2, HEADER_MAX)
        assert h2.wait(lambda: h2.count(HEADERS) == 1)
        assert [(f[2], f[1] & END_STREAM) for f in h2.frames if f[0] == HEADERS] == [(stream, END_STREAM)]
        assert h2.call("/echo.Echo/Unary", message(b"next"))[1] == message(b"next") and h2.goaway is None
        with channel(server) as ch, pytest.raises(grpc.RpcError) as error:
            ch.unary_unary("/echo.Echo/Unary")(b"", metadata=[("x", "y" * HEADER_MAX)], timeout=20)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert memory.growth < SPARE


def test_a_header_longer_than_the_decoder_takes_ends_its_connection_alone(echo):
    """What was not decoded may have changed the dynamic table, so nothing behind it can be decoded (RFC 9113 4.3)."""
    server = echo()
    with Witness(server), Memory(server) as memory, H2Raw.unix(server.path) as h2:
        h2.hello()
        call_with_long_header(h2, HEADER_MAX + 1)
        assert h2.wait(lambda: h2.closed) and h2.goaway == COMPRESSION_ERROR
    assert memory.growth < SPARE


# ---- places


def served(server, timeout=20):
    with channel(server) as ch:
        return ch.unary_unary("/echo.Echo/Unary")(b"local", timeout=timeout) == b"local"


def test_half_open_handshakes_lock_nobody_out(tls_echo, pki):
    """All places taken by strangers who never finish their handshake: the machine's own get in at once, others a little later."""
    server = tls_echo(handshake_ms=4000, newcomer_ms=500)
    with Memory(server) as memory:
        strangers = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
        for i, s in enumerate(strangers):
            if i % 2 == 0:
                s.sendall(bytes.fromhex("16030100f6010000f20303"))  # the beginning of a ClientHello
        assert served(server)
        time.sleep(0.6)
        with H2Raw.tcp(server.port, ssl.create_default_context(cafile=pki.ca)) as h2:
            h2.hello()
            assert h2.wait(lambda: h2.count(SETTINGS) >= 2)

            def closed(s):
                s.settimeout(0.01)
                try:
                    return s.recv(1) == b""
                except (TimeoutError, socket.timeout):
                    return False
                except ConnectionError:
                    return True

            assert sum(closed(s) for s in strangers) >= 8  # at once: there are 32 places
            wait_until(lambda: all(closed(s) for s in strangers), what="the end of every handshake")
            h2.send(frame(PING, 0, 0, b"12345678"))
            assert h2.wait(lambda: h2.count(PING) == 1)  # whoever did finish stays
    report("half-open TLS", memory)
    assert memory.growth < SPARE
    log = server.log_text()
    assert "as many as possible are open" in log or "it gave its place to another" in log  # on a slow machine they age meanwhile
    for s in strangers:
        s.close()


def test_connections_that_come_too_fast_wait(tls_echo, pki):
    """Each handshake costs a signature, so a crowd at the port is let in at a pace; whoever is on the machine does not wait."""
    server = tls_echo(remote_at_once=5, remote_a_second=20, connections=100)
    context = ssl.create_default_context(cafile=pki.ca)
    context.set_alpn_protocols(["h2"])
    began = time.monotonic()
    crowd = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(30)]
    assert served(server)
    last = context.wrap_socket(crowd.pop(), server_hostname="localhost")
    assert time.monotonic() - began > 0.5
    last.close()
    for s in crowd:
        s.close()
    assert "refused" not in server.log_text()


def test_a_slow_handshake_is_not_extended_by_bytes(tls_echo, pki):
    server = tls_echo(handshake_ms=1000)
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=pki.ca)
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(client_in, client_out, server_hostname="localhost").do_handshake()
    hello = client_out.read()
    assert len(hello) > 500
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port)) as s:
        for byte in hello:
            try:
                s.sendall(bytes([byte]))
            except ConnectionError:
                break
            time.sleep(0.02)
        s.settimeout(20)
        try:
            assert s.recv(1) == b""
        except ConnectionError:
            pass
    assert 0.95 <= time.monotonic() - began < 9  # all bytes of the hello take 10 s
    assert "the handshake does not come to an end" in server.log_text()


def test_thirty_three_are_one_too_many(tls_echo, pki):
    server = tls_echo()
    context = ssl.create_default_context(cafile=pki.ca)
    clients = [H2Raw.tcp(server.port, context) for _ in range(32)]
    try:
        for h2 in clients:
            h2.hello()
            assert h2.wait(lambda h2=h2: h2.count(SETTINGS) >= 2)
        with socket.create_connection(("127.0.0.1", server.port)) as s:
            s.settimeout(20)
            try:
                assert s.recv(1) == b""
            except ConnectionError:
                pass
        for h2 in clients:
            h2.send(frame(PING, 0, 0, b"12345678"))
            assert h2.wait(lambda h2=h2: h2.count(PING) == 1)
        assert served(server)  # in the place of the one that was silent for longest
        assert clients[0].wait(lambda: clients[0].closed) and clients[0].goaway == 0
        clients[1].send(frame(PING, 0, 0, b"12345678"))
        assert clients[1].wait(lambda: clients[1].count(PING) == 2)
    finally:
        for h2 in clients:
            h2.sock.close()


def test_a_connection_may_be_idle(echo):
    server = echo(handshake_ms=300, request_ms=300, stall_ms=300)
    with H2Raw.unix(server.path) as h2:
        h2.hello()
        time.sleep(1)
        h2.send(frame(PING, 0, 0, struct.pack(">Q", 1)))
        assert h2.wait(lambda: h2.count(PING) == 1)


def test_garbage_is_no_burden(echo):
    server = echo()
    with Witness(server), Memory(server) as memory:
        for i in range(200):
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(server.path)
                try:
                    s.sendall((PREFACE if i % 2 else b"") + os.urandom(20000))
                except ConnectionError:
                    pass
    assert memory.growth < SPARE
