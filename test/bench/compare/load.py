"""The process that plays clients and backends (test/bench/load.c)."""

import json
import subprocess

from .machine import LOAD_CPU


class Failed(Exception):
    """A measurement that does not count; the text says why."""


class Load:
    """
    Started, it has opened what connections the scenario needs first. tell() begins what is to be measured.

        with Load(bench, ["short", "count=8000"], proxy) as load:
            load.tell()
            result = load.result()
    """

    def __init__(self, bench, words, proxy, cpus=LOAD_CPU, backend=None):
        command = [*bench.placement.prefix(cpus), str(bench.tools / "test/bench/load"), *words, f"proxy={proxy.port}",
                   f"backend={backend or proxy.backend}"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        try:
            self.expect("ready")
        except Failed:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()

    def expect(self, word):
        if self.process.stdout.readline() != f"{word}\n":
            self._fail()

    def tell(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def result(self):
        """What the load counted; every connection must have had its answer."""
        line = self.process.stdout.readline()
        if not line:
            self._fail()
        result = json.loads(line)
        if result["failed"] or not (result["done"] or result["bytes"]):
            raise Failed(f"{result['failed']} of {result['failed'] + result['done']} failed")
        return result

    def _fail(self):
        self.process.kill()
        raise Failed(self.process.stderr.read().strip() or "the load ended without a word")
