"""A ClientHello finds its backend however it is cut; what is no ClientHello is reset and never takes the default route."""

import time

import pytest

from lib import clients, hello
from lib.backends import EchoBackend, HelloCheckBackend, unsent_bytes
from lib.config import config_text
from lib.reloads import Reloads
from lib.waiting import wait_until

NAME = b"www.example.com"
BATCH = 200


def _expect_all_same(port, plans):
    """
    plans: per connection the parts of one hello. All connections of a batch send their first parts, then all their second ones
    and so on, so that every part has long been read when the next one comes.
    """
    for start in range(0, len(plans), BATCH):
        batch = [(clients.connect(port, timeout=30), parts) for parts in plans[start:start + BATCH]]
        for n in range(max(len(parts) for _, parts in batch)):
            for s, parts in batch:
                if n < len(parts):
                    s.sendall(parts[n])
            time.sleep(0.02)
        for s, parts in batch:
            answer = clients.read_all(s)
            s.close()
            assert answer == b"same right", f"cut into {[len(p) for p in parts][:8]}: {answer!r}"


@pytest.fixture
def routed(proxy, backend):
    """routed(hellos): a daemon whose route for NAME leads to a backend that compares, and whose default route leads astray."""

    def start(hellos):
        right = backend(HelloCheckBackend, "right", hellos)
        wrong = backend(EchoBackend, greeting=b"default route")
        return proxy(f"{NAME.decode()} {right.address}", f"* {wrong.address}"), wrong

    return start


HELLOS = {"of_517_bytes": hello.message(NAME, size=517), "post_quantum": hello.message(NAME, post_quantum=True)}


@pytest.mark.parametrize("kind", HELLOS)
def test_cut_at_every_byte_into_two_segments(routed, kind):
    wire = hello.records(HELLOS[kind])
    daemon, _ = routed([wire])
    _expect_all_same(daemon.port, [(wire[:cut], wire[cut:]) for cut in range(1, len(wire))])


@pytest.mark.parametrize("kind", HELLOS)
def test_cut_at_every_byte_into_two_records(routed, kind):
    message = HELLOS[kind]
    wires = [hello.records(message, cut) for cut in range(1, len(message))]
    daemon, _ = routed(wires)
    _expect_all_same(daemon.port, [(wire,) for wire in wires])


def test_cut_into_records_and_segments_at_the_same_place(routed):
    message = HELLOS["of_517_bytes"]
    wires = [(hello.record(message[:cut]), hello.record(message[cut:])) for cut in range(1, len(message))]
    daemon, _ = routed([a + b for a, b in wires])
    _expect_all_same(daemon.port, wires)


@pytest.mark.parametrize("kind", HELLOS)
def test_in_single_bytes(routed, kind):
    wire = hello.records(HELLOS[kind])
    daemon, _ = routed([wire])
    with clients.connect(daemon.port) as s:
        clients.send_segments(s, wire, *range(1, len(wire)))
        assert clients.read_all(s) == b"same right"


def test_in_records_of_one_byte(routed):
    message = HELLOS["post_quantum"]
    wire = hello.records(message, *range(1, len(message)))
    daemon, _ = routed([wire])
    _expect_all_same(daemon.port, [(wire,)])


def test_hello_and_early_data_arrive_together(proxy, backend):
    echo = backend(EchoBackend)
    daemon = proxy(f"{NAME.decode()} {echo.address}")
    data = hello.client_hello(NAME) + hello.record(b"early data", kind=23) + b"anything"
    with clients.connect(daemon.port) as s:
        s.sendall(data)
        assert clients.read_exactly(s, len(data)) == data


@pytest.mark.parametrize("cuts", [(), (1, 5, 16389, 40000, 65535)])
def test_of_65536_bytes_is_taken(routed, cuts):
    wire = hello.hello_of_wire_size(hello.HELLO_WIRE_MAX, NAME)
    assert len(wire) == hello.HELLO_WIRE_MAX
    daemon, _ = routed([wire])
    with clients.connect(daemon.port) as s:
        clients.send_segments(s, wire, *cuts)
        assert clients.read_all(s) == b"same right"


MALFORMED = hello.malformed_hellos(NAME)


def test_everything_malformed_is_reset_and_never_takes_the_default_route(routed):
    daemon, wrong = routed([hello.client_hello(NAME)])
    for kind, wire in MALFORMED.items():
        try:
            clients.expect_reset(clients.connect(daemon.port), wire)
        except AssertionError as error:
            raise AssertionError(f"{kind}: {error}") from error
    wait_until(lambda: len(daemon.access_lines()) >= len(MALFORMED), what="a line for each")
    reasons = {line["reason"] for line in daemon.access_lines()}
    assert reasons <= {"hello_malformed", "hello_too_large"}, reasons
    assert wrong.connections == 0


def test_malformed_in_single_bytes_is_reset_too(routed):
    daemon, wrong = routed([hello.client_hello(NAME)])
    for kind in ("two_names", "name_with_nul", "empty_record_inside", "bytes_behind_message"):
        s = clients.connect(daemon.port)
        try:
            clients.send_segments(s, MALFORMED[kind], *range(1, len(MALFORMED[kind])))
        except (ConnectionResetError, BrokenPipeError):
            s.close()
            continue  # it did not take the last byte to know
        clients.expect_reset(s)
    assert wrong.connections == 0


def test_too_large_has_its_own_reason(routed):
    daemon, _ = routed([hello.client_hello(NAME)])
    clients.expect_reset(clients.connect(daemon.port), MALFORMED["one_byte_too_large"])
    assert daemon.wait_for_access()["reason"] == "hello_too_large"


@pytest.mark.parametrize("trickle", [False, True])
def test_incomplete_is_reset_when_hello_timeout_has_passed_and_bytes_do_not_extend_it(proxy, backend, trickle):
    wrong = backend(EchoBackend)
    daemon = proxy(f"* {wrong.address}", proxy={"hello_timeout": "700ms"})
    wire = hello.client_hello(NAME)
    begun = time.monotonic()
    s = clients.connect(daemon.port)
    try:
        for n in range(len(wire) - 1 if trickle else 1):
            s.sendall(wire[n:n + 1])
            time.sleep(0.05)
            assert time.monotonic() - begun < 15, "still open"  # all of it takes 26 s
    except (ConnectionResetError, BrokenPipeError):
        s.close()
    else:
        clients.expect_reset(s)
    assert time.monotonic() - begun > 0.6
    line = daemon.wait_for_access()
    assert line["reason"] == "hello_timeout" and int(line["duration_ms"]) < 7000, line
    assert wrong.connections == 0


@pytest.mark.parametrize("pieces", [1, 3, 4, 5, 9, 40])
def test_of_an_incomplete_hello_in_pieces_every_byte_is_counted(proxy, backend, pieces):
    """A hello in many pieces is not read while its record is incomplete; the access line knows of all of it nevertheless."""
    daemon = proxy(f"* {backend(EchoBackend).address}")
    wire = hello.hello_of_wire_size(3000, NAME)[:2000]
    s = clients.connect(daemon.port)
    clients.send_segments(s, wire, *range(12, 12 + pieces - 1))
    wait_until(lambda: unsent_bytes(s) == 0, what="all of it to be there")
    Reloads(daemon).reload(config_text(daemon.directory, daemon.listeners, proxy={"hello_timeout": "300ms"}))
    clients.expect_reset(s)
    line = daemon.wait_for_access()
    assert (line["reason"], line["bytes_in"]) == ("hello_timeout", "2000")


@pytest.mark.parametrize("size", [517, 3000, 40000])
def test_in_pieces_and_then_early_data_and_the_end(routed, size):
    """What waited for a record's end waits for nothing afterwards."""
    wire = hello.hello_of_wire_size(size, NAME)
    daemon, _ = routed([wire])
    with clients.connect(daemon.port) as s:
        clients.send_segments(s, wire, *range(5, 15), size // 2)
        assert clients.read_all(s) == b"same right"


def test_in_pieces_and_then_single_bytes_reach_the_backend(proxy, backend):
    daemon = proxy(f"{NAME.decode()} {backend(EchoBackend).address}")
    wire = hello.hello_of_wire_size(3000, NAME)
    with clients.connect(daemon.port) as s:
        clients.send_segments(s, wire, *range(5, 15))
        assert clients.read_exactly(s, len(wire)) == wire
        for _ in range(3):
            s.sendall(b"x")
            assert clients.read_exactly(s, 1) == b"x"


def test_end_of_file_within_a_hello_in_pieces(routed):
    daemon, wrong = routed([hello.client_hello(NAME)])
    with clients.connect(daemon.port) as s:
        clients.send_segments(s, hello.hello_of_wire_size(3000, NAME)[:1000], *range(5, 15))
        s.shutdown(1)
        try:
            assert clients.read_all(s) == b""
        except ConnectionResetError:
            pass
    line = daemon.wait_for_access()
    assert (line["reason"], line["bytes_in"]) == ("hello_eof", "1000")
    assert wrong.connections == 0


def test_end_of_file_within_the_hello_is_no_hello(routed):
    daemon, wrong = routed([hello.client_hello(NAME)])
    with clients.connect(daemon.port) as s:
        s.sendall(hello.client_hello(NAME)[:100])
        s.shutdown(1)
        try:
            assert clients.read_all(s) == b""
        except ConnectionResetError:
            pass
    assert daemon.wait_for_access()["reason"] == "hello_eof"
    assert wrong.connections == 0
