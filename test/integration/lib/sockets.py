"""TCP sockets of this host by sock_diag(7): unlike /proc/net/tcp it leaves out those that linger in TIME_WAIT, of which a test makes many."""

import dataclasses
import socket
import struct

SYN_SENT, LISTEN = 2, 10
_TIME_WAIT = 6
_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_NLM_F_REQUEST_DUMP = 0x301
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBB 2s2s 16s16s I 8s I I I I I")  # struct inet_diag_msg


@dataclasses.dataclass
class Socket:
    inode: int  # 0: nobody has accepted it yet
    local: int  # port
    remote: int
    state: int
    queued: int  # bytes to be read; of a listening one: connections to be accepted


def tcp(local_port=None, remote_port=None):
    """Those of IPv4 with these ports, but none in TIME_WAIT."""
    states = 0xfff & ~(1 << _TIME_WAIT)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as s:
        s.settimeout(10)
        body = struct.pack("=BBBB I 48x", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, states)
        s.send(_HEADER.pack(_HEADER.size + len(body), _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST_DUMP, 1, 0) + body)
        found = []
        while True:
            for kind, payload in _messages(s.recv(1 << 18)):
                if kind == _NLMSG_DONE:
                    return [one for one in found if local_port in (None, one.local) and remote_port in (None, one.remote)]
                if kind == _NLMSG_ERROR:
                    raise OSError(-struct.unpack_from("=i", payload)[0], "sock_diag")
                _, state, _, _, local, remote, _, _, _, _, _, received, _, _, inode = _MESSAGE.unpack_from(payload)
                found.append(Socket(inode, int.from_bytes(local), int.from_bytes(remote), state, received))


def is_accepted(s):
    """Has a process accepted the connection whose other end this connected socket is?"""
    port = s.getsockname()[1]
    return any(one.inode for one in tcp(s.getpeername()[1], port))


def _messages(data):
    at = 0
    while at < len(data):
        size, kind, _, _, _ = _HEADER.unpack_from(data, at)
        yield kind, data[at + _HEADER.size:at + size]
        at += (size + 3) & ~3
