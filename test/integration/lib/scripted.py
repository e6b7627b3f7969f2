"""The two ends of a connection following random scripts: what each sends, how slowly it reads, how and when it ends."""

import asyncio
import dataclasses
import random
import socket
import struct

BLOCK = random.Random(4711).randbytes(4 << 20)  # what everybody sends pieces of
STUCK_S = 40  # no script takes nearly so long: whoever is not done by then hangs


@dataclasses.dataclass
class End:
    """What one end of a connection does. `stream` is all that it would send if nothing stopped it."""

    stream: bytes
    cuts: list  # positions in stream where a write ends
    pauses: list  # seconds behind each write; shorter than cuts: none behind the others
    ending: str  # "fin": half-close behind the stream; "reset", "close": at once, behind write number `stop`
    stop: int = 0
    read_size: int = 65536
    read_pause: float = 0
    receive_buffer: int = 0
    reset_after: int = -1  # bytes received that are answered with a reset; -1: never


def random_end(rnd, prefix=b""):
    """A script; prefix is sent before the random part of the stream."""
    size = rnd.choice([0, 1, rnd.randint(2, 3000), rnd.randint(2, 3000), rnd.randint(3000, 70000), rnd.randint(3000, 300000),
                       rnd.randint(1, 3) << 20 if rnd.random() < 0.15 else 100])
    at = rnd.randrange(len(BLOCK) - size)
    stream = prefix + BLOCK[at:at + size]
    pieces = rnd.choice([1, 1, 2, 5, rnd.randint(5, 40)])
    cuts = sorted({rnd.randint(1, len(stream)) for _ in range(pieces - 1)} | {len(stream)}) if stream else []
    end = End(stream, cuts, [rnd.choice([0, 0, 0.001, 0.01]) for _ in cuts], rnd.choice(["fin"] * 7 + ["reset", "reset", "close"]))
    end.stop = rnd.randint(0, len(cuts))
    if rnd.random() < 0.25:
        end.receive_buffer = rnd.choice([4096, 16384])
    if rnd.random() < 0.06:
        end.reset_after = rnd.choice([0, 1, 1000, 50000])
    return end


def make_slow_reader(rnd, end, size):
    """Now and then: lets an end read the other's stream of this size so slowly that it still takes only seconds."""
    if rnd.random() < 0.3:
        end.read_size = rnd.choice([1, 100, 4096]) if size < 3000 else max(4096, size // rnd.randint(2, 100))
        end.read_pause = rnd.choice([0, 0.001, 0.02]) if size // end.read_size < 200 else 0


@dataclasses.dataclass
class Outcome:
    """What one end saw. `ended`: "" (it hangs, or was never connected), "eof", "reset" by the other end, "own" (it stopped itself)."""

    started: int = 0  # bytes that it began to send: an upper bound of what the other end can have got
    finished: bool = False  # sent a FIN behind everything that was sent
    received: int = 0
    wrong: str = ""
    ended: str = ""


class Player:
    """Plays one end's script on a connected socket, and compares what comes with what the other end's script says."""

    def __init__(self, sock, end, expected):
        self.sock, self.end, self.expected = sock, end, expected
        self.outcome = Outcome()
        self._write_failed = False
        self._loop = asyncio.get_running_loop()

    async def run(self, already_read=b""):
        """Plays to the end and closes the socket. already_read: received before, when it was found out whose script this is."""
        self._take(already_read)
        tasks = [asyncio.ensure_future(self._write()), asyncio.ensure_future(self._read())]
        try:
            async with asyncio.timeout(STUCK_S):
                verdict = await self._first_verdict(tasks)
        except TimeoutError:
            verdict = ""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._end(verdict)
        return self.outcome

    async def _first_verdict(self, tasks):
        """Done when both are, or as soon as one of them ends the connection."""
        writer, reader = tasks
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if writer.done() and writer.result() is not None:
            return writer.result()
        if reader.done() and reader.result() != "eof":
            return reader.result()
        await asyncio.wait(tasks, return_when=asyncio.ALL_COMPLETED)
        if writer.result() is not None:
            return writer.result()
        return "reset" if self._write_failed and reader.result() == "eof" else reader.result()

    def _end(self, verdict):
        if verdict == "stop_reset":
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.outcome.ended = "own" if verdict.startswith("stop") else verdict
        self.sock.close()

    async def _write(self):
        """None: everything was sent, or cannot be; else how to end."""
        begin = 0
        try:
            for number, cut in enumerate(self.end.cuts):
                if self.end.ending != "fin" and number == self.end.stop:
                    break
                self.outcome.started = cut
                await self._loop.sock_sendall(self.sock, self.end.stream[begin:cut])
                begin = cut
                await asyncio.sleep(self.end.pauses[number])
            if self.end.ending != "fin":
                self.outcome.finished = self.end.ending == "close"
                return "stop_" + self.end.ending
            self.outcome.finished = True
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._write_failed = True  # the reader sees what came before, and the end
        return None

    async def _read(self):
        try:
            while data := await self._loop.sock_recv(self.sock, self.end.read_size):
                self._take(data)
                if 0 <= self.end.reset_after <= self.outcome.received:
                    return "stop_reset"
                if self.end.read_pause:
                    await asyncio.sleep(self.end.read_pause)
            return "eof"
        except ConnectionError:
            return "reset"

    def _take(self, data):
        at = self.outcome.received
        if data != self.expected[at:at + len(data)]:
            self.outcome.wrong = f"other bytes at {at}..{at + len(data)} of {len(self.expected)}"
        self.outcome.received += len(data)
