#!/usr/bin/python3
"""Write a small GeoIP country database in the MaxMind DB format (version 2.0), or the hostile variants that a reader must survive.

    make_mmdb.py OUT.mmdb 192.0.2.0/24=KP 2001:db8::/32=DE        country.iso_code of these networks
    make_mmdb.py --ip-version 4 --record-size 24 OUT.mmdb ...     record sizes 24, 28, 32 bits
    make_mmdb.py --corpus FOLDER                                  the seed corpus of fuzz_geoip, good and hostile

Networks may lie inside each other: the longest counts. "NETWORK=" gives a network a record without a country, and
"NETWORK=XX/YY" one whose registered_country is YY. The same arguments give the same bytes.
"""

import argparse
import ipaddress
import os
import struct
import sys

MARKER = b"\xab\xcd\xefMaxMind.com"
POINTER, STRING, DOUBLE, BYTES, UINT16, UINT32, MAP, INT32, UINT64, UINT128, ARRAY, BOOL, FLOAT = (
    1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 14, 15)


def control(kind, size):
    """The control byte of a field and what follows it for its size."""
    extended = b"" if kind <= 7 else bytes([kind - 7])
    top = (kind if kind <= 7 else 0) << 5
    if size < 29:
        return bytes([top | size]) + extended
    if size < 285:
        return bytes([top | 29]) + extended + bytes([size - 29])
    if size < 65821:
        return bytes([top | 30]) + extended + struct.pack(">H", size - 285)
    return bytes([top | 31]) + extended + struct.pack(">I", size - 65821)[1:]


def uint(kind, value):
    data = value.to_bytes(16, "big").lstrip(b"\0")
    return control(kind, len(data)) + data


def pointer(offset):
    """The 32-bit form, which takes any offset."""
    return bytes([POINTER << 5 | 3 << 3]) + struct.pack(">I", offset)


class Typed:
    """Bytes that are encoded already."""

    def __init__(self, data):
        self.data = data


def encode(value):
    if isinstance(value, Typed):
        return value.data
    if isinstance(value, bool):
        return control(BOOL, int(value))
    if isinstance(value, str):
        data = value.encode()
        return control(STRING, len(data)) + data
    if isinstance(value, int):
        return uint(UINT32, value)
    if isinstance(value, (list, tuple)):
        return control(ARRAY, len(value)) + b"".join(encode(v) for v in value)
    if isinstance(value, dict):
        return control(MAP, len(value)) + b"".join(encode(k) + encode(v) for k, v in value.items())
    raise TypeError(value)


class Tree:
    """A binary trie; a record is None, a Tree, or an offset into the data section."""

    def __init__(self):
        self.records = [None, None]

    def insert(self, bits, length, offset):
        node = self
        for depth in range(length - 1):
            bit = bits >> (length - 1 - depth) & 1
            below = node.records[bit]
            if not isinstance(below, Tree):
                below_tree = Tree()
                below_tree.records = [below, below]
                node.records[bit] = below_tree
            node = node.records[bit]
        node.records[bits & 1] = offset

    def nodes(self):
        """All nodes in breadth, the root first."""
        found = [self]
        for node in found:
            found.extend(r for r in node.records if isinstance(r, Tree))
        return found


def pack_node(left, right, record_size):
    if record_size == 24:
        return left.to_bytes(3, "big") + right.to_bytes(3, "big")
    if record_size == 28:
        middle = left >> 24 << 4 | right >> 24
        return (left & 0xffffff).to_bytes(3, "big") + bytes([middle]) + (right & 0xffffff).to_bytes(3, "big")
    return left.to_bytes(4, "big") + right.to_bytes(4, "big")


def record_of(country):
    """The record of a network by the command line's spelling: KP, KP/US (registered in the US), /US, or flat:KP (country_code)."""
    if country.startswith("flat:"):
        return {"country_code": country.removeprefix("flat:")}
    own, _, registered = country.partition("/")
    record = {"continent": {"code": "EU", "names": {"en": "Somewhere"}}}
    if own:
        record["country"] = {"geoname_id": 1, "names": {"en": own, "de": own}, "iso_code": own}
    if registered:
        record["registered_country"] = {"iso_code": registered}
    return record


def build(networks, ip_version=6, record_size=28, metadata=None, tree_bytes=None, data_bytes=None):
    """The whole file. networks: (network, record) where a record is a dict, Typed bytes or an absolute data offset."""
    tree, data, offsets = Tree(), b"", {}
    for network, record in sorted(networks, key=lambda n: n[0].prefixlen + (96 if n[0].version == 4 else 0)):
        encoded = record if isinstance(record, int) else encode(record)
        if isinstance(encoded, bytes) and encoded not in offsets:
            offsets[encoded] = len(data)
            data += encoded
        offset = encoded if isinstance(encoded, int) else offsets[encoded]
        length = network.prefixlen + (96 if ip_version == 6 and network.version == 4 else 0)
        bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        if length == 0:
            tree.records = [offset, offset]
        else:
            tree.insert(bits, length, offset)
    nodes = tree.nodes()
    number = {id(node): i for i, node in enumerate(nodes)}

    def value(record):
        if record is None:
            return len(nodes)
        return number[id(record)] if isinstance(record, Tree) else len(nodes) + 16 + record

    packed = b"".join(pack_node(value(n.records[0]), value(n.records[1]), record_size) for n in nodes)
    about = {
        "node_count": len(nodes), "record_size": Typed(uint(UINT16, record_size)),
        "ip_version": Typed(uint(UINT16, ip_version)), "database_type": "Test-Country", "languages": ["en", "de"],
        "binary_format_major_version": Typed(uint(UINT16, 2)), "binary_format_minor_version": Typed(uint(UINT16, 0)),
        "build_epoch": Typed(uint(UINT64, 1700000000)), "description": {"en": "made by make_mmdb.py"},
    }
    about.update(metadata or {})
    about = {k: v for k, v in about.items() if v is not None}
    return ((packed if tree_bytes is None else tree_bytes) + b"\0" * 16 + (data if data_bytes is None else data_bytes)
            + MARKER + encode(about))


def parse_network(text):
    network, _, country = text.partition("=")
    return ipaddress.ip_network(network), record_of(country)


SMALL = ["192.0.2.0/24=KP", "192.0.2.128/25=DE", "198.51.100.7/32=US", "203.0.113.0/24=", "10.0.0.0/8=/FR"]
SMALL6 = SMALL + ["2001:db8::/32=IR", "2001:db8:1::/48=FR/US", "2001:db8:2::1/128=JP"]
FLAT = ["192.0.2.0/25=flat:KP", "192.0.2.128/25=flat:DE", "2001:db8::/32=flat:IR"]


def hostile():
    """Name -> bytes; each is wrong in one way."""
    small = [parse_network(n) for n in SMALL6]
    good = build(small)
    everything = ipaddress.ip_network("::/0")

    def one(record, **options):
        return build([(everything, record)], **options)

    def country(value):
        return one({"country": {"iso_code": value}})

    u16 = lambda v: Typed(uint(UINT16, v))
    nested = encode("x")
    for _ in range(2000):
        nested = control(ARRAY, 1) + nested
    return {
        "empty": b"",
        "marker_only": MARKER,
        "marker_ends_page": b"\0" * (4096 - len(MARKER)) + MARKER,
        "no_marker": good.replace(MARKER, b"no marker here"),
        "cut_metadata": good[:-20],
        "cut_front": good[100:],
        "two_markers": good + MARKER,
        "no_data": one(0, data_bytes=b""),
        "node_count_huge": build(small, metadata={"node_count": 0xffffffff}),
        "node_count_wraps": build(small, record_size=32, metadata={"node_count": (1 << 29) + 1}),  # 8 bytes in 32 bits
        "node_count_more": build(small, metadata={"node_count": len(good)}),
        "node_count_zero": build(small, metadata={"node_count": 0}),
        "node_count_string": build(small, metadata={"node_count": "12"}),
        "node_count_missing": build(small, metadata={"node_count": None}),
        "record_size_0": build(small, metadata={"record_size": u16(0)}),
        "record_size_25": build(small, metadata={"record_size": u16(25)}),
        "record_size_32_for_28": build(small, metadata={"record_size": u16(32)}),
        "record_size_24_for_28": build(small, metadata={"record_size": u16(24)}),
        "record_size_65535": build(small, metadata={"record_size": u16(65535)}),
        "ip_version_5": build(small, metadata={"ip_version": u16(5)}),
        "ip_version_4_for_6": build(small, metadata={"ip_version": u16(4)}),
        "format_3": build(small, metadata={"binary_format_major_version": u16(3)}),
        "metadata_array": good[:good.rindex(MARKER)] + MARKER + encode(["node_count"]),
        "metadata_pointer_to_itself": good[:good.rindex(MARKER)] + MARKER + pointer(0),
        "node_points_to_itself": build(small, record_size=24, tree_bytes=b"\0" * 6 * 300,
                                       metadata={"node_count": 300}),
        "record_beyond_data": one(1 << 20),
        "record_in_separator": build(small, record_size=24, metadata={"node_count": 1}, tree_bytes=b"\0\0\7\0\0\7"),
        "iso_code_number": country(7),
        "iso_code_map": country({"iso_code": "KP"}),
        "iso_code_empty": country(""),
        "iso_code_one": country("K"),
        "iso_code_three": country("PRK"),
        "iso_code_nul": country("\0\0"),
        "iso_code_longer_than_file": country(Typed(bytes([STRING << 5 | 31, 0xff, 0xff, 0xff]) + b"KP")),
        "country_string": one({"country": "KP"}),
        "country_pointer_to_itself": one({"country": Typed(pointer(9))}),
        "country_pointer_wraps": one({"country": Typed(pointer(0xffffffff))}),
        "record_before_no_data": build(small, record_size=24, tree_bytes=b"\0\0\2\0\0\x10", data_bytes=b"",
                                       metadata={"node_count": 1}),
        "country_pointer_beyond": one({"country": Typed(pointer(0x7fffffff))}),
        "key_number": one(Typed(control(MAP, 1) + uint(UINT32, 7) + encode("x"))),
        "map_of_millions": one(Typed(bytes([MAP << 5 | 31, 0xff, 0xff, 0xff]) + encode("a") + encode("b"))),
        "array_of_millions": one(Typed(control(MAP, 2) + encode("a") + bytes([31, ARRAY - 7, 0xff, 0xff, 0xff]))),
        "deep": one(Typed(control(MAP, 2) + encode("a") + nested + encode("country") + encode("KP"))),
        "unknown_type": one(Typed(control(MAP, 1) + encode("country") + b"\x00\xf8")),
    }


def write_corpus(folder):
    os.makedirs(folder, exist_ok=True)
    files = {f"bad_{name}": data for name, data in hostile().items()}
    for size in 24, 28, 32:
        files[f"country4_{size}"] = build([parse_network(n) for n in SMALL], 4, size)
        files[f"country6_{size}"] = build([parse_network(n) for n in SMALL6], 6, size)
        files[f"flat6_{size}"] = build([parse_network(n) for n in FLAT], 6, size)
    files["whole_world"] = build([parse_network("::/0=ZZ")])
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as out:
            out.write(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ip-version", type=int, choices=(4, 6), default=6)
    parser.add_argument("--record-size", type=int, choices=(24, 28, 32), default=28)
    parser.add_argument("--corpus", metavar="FOLDER")
    parser.add_argument("output", nargs="?")
    parser.add_argument("networks", nargs="*", metavar="NETWORK=COUNTRY")
    options = parser.parse_args()
    if options.corpus:
        write_corpus(options.corpus)
        return 0
    if not options.output:
        parser.error("an output file is needed")
    data = build([parse_network(n) for n in options.networks], options.ip_version, options.record_size)
    with open(options.output, "wb") as out:
        out.write(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
