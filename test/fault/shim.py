"""The runner's side of fault_control.h: the file that it shares with the processes under test."""

import ctypes
import errno
import mmap
import os
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "integration"))

from lib.daemon import BINARY  # noqa: E402

FRAMES, SITES_MAX = 48, 32768
MAGIC = 0x544C4146
OFF, RECORD, SITE, NTH, EVERY, SHORT = range(6)
MASTER, CHILD, WORKER = 1, 2, 4
ROLES = {MASTER: "master", CHILD: "child", WORKER: "worker"}
EVERYBODY = MASTER | CHILD | WORKER


class _Site(ctypes.Structure):
    _fields_ = [("key", ctypes.c_uint64), ("role", ctypes.c_uint32), ("call", ctypes.c_uint32), ("stage", ctypes.c_uint32),
                ("count", ctypes.c_uint32), ("frames", ctypes.c_uint64 * FRAMES)]


class _Control(ctypes.Structure):
    _fields_ = [("magic", ctypes.c_uint32), ("mode", ctypes.c_uint32), ("roles", ctypes.c_uint32), ("call", ctypes.c_uint32),
                ("site", ctypes.c_uint64), ("nth", ctypes.c_uint32), ("error", ctypes.c_int32), ("stage", ctypes.c_uint32),
                ("calls", ctypes.c_uint32), ("strikes", ctypes.c_uint32), ("lost", ctypes.c_uint32),
                ("sites", _Site * SITES_MAX)]


class _Call(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("may_be_interrupted", ctypes.c_bool), ("errors", ctypes.c_int * 6)]


class Calls:
    """The wrapped calls, read out of the library: names[i], errors[i] (names of errno values)."""

    def __init__(self, library):
        loaded = ctypes.CDLL(library)
        count = ctypes.c_uint.in_dll(loaded, "fault_call_count").value
        rows = (_Call * count).in_dll(loaded, "fault_calls")
        self.names = [row.name.decode() for row in rows]
        self.errors = [[errno.errorcode[e] for e in row.errors if e] for row in rows]


class Shim:
    """One control file, and how to start a daemon with it."""

    def __init__(self, library, path):
        self.library, self.path = library, path
        with open(path, "w+b") as f:
            f.truncate(ctypes.sizeof(_Control))
            self._map = mmap.mmap(f.fileno(), ctypes.sizeof(_Control))
        self.control = _Control.from_buffer(self._map)
        self.control.magic = MAGIC

    def environment(self):
        # The library stands before the sanitizer's: it must see each allocation first, and passes it on.
        return {"LD_PRELOAD": self.library, "MCFAULT_FILE": self.path,
                "LSAN_OPTIONS": f"suppressions={os.path.join(os.path.dirname(os.path.abspath(__file__)), 'lsan.supp')}:print_suppressions=0",
                "ASAN_OPTIONS": "verify_asan_link_order=0:" + os.environ.get("ASAN_OPTIONS", "")}

    @staticmethod
    def program(directory):
        """The daemon under test at the same addresses in every run, so that return addresses are too."""
        path = os.path.join(directory, "mc-proxy")
        with open(path, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\nexec setarch -R {BINARY} "$@"\n')
        os.chmod(path, 0o755)
        return path

    def off(self):
        self.control.mode = OFF

    def _arm(self, mode, roles):
        self.off()
        self.control.calls = self.control.strikes = 0
        self.control.roles = roles
        self.control.mode = mode

    def record(self):
        self._arm(RECORD, EVERYBODY)

    def arm_site(self, point):
        self.off()
        self.control.site, self.control.call, self.control.error = point["key"], point["call"], getattr(errno, point["error"])
        self._arm(SITE, point["role"])

    def arm_every(self, n, roles):
        self.off()
        self.control.nth = n
        self._arm(EVERY, roles)

    def arm_short(self, roles):
        self._arm(SHORT, roles)

    @property
    def strikes(self):
        return self.control.strikes

    def sites(self):
        """What was recorded, in a fixed order."""
        found = [{"key": s.key, "role": s.role, "call": s.call, "stage": s.stage, "count": s.count,
                  "frames": [f for f in s.frames if f]} for s in self.control.sites if s.key]
        assert self.control.lost == 0, f"no room for {self.control.lost} sites"
        return sorted(found, key=lambda s: (s["stage"], s["role"], s["call"], s["key"]))
