"""A daemon whose database is on a disk of its own, which is small, or full."""

import os
import stat

import pytest

from lib.daemon import BINARY


def _on_a_small_disk(tmp_path, size):
    """A wrapper that runs the daemon with a file system of this size at tmp_path/disk."""
    path = tmp_path / "small-disk"
    os.makedirs(tmp_path / "disk", exist_ok=True)
    path.write_text("#!/bin/sh\nexec unshare -m --propagation private sh -c '\n"
                    f"mount -t tmpfs -o size={size},mode=755 tmpfs {tmp_path}/disk && exec {BINARY} \"$@\"' sh \"$@\"\n",
                    encoding="ascii")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def on_a_full_disk(new_daemon, listener, tmp_path):
    """(daemon, path of the file that has filled its disk: without it there is room again). The admin API is unix:{tmp_path}/admin.sock."""
    daemon = new_daemon([listener], binary=_on_a_small_disk(tmp_path, "2m"), database={"path": f"{tmp_path}/disk/mc-proxy.db"},
                        grpc={"addr": f"unix:{tmp_path}/admin.sock"}).start()
    filler = f"/proc/{daemon.pid}/root{tmp_path}/disk/filler"
    with open(filler, "wb", buffering=0) as f, pytest.raises(OSError):
        while True:
            f.write(b"x" * 4096)
    return daemon, filler
