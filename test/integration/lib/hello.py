"""ClientHellos as bytes, whole or cut (RFC 8446 4.1.2, RFC 6066 3), right and wrong."""

import os
import struct

RECORD_MAX = 16384
HELLO_WIRE_MAX = 65536


def _vector8(data):
    return struct.pack("!B", len(data)) + data


def _vector16(data):
    return struct.pack("!H", len(data)) + data


def extension(kind, body):
    return struct.pack("!H", kind) + _vector16(body)


def server_name(name):
    """A server_name extension with one host name; name as bytes, unchecked."""
    return extension(0, _vector16(b"\0" + _vector16(name)))


def _key_share(post_quantum):
    shares = struct.pack("!H", 0x001D) + _vector16(os.urandom(32))
    if post_quantum:  # X25519MLKEM768: 1184 bytes of ML-KEM and 32 of X25519
        shares = struct.pack("!H", 0x11EC) + _vector16(os.urandom(1216)) + shares
    return extension(51, _vector16(shares))


def _standard_extensions(alpn, post_quantum):
    groups = b"\x11\xec\x00\x1d\x00\x17" if post_quantum else b"\x00\x1d\x00\x17"
    exts = [extension(23, b""), extension(0xFF01, b"\0"), extension(10, _vector16(groups)), extension(11, b"\x01\x00"),
            extension(13, _vector16(b"\x04\x03\x08\x04\x04\x01")), extension(43, b"\x04\x03\x04\x03\x03"),
            extension(45, b"\x01\x01"), _key_share(post_quantum)]
    if alpn:
        exts.append(extension(16, _vector16(b"".join(_vector8(p) for p in alpn))))
    return exts


def message(name=b"www.example.com", alpn=(b"h2", b"http/1.1"), post_quantum=False, extra=(), size=None, session_id=None):
    """
    A ClientHello handshake message. name None: no server_name. extra: further extensions as bytes. size: padded (RFC 7685) so
    that the message in one record takes this many bytes on the wire; several records take five more each.
    """
    exts = ([server_name(name)] if name is not None else []) + _standard_extensions(alpn, post_quantum) + list(extra)

    session = os.urandom(32) if session_id is None else session_id

    def build(extensions):
        body = (b"\x03\x03" + os.urandom(32) + _vector8(session) + _vector16(b"\x13\x01\x13\x02\xc0\x2b")
                + _vector8(b"\0") + _vector16(b"".join(extensions)))
        return handshake(body)

    if size is not None:
        room = size - 5 - len(build(exts)) - 4
        assert room >= 0, f"{size} bytes are too few"
        exts.append(extension(21, b"\0" * room))
    return build(exts)


def handshake(body, kind=1):
    return struct.pack("!B", kind) + struct.pack("!I", len(body))[1:] + body


RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")  # RFC 8446 4.1.3
X25519 = 0x001D


def server_hello(group=X25519, random=None):
    """A ServerHello of TLS 1.3, in one record."""
    extensions = extension(43, b"\x03\x04") + extension(51, struct.pack("!H", group) + _vector16(os.urandom(32)))
    body = (b"\x03\x03" + (random or os.urandom(32)) + _vector8(os.urandom(32)) + b"\x13\x01\x00" + _vector16(extensions))
    return record(handshake(body, kind=2), version=b"\x03\x03")


def record(data, kind=22, version=b"\x03\x01"):
    return struct.pack("!B", kind) + version + _vector16(data)


def records(msg, *cuts):
    """The message in records, cut at these positions (none: as few records as possible)."""
    if not cuts:
        cuts = range(RECORD_MAX, len(msg), RECORD_MAX)
    ends = [0, *cuts, len(msg)]
    return b"".join(record(msg[a:b]) for a, b in zip(ends, ends[1:]))


def client_hello(name=b"www.example.com", **kwargs):
    """A ClientHello on the wire, in as few records as possible."""
    return records(message(name, **kwargs))


def hello_of_wire_size(size, name=b"www.example.com"):
    """A valid hello that takes exactly size bytes, record headers included."""
    headers = -(-size // (RECORD_MAX + 5))
    return records(message(name, size=size - 5 * (headers - 1)))


def malformed_hellos(name=b"www.example.com"):
    """Everything that must be reset and never routed, by what is wrong with it."""
    good = message(name)
    wire = records(good)
    body = good[4:]
    two_names = extension(0, _vector16(b"\0" + _vector16(name) + b"\0" + _vector16(b"other.example.com")))
    return {
        "http": b"GET / HTTP/1.1\r\nHost: www.example.com\r\n\r\n",
        "ssh": b"SSH-2.0-OpenSSH_9.2\r\n",
        "zeros": b"\0" * 600,
        "sslv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\x01\x00\x80" * 7 + os.urandom(16),
        "alert_record": record(b"\x02\x28", kind=21),
        "application_data_record": record(good, kind=23),
        "change_cipher_spec_first": record(b"\x01", kind=20) + wire,
        "empty_record": record(b"") + wire,
        "empty_record_inside": record(good[:50]) + record(b"") + record(good[50:]),
        "record_too_long": b"\x16\x03\x01" + struct.pack("!H", RECORD_MAX + 1) + b"\x01" * (RECORD_MAX + 1),
        "record_version_not_3": b"\x16\x02\x00" + wire[3:],
        "server_hello": record(handshake(body, kind=2)),
        "message_length_lies": record(b"\x01" + struct.pack("!I", len(body) - 1)[1:] + body),
        "bytes_behind_message": record(good + b"\0"),
        "other_record_inside": record(good[:50]) + record(b"\x02\x28", kind=21) + record(good[50:]),
        "session_id_too_long": record(message(name, session_id=b"s" * 33)),
        "two_names": record(_with_sni(two_names)),
        "two_server_name_extensions": record(message(name, extra=[server_name(name)])),
        "two_equal_other_extensions": record(message(name, extra=[extension(23, b"")])),
        "empty_name": record(_with_sni(server_name(b""))),
        "empty_name_list": record(_with_sni(extension(0, _vector16(b"")))),
        "server_name_of_no_bytes": record(_with_sni(extension(0, b""))),
        "name_with_nul": record(message(b"www.example.com\0.evil.org")),
        "name_with_blank": record(message(b"www example.com")),
        "name_with_slash": record(message(b"www.example.com/x")),
        "name_with_8_bits": record(message(b"www.ex\xe4mple.com")),
        "name_with_empty_label": record(message(b"www..example.com")),
        "name_begins_with_dot": record(message(b".www.example.com")),
        "name_of_two_trailing_dots": record(message(b"www.example.com..")),
        "label_of_64": record(message(b"a" * 64 + b".example.com")),
        "name_of_254": record(message(b".".join([b"a" * 49] * 5) + b".abcd")),
        "wildcard_as_name": record(message(b"*.example.com")),
        "sni_length_lies": record(_with_sni(extension(0, struct.pack("!H", 40) + b"\0" + _vector16(name)))),
        "extension_runs_over": record(_last_extension_runs_over()),
        "extension_runs_over_the_name": record(handshake(body[:-1])),
        "one_byte_too_large": hello_of_wire_size(HELLO_WIRE_MAX + 1, name),
        "far_too_large": records(handshake(b"\x03\x03" + b"\0" * 100000)),
    }


def _with_sni(ext):
    return message(None, extra=[ext])


def _last_extension_runs_over():
    """The last extension's length says one byte more than there is."""
    msg = message(None, extra=[extension(0x4242, b"xx")])
    return msg[:-3] + b"\x03" + msg[-2:]
