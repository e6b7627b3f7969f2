"""What the kernel says about processes and sockets."""

import contextlib
import os

from lib.machine import require_ptrace


def children(pid):
    """Pids of the live children of a process."""
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        fields = _stat(int(entry))
        if fields is not None and fields["ppid"] == pid and fields["state"] not in "ZX":
            found.append(int(entry))
    return sorted(found)


def is_alive(pid):
    fields = _stat(pid)
    return fields is not None and fields["state"] not in "ZX"


def _stat(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            after_name = f.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return {"state": after_name[0], "ppid": int(after_name[1])}


def rss_bytes(pid):
    """Resident memory of a process, shared mappings not counted."""
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"no RssAnon of {pid}")


# Of a descriptor that is closed while it is looked at, and (the others) of a process that ends meanwhile.
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)


def descriptors(pid):
    """What each descriptor of a process leads to, by its number; without those closed while we looked."""
    require_ptrace()
    targets = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(*_GONE):
            targets[int(fd)] = os.readlink(f"/proc/{pid}/fd/{fd}")
    return targets


def open_files(pid):
    """What the descriptors of a process lead to."""
    return list(descriptors(pid).values())


def shared_bytes(pid):
    """Memory that the shared memory takes which a process has descriptors of; of the logs' rings all that they may come to, as a ring
    is written through once before it begins anew."""
    total = 0
    for fd, target in descriptors(pid).items():
        if target.startswith("/memfd:"):
            with contextlib.suppress(*_GONE):
                status = os.stat(f"/proc/{pid}/fd/{fd}")
                total += status.st_size if target.startswith("/memfd:mc-proxy-log") else status.st_blocks * 512
    return total


def listening_ports():
    """TCP ports in LISTEN state, of both families; asking makes no connection."""
    ports = set()
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(path):
            continue
        with open(path, encoding="ascii") as f:
            for line in f.readlines()[1:]:
                fields = line.split()
                if fields[3] == "0A":
                    ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports
