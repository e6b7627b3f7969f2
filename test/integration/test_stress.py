"""
Many connections at once whose two ends follow random scripts: writes cut anywhere, half-closes, resets, slow readers, bad hellos. What
must hold whatever they do: no byte is wrong, no stream that was cut looks like one that ended, every connection ends and has one access
line with a reason that its scripts explain, and nothing is left.

STRESS_SEED repeats a run (the order of events within it is the scheduler's), STRESS_SECONDS makes it longer.
"""

import asyncio
import collections
import dataclasses
import os
import random
import re
import signal
import socket
import struct
import threading
import time

import pytest

from lib import hello
from lib.backends import RefusingPort
from lib.config import Listener
from lib.daemon import is_sanitized
from lib.ports import free_port
from lib.scripted import End, Outcome, Player, make_slow_reader, random_end
from lib.waiting import wait_until

SECONDS = float(os.environ.get("STRESS_SECONDS", "20"))
AT_ONCE = 80 if is_sanitized() else 150
NAME = re.compile(rb"c(\d+)x\.[a-z]+\.example\.com")
PROXY_V2 = b"\r\n\r\n\0\r\nQUIT\n"


@dataclasses.dataclass
class Case:
    """One connection. `kind` is where it goes (a backend of BACKENDS, "refused", "nowhere") or how its first bytes are bad."""

    kind: str
    name: str
    hello: bytes
    client: End
    backend: End
    announced: str  # the client's address in the PROXY header it sends; "": goes to the listener without
    client_outcome: Outcome = None
    backend_outcome: Outcome = None


BACKENDS = ("plain", "small", "unix", "header")
BAD_STARTS = ("silent", "cut", "garbage")


def make_case(seed, number):
    rnd = random.Random(f"{seed}/{number}")
    kind = rnd.choice(BACKENDS * 6 + BAD_STARTS + ("refused", "nowhere"))
    name = f"c{number}x.{kind}.example.com"
    first = hello.client_hello(name.encode(), size=rnd.choice([None, None, 600, 1800, rnd.randint(600, 16000)]))
    announced = f"192.0.2.{rnd.randint(1, 254)}:{rnd.randint(1, 65535)}" if rnd.random() < 0.3 else ""
    header = b""
    if announced:
        host, port = announced.split(":")
        header = rnd.choice([
            f"PROXY TCP4 {host} 198.51.100.1 {port} 443\r\n".encode(),
            PROXY_V2 + b"\x21\x11\0\x0c" + socket.inet_aton(host) + socket.inet_aton("198.51.100.1") + struct.pack("!HH", int(port), 443)])
    if kind in BACKENDS + ("refused", "nowhere"):
        client, backend = random_end(rnd, header + first), random_end(rnd)
        make_slow_reader(rnd, client, len(backend.stream))
        make_slow_reader(rnd, backend, len(client.stream))
        return Case(kind, name, first, client, backend, announced)
    stream = {"silent": b"", "cut": (header + first)[:rnd.randint(1, len(header) + len(first) - 1)],
              "garbage": header + b"GET / HTTP/1.1\r\n\r\n"}[kind]
    client = End(stream, [len(stream)] if stream else [], [0], rnd.choice(["fin", "reset"]), stop=rnd.randint(0, 1))
    return Case(kind, name, first, client, End(b"", [], [], "fin"), announced)


def allowed_reasons(case):
    """Why a connection of these scripts may have ended."""
    client_stops = case.client_outcome.ended == "own"
    if case.kind in ("silent", "cut", "garbage"):
        reasons = {"hello_eof", "proxy_malformed"} | ({"hello_malformed"} if case.kind == "garbage" else set())
        return reasons | ({"client_reset"} if client_stops else set())
    if case.backend_outcome is None:
        reasons = {"refused": {"backend_refused"}, "nowhere": {"no_route"}}.get(case.kind, set())
        if client_stops:  # perhaps before its hello was complete
            reasons |= {"client_reset", "hello_eof", "proxy_malformed", "finished"}
        return reasons
    backend_stops = case.backend_outcome.ended == "own"
    reasons = {"client_reset"} if client_stops else set()
    reasons |= {"backend_reset"} if backend_stops else set()
    if case.client_outcome.finished and (case.backend_outcome.finished or (backend_stops and case.kind == "unix")):
        reasons.add("finished")
    return reasons


def faults_of_end(outcome, other_outcome, may_be_refused, has_no_reset):
    """What must not happen to one end. A Unix socket has_no_reset: what is cut there looks like an end."""
    if outcome.wrong:
        yield outcome.wrong
    if not outcome.ended:
        yield "hangs"
    sent = other_outcome.started if other_outcome else 0
    was_cut = not (other_outcome and other_outcome.finished and outcome.received >= sent)
    if outcome.ended == "eof" and was_cut and not (has_no_reset and other_outcome and other_outcome.ended in ("own", "reset")):
        yield f"an end of stream after {outcome.received} bytes of {sent}"
    if outcome.received > sent:
        yield f"{outcome.received} bytes although only {sent} were sent"
    if outcome.ended == "reset" and not may_be_refused and not (other_outcome and other_outcome.ended in ("own", "reset")):
        yield "a reset that nobody sent"


def faults(case, lines):
    """Everything that is wrong with one case."""
    client, backend = case.client_outcome, case.backend_outcome
    for fault in faults_of_end(client, backend, backend is None, case.kind == "unix"):
        yield f"client: {fault}"
    if backend is None:
        if client.received:
            yield "the client got bytes without a backend"
    else:
        yield from faults_with_backend(case, lines)
    for line in lines:
        if line["reason"] not in allowed_reasons(case):
            yield f"reason {line['reason']}, not one of {sorted(allowed_reasons(case))}"
        if int(line["bytes_out"]) < client.received:
            yield f"counted {line['bytes_out']} bytes to a client that got {client.received}"


def faults_with_backend(case, lines):
    """What is wrong on the backend's side, and with the line of a connection that came so far."""
    backend = case.backend_outcome
    header = case.client.stream.index(case.hello)  # a PROXY header stays with the proxy
    client = dataclasses.replace(case.client_outcome, started=max(0, case.client_outcome.started - header))
    for fault in faults_of_end(backend, client, False, case.kind == "unix"):
        yield f"backend: {fault}"
    if len(lines) != 1:
        yield f"{len(lines)} access lines"
    for line in lines:
        counted = int(line["bytes_in"]), int(line["bytes_out"])
        # A backend that stopped itself in the middle of a write sent less than it began; a Unix socket shows that as an end.
        sent = backend.started if backend.finished else min(counted[1], backend.started)
        if line["reason"] == "finished" and counted != (client.started, sent):
            yield f"counted {counted[0]} in and {counted[1]} out, not {client.started} and {backend.started}"
        if counted[0] < backend.received:
            yield f"counted {counted[0]} bytes for a backend that got {backend.received}"


class Stage:
    """The backends of one run, and the cases that they find their scripts in."""

    def __init__(self, seed, unix_path):
        self.seed = seed
        self.cases = {}
        self.unix_path = unix_path
        self.ports = {kind: free_port() for kind in BACKENDS if kind != "unix"}
        self.tasks = set()
        self.sockets = []
        self.strays = []

    def open(self):
        for kind in BACKENDS:
            s = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
            if kind == "small":
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            s.bind(self.unix_path if kind == "unix" else ("127.0.0.1", self.ports[kind]))
            if kind == "unix":
                os.chmod(self.unix_path, 0o777)
            s.listen(16 if kind == "unix" else 1024)
            s.setblocking(False)
            self.sockets.append(s)
            self._spawn(self._accept(s))

    def close(self):
        for s in self.sockets:
            s.close()

    def _spawn(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _accept(self, listener):
        while True:
            s, _ = await asyncio.get_running_loop().sock_accept(listener)
            s.setblocking(False)
            self._spawn(self._serve(s))

    async def _serve(self, s):
        """Reads up to the name in the hello, which tells whose script this is."""
        data, loop = b"", asyncio.get_running_loop()
        try:
            while not (match := NAME.search(data)):
                chunk = await loop.sock_recv(s, 65536)
                if not chunk:
                    raise ConnectionError
                data += chunk
        except ConnectionError:  # the client was gone before its hello could be sent
            self.strays.append(data)
            s.close()
            return
        case = self.cases[int(match.group(1))]
        if case.kind == "header":
            assert data.startswith(PROXY_V2), data[:20]
            length = 16 + struct.unpack_from("!H", data, 14)[0]
            source = f"{socket.inet_ntoa(data[16:20])}:{struct.unpack_from('!H', data, 24)[0]}"
            assert not case.announced or source == case.announced, (source, case.announced)
            data = data[length:]
        expected = case.client.stream[case.client.stream.index(case.hello):]
        case.backend_outcome = Outcome()  # it was reached, whatever happens now
        case.backend_outcome = await Player(s, case.backend, expected).run(data)

    async def play_client(self, case, ports):
        s = socket.socket()
        if case.client.receive_buffer:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, case.client.receive_buffer)
        s.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(s, ("127.0.0.1", ports[1 if case.announced else 0]))
        except ConnectionError:  # the daemon has been stopped
            s.close()
            await asyncio.sleep(0.1)
            return
        case.client_outcome = await Player(s, case.client, case.backend.stream).run()

    async def run(self, ports, seconds):
        """Plays cases, so many at once, for this long; then waits for their ends."""
        self.open()
        end, numbers = time.monotonic() + seconds, iter(range(1 << 30))

        async def player():
            while time.monotonic() < end:
                number = next(numbers)
                case = self.cases[number] = make_case(self.seed, number)
                await self.play_client(case, ports)

        await asyncio.gather(*(player() for _ in range(AT_ONCE)))
        deadline = time.monotonic() + 60
        while len(self.tasks) > len(self.sockets) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        for task in list(self.tasks):
            task.cancel()
        self.close()


@pytest.fixture
def stage(open_dir):
    seed = os.environ.get("STRESS_SEED", str(random.SystemRandom().randrange(1 << 32)))
    print(f"STRESS_SEED={seed}")
    return Stage(seed, os.path.join(open_dir, "backend.sock"))


def start(new_daemon, stage, workers):
    refused = RefusingPort()
    routes = [f"*.plain.example.com 127.0.0.1:{stage.ports['plain']}", f"*.small.example.com 127.0.0.1:{stage.ports['small']}",
              f"*.unix.example.com unix:{stage.unix_path}",
              f"*.header.example.com 127.0.0.1:{stage.ports['header']} send_proxy_protocol",
              f"*.refused.example.com {refused.address}"]
    listeners = [Listener(routes=routes), Listener(name="announced", routes=routes, options={"proxy_protocol": "required"})]
    return new_daemon(listeners, server={"workers": workers},
                      proxy={"shutdown_timeout": "60s", "connect_timeout": "10s"}).start()


def check(daemon, stage):
    """Every connection that was made ended as its scripts allow, with its line."""
    cases = [case for case in stage.cases.values() if case.client_outcome is not None]
    by_name = collections.defaultdict(list)
    for line in daemon.access_lines():
        by_name[line["sni"]].append(line)
    found = [f"{case.name} {case.client.ending}/{case.backend.ending}: {fault}"
             for case in cases for fault in faults(case, by_name[case.name])]
    assert not found, f"{len(found)} faults in {len(cases)} connections\n" + "\n".join(found[:20])
    print(f"{len(cases)} connections: {collections.Counter(line['reason'] for line in daemon.access_lines())}")


@pytest.mark.parametrize("workers", [1, 3])
def test_whatever_both_ends_do_every_byte_end_and_count_is_right(new_daemon, stage, workers):
    daemon = start(new_daemon, stage, workers)
    asyncio.run(stage.run([listener.port for listener in daemon.listeners], SECONDS / 2))
    wait_until(lambda: len(daemon.access_lines()) >= len(stage.cases), 30, f"{len(stage.cases)} access lines")
    assert len(daemon.access_lines()) == len(stage.cases)
    check(daemon, stage)
    daemon.signal(signal.SIGTERM)
    assert daemon.wait(30) == 0, "nothing is left that it would wait a minute for"
    assert next(e for e in daemon.events() if "stopping" in e["msg"])["connections"] == "0"


def test_stop_in_the_middle_lets_every_open_connection_play_to_its_end(new_daemon, stage):
    """One that the kernel accepts just when the sockets are closed is reset without a line; all others are like ever."""
    daemon = start(new_daemon, stage, 2)
    threading.Timer(SECONDS / 6, lambda: daemon.signal(signal.SIGTERM)).start()
    asyncio.run(stage.run([listener.port for listener in daemon.listeners], SECONDS / 4))
    assert daemon.wait(60) == 0
    assert not [e for e in daemon.events() if e["msg"] == "worker died"]
    check(daemon, stage)
