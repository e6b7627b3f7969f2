"""
The master killed at any moment of a change, of a reload and of an upgrade: what was acknowledged is there afterwards, exactly, and nobody's
connection notices. The listening socket is one of a socket unit here, so that it outlives the server. MASTER_KILLS=100 kills as often in
each test, MASTER_KILLS_SEED repeats a run.
"""

import collections
import os
import random
import signal
import socket
import time

import grpc
import pytest

from lib import clients, hello, procfs
from lib.admin import CIDR, Admin, Code, put
from lib.background import Background
from lib.backends import EchoBackend
from lib.config import Listener, config_text
from lib.streams import Relay, Stream
from lib.tries import in_one_of
from lib.upgrading import FAILED, Upgradable
from lib.waiting import wait_until

KILLS = int(os.environ.get("MASTER_KILLS", "6"))
STARTS, READY = "upgrading: the new program starts", "server is ready"
HANDED_OVER = "upgraded: the new process has taken over, this one serves its connections to their end"
NOBODY = "127.0.0.1:1"
NAMES, BATCH, RULES = 300, 40, 100


class Books:
    """What the database must hold: `sure`, or `maybe` if the last change was not answered. Each is (routes, rules) in order of insertion."""

    def __init__(self, listener, backend, seed):
        self.listener, self.backend = listener, backend
        self.random = random.Random(seed)
        self.sure = self.maybe = None
        self.acknowledged = self.refused = 0

    def look(self, api):
        """Demands that the server has one of the two, to the last route, and goes on from there."""
        seen = ({name: backend for name, backend, _ in api.routes(self.listener.addr)}, dict.fromkeys(v for _, v in api.rules()))
        if self.sure is None:
            self.sure = self.maybe = seen
        expected = [[list(part.items()) for part in books] for books in (self.sure, self.maybe)]
        assert [list(part.items()) for part in seen] in expected, self._difference(seen)
        self.sure = self.maybe = seen

    def _difference(self, seen):
        return [{"more": sorted(set(found.items()) - set(wanted.items())), "less": sorted(set(wanted.items()) - set(found.items()))}
                for found, wanted in zip(seen, self.sure)]

    def change(self, api):
        """One by chance; False if there was no answer."""
        routes, rules = dict(self.sure[0]), dict(self.sure[1])
        call, wanted = self.random.choice([self._add, self._add, self._remove, self._batch, self._rules, self._bad, self._bad_batch])(
            api, routes, rules)
        self.maybe = (routes, rules)
        try:
            call()
            got = None
        except grpc.RpcError as error:
            if error.code() in (Code.UNAVAILABLE, Code.CANCELLED, Code.UNKNOWN, Code.INTERNAL):
                return False
            got = error.code()
        assert got == wanted, f"{got} instead of {wanted}"
        self.sure = self.maybe
        self.acknowledged += got is None
        self.refused += got is not None
        return True

    # Each brings routes and rules to what will be there, and gives the call and the error that it must end with.

    def _name(self):
        return f"n{self.random.randrange(NAMES)}.example.com"

    def _put(self, routes, count):
        names = {self._name(): self.random.choice([self.backend, NOBODY]) for _ in range(count)}
        routes.update(names)
        return [put(self.listener.addr, name, backend, allow_unchanged=True) for name, backend in names.items()]

    def _add(self, api, routes, _):
        name = self._name()
        routes[name] = self.random.choice([self.backend, NOBODY])
        return lambda: api.add(self.listener.addr, name, routes[name]), None

    def _remove(self, api, routes, _):
        name = self._name()
        wanted = None if name in routes else Code.NOT_FOUND
        routes.pop(name, None)
        return lambda: api.remove(self.listener.addr, name), wanted

    def _batch(self, api, routes, _):
        changes = self._put(routes, BATCH)
        return lambda: api.apply({"changes": changes}), None

    def _bad_batch(self, api, routes, _):
        changes = self._put(dict(routes), BATCH)
        changes.append({"remove_route": {"listener_addr": self.listener.addr, "hostname": "nobody.example.com"}})
        return lambda: api.apply({"changes": changes}), Code.NOT_FOUND

    def _bad(self, api, *_):
        return lambda: api.add(self.listener.addr, self._name(), "10.0.0.1"), Code.INVALID_ARGUMENT

    def _rules(self, api, _, rules):
        rule = f"203.0.{self.random.randrange(RULES)}.0/24"
        if rule in rules:
            if self.random.random() < 0.3:
                return lambda: api.block(CIDR, rule), Code.ALREADY_EXISTS
            del rules[rule]
            return lambda: api.unblock(CIDR, rule), None
        rules[rule] = None
        return lambda: api.block(CIDR, rule), None


class Changing(Background):
    """Changes one after another until there is no answer, or stop()."""

    def __init__(self, books, target):
        self._books, self._target = books, target
        self.error = None
        super().__init__(self._run)
        self.start()

    def _run(self):
        api = Admin(self._target)
        try:
            while not self.is_over() and self._books.change(api):
                pass
        except Exception as error:  # told by stop()
            self.error = error
        finally:
            api.close()

    def stop(self):
        super().stop()
        assert self.error is None, self.error


class World:
    """One server after another on the same socket and the same database."""

    def __init__(self, new_daemon, echo, directory, shared):
        self.new_daemon, self.echo, self.directory, self.shared = new_daemon, echo, str(directory), shared
        self.seed = os.environ.get("MASTER_KILLS_SEED", str(random.SystemRandom().randrange(1 << 32)))
        print(f"MASTER_KILLS_SEED={self.seed}")
        self.random = random.Random(self.seed)
        self.listener = Listener([f"* {echo.address}"], port=shared.getsockname()[1])
        self.extra = Listener([f"* {echo.address}"], name="extra")
        self.target = f"unix:{self.directory}/admin.sock"
        self.books = Books(self.listener, echo.address, self.seed)
        self.text = self.config()
        self.server = None
        self.relays = []

    def config(self, by_chance=False):
        pick = self.random.choice if by_chance else lambda choices: choices[0]
        return config_text(self.directory, pick([[self.listener], [self.listener, self.extra]]), server={"workers": pick([2, 1, 3])},
                           log={"level": "info", "access": "false", "format": pick(["text", "json"])},
                           proxy={"shutdown_timeout": "60s", "idle_timeout": pick(["5m", "1m"])}, grpc={"addr": self.target})

    def begin(self):
        """A new server with the same file, beside whatever is left of the last one, and what it must know and do."""
        daemon = self.new_daemon([self.listener], text=self.text)
        daemon.sockets = [("mc-proxy.socket", self.shared)]
        self.server = Upgradable(daemon).start()
        self.look()

    def change_on(self):
        """Changes from now on, of which some have been acknowledged."""
        changing, before = Changing(self.books, self.target), self.books.acknowledged
        wait_until(lambda: self.books.acknowledged > before + 3, 20, "changes")
        return changing

    def look(self):
        api = Admin(self.target)
        wait_until(lambda: self._answers(api), 20, "the admin API to answer")
        self.books.look(api)
        api.close()
        routes = self.books.sure[0]
        for name in self.random.sample([n for n in routes if n != "*"], min(4, len(routes) - 1)):
            wanted = routes[name] != NOBODY
            assert clients.enters(self.listener.port, hello.client_hello(name.encode())) == wanted, f"{name} to {routes[name]}"

    @staticmethod
    def _answers(api):
        try:
            return api.GetStatus(timeout=5).version
        except grpc.RpcError:
            return None

    def kill(self, pid):
        self.server.daemon.expects_failure = True
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def kill_all(self):
        """Every main process that lives; their workers stay."""
        for pid in self.server.pids():
            self.kill(pid)
        wait_until(lambda: not self.server.pids(), 10, "the death")

    def workers_left(self):
        """Processes that a killed master has left; they are our children now."""
        return [pid for pid in procfs.children(os.getpid()) if pid not in self.server.pids()]

    def end(self):
        for relay in self.relays:
            relay.close()
        self.server.stop()
        wait_until(lambda: not self.workers_left(), 20, "the workers of killed masters to end")


@pytest.fixture
def world(new_daemon, backend, tmp_path):
    with socket_unit() as shared:
        one = World(new_daemon, backend(EchoBackend), tmp_path, shared)
        try:
            yield one
        finally:
            one.server.kill()
            for pid in one.workers_left():
                os.kill(pid, signal.SIGKILL)


def socket_unit():
    """A listening socket that a socket unit would hold; a long queue, as nobody takes from it between two servers."""
    shared = socket.create_server(("127.0.0.1", 0))
    shared.listen(4096)
    return shared


def rounds(world, cut):
    """
    KILLS times: a server, changes and connections all the time, and cut(changing), which ends changing and leaves a server that serves. A
    relay of each round stays open for the next two. Returns the stream of connections, none of which failed.
    """
    world.begin()
    with Stream(world.listener.port, threads=3, every=0.01) as stream:
        for _ in range(KILLS):
            world.relays.append(Relay(world.listener.port))
            cut(world.change_on())
            for relay in world.relays:
                relay.expect_alive()
            if len(world.relays) > 2:
                world.relays.pop(0).close()
        served = stream.served
        wait_until(lambda: stream.served > served + 20, 20, "connections")
    assert not stream.failed, stream.failed[:5]
    world.end()
    return stream


def run(world, provoke, latest):
    """provoke(server), after at most `latest` seconds a SIGKILL, and the next server at once."""
    lasted = []

    def cut(changing):
        provoke(world)
        time.sleep(world.random.random() * latest)
        world.kill_all()
        died = time.monotonic()
        changing.stop()
        world.begin()
        lasted.append(time.monotonic() - died)

    stream = rounds(world, cut)
    report(world, stream, f"{KILLS} masters killed, the next answers after {max(lasted):.2f} s at most")


def report(world, stream, what):
    print(f"{what}; {world.books.acknowledged} changes acknowledged and all there, {world.books.refused} refused and none there; "
          f"{stream.served} connections served, 0 failed, no relay cut")
    assert world.books.acknowledged > KILLS and world.books.refused > 0


def test_master_killed_during_changes(world):
    run(world, lambda _: None, latest=0.1)


def test_master_killed_during_a_reload(world):
    def reload(w):
        w.text = w.config(by_chance=True)
        w.server.daemon.write_config(w.text)
        w.server.daemon.signal(signal.SIGHUP)

    run(world, reload, latest=0.06)


def test_masters_killed_during_an_upgrade(world):
    """The old one, the new one or both. Who is left goes on, or goes back, and knows what was acknowledged."""
    outcomes = collections.Counter()

    def cut(changing):
        outcomes[kill_in_upgrade(world)] += 1
        changing.stop()
        world.look()

    stream = rounds(world, cut)
    report(world, stream, f"{KILLS} upgrades cut short by SIGKILL: {dict(outcomes)}")


def kill_in_upgrade(world):
    """Kills at a random moment and sees to it that one server is there; what was killed, and who goes on."""
    server = world.server
    counted = {message: len(server.events(message)) for message in (STARTS, FAILED, HANDED_OVER, READY)}

    def has_come(message):
        return len(server.events(message)) > counted[message]

    server.ask()
    wait_until(lambda: has_come(STARTS), 20, "the new program to be started")
    pids = {"old": server.main, "new": int(server.events(STARTS)[-1]["pid"])}
    time.sleep(world.random.random() * 0.15)
    victims = world.random.choice([["old"], ["new"], ["old", "new"]])
    for victim in victims:
        world.kill(pids[victim])
    wait_until(lambda: not any(procfs.is_alive(pids[v]) for v in victims), 10, "the death")
    heir = "nobody"
    if victims == ["new"]:
        # Both are the old one's words: the new one may have been killed before it could say that it has taken over.
        wait_until(lambda: has_come(FAILED) or has_come(HANDED_OVER), 30, "the verdict")
        heir = "nobody" if has_come(HANDED_OVER) else "old"  # the old one only drains, once it has been replaced
    elif victims == ["old"]:
        server.main = pids["new"]
        wait_until(lambda: has_come(READY), 30, "the new process to be ready")
        heir = "new"
    if heir != "old":
        world_restart(world, heir)
    return f"{' and '.join(victims)} killed, {heir} goes on"


def world_restart(world, heir):
    """A server that has been upgraded is looked at, too; then the next one begins anew, with an account of its own."""
    if heir == "new":
        world.look()
    world.kill_all()
    world.begin()


def test_a_new_server_waits_for_workers_of_a_killed_one_that_get_no_processor(new_daemon, backend):
    """They hold the addresses until they have run for a moment, and on a busy machine that may take a second or two. Here we hold one."""
    target = backend(EchoBackend).address

    def attempt():  # it waits for three seconds of its own, of which we hold two; we may get the processor back too late
        listener = Listener([f"* {target}"])
        with socket.socket() as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(("127.0.0.1", listener.port))
            held.listen()
            daemon = new_daemon([listener])
            daemon.expects_failure = True
            daemon.launch()
            time.sleep(2)
            assert daemon.is_running(), daemon.log_text()
        wait_until(lambda: not daemon.is_running() or "server is ready" in daemon.log_text(), 20, "the start")
        assert clients.enters(listener.port, hello.client_hello(b"www.example.com"))
        daemon.stop()
        assert daemon.returncode == 0

    in_one_of(3, attempt)
