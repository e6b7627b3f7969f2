"""PROXY protocol headers, versions 1 and 2 (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt), right and wrong."""

import socket
import struct

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
LOCAL, PROXY = 0, 1
UNSPEC, INET, INET6, UNIX = 0, 1, 2, 3
ANY, STREAM, DGRAM = 0, 1, 2
TLV_ALPN, TLV_AUTHORITY, TLV_CRC32C, TLV_NOOP, TLV_UNIQUE_ID = 0x01, 0x02, 0x03, 0x04, 0x05
V2_MAX = 4096

SOURCE4, DESTINATION4 = ("192.0.2.17", 40001), ("198.51.100.9", 443)
SOURCE6, DESTINATION6 = ("2001:db8::17", 40002), ("2001:db8:1::9", 8443)


def _crc32c_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_CRC32C = _crc32c_table()


def crc32c(data):
    """RFC 3720, appendix B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC32C[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


# ---- version 1

def v1(source, destination):
    """Of two (address, port); the family is the source's."""
    family = "TCP6" if ":" in source[0] else "TCP4"
    return f"PROXY {family} {source[0]} {destination[0]} {source[1]} {destination[1]}\r\n".encode()


# ---- version 2

def tlv(kind, value):
    return struct.pack("!BH", kind, len(value)) + value


def addresses(source, destination):
    """(family, block) of two (address, port), both IPv4 or at least one IPv6: then IPv4 goes as IPv4-mapped."""
    family = INET6 if ":" in source[0] + destination[0] else INET

    def packed(text):
        if family == INET:
            return socket.inet_pton(socket.AF_INET, text)
        return socket.inet_pton(socket.AF_INET6, text if ":" in text else "::ffff:" + text)

    return family, packed(source[0]) + packed(destination[0]) + struct.pack("!HH", source[1], destination[1])


def v2_raw(command, family, transport, body=b"", version=2, length=None):
    """Field by field, unchecked; length None: the body's."""
    return SIGNATURE + struct.pack("!BBH", version << 4 | command, family << 4 | transport,
                                   len(body) if length is None else length) + body


def v2(source, destination, tlvs=(), checksum=False):
    """A header that announces a TCP connection. tlvs as bytes; checksum: a right CRC32C behind them."""
    family, block = addresses(source, destination)
    header = v2_raw(PROXY, family, STREAM, block + b"".join(tlvs))
    return with_checksum(header) if checksum else header


def local(body=b""):
    return v2_raw(LOCAL, UNSPEC, ANY, body)


def with_checksum(header, error=0):
    """The header with a CRC32C TLV at its end; error: bits that are wrong in it."""
    body = header[16:] + tlv(TLV_CRC32C, b"\0" * 4)
    header = header[:14] + struct.pack("!H", len(body)) + body
    return header[:-4] + struct.pack("!I", crc32c(header) ^ error)


def of_size(size, source=SOURCE4, destination=DESTINATION4):
    """A v2 header of exactly this many bytes, filled up with NOOP TLVs."""
    room = size - len(v2(source, destination)) - 3
    assert room >= 0
    return v2(source, destination, [tlv(TLV_NOOP, b"\0" * room)])


def read(recv_exactly):
    """Read a v2 header by recv_exactly(n) and not one byte more; returns (command, family, source, destination, whole header)."""
    head = recv_exactly(16)
    assert head[:12] == SIGNATURE and head[12] >> 4 == 2, head
    body = recv_exactly(struct.unpack("!H", head[14:])[0])
    family, width = head[13] >> 4, {INET: 4, INET6: 16}.get(head[13] >> 4, 0)
    if not width:
        return head[12] & 15, family, None, None, head + body
    af = socket.AF_INET if family == INET else socket.AF_INET6
    ports = struct.unpack("!HH", body[2 * width:2 * width + 4])
    source = socket.inet_ntop(af, body[:width]), ports[0]
    destination = socket.inet_ntop(af, body[width:2 * width]), ports[1]
    return head[12] & 15, family, source, destination, head + body


# ---- what must be refused

def _v1_line(*fields, end="\r\n"):
    return (" ".join(fields) + end).encode("latin-1")


def malformed_v1():
    """Everything that begins like v1 and is none, by what is wrong with it."""
    good = ["PROXY", "TCP4", "192.0.2.1", "192.0.2.2", "1000", "443"]

    def line(**changes):
        names = ["word", "family", "source", "destination", "sport", "dport"]
        return _v1_line(*[changes.get(name, value) for name, value in zip(names, good)])

    return {
        "no_header_but_p": b"POST / HTTP/1.1\r\n\r\n",
        "lower_case": line(word="proxy"),
        "lower_case_family": line(family="tcp4"),
        "leading_blank": b" " + line(),
        "two_blanks": line(word="PROXY "),
        "two_blanks_between_addresses": line(source="192.0.2.1 "),
        "tab": line().replace(b"TCP4 ", b"TCP4\t"),
        "line_feed_only": _v1_line(*good, end="\n"),
        "carriage_return_only": _v1_line(*good, end="\rX"),
        "blank_before_line_end": _v1_line(*good, end=" \r\n"),
        "one_field_more": _v1_line(*good, "1\r\n"),
        "no_ports": _v1_line(*good[:4]),
        "no_destination_port": _v1_line(*good[:5]),
        "no_addresses": _v1_line(*good[:2]),
        "no_family": b"PROXY\r\n",
        "empty_family": line(family=""),
        "family_tcp": line(family="TCP"),
        "family_tcp5": line(family="TCP5"),
        "family_udp4": line(family="UDP4"),
        "family_unix": line(family="UNIX"),
        "unknown_glued": b"PROXY UNKNOWNX\r\n",
        "unknown_line_feed": b"PROXY UNKNOWN\n",
        "unknown_too_long": b"PROXY UNKNOWN " + b"x" * (108 - 14 - 2) + b"\r\n",
        "unknown_without_end": b"PROXY UNKNOWN " + b"x" * 200,
        "ipv6_in_tcp4": line(source="2001:db8::1"),
        "ipv4_in_tcp6": line(family="TCP6"),
        "ipv4_destination_in_tcp6": line(family="TCP6", source="2001:db8::1"),
        "octet_256": line(source="192.0.2.256"),
        "three_octets": line(source="192.0.2"),
        "five_octets": line(source="192.0.2.1.1"),
        "octet_with_leading_zero": line(source="192.0.02.1"),
        "octet_hexadecimal": line(source="0xc0.0.2.1"),
        "address_negative": line(source="-1.0.2.1"),
        "address_is_a_name": line(source="localhost"),
        "address_with_nul": line(source="192.0.2.1\0"),
        "ipv6_in_brackets": line(family="TCP6", source="[2001:db8::1]", destination="2001:db8::2"),
        "ipv6_with_zone": line(family="TCP6", source="fe80::1%eth0", destination="2001:db8::2"),
        "ipv6_two_gaps": line(family="TCP6", source="2001::db8::1", destination="2001:db8::2"),
        "ipv6_nine_groups": line(family="TCP6", source="1:2:3:4:5:6:7:8:9", destination="2001:db8::2"),
        "ipv6_group_of_five": line(family="TCP6", source="2001:db8::12345", destination="2001:db8::2"),
        "port_65536": line(sport="65536"),
        "port_of_six_digits": line(dport="000443"),
        "port_with_leading_zero": line(dport="0443"),
        "port_negative": line(sport="-1"),
        "port_with_plus": line(sport="+1"),
        "port_hexadecimal": line(sport="0x10"),
        "port_empty": line(sport=""),
        "port_is_a_word": line(dport="https"),
    }


def malformed_v2():
    """Everything that begins like v2 and is none, by what is wrong with it."""
    family, block = addresses(SOURCE4, DESTINATION4)
    block6 = addresses(SOURCE6, DESTINATION6)[1]
    good = v2(SOURCE4, DESTINATION4)
    bad = {f"signature_byte_{i}": good[:i] + bytes([good[i] ^ 0x20]) + good[i + 1:] for i in range(1, 12)}
    bad.update({f"version_{n}": v2_raw(PROXY, family, STREAM, block, version=n) for n in (0, 1, 3, 15)})
    bad.update({f"command_{n}": v2_raw(n, family, STREAM, block) for n in (2, 3, 15)})
    bad.update({f"family_{n}": v2_raw(PROXY, n, STREAM, block) for n in (4, 5, 15)})
    bad.update({f"transport_{n}": v2_raw(PROXY, family, n, block) for n in (3, 4, 15)})
    bad.update({
        "one_line_more_than_v1": b"\r\n" + v1(SOURCE4, DESTINATION4),
        "ipv4_of_11": v2_raw(PROXY, INET, STREAM, block[:-1]),
        "ipv4_of_none": v2_raw(PROXY, INET, STREAM),
        "ipv6_of_35": v2_raw(PROXY, INET6, STREAM, block6[:-1]),
        "ipv6_with_ipv4_block": v2_raw(PROXY, INET6, STREAM, block),
        "unix_of_215": v2_raw(PROXY, UNIX, STREAM, b"x" * 215),
        "udp4_of_11": v2_raw(PROXY, INET, DGRAM, block[:-1]),
        "one_byte_too_long": of_size(V2_MAX + 1),
        "length_65535": v2_raw(PROXY, family, STREAM, block, length=65535),
        "local_too_long": local(b"\0" * (V2_MAX - 15)),
        "tlv_of_one_byte": v2(SOURCE4, DESTINATION4, [b"\4"]),
        "tlv_of_two_bytes": v2(SOURCE4, DESTINATION4, [b"\4\0"]),
        "tlv_overruns": v2(SOURCE4, DESTINATION4, [b"\4\0\1"]),
        "tlv_overruns_far": v2(SOURCE4, DESTINATION4, [b"\4\xff\xff" + b"\0" * 20]),
        "second_tlv_overruns": v2(SOURCE4, DESTINATION4, [tlv(TLV_NOOP, b"xy"), b"\4\0\2x"]),
        "checksum_of_3": v2(SOURCE4, DESTINATION4, [tlv(TLV_CRC32C, b"\0" * 3)]),
        "checksum_of_5": v2(SOURCE4, DESTINATION4, [tlv(TLV_CRC32C, b"\0" * 5)]),
        "checksum_twice": with_checksum(v2(SOURCE4, DESTINATION4, checksum=True)),
        "checksum_wrong_first_bit": with_checksum(good, 0x80000000),
        "checksum_wrong_last_bit": with_checksum(good, 1),
        "checksum_zero": v2(SOURCE4, DESTINATION4, [tlv(TLV_CRC32C, b"\0" * 4)]),
        "checksum_wrong_of_ipv6": with_checksum(v2(SOURCE6, DESTINATION6), 0x10),
        "checksum_wrong_of_local": with_checksum(local(), 1),
        "checksum_wrong_of_udp": with_checksum(v2_raw(PROXY, INET, DGRAM, block), 1),
        "checksum_of_other_bytes": _flip(with_checksum(v2(SOURCE4, DESTINATION4, [tlv(TLV_NOOP, b"abc")])), 31),
    })
    return bad


def _flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def standing_for_the_peer():
    """Valid headers that announce no TCP address: the peer's own stands."""
    block4, block6 = addresses(SOURCE4, DESTINATION4)[1], addresses(SOURCE6, DESTINATION6)[1]
    return {
        "v1_unknown": b"PROXY UNKNOWN\r\n",
        "v1_unknown_with_addresses": b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n",
        "v1_unknown_longest": b"PROXY UNKNOWN " + b"f" * (107 - 14 - 2) + b"\r\n",
        "local": local(),
        "local_with_ipv4": v2_raw(LOCAL, INET, STREAM, block4),
        "local_with_ipv6": v2_raw(LOCAL, INET6, STREAM, block6),
        "local_with_unknown_family": v2_raw(LOCAL, 15, 15, b"anything"),
        "local_with_tlv": local(tlv(TLV_NOOP, b"xyz")),
        "local_with_checksum": with_checksum(local()),
        "unspec": v2_raw(PROXY, UNSPEC, ANY),
        "unspec_with_bytes": v2_raw(PROXY, UNSPEC, ANY, b"\1\2\3"),
        "unspec_with_checksum": with_checksum(v2_raw(PROXY, UNSPEC, ANY)),
        "udp4": v2_raw(PROXY, INET, DGRAM, block4),
        "udp6": v2_raw(PROXY, INET6, DGRAM, block6),
        "udp6_with_checksum": with_checksum(v2_raw(PROXY, INET6, DGRAM, block6)),
        "unix_stream": v2_raw(PROXY, UNIX, STREAM, b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")),
        "unix_datagram": v2_raw(PROXY, UNIX, DGRAM, b"\0" * 216),
    }
