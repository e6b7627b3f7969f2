"""A stand-in for systemd: the socket that sd_notify(3) talks to, the descriptor store behind it, and socket activation."""

import os
import socket
import struct
import threading
import time

from lib.waiting import wait_until


class Message(dict):
    """The KEY=value pairs of one datagram; who sent it, when, and with which descriptors (close them, or leave that to the end)."""

    def __init__(self, text, pid, fds):
        lines = text.decode("utf-8").split("\n")
        assert all("=" in line for line in lines if line), f"not KEY=value: {lines}"
        super().__init__(line.split("=", 1) for line in lines if line)
        self.pid = pid
        self.fds = fds
        self.time = time.monotonic()


class Manager:
    """
    Receives everything that is told to $NOTIFY_SOCKET, a path or (kind="abstract") an abstract name. `env` is for the daemon.
    Keeps the descriptors of FDSTORE=1 by name, as systemd's store does.
    """

    def __init__(self, directory, kind="path", watchdog_s=None):
        name = os.path.join(str(directory), "notify.sock") if kind == "path" else f"\0mc-proxy-test-{os.getpid()}-{id(self)}"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(name)
        self.env = {"NOTIFY_SOCKET": name.replace("\0", "@", 1)}
        if watchdog_s:
            self.env["WATCHDOG_USEC"] = str(int(watchdog_s * 1e6))
        self.main_pid = None
        self.store = []  # (name, fd), in the order of arrival; hand it to a daemon's `sockets` for a restart
        self._messages = []
        self._lock = threading.Lock()
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self):
        while True:
            try:
                text, ancillary, _, _ = self._socket.recvmsg(8192, socket.CMSG_SPACE(253 * 4) + socket.CMSG_SPACE(12))
            except OSError:
                return
            if not text:
                return
            pid, fds = None, []
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    fds += struct.unpack(f"{len(data) // 4}i", data[:len(data) // 4 * 4])
                elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    pid = struct.unpack("iII", data)[0]
            message = Message(text, pid, fds)
            with self._lock:
                self._apply(message)
                self._messages.append(message)

    def _apply(self, message):
        if "MAINPID" in message:
            self.main_pid = int(message["MAINPID"])
        if "FDSTOREREMOVE" in message:
            for _, fd in [kept for kept in self.store if kept[0] == message["FDNAME"]]:
                os.close(fd)
            self.store = [kept for kept in self.store if kept[0] != message["FDNAME"]]
        if "FDSTORE" in message:
            kept = {os.fstat(fd).st_ino for _, fd in self.store}
            for fd in message.fds:
                if os.fstat(fd).st_ino in kept:  # systemd drops what it has already, whatever it is called
                    os.close(fd)
                else:
                    self.store.append((message["FDNAME"], fd))
        elif message.fds:
            for fd in message.fds:
                os.close(fd)

    # ---- looking

    def messages(self, *keys, **wanted):
        """Those that have all these keys, with these values."""
        with self._lock:
            return [m for m in self._messages
                    if all(k in m for k in keys) and all(m.get(k) == str(v) for k, v in wanted.items())]

    def wait_for(self, *keys, count=1, timeout=15, **wanted):
        """Waits for `count` such messages; returns the last."""
        wait_until(lambda: len(self.messages(*keys, **wanted)) >= count, timeout, f"{count} message(s) with {keys} {wanted}")
        return self.messages(*keys, **wanted)[-1]

    def status(self):
        """The latest."""
        said = self.messages("STATUS")
        return said[-1]["STATUS"] if said else None

    def stored_names(self):
        with self._lock:
            return sorted(name for name, _ in self.store)

    def close(self):
        if self._socket.fileno() >= 0:
            self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        with self._lock:
            for _, fd in self.store:
                os.close(fd)
            self.store = []
