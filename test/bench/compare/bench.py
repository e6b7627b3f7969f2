"""What a run has at hand: the tools, a folder, ports, proxies that stay up between measurements, tables of many routes."""

import pathlib
import random
import socket

from . import contestants, routes

MILLION = 1000000
FIRST_PORTS = (30100, 31500)  # below the ports that connections get by themselves, and beside those of the tests; a run takes some 600


def _is_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


class Bench:
    def __init__(self, tools, folder, placement, scale=1.0):
        self.tools, self.folder, self.placement, self.scale = pathlib.Path(tools).absolute(), folder, placement, scale
        self.capacity = None  # short connections a second of one core, once somebody has measured it
        self._port = random.randrange(*FIRST_PORTS)
        self._standing, self._tables = {}, {}

    def take_ports(self, count):
        """The first of so many ports in a row on which nobody listens."""
        while not all(_is_free(port) for port in range(self._port, self._port + count)):
            self._port += 1
        self._port += count
        return self._port - count

    def new(self, kind, *, workers=1, table=None):
        """A proxy that the caller starts and stops."""
        port = self.take_ports(3)  # its own, its backend's, and that of its other name
        return contestants.KINDS[kind](self, port, table.port if table else port + 1, workers=workers, table=table)

    def standing(self, kind, *, workers=1, table=None, cpus=None):
        """A proxy that stays up until the run is over."""
        key = (kind, workers, table)
        if key not in self._standing:
            proxy = self.new(kind, workers=workers, table=table)
            proxy.cpus = cpus or proxy.cpus
            self._standing[key] = proxy.start()
        return self._standing[key]

    def forget_all_of(self, contestant):
        """One of it has failed: who asks next gets a new one. Contestants that are no kind are ours."""
        kind = contestant if contestant in contestants.KINDS else contestants.OURS
        for key in [key for key in self._standing if key[0] == kind]:
            self._standing.pop(key).stop()

    def table(self, count, rules=0):
        if (count, rules) not in self._tables:
            self._tables[count, rules] = routes.Table(self, count, rules, self.take_ports(1))
        return self._tables[count, rules]

    @property
    def many(self):
        """How many routes are "a million" in this run."""
        return max(1000, int(MILLION * min(1.0, self.scale)))

    def scaled(self, words):
        """The words of a load, its count for this run."""
        out = []
        for word in words:
            key, _, value = word.partition("=")
            out.append(f"count={max(16, int(int(value) * self.scale))}" if key == "count" else word)
        return out

    def close(self):
        for proxy in self._standing.values():
            proxy.stop()
        self._standing.clear()
