"""
A machine that boots: a copy of the base tree under systemd-nspawn, with systemd as its first process and a network of its own that
has nothing but loopback. The test reaches into it: run() executes there, and sockets made within `with machine.network():` are its.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import time

import pytest

from deploylib.package import need
from lib.waiting import wait_until

_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """Boots at once; close() ends it. The tree is its to change."""

    def __init__(self, tree):
        need("systemd-nspawn", "nsenter")
        self.tree = tree
        self._console = open(tree + ".console", "w+b")
        self._cgroup = _make_cgroup()
        self._nspawn = subprocess.Popen(
            ["systemd-nspawn", "--quiet", "--boot", "--directory", tree, "--register=no", "--keep-unit", "--private-network",
             "--link-journal=no", "--console=pipe", f"--machine={os.path.basename(tree).replace('_', '-')[:48]}"],
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}, stdin=subprocess.DEVNULL, stdout=self._console,
            stderr=subprocess.STDOUT, preexec_fn=self._prepare)
        self.leader = None

    def _prepare(self):
        """In the child: a control group of its own, or two machines would share one; and it goes when the test goes."""
        if self._cgroup:
            with open(os.path.join(self._cgroup, "cgroup.procs"), "w", encoding="ascii") as f:
                f.write(str(os.getpid()))
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    def wait_booted(self, timeout=60):
        """Returns None, or why it did not come up."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self._nspawn.poll() is not None:
                return f"systemd-nspawn ended with {self._nspawn.returncode}: {self.console().strip()[-300:]}"
            self.leader = self.leader or self._find_leader()
            if self.leader and self.run("systemctl is-system-running", check=False).stdout.strip() in ("running", "degraded"):
                return None
            time.sleep(0.2)
        return f"systemd did not come up within {timeout} s: {self.console().strip()[-300:]}"

    def _find_leader(self):
        children = f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children"
        with open(children, encoding="ascii") as f:
            pids = f.read().split()
        # Its first child is the one that becomes the first process, once it has executed systemd.
        for pid in pids:
            with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="ascii") as f:
                if f.read().strip() == "systemd":
                    return int(pid)
        return None

    def console(self):
        self._console.flush()
        with open(self._console.name, encoding="utf-8", errors="replace") as f:
            return f.read()

    # ---- reaching in

    def run(self, command, check=True, timeout=120, user=None):
        """A shell command in there; output of both kinds is in stdout."""
        entry = ["nsenter", f"--target={self.leader}", "--all"]
        if user:
            command = f"setpriv --reuid={user} --regid={user} --clear-groups {command}"
        done = subprocess.run([*entry, "sh", "-c", command], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=timeout, check=False, start_new_session=True,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"})
        if check:
            assert done.returncode == 0, f"{command}: exit {done.returncode}\n{done.stdout}\n{self.journal()}"
        return done

    def read(self, command):
        return self.run(command).stdout.strip()

    def property(self, name, unit="mc-proxy.service"):
        return self.read(f"systemctl show --property={name} --value {unit}")

    def main_pid(self):
        return int(self.property("MainPID"))

    def journal(self, unit="mc-proxy"):
        return self.run(f"journalctl --no-pager --lines=200 --unit={unit}", check=False).stdout

    def path(self, inside):
        return self.tree + inside

    def write(self, inside, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(inside)), exist_ok=True)
        with open(self.path(inside), "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(self.path(inside), mode)

    def install(self, deb):
        """dpkg -i; the package's dependencies are in the tree."""
        name = os.path.basename(deb)
        shutil.copy(deb, self.path(f"/root/{name}"))
        return self.run(f"dpkg --install /root/{name}").stdout

    def network(self):
        """Sockets and threads that begin in here are in the machine's network, for as long as they live."""
        return network_of(self.leader)

    # ---- the end

    def close(self):
        if self._nspawn.poll() is None:
            self._nspawn.terminate()  # which asks systemd to shut down
            try:
                self._nspawn.wait(60)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        self._console.close()
        _remove_cgroup(self._cgroup)

    def kill(self, pid, number):
        """A signal to a process by the number it has in there."""
        assert pid > 1, pid
        self.run(f"kill -{signal.Signals(number).name.removeprefix('SIG')} {pid}")


@contextlib.contextmanager
def network_of(pid):
    """This thread is in the network of a process."""
    with open("/proc/thread-self/ns/net", "rb") as ours, open(f"/proc/{pid}/ns/net", "rb") as theirs:
        _enter(theirs)
        try:
            yield
        finally:
            _enter(ours)


def _enter(namespace):
    """This thread only."""
    if _libc.setns(namespace.fileno(), _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def _make_cgroup():
    """A new group in the unified hierarchy; None where there is none to make it in."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        mounts = [line.split()[4] for line in f if " - cgroup2 " in line]
    path = os.path.join(mounts[0], f"mc-proxy-test.{os.getpid()}.{time.monotonic_ns()}") if mounts else None
    try:
        if path:
            os.mkdir(path)
        return path
    except OSError:
        return None


def _remove_cgroup(path):
    if path:
        for folder, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):  # still dying: an empty group costs nothing
                os.rmdir(folder)


def boot(tree):
    """A machine that is up. Skips where none can boot: in most containers, and without the rights of root."""
    machine = Machine(tree)
    why = machine.wait_booted()
    if why:
        machine.close()
        pytest.skip(f"systemd cannot be booted here: {why}")
    return machine


def wait_active(machine, unit="mc-proxy.service", timeout=30):
    wait_until(lambda: machine.property("ActiveState", unit) == "active", timeout, f"{unit} active", interval=0.1)
