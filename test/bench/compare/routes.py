"""Tables of many routes and rules, in the form in which each proxy takes them at its start."""

import pathlib
import random
import shutil
import sqlite3
import subprocess

from .load import Failed
from .machine import LOAD_CPU, Placement

BACKENDS = 100  # addresses, all of them the load's
IMPORT_AT_ONCE = 250000


def name(number):
    """As load.c makes them."""
    return f"sv{number:07}.z{number % BACKENDS:02}.example.com"


def rule(number):
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


class Table:
    """
    `count` names over 100 backends and `rules` blocked addresses that no client comes from, in an order made by chance.
    Files are made when they are first asked for.
    """

    def __init__(self, bench, count, rules, port):
        """port: of the backends, on 127.0.2.1 and on."""
        self.bench, self.count, self.rules, self.port = bench, count, rules, port
        self.folder = pathlib.Path(bench.folder) / f"table-{count}-{rules}"
        self.folder.mkdir()
        self.order = list(range(max(count, rules)))
        random.Random(1).shuffle(self.order)

    @property
    def backends(self):
        """[(name, address)]"""
        return [(f"b{number}", self.address(number)) for number in range(BACKENDS)]

    def address(self, number):
        return f"127.0.2.{number % BACKENDS + 1}:{self.port}"

    def _file(self, filename, lines):
        path = self.folder / filename
        if not path.exists():
            with open(path, "w", encoding="ascii") as f:
                f.writelines(lines)
        return str(path)

    @property
    def _names(self):
        return (number for number in self.order if number < self.count)

    @property
    def haproxy_map(self):
        return self._file("haproxy.map", (f"{name(n)} b{n % BACKENDS}\n" for n in self._names))

    @property
    def nginx_map(self):
        return self._file("nginx.map", (f"{name(n)} b{n % BACKENDS};\n" for n in self._names))

    def copy_database(self, to, listener):
        """A database that has the table for this listener."""
        shutil.copyfile(self._template(), to)
        with sqlite3.connect(to) as database:
            database.execute("PRAGMA journal_mode = DELETE")
            database.execute("UPDATE listeners SET addr = ?", (listener,))
        database.close()

    def _template(self):
        """Made by the program itself, through its admin API: the schema is its own business."""
        path = self.folder / "mc-proxy.db"
        if not path.exists():
            proxy = self.bench.new("mc-proxy")
            proxy.placement = Placement(realtime=False)  # nothing is measured here
            with proxy:
                lines = [f"{name(n)} {self.address(n)}\n" for n in self._names]
                for first in range(0, self.count, IMPORT_AT_ONCE):
                    self._tell(proxy, "routes", "import", "--listener", proxy.listener, "--format", "text", "-",
                               lines=lines[first:first + IMPORT_AT_ONCE])
                if self.rules:
                    self._tell(proxy, "firewall", "import", "--format", "text", "-",
                               lines=[f"{rule(n)}\n" for n in self.order if n < self.rules])
                self._tell(proxy, "snapshot", "-o", str(path))
        return path

    def _tell(self, proxy, *words, lines=()):
        """A command to the running proxy."""
        command = [str(self.bench.tools / "mc-proxy"), *words, "--addr", f"unix:{proxy.admin_socket}", "--timeout", "5m"]
        done = subprocess.run(["taskset", "-c", LOAD_CPU, *command], input="".join(lines), text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise Failed(f"mc-proxy {' '.join(words)}: {done.stderr.strip()[-1000:]}")
