"""The scripted session: every feature of the daemon in short stages. While a fault is armed a client may be refused, but it always
gets an end; what an operation did is told by its exception, which the stage notes. Hanging is a failure whatever was armed."""

import collections
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.append(os.path.join(HERE, "..", "integration"))

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"  # or it waits for all its threads whenever a daemon is started
os.environ["GRPC_VERBOSITY"] = "NONE"  # what it thinks of servers that fail
import grpc  # noqa: E402

from lib import clients, hello, logs, metrics  # noqa: E402
from lib import proxy_headers as ph  # noqa: E402
from lib.admin import CIDR, COUNTRY, IP, Admin, put, tls_credentials  # noqa: E402
from lib.backends import EchoBackend, RefusingPort  # noqa: E402
from lib.config import Listener, config_text  # noqa: E402
from lib.daemon import Daemon  # noqa: E402
from lib.ports import free_port  # noqa: E402
from lib.waiting import wait_until  # noqa: E402

# Every client has its end within this: an RPC takes up to 10 s (a database that is busy), a relay up to 3; the rest is for a machine on which
# others have the processors for seconds.
END_S = 30
BULK = 3 << 20
HELLO = hello.client_hello(b"www.example.com")
MAKE_MMDB = os.path.join(HERE, "..", "tools", "make_mmdb.py")
VERDICTS = ("configuration reloaded", "not reloaded: the old configuration stays in force")
READY, LOSS = "server is ready", "log lines were dropped"
# What the session itself causes tells nobody of a fault: it takes a listener away again, kills workers, and makes connections that end badly.
OWN_WARNING = "the database keeps routes of listeners that the configuration no longer has; they are unused"
OWN_REASONS = {"endings": ("client_reset", "no_route", "backend_refused", "hello_malformed", "hello_timeout"),
               "proxy": ("proxy_malformed",),
               "firewall": ("blocked_ip", "blocked_cidr", "blocked_country")}


class Stuck(AssertionError):
    """Somebody waited longer than anything may take."""


class World:
    """What sessions share: backends, certificates, a GeoIP file. One for each process of the runner."""

    def __init__(self, directory, pki):
        self.directory, self.pki = directory, pki
        self.echo, self.refusing = EchoBackend(), RefusingPort()
        self.countries = os.path.join(directory, "countries.mmdb")
        subprocess.run([sys.executable, MAKE_MMDB, self.countries, "192.0.2.0/24=KP", "198.51.100.7/32=US"], check=True)

    def close(self):
        self.echo.close()


class Session:
    """One daemon and its clients."""

    STAGES = ["start", "traffic", "endings", "proxy", "firewall", "admin", "changes", "tls", "snapshot", "metrics", "reload", "death",
              "stop"]

    def __init__(self, world, shim, directory):
        self.world, self.shim, self.directory = world, shim, directory
        os.makedirs(directory)
        os.chmod(directory, 0o755)
        self.noted = []  # what went wrong for clients
        self.own_reasons = collections.Counter()  # how connections of the stages that have been run end badly, and how many
        self.last_served = None  # the address of the last client that had everything
        echo, refusing = world.echo.address, world.refusing.address
        self.main = Listener([f"*.example.com {echo}", f"refused.example.com {refusing}", f"name.example.com localhost:{world.echo.port}",
                              f"pp.example.com {echo} send_proxy_protocol"], options={"no_route": "alert"})
        self.announced = Listener([f"* {echo}"], name="announced", options={"proxy_protocol": "required"})
        self.extra = Listener([f"* {echo}"], name="extra")
        self.metrics_port, self.tls_port = free_port(), free_port()
        self.socket = f"unix:{directory}/admin.sock"
        self.daemon = Daemon(directory, self.text([self.main, self.announced]), [self.main, self.announced], shim.environment(),
                             binary=shim.program(directory))

    def text(self, listeners, **server):
        cert, key = self.world.pki.cert("localhost")
        return config_text(
            self.directory, listeners, server={"workers": 1, **server},
            proxy={"hello_timeout": "1s", "connect_timeout": "1s", "idle_timeout": "3s", "half_close_timeout": "2s",
                   "shutdown_timeout": "1s"},
            grpc={"addr": [self.socket, f"127.0.0.1:{self.tls_port}"], "tls_cert": cert, "tls_key": key},
            metrics={"addr": f"127.0.0.1:{self.metrics_port}"},
            firewall={"geoip_db": self.world.countries, "blocked_ips": "127.0.0.9", "blocked_cidrs": "127.9.0.0/16",
                      "blocked_countries": "KP", "rate_limit": 100000})

    # ---- clients

    def note(self, error):
        self.noted.append(f"{type(error).__name__}: {error}"[:300])

    def attempt(self, what, *args, **kwargs):
        """What a client does; it may fail, but it may not wait for ever."""
        try:
            return what(*args, **kwargs)
        except (TimeoutError, socket.timeout) as error:
            raise Stuck(f"{what.__name__}{args} got no end") from error
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                raise Stuck(f"{what.__name__}{args}: {error.details()}") from error
            self.note(error)
        except (OSError, AssertionError) as error:
            self.note(error)
        return None

    def _echo(self, listener, name=b"www.example.com", header=b"", size=0, cut=None, source=None, sends_header=False):
        """One connection to its end; everything must come back."""
        data = hello.client_hello(name) + os.urandom(size)
        with clients.connect(listener.port, timeout=END_S, source=source) as s:
            clients.send_segments(s, header + data[:2000], *([cut] if cut else []))
            if size:
                self._pump(s, data[2000:])
            s.shutdown(socket.SHUT_WR)
            mine = "%s:%d" % s.getsockname()
            got = self._rest + clients.read_all(s) if size else clients.read_all(s)
        assert got.endswith(data) and (sends_header or len(got) == len(data)), f"{len(got)} of {len(data)} bytes came back"
        if not header:
            self.last_served = mine

    def _pump(self, s, data):
        """Sends more than buffers hold, and reads slowly."""
        self._rest, view = b"", memoryview(data)
        deadline = time.monotonic() + END_S
        s.setblocking(False)
        while view:
            assert time.monotonic() < deadline, "the relay does not move"
            try:
                view = view[s.send(view[:1 << 18]):]
            except BlockingIOError:
                time.sleep(0.002)
            try:
                self._rest += s.recv(1 << 18)
            except BlockingIOError:
                pass
        s.settimeout(END_S)

    def _is_ended(self, listener, data=b"", header=b"", source=None):
        """One that the proxy ends, with a reset or an alert."""
        try:
            with clients.connect(listener.port, timeout=END_S, source=source) as s:
                s.sendall(header + data)
                clients.read_all(s)
        except (ConnectionResetError, BrokenPipeError):
            pass

    def _reset(self, listener):
        with clients.connect(listener.port, timeout=END_S) as s:
            s.sendall(HELLO)
            clients.read_exactly(s, len(HELLO))
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def _call(self, function, target=None, credentials=None):
        client = Admin(target or self.socket, credentials)
        try:
            return function(client)
        finally:
            client.close()

    def rpc(self, function, **kwargs):
        return self.attempt(self._call, function, **kwargs)

    # ---- stages

    def start(self):
        self.daemon.start(timeout=40)

    def traffic(self):
        for name in (b"www.example.com", b"name.example.com"):
            self.attempt(self._echo, self.main, name)
        self.attempt(self._echo, self.main, cut=300)
        self.attempt(self._echo, self.main, size=BULK)

    def endings(self):
        self.attempt(self._reset, self.main)
        self.attempt(self._is_ended, self.main, hello.client_hello(b"nowhere.example.org"))
        self.attempt(self._is_ended, self.main, hello.client_hello(b"refused.example.com"))
        self.attempt(self._is_ended, self.main, b"GET / HTTP/1.1\r\n\r\n")
        self.attempt(self._is_ended, self.main, HELLO[:100])

    def proxy(self):
        self.attempt(self._echo, self.main, b"pp.example.com", sends_header=True)
        for header in (ph.v1(ph.SOURCE6, ph.DESTINATION6), ph.v2(("198.51.100.7", 99), ph.DESTINATION4), ph.local()):
            self.attempt(self._echo, self.announced, header=header)
        self.attempt(self._is_ended, self.announced, HELLO)

    def firewall(self):
        for source in ("127.0.0.9", "127.9.0.1"):
            self.attempt(self._is_ended, self.main, HELLO, source=source)
        self.attempt(self._is_ended, self.announced, HELLO, header=ph.v2(("192.0.2.17", 1), ph.DESTINATION4))

    def admin(self):
        def look(client):
            client.GetStatus(timeout=END_S)
            client.ListRoutes(listener_addr=self.main.addr, timeout=END_S)
            client.GetFirewallRules(timeout=END_S)
            client.check(timeout=END_S)
            client.reflect({"list_services": ""}, timeout=END_S)
        self.rpc(look)

    def changes(self):
        addr = self.main.addr
        route = {"hostname": "new.example.com", "backend": self.world.echo.address}
        for change in (
                lambda c: c.AddRoute(listener_addr=addr, route=route, timeout=END_S),
                lambda c: c.RemoveRoute(listener_addr=addr, hostname="new.example.com", timeout=END_S),
                lambda c: c.AddFirewallRule(rule={"type": IP, "value": "192.0.2.99"}, timeout=END_S),
                lambda c: c.AddFirewallRule(rule={"type": CIDR, "value": "203.0.113.0/24"}, timeout=END_S),
                lambda c: c.AddFirewallRule(rule={"type": COUNTRY, "value": "IR"}, timeout=END_S),
                lambda c: c.RemoveFirewallRule(rule={"type": IP, "value": "192.0.2.99"}, timeout=END_S),
                lambda c: c.RemoveFirewallRule(rule={"type": CIDR, "value": "203.0.113.0/24"}, timeout=END_S),
                lambda c: c.RemoveFirewallRule(rule={"type": COUNTRY, "value": "IR"}, timeout=END_S),
                lambda c: c.SetListenerMaxConnections(listener_addr=addr, max_connections=1000, timeout=END_S),
                lambda c: c.apply({"changes": [put(addr, f"n{i}.example.com", self.world.echo.address) for i in range(40)]}, timeout=END_S)):
            self.rpc(change)

    def _status_by_tls(self):
        return self._call(lambda c: c.GetStatus(timeout=END_S), target=f"localhost:{self.tls_port}",
                          credentials=tls_credentials(self.world.pki.ca))

    def tls(self):
        self.attempt(self._status_by_tls)

    def snapshot(self):
        self.rpc(lambda c: c.Snapshot(keep=2, timeout=END_S))

    def metrics(self):
        self.attempt(metrics.scrape, self.metrics_port)

    def count(self, *messages):
        return sum(e["msg"] in messages for e in self.daemon.events())

    def reload_with(self, text):
        """Was it put in force? Asked once more when lines were lost: what was said of it may have been among those."""
        self.daemon.write_config(text)
        for _ in range(2):
            good, told, lost = self.count(VERDICTS[0]), self.count(*VERDICTS), self.count(LOSS)
            self.daemon.signal(signal.SIGHUP)
            try:
                wait_until(lambda t=told, n=lost: self.count(*VERDICTS) > t or self.count(LOSS) > n, END_S, "the verdict of a reload")
            except AssertionError as error:
                raise Stuck(str(error)) from error
            if self.count(*VERDICTS) > told:
                break
        return self.count(VERDICTS[0]) > good

    def reload(self):
        self.reload_with(self.text([self.main, self.announced, self.extra], workers=2))
        self.attempt(self._echo, self.main)
        self.attempt(self._echo, self.extra)
        self.reload_with(self.text([self.main, self.announced]))

    def death(self):
        """A killed worker is replaced."""
        for pid in self.daemon.workers():
            with contextlib.suppress(ProcessLookupError):  # the fault was quicker
                os.kill(pid, signal.SIGKILL)
        self.attempt(self._echo, self.main)

    def stop(self):
        """With a connection that ends while it drains."""
        def drain():
            with clients.connect(self.main.port, timeout=END_S) as s:
                s.sendall(HELLO)
                clients.read_exactly(s, len(HELLO))
                self.daemon.signal(signal.SIGTERM)
                s.shutdown(socket.SHUT_WR)
                clients.read_all(s)
        self.attempt(drain)
        if self.daemon.is_running():
            self.daemon.signal(signal.SIGTERM)
        try:
            self.daemon.wait(40)
        except subprocess.TimeoutExpired as error:
            raise Stuck("the daemon does not stop") from error

    def run(self, stage):
        self.shim.control.stage = self.STAGES.index(stage)
        self.own_reasons.update(OWN_REASONS.get(stage, ()))
        getattr(self, stage)()

    # ---- what must hold afterwards

    def check_serves(self):
        """Without a fault everything works, and nothing of before is left."""
        def serves():
            try:
                self._echo(self.main)
                self._echo(self.announced, header=ph.local())
                self._status_by_tls()
                status = self._call(lambda c: c.GetStatus(timeout=END_S))
            except (OSError, AssertionError, grpc.RpcError) as error:
                serves.error = error
                return False
            serves.error = f"{status.active_connections} connections are still open"
            return status.active_connections == 0
        try:
            wait_until(serves, END_S + 2, "service again", interval=0.05)
        except AssertionError as error:
            raise AssertionError(f"no service afterwards: {serves.error}") from error

    def check_log(self, events):
        """No process may have been ended by a signal that nobody sent."""
        for e in events:
            if e["msg"] == "worker died" and e.get("signal") not in (None, "9"):  # the session's own SIGKILL
                raise AssertionError(f"a worker crashed: {e}")
            # A worker that ends has a second for it, which is too short for a leak check on a busy machine.
            if e["msg"] == "worker killed" and "did not exit" not in e["reason"]:
                raise AssertionError(f"a worker had to be killed: {e}")

    def descriptors(self):
        """How many descriptors the master and each worker have."""
        counts = {}
        for pid in [self.daemon.pid, *self.daemon.workers()]:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a worker that ends meanwhile
                counts[pid] = len(os.listdir(f"/proc/{pid}/fd"))
        return counts

    def has_line_of_last_served(self):
        """Is the access line there of the last client that had everything? What was said before it is there, too."""
        return any(logs.is_access(e) and e["client"] == self.last_served for e in self.daemon.events())

    def reports(self, events):
        """Did anybody hear of the fault: a line of the log, an access line of a connection that failed, a client?"""
        reasons = collections.Counter(e["reason"] for e in events if logs.is_access(e) and e["reason"] != "finished")
        return bool(self.noted or reasons - self.own_reasons) or any(map(_is_complaint, events))

    def forget(self):
        """What has been until now is no news of what comes."""
        self.noted.clear()
        self.own_reasons.clear()


def _is_complaint(e):
    is_own = e["msg"] == OWN_WARNING or (e["msg"] == "worker died" and e.get("signal") == "9")
    return e.get("level") in ("WARN", "ERROR") and not is_own and not logs.is_access(e)
