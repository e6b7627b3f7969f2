"""The machine that a run is made on: who runs where, with which priority, and what it is."""

import contextlib
import fcntl
import os
import pathlib
import platform
import re
import resource
import shutil
import subprocess
import tempfile

CPUS = sorted(os.sched_getaffinity(0))[:2]
PROXY_CPU, LOAD_CPU = str(CPUS[0]), str(CPUS[-1])  # the same on a machine with one: good enough to try the tool
BOTH_CPUS = ",".join(map(str, CPUS))
FILES_MOST = 2 << 30  # bytes, of databases and maps of a million routes
LOCK = pathlib.Path(tempfile.gettempdir()) / "mc-proxy-bench.lock"
PRIORITY, CLIENT_PRIORITY, OWN_PRIORITY = 50, 55, 60  # of proxies and loads; of who changes routes meanwhile; of this process
VERSION_COMMANDS = {"haproxy": ["-v"], "nginx": ["-v"], "sniproxy": ["-V"]}


class Placement:
    """How processes are started: on a CPU, and with --realtime before all other work of the machine."""

    def __init__(self, realtime):
        self.realtime = realtime

    def prefix(self, cpus, priority=PRIORITY):
        words = ["taskset", "-c", cpus]
        return ["chrt", "-f", str(priority), *words] if self.realtime else words

    def take_own(self):
        """This process only waits, reads counters and plays a client now and then: beside the load."""
        os.sched_setaffinity(0, {int(LOAD_CPU)})
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(OWN_PRIORITY))


@contextlib.contextmanager
def alone():
    """No other comparison on this machine measures meanwhile."""
    with open(LOCK, "a", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def descriptor_limit():
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def memory_folder():
    """Where files are in memory, so that nothing waits for a disk; None if there is none with enough room."""
    folder = "/dev/shm"
    return folder if os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > FILES_MOST else None


def connections_most():
    """As many as descriptors allow any of the processes: two each, and what they need besides."""
    return (descriptor_limit() - 800) // 2


def _words(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def versions(ours):
    """What each program says it is: its first number with a dot."""
    found = {"mc-proxy": _number(_words([str(ours), "version"]))}
    for name, words in VERSION_COMMANDS.items():
        program = shutil.which(name)
        if program is not None:
            found[name] = _number(_words([program, *words]))
    return found


def _number(text):
    match = re.search(r"\d+\.\d+[-\w.+~]*", text)
    return match.group() if match else "?"


def describe(ours, realtime):
    """For the report."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.*)$", cpuinfo, re.MULTILINE)
    return {"cpu": model.group(1) if model else platform.machine(), "cpus": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0], "realtime": realtime, "descriptors": descriptor_limit(), "versions": versions(ours)}
