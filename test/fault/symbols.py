"""Names for return addresses: which function called, by the maps of a process that ran at the same addresses."""

import bisect
import functools
import os
import subprocess


def read_maps(pid):
    """[(start, end, path)] of the files that a process has mapped; start is where the file's first byte lies."""
    found = {}
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        for line in f:
            fields = line.split(maxsplit=5)
            if len(fields) < 6 or not fields[5].startswith("/"):
                continue
            start, end = (int(part, 16) for part in fields[0].split("-"))
            path = fields[5].strip()
            first, last = found.get(path, (start - int(fields[2], 16), end))
            found[path] = (first, max(last, end))
    return sorted((first, last, path) for path, (first, last) in found.items())


class Symbols:
    def __init__(self, maps):
        self._maps = maps
        self._starts = [start for start, _, _ in maps]

    def is_in(self, address, path):
        """Does this address lie in that file?"""
        at = bisect.bisect_right(self._starts, address) - 1
        return at >= 0 and address < self._maps[at][1] and self._maps[at][2] == path

    def is_in_library(self, addresses, beginnings):
        """Does one of them lie in a file whose name begins so?"""
        return any(self.is_in(a, path) for a in addresses for _, _, path in self._maps
                   if os.path.basename(path).startswith(beginnings))

    def _names_at(self, address):
        at = bisect.bisect_right(self._starts, address) - 1
        if at < 0 or address >= self._maps[at][1]:
            return (hex(address),)
        start, _, path = self._maps[at]
        return _addr2line(path, address - 1 - start)

    def names(self, addresses):
        """The functions on the way, innermost first, those among them that the compiler has put into their callers."""
        return [name for address in addresses for name in self._names_at(address)]


@functools.cache
def _addr2line(path, offset):
    done = subprocess.run(["addr2line", "-f", "-i", "-s", "-e", path, hex(offset)], text=True, capture_output=True, check=False)
    lines = done.stdout.splitlines()
    return tuple(_name(path, offset, function, where) for function, where in zip(lines[::2], lines[1::2], strict=True))


def _name(path, offset, function, where):
    if function in ("", "??"):
        return f"{os.path.basename(path)}+{offset:#x}"
    return f"{function} ({where.split(' ')[0]})" if not where.startswith("??") else f"{os.path.basename(path)}:{function}"
