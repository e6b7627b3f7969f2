"""A journal of our own: takes entries as systemd's does, and starts a daemon that finds it where systemd's is."""

import contextlib
import os
import socket
import stat
import struct
import sys
import threading

import pytest

_CHILD = """#!{python}
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
def check(rc):
    if rc != 0:
        sys.exit("no mount namespace: " + os.strerror(ctypes.get_errno()))
check(libc.unshare(0x20000))  # CLONE_NEWNS
check(libc.mount(b"none", b"/", None, 0x44000, None))  # MS_REC | MS_PRIVATE
check(libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None))
os.mkdir("/run/systemd")
os.symlink({directory!r}, "/run/systemd/journal")
stream = socket.socket(socket.AF_UNIX)
stream.connect({directory!r} + "/stdout")
os.dup2(stream.fileno(), 2)
st = os.fstat(2)
os.environ["JOURNAL_STREAM"] = "%d:%d" % (st.st_dev, st.st_ino)
os.execv({binary!r}, [{binary!r}] + sys.argv[1:])
"""


def parse_entry(data):
    """{field: value} of a datagram, as bytes; both forms of a field. Anything else fails."""
    fields = {}
    while data:
        line, _, rest = data.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", rest)
            value, rest = rest[8:8 + size], rest[8 + size:]
            assert len(value) == size and rest[:1] == b"\n", data
            rest = rest[1:]
        assert name.decode("ascii") not in fields, data
        fields[name.decode("ascii")] = value.decode("utf-8", "backslashreplace")
        data = rest
    return fields


class FakeJournal:
    """entries: what came by the native protocol; text: what came on standard error."""

    def __init__(self, directory):
        if os.geteuid() != 0:
            pytest.skip("a mount namespace needs root")
        self.directory = os.fspath(directory)
        self.entries, self.text = [], []
        self.goes_on = threading.Event()
        self.goes_on.set()
        self._is_closed = False
        os.chmod(self.directory, 0o755)
        self._stream = socket.socket(socket.AF_UNIX)
        self._stream.bind(f"{self.directory}/stdout")
        self._stream.listen(5)
        self._datagrams = None
        self.appear()
        threading.Thread(target=self._accept, daemon=True).start()

    def appear(self):
        """The native socket, as after a start of the journal."""
        self._datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._datagrams.bind(f"{self.directory}/socket")
        threading.Thread(target=self._receive, args=(self._datagrams,), daemon=True).start()

    def vanish(self):
        os.unlink(f"{self.directory}/socket")
        self._datagrams.shutdown(socket.SHUT_RDWR)
        self._datagrams.close()

    def program(self, binary):
        """A program that starts this binary connected to this journal."""
        path = f"{self.directory}/start-{os.path.basename(binary)}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(_CHILD.format(python=sys.executable, directory=self.directory, binary=binary))
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def find(self, **wanted):
        return [entry for entry in list(self.entries) if all(entry.get(key) == value for key, value in wanted.items())]

    def _receive(self, datagrams):
        with contextlib.suppress(OSError):
            while not self._is_closed:
                data = datagrams.recv(1 << 20)
                if not data:
                    return
                self.goes_on.wait()
                self.entries.append(parse_entry(data))

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._stream.accept()
                threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection):
        with connection.makefile(encoding="utf-8", errors="backslashreplace") as lines:
            for line in lines:
                self.goes_on.wait()
                self.text.append(line.rstrip("\n"))

    def close(self):
        self._is_closed = True
        self.goes_on.set()
        for one in (self._stream, self._datagrams):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
