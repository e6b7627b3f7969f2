"""PROXY headers that come in: who may send one, what is taken for one, what is consumed, and whose address counts afterwards."""

import os
import time

import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.backends import unsent_bytes
from lib.config import Listener
from lib.tries import in_one_of
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
EXTRA = b"bytes of the client that come right behind its hello"
TRUSTED, STRANGER = "127.0.0.2", "127.0.0.3"


@pytest.fixture
def required(proxy, echo):
    """A daemon whose only listener wants a header from anyone."""
    return proxy(f"* {echo.address}", listener={"proxy_protocol": "required"})


@pytest.fixture
def mixed(proxy, echo):
    return proxy(f"* {echo.address}", listener={"proxy_protocol": "mixed", "proxy_trusted": TRUSTED})


def text_of(address):
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def expect_echo(s, data):
    """Exactly these bytes come back: the backend got them and nothing before them."""
    assert clients.read_exactly(s, len(data)) == data


def wait_taken(s):
    """Until the kernel at the other end has all that was sent."""
    wait_until(lambda: unsent_bytes(s) == 0, what="the bytes to be acknowledged")


# ---- whose address counts

@pytest.mark.parametrize("header, client", [
    (ph.v1(ph.SOURCE4, ph.DESTINATION4), "192.0.2.17:40001"),
    (ph.v1(ph.SOURCE6, ph.DESTINATION6), "[2001:db8::17]:40002"),
    (ph.v1(("::ffff:192.0.2.18", 1), ("::ffff:192.0.2.19", 2)), "192.0.2.18:1"),
    (ph.v1(("::", 0), ("::1", 65535)), "[::]:0"),
    (ph.v1(("0.0.0.0", 65535), ("255.255.255.255", 0)), "0.0.0.0:65535"),
    (ph.v2(ph.SOURCE4, ph.DESTINATION4), "192.0.2.17:40001"),
    (ph.v2(ph.SOURCE6, ph.DESTINATION6), "[2001:db8::17]:40002"),
    (ph.v2(("::ffff:192.0.2.18", 1), ("2001:db8::1", 2)), "192.0.2.18:1"),
    (ph.v2(ph.SOURCE4, ph.DESTINATION4, checksum=True), "192.0.2.17:40001"),
    (ph.v2(ph.SOURCE6, ph.DESTINATION6, [ph.tlv(ph.TLV_ALPN, b"h2"), ph.tlv(ph.TLV_AUTHORITY, b"other.example.com"),
                                         ph.tlv(0xEA, b""), ph.tlv(0x20, os.urandom(300))], checksum=True),
     "[2001:db8::17]:40002"),
    (ph.of_size(ph.V2_MAX), "192.0.2.17:40001"),
    (ph.with_checksum(ph.of_size(ph.V2_MAX - 7)), "192.0.2.17:40001"),
], ids=["v1_ipv4", "v1_ipv6", "v1_mapped", "v1_least", "v1_most", "v2_ipv4", "v2_ipv6", "v2_mapped", "v2_checksum",
        "v2_tlvs", "v2_of_4096", "v2_of_4096_with_checksum"])
def test_access_line_has_the_announced_client(required, header, client):
    with clients.connect(required.port) as s:
        s.sendall(header + HELLO)
        expect_echo(s, HELLO)
    line = required.wait_for_access()
    assert line["client"] == client
    assert (line["bytes_in"], line["bytes_out"]) == (str(len(HELLO)), str(len(HELLO))), "without the header"


def test_header_without_addresses_leaves_the_peers(required):
    for kind, header in ph.standing_for_the_peer().items():
        with clients.connect(required.port, source=STRANGER) as s:
            s.sendall(header + HELLO + EXTRA)
            assert clients.read_exactly(s, len(HELLO + EXTRA)) == HELLO + EXTRA, kind
            peer = text_of(s.getsockname())
        assert required.wait_for_access(client=peer)["bytes_in"] == str(len(HELLO + EXTRA)), kind


def test_peer_of_a_dual_stack_listener_is_trusted_by_its_ipv4_address(new_daemon, echo):
    listener = Listener(host="", routes=[f"* {echo.address}"],
                        options={"proxy_protocol": "required", "proxy_trusted": f"{TRUSTED}, ::1"})
    daemon = new_daemon([listener]).start()
    for host, source in (("127.0.0.1", TRUSTED), ("::1", None)):
        with clients.connect(daemon.port, host, source=source) as s:
            s.sendall(ph.v1(ph.SOURCE4, ph.DESTINATION4) + HELLO)
            expect_echo(s, HELLO)
    clients.expect_refused_entry(daemon.port, source=STRANGER)
    daemon.wait_for_access(client="192.0.2.17:40001", count=2)
    daemon.wait_for_access(reason="proxy_untrusted")


# ---- exactly the header's bytes

HEADERS = {
    "v1_ipv4": ph.v1(ph.SOURCE4, ph.DESTINATION4),
    "v1_ipv6": ph.v1(ph.SOURCE6, ph.DESTINATION6),
    "v1_unknown": b"PROXY UNKNOWN some words\r\n",
    "v2_ipv4": ph.v2(ph.SOURCE4, ph.DESTINATION4),
    "v2_ipv6_with_tlvs": ph.v2(ph.SOURCE6, ph.DESTINATION6, [ph.tlv(ph.TLV_ALPN, b"h2"), ph.tlv(ph.TLV_NOOP, b"")],
                               checksum=True),
    "v2_local": ph.local(),
}


@pytest.mark.parametrize("kind", list(HEADERS))
def test_header_cut_at_every_byte(required, kind):
    """One connection per cut, all open at once; with the first part there is nothing to decide yet."""
    header = HEADERS[kind]
    pairs = []
    for cut in range(1, len(header) + 1):
        s = clients.connect(required.port)
        s.sendall(header[:cut])
        pairs.append((cut, s))
    for _, s in pairs:
        wait_taken(s)
    time.sleep(0.05)  # and the worker has read what there is
    for cut, s in pairs:
        s.sendall(header[cut:] + HELLO)
    for _, s in pairs:
        expect_echo(s, HELLO)
        s.sendall(EXTRA)
        expect_echo(s, EXTRA)
        s.close()
    required.wait_for_access(count=len(pairs), bytes_in=len(HELLO + EXTRA))


@pytest.mark.parametrize("kind", ["v1_ipv6", "v2_ipv6_with_tlvs"])
def test_hello_behind_the_header_cut_at_many_bytes(required, kind):
    """The first part has the whole header and some of the hello."""
    header = HEADERS[kind]
    cuts = [*range(1, 12), *range(12, len(HELLO), 17), len(HELLO) - 1]
    open_ones = []
    for cut in cuts:
        s = clients.connect(required.port)
        s.sendall(header + HELLO[:cut])
        open_ones.append(s)
    for s in open_ones:
        wait_taken(s)
    time.sleep(0.05)
    for cut, s in zip(cuts, open_ones):
        s.sendall(HELLO[cut:])
    for s in open_ones:
        expect_echo(s, HELLO)
        s.close()
    required.wait_for_access(count=len(cuts), bytes_in=len(HELLO))


@pytest.mark.parametrize("kind", ["v1_ipv4", "v2_ipv6_with_tlvs"])
def test_header_and_hello_in_pieces_of_one_byte(required, kind):
    header, short = HEADERS[kind], hello.records(hello.message(alpn=()))
    with clients.connect(required.port) as s:
        clients.send_segments(s, header + short, *range(1, len(header + short)))
        expect_echo(s, short)
    assert required.wait_for_access()["bytes_in"] == str(len(short))


@pytest.mark.parametrize("size", [1024, 2048, ph.V2_MAX])
def test_long_header_and_a_hello_of_the_largest_size_in_uneven_pieces(required, size):
    big = hello.hello_of_wire_size(hello.HELLO_WIRE_MAX)
    data = ph.of_size(size) + big
    with clients.connect(required.port) as s:
        clients.send_segments(s, data, 15, 1000, size - 1, size + 3, size + 5000, size + 16384, size + 40000, len(data) - 1)
        expect_echo(s, big)
    assert required.wait_for_access()["bytes_in"] == str(len(big))


def test_second_header_belongs_to_the_client_and_is_no_hello(required):
    header = ph.v2(ph.SOURCE4, ph.DESTINATION4)
    clients.expect_reset(clients.connect(required.port), header + header + HELLO)
    line = required.wait_for_access()
    assert (line["reason"], line["client"]) == ("hello_malformed", "192.0.2.17:40001")


def test_much_data_right_behind_header_and_hello(required):
    data = os.urandom(300_000)
    with clients.connect(required.port) as s:
        s.sendall(ph.of_size(700) + HELLO + data)
        expect_echo(s, HELLO + data)
    assert required.wait_for_access()["bytes_in"] == str(len(HELLO + data))


# ---- malformed

@pytest.mark.parametrize("version", ["v1", "v2"])
def test_malformed_header_is_a_reset(required, echo, version):
    """Without a byte and at once, whether a hello follows or nothing; and no backend hears of it."""
    headers = ph.malformed_v1() if version == "v1" else ph.malformed_v2()
    wrong = {}
    for kind, header in headers.items():
        for behind in (HELLO, b""):
            try:
                clients.expect_reset(clients.connect(required.port, timeout=5), header + behind)
            except (AssertionError, OSError) as error:
                wrong[kind] = repr(error)
    assert not wrong
    required.wait_for_access(count=2 * len(headers))
    lines = required.access_lines()
    assert {(line["reason"], line["bytes_out"]) for line in lines} == {("proxy_malformed", "0")}
    assert all(line["client"].startswith("127.0.0.1:") for line in lines), "what a wrong header says counts for nothing"
    sent = {str(len(header + behind)) for header in headers.values() for behind in (HELLO, b"")}
    assert {line["bytes_in"] for line in lines} <= sent, "what is no header is the peer's own"
    assert echo.connections == 0


@pytest.mark.parametrize("first", [HELLO, b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n", b"\0", b"\n", b"\x16"],
                         ids=["hello", "http", "ssh", "nul", "line_feed", "one_byte_of_a_hello"])
def test_connection_without_header_is_a_reset(required, echo, first):
    """No guessing whether there is one."""
    clients.expect_reset(clients.connect(required.port, timeout=5), first)
    assert required.wait_for_access()["reason"] == "proxy_malformed"
    assert echo.connections == 0


@pytest.mark.parametrize("header", [ph.v1(ph.SOURCE4, ph.DESTINATION4), ph.v2(ph.SOURCE6, ph.DESTINATION6)], ids=["v1", "v2"])
def test_flipped_bits_never_stop_the_proxy(required, header):
    """Every flipped bit is either another valid header or a reset; never silence, never a byte in answer but the echo."""
    open_ones = []
    for at in range(len(header)):
        for bit in (0, 3, 7):
            s = clients.connect(required.port, timeout=5)
            s.sendall(header[:at] + bytes([header[at] ^ 1 << bit]) + header[at + 1:] + HELLO)
            open_ones.append(s)
    for s in open_ones:
        try:
            s.shutdown(1)  # a length that has grown waits for bytes that never come
            assert clients.read_all(s) in (HELLO, b"")
        except OSError:
            pass
        s.close()
    with clients.connect(required.port) as s:
        s.sendall(header + HELLO)
        expect_echo(s, HELLO)
    required.wait_for_access(count=len(open_ones) + 1)
    assert {line["reason"] for line in required.access_lines()} <= {
        "finished", "proxy_malformed", "hello_malformed", "hello_eof", "client_reset", "backend_reset"}


def test_end_of_stream_within_the_header(required):
    for header in HEADERS.values():
        with clients.connect(required.port) as s:
            s.sendall(header[:-1])
            s.shutdown(1)
            with pytest.raises(ConnectionResetError):
                assert s.recv(1) != b"", "a FIN and no reset"
    required.wait_for_access(count=len(HEADERS), reason="proxy_malformed", detail="ended before the header was complete")


# ---- late

def expect_reset_between(s, begun, low, high):
    """To be tried more than once where there is a most: everybody may have to wait for a processor."""
    try:
        assert not s.recv(1), "a byte"
        raise AssertionError("a FIN and no reset")
    except ConnectionResetError:
        pass
    assert low < time.monotonic() - begun < high


@pytest.fixture
def impatient(proxy, echo):
    return proxy(f"* {echo.address}", listener={"proxy_protocol": "required"}, proxy={"hello_timeout": "1s"})


TRIES = 5


@pytest.mark.measures
def test_no_header_is_a_reset_after_hello_timeout(impatient):
    def attempt():
        begun = time.monotonic()
        with clients.connect(impatient.port) as s:
            expect_reset_between(s, begun, 0.9, 1.6)

    in_one_of(TRIES, attempt)
    assert impatient.wait_for_access()["reason"] == "proxy_timeout"


@pytest.mark.measures
def test_header_that_trickles_in_does_not_extend_hello_timeout(impatient):
    header = ph.of_size(ph.V2_MAX)

    def attempt():
        begun = time.monotonic()
        with clients.connect(impatient.port) as s:
            for at in range(12):
                s.sendall(header[at:at + 1])
                time.sleep(0.07)
            expect_reset_between(s, begun, 0.9, 1.6)

    in_one_of(TRIES, attempt)
    assert impatient.wait_for_access()["reason"] == "proxy_timeout"


@pytest.mark.measures
@pytest.mark.parametrize("behind", [b"", HELLO[:50]], ids=["nothing", "half_a_hello"])
def test_header_and_hello_share_hello_timeout(impatient, behind):
    """The time runs from accept, not from the header, which comes at 60 % of it."""
    def attempt():
        begun = time.monotonic()
        with clients.connect(impatient.port) as s:
            time.sleep(0.6)
            s.sendall(ph.v2(ph.SOURCE4, ph.DESTINATION4) + behind)
            expect_reset_between(s, begun, 0.9, 1.6)

    in_one_of(TRIES, attempt)
    impatient.wait_for_access(reason="hello_timeout", client="192.0.2.17:40001")


@pytest.mark.measures
def test_hello_just_in_time_behind_a_late_header(impatient):
    def attempt():
        with clients.connect(impatient.port) as s:
            time.sleep(0.5)
            s.sendall(ph.v1(ph.SOURCE4, ph.DESTINATION4))
            time.sleep(0.25)
            s.sendall(HELLO)
            expect_echo(s, HELLO)
            time.sleep(0.5)  # beyond hello_timeout: nothing is left of it
            s.sendall(EXTRA)
            expect_echo(s, EXTRA)

    in_one_of(TRIES, attempt)


# ---- from whom

@pytest.fixture
def guarded(proxy, echo):
    return proxy(f"* {echo.address}", listener={"proxy_protocol": "required", "proxy_trusted": f"{TRUSTED}, 10.0.0.0/8"})


def test_required_resets_strangers_before_they_say_anything(guarded, echo):
    clients.expect_refused_entry(guarded.port, source=STRANGER, timeout=5)
    line = guarded.wait_for_access()
    assert (line["reason"], line["bytes_in"]) == ("proxy_untrusted", "0")
    assert line["client"].startswith(STRANGER + ":")
    assert echo.connections == 0


def test_required_reads_no_byte_of_strangers(guarded, echo):
    for _ in range(5):
        clients.expect_refused_entry(guarded.port, ph.v1((TRUSTED, 1), (TRUSTED, 2)) + HELLO, source=STRANGER)
    guarded.wait_for_access(count=5, reason="proxy_untrusted", bytes_in=0)
    assert echo.connections == 0


def test_required_serves_the_trusted(guarded):
    with clients.connect(guarded.port, source=TRUSTED) as s:
        s.sendall(ph.v2(ph.SOURCE6, ph.DESTINATION6) + HELLO)
        expect_echo(s, HELLO)
    guarded.wait_for_access(client="[2001:db8::17]:40002", reason="finished")


def test_mixed_serves_strangers_without_header(mixed):
    with clients.connect(mixed.port, source=STRANGER) as s:
        s.sendall(HELLO)
        expect_echo(s, HELLO)
        peer = text_of(s.getsockname())
    mixed.wait_for_access(client=peer, reason="finished")


@pytest.mark.parametrize("header", [ph.v1(ph.SOURCE4, ph.DESTINATION4), ph.v2(ph.SOURCE4, ph.DESTINATION4), ph.local()],
                         ids=["v1", "v2", "local"])
def test_mixed_takes_a_strangers_header_for_what_it_is_then(mixed, echo, header):
    clients.expect_reset(clients.connect(mixed.port, source=STRANGER), header + HELLO)
    line = mixed.wait_for_access()
    assert line["reason"] == "hello_malformed"
    assert line["client"].startswith(STRANGER + ":"), "what it announced counts for nothing"
    assert echo.connections == 0


def test_mixed_wants_a_header_from_the_trusted(mixed, echo):
    clients.expect_reset(clients.connect(mixed.port, source=TRUSTED), HELLO)
    assert mixed.wait_for_access()["reason"] == "proxy_malformed"
    assert echo.connections == 0
    with clients.connect(mixed.port, source=TRUSTED) as s:
        s.sendall(ph.v1(ph.SOURCE4, ph.DESTINATION4) + HELLO)
        expect_echo(s, HELLO)
    mixed.wait_for_access(client="192.0.2.17:40001", reason="finished")


def test_off_takes_a_header_for_a_broken_hello(proxy, echo):
    daemon = proxy(f"* {echo.address}")
    for header in (ph.v1(ph.SOURCE4, ph.DESTINATION4), ph.v2(ph.SOURCE4, ph.DESTINATION4)):
        clients.expect_reset(clients.connect(daemon.port), header + HELLO)
    daemon.wait_for_access(count=2, reason="hello_malformed")
    assert echo.connections == 0
