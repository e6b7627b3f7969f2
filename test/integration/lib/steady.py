"""
Proxied connections at a fixed rate, timed, in a process of their own so that a busy test does not slow them: each a hello that an
echo backend (in the same process) sends back. Runs as a program, too: `steady.py RATE`, led by lines on standard input.
"""

import json
import os
import socket
import subprocess
import sys
import threading
import time

_HERE = os.path.dirname(os.path.abspath(__file__))


class Steady:
    """
    with Steady(rate) as traffic: start a daemon with a route to traffic.address; traffic.aim(port); traffic.phase("name"); ...
    times = traffic.finish() gives {phase: [seconds of each connection, sorted]} and raises if one has failed. Each phase has at least one:
    it lasts until then, however long the program had to wait for a processor.
    """

    def __init__(self, rate):
        self._process = subprocess.Popen([sys.executable, os.path.abspath(__file__), str(rate)], text=True, cwd=os.path.dirname(_HERE),
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.address = f"127.0.0.1:{self._process.stdout.readline().strip()}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        self._process.stdout.read()  # what it says where nobody has asked it to finish
        self._process.wait(30)
        self._process.stdout.close()

    def _say(self, line):
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def aim(self, port):
        self._say(f"port {port}")

    def phase(self, name):
        self._say(f"phase {name}")

    def finish(self):
        self._say("end")
        said = json.loads(self._process.stdout.readline())
        assert not said["failed"], said["failed"][:10]
        return {name: sorted(times) for name, times in said["times"].items()}


def percentile(times, share):
    """Of a sorted list."""
    return times[min(len(times) - 1, int(len(times) * share))]


# ---- the program

def _echo(listener):
    def serve(connection):
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def guarded(connection):
        try:
            serve(connection)
        except OSError:
            pass  # the client's side knows whether it was served

    while True:
        threading.Thread(target=guarded, args=(listener.accept()[0],), daemon=True).start()


class _Client:
    def __init__(self, rate):
        self.port = None
        self.phase = "before"
        self.times = {}
        self.failed = []
        self.is_over = threading.Event()
        self._gap = 1 / rate

    def _connection(self, hello):
        began = time.perf_counter()
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as s:
            s.sendall(hello)
            got = b""
            while len(got) < len(hello):
                data = s.recv(1 << 16)
                if not data:
                    raise ConnectionError(f"ended after {len(got)} bytes")
                got += data
        if got != hello:
            raise ConnectionError("other bytes came back")
        return time.perf_counter() - began

    def begin_phase(self, name):
        """Once the phase before it has had a connection, unless there cannot be one any more."""
        while self.port is not None and not self.times.get(self.phase) and not self.failed:
            time.sleep(0.001)
        self.phase = name

    def run(self, hello):
        due = time.perf_counter()
        while not self.is_over.is_set():
            phase = self.phase
            try:
                took = self._connection(hello)
                self.times.setdefault(phase, []).append(took)
            except OSError as error:
                self.failed.append(f"{phase}: {error!r}")
            due = max(due + self._gap, time.perf_counter() - 0.1)  # what was missed is made up for, but not for ever
            self.is_over.wait(max(0.0, due - time.perf_counter()))


def _main():
    sys.path.insert(0, os.path.dirname(_HERE))
    from lib.hello import client_hello  # the path is known only now
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    threading.Thread(target=_echo, args=(listener,), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    client = _Client(float(sys.argv[1]))
    worker = threading.Thread(target=client.run, args=(client_hello(b"www.example.com"),))
    for line in sys.stdin:
        word, _, rest = line.strip().partition(" ")
        if word == "port":
            client.port = int(rest)
            worker.start()
        elif word == "phase":
            client.begin_phase(rest)
        else:
            client.begin_phase("over")
            break
    client.is_over.set()
    if client.port is not None:
        worker.join()
    print(json.dumps({"times": client.times, "failed": client.failed}), flush=True)


if __name__ == "__main__":
    _main()
