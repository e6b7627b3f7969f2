"""The admin API's transport with an echo service behind it: what gRPC's protocol text asks for, over both kinds of socket."""

import os
import socket
import ssl
import struct
import time

import grpc
import pytest

from lib.echo_server import EchoServer, echo, tls_echo  # two of them fixtures
from lib.h2raw import DATA, END_HEADERS, END_STREAM, HEADERS, H2Raw, PREFACE, SETTINGS, frame, grpc_headers, message
from lib.tls import Pki
from lib.waiting import wait_until

MIB = 1 << 20


def channel(target, credentials=None):
    options = [("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1),
               ("grpc.ssl_target_name_override", "localhost")]
    return grpc.secure_channel(target, credentials, options) if credentials else grpc.insecure_channel(target, options)


def credentials(ca, cert=None):
    def read(path):
        with open(path, "rb") as f:
            return f.read()

    return grpc.ssl_channel_credentials(read(ca), *([read(cert[1]), read(cert[0])] if cert else []))


def code_of(call, *args, **kwargs):
    with pytest.raises(grpc.RpcError) as caught:
        call(*args, **kwargs)
    return caught.value.code(), caught.value.details()


# ---- grpcio


def test_every_kind_of_call_works_over_both_transports(tls_echo, pki):
    server = tls_echo()
    for ch in (channel(f"unix:{server.path}"), channel(f"127.0.0.1:{server.port}", credentials(pki.ca))):
        with ch:
            big = os.urandom(4 * MIB)
            assert ch.unary_unary("/echo.Echo/Unary")(b"hello", timeout=20) == b"hello"
            assert ch.unary_unary("/echo.Echo/Unary")(big, timeout=20) == big
            assert ch.unary_unary("/echo.Echo/Later")(b"", timeout=20) == b"later"
            assert [len(m) for m in ch.unary_stream("/echo.Echo/Stream")(b"100 10000", timeout=20)] == [10000] * 100
            assert ch.stream_unary("/echo.Echo/Collect")(iter([b"x" * 1000] * 1000), timeout=20) == b"1000 1000000"
            sent = [os.urandom(5000) for _ in range(100)]
            assert list(ch.stream_stream("/echo.Echo/Chat")(iter(sent), timeout=20)) == sent


def test_statuses_reach_the_client(echo):
    with channel(f"unix:{echo().path}") as ch:
        unary = ch.unary_unary("/echo.Echo/Unary")
        fail = ch.unary_unary("/echo.Echo/Fail")
        assert code_of(fail, b"\x05caf\xc3\xa9: 100 %\n", timeout=20) == (grpc.StatusCode.NOT_FOUND, "café: 100 %\n")
        assert code_of(unary, bytes(4 * MIB + 1), timeout=20)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert code_of(unary, b"x" * 1000, compression=grpc.Compression.Gzip)[0] == grpc.StatusCode.UNIMPLEMENTED
        assert code_of(ch.unary_unary("/echo.Echo/Nothing"), b"")[0] == grpc.StatusCode.UNIMPLEMENTED
        assert code_of(ch.unary_unary("/echo.Echo/Silent"), b"", timeout=0.2)[0] == grpc.StatusCode.DEADLINE_EXCEEDED
        assert unary(b"still there", timeout=20) == b"still there"


def test_what_is_cancelled_is_forgotten(echo):
    server = echo()
    with channel(f"unix:{server.path}") as ch:
        calls = [ch.unary_unary("/echo.Echo/Silent").future(b"") for _ in range(50)]
        counts = ch.unary_unary("/echo.Echo/Counts")
        wait_until(lambda: b" held=51" in counts(b"", timeout=20))
        for call in calls:
            call.cancel()
        wait_until(lambda: b" open_calls=1 " in counts(b"", timeout=20) and b" held=1" in counts(b"", timeout=20))


def test_a_deadline_is_kept_by_the_server_too(echo):
    with H2Raw.unix(echo().path) as h2:
        h2.hello()
        began = time.monotonic()
        headers, _, _ = h2.call("/echo.Echo/Silent", message(b""), ("grpc-timeout", "300m"))
        assert 0.29 <= time.monotonic() - began
        assert headers  # trailers, before the client gave up by itself
        assert h2.count(DATA) == 0


def test_four_mebibytes_come_a_byte_at_a_time(echo):
    """A DATA frame for each byte of a large message, and one for all."""
    with H2Raw.unix(echo().path) as h2:
        h2.hello()
        stream = h2.next_stream()
        h2.send(frame(HEADERS, END_HEADERS, stream, grpc_headers("/echo.Echo/Collect")))
        one = message(bytes(100000))
        h2.wait(lambda: h2.count(SETTINGS) >= 2)
        for at in range(0, len(one), 10000):
            h2.send(b"".join(frame(DATA, 0, stream, one[i:i + 1]) for i in range(at, min(at + 10000, len(one)))))
            h2.receive()
        h2.send(frame(DATA, END_STREAM, stream))
        assert h2.wait(lambda: any(f[0] == DATA for f in h2.frames))
        assert next(f[3] for f in h2.frames if f[0] == DATA)[5:] == b"1 100000"


# ---- TLS


def client_context(pki, cert=None, alpn=("h2",), version=None):
    context = ssl.create_default_context(cafile=pki.ca)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if version:
        context.maximum_version = version
    if cert:
        context.load_cert_chain(*cert)
    return context


def tls_connect(server, context):
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    return context.wrap_socket(sock, server_hostname="localhost")


def speaks_http2(sock):
    """Does the server answer our SETTINGS? In TLS 1.3 it may refuse a certificate after the client thinks all is well."""
    try:
        sock.sendall(PREFACE + frame(SETTINGS))
        return sock.recv(9)[3:4] == bytes([SETTINGS])
    except (ssl.SSLError, ConnectionError):
        return False


def test_nothing_below_tls_1_3(tls_echo, pki):
    server = tls_echo()
    with tls_connect(server, client_context(pki)) as sock:
        assert sock.version() == "TLSv1.3" and sock.selected_alpn_protocol() == "h2" and speaks_http2(sock)
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION|protocol version"):
        tls_connect(server, client_context(pki, version=ssl.TLSVersion.TLSv1_2))
    wait_until(lambda: "TLS failed" in server.log_text())


@pytest.mark.parametrize("alpn", [(), ("http/1.1",), ("h3", "spdy/1")])
def test_nothing_but_h2(tls_echo, pki, alpn):
    server = tls_echo()
    with pytest.raises(ssl.SSLError, match="NO_APPLICATION_PROTOCOL|no application protocol"):
        tls_connect(server, client_context(pki, alpn=alpn))
    with tls_connect(server, client_context(pki, alpn=("http/1.1", "h2"))) as sock:
        assert speaks_http2(sock)


def test_client_certificates_are_required_where_there_is_a_ca(tls_echo, pki, tmp_path):
    server = tls_echo(ca=pki.ca)
    strangers = Pki(tmp_path)
    with tls_connect(server, client_context(pki, pki.client_cert("operator"))) as sock:
        assert speaks_http2(sock)
    for name, cert in (("none", None), ("stranger", strangers.client_cert("operator")),
                       ("expired", pki.client_cert("late", is_expired=True)), ("a server's", pki.cert("localhost"))):
        with tls_connect(server, client_context(pki, cert)) as sock:
            assert not speaks_http2(sock), name
    log = wait_until(lambda: server.log_text() if server.log_text().count("TLS failed") == 4 else None)
    assert "certificate has expired" in log and "peer did not return a certificate" in log
    assert "127.0.0.1:" in log


def test_no_session_is_resumed(tls_echo, pki):
    server = tls_echo()
    context = client_context(pki)
    with tls_connect(server, context) as sock:
        assert speaks_http2(sock)
        assert sock.session is None or not sock.session.has_ticket
        assert not sock.session_reused


def test_certificates_are_read_again(tls_echo, pki, tmp_path):
    server = tls_echo()
    other = Pki(tmp_path)
    cert, key = pki.cert("localhost")
    with open(cert, encoding="ascii") as f:
        before = f.read()
    with tls_connect(server, client_context(pki)) as old:
        try:
            with open(other.cert("localhost")[0], encoding="ascii") as f, open(cert, "w", encoding="ascii") as out:
                out.write(f.read())
            server.reload("not reloaded")  # the key does not belong to it
            assert f"{key}: is not the key of tls_cert" in server.log_text()
            with tls_connect(server, client_context(pki)) as sock:
                assert speaks_http2(sock)
            with open(other.cert("localhost")[1], encoding="ascii") as f:
                other_key = f.read()
            with open(key, encoding="ascii") as f:
                key_before = f.read()
            with open(key, "w", encoding="ascii") as f:
                f.write(other_key)
            server.reload()
            with tls_connect(server, client_context(other)) as sock:
                assert speaks_http2(sock)
            with pytest.raises(ssl.SSLCertVerificationError):
                tls_connect(server, client_context(pki))
            assert speaks_http2(old)  # an open connection goes on
        finally:
            with open(cert, "w", encoding="ascii") as f:
                f.write(before)
            with open(key, "w", encoding="ascii") as f:
                f.write(key_before)


# ---- the port and the socket


def test_a_port_in_use_is_said(tls_echo, tmp_path, pki):
    with socket.create_server(("127.0.0.1", 0)) as other:
        cert, key = pki.cert("localhost")
        with pytest.raises(AssertionError, match="instead of 'ready'"):
            EchoServer(tmp_path, tcp=other.getsockname()[1], cert=cert, key=key)
        with open(tmp_path / "echo.log", encoding="utf-8") as f:
            assert "address already in use" in f.read()


def test_a_goodbye_reaches_everybody(tls_echo, pki):
    server = tls_echo()
    with H2Raw.unix(server.path) as local, H2Raw.tcp(server.port, client_context(pki)) as remote:
        for h2 in (local, remote):
            h2.hello()
            assert h2.wait(lambda h2=h2: h2.count(SETTINGS) >= 2)
        server.process.terminate()
        for h2 in (local, remote):
            assert h2.wait(lambda h2=h2: h2.closed)
            assert h2.goaway == 0


# ---- headers and prefixes, by hand


@pytest.mark.parametrize("body, text", [
    (message(b"x", flag=1), b"INTERNAL"),
    (message(b"", length=4 * MIB + 1), b"RESOURCE_EXHAUSTED"),
    (message(b"", length=0xffffffff), b"RESOURCE_EXHAUSTED"),
])
def test_a_bad_prefix_costs_nothing(echo, body, text):
    server = echo()
    before = server.rss()
    with H2Raw.unix(server.path) as h2:
        h2.hello()
        for _ in range(100):
            headers, data, _ = h2.call("/echo.Echo/Unary", body)
            assert headers and not data, text
    assert server.rss() - before < 4 * MIB


@pytest.mark.parametrize("kwargs, status", [({"content_type": "application/json"}, b"415"), ({"method": "GET"}, b"405"),
                                            ({"content_type": None}, b"415")])
def test_what_is_no_grpc_gets_an_http_status(echo, kwargs, status):
    with H2Raw.unix(echo().path) as h2:
        h2.hello()
        headers, data, _ = h2.call("/echo.Echo/Unary", message(b"x"), **kwargs)
        assert status in _unhuffman_digits(headers) and not data


def _unhuffman_digits(block):
    """Digits have Huffman codes of 5 and 6 bits; nghttp2 uses them when shorter, so look for either form."""
    codes = {"0": "00000", "1": "00001", "2": "00010", "3": "011001", "4": "011010", "5": "011011", "6": "011100",
             "7": "011101", "8": "011110", "9": "011111"}
    found = block
    for text in ("405", "415"):
        bits = "".join(codes[c] for c in text)
        bits += "1" * (-len(bits) % 8)
        if struct.pack(">I", int(bits, 2))[-len(bits) // 8:] in block:
            found += text.encode()
    return found
