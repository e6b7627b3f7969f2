"""The container image: built by the script that people use, on a base made of the Debian tree, in a store of its own."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading

from deploylib import machine as machines
from deploylib.package import need

BASE = "localhost/mc-proxy-test-base:latest"
IMAGE = "localhost/mc-proxy-test:latest"


class Store:
    """buildah with storage apart from the user's."""

    def __init__(self, folder):
        need("buildah")
        self.folder = folder
        self._container = None
        # buildah's wrapper for build-image.sh, which calls `buildah build`.
        os.makedirs(os.path.join(folder, "bin"), exist_ok=True)
        self._wrapper = os.path.join(folder, "bin", "buildah")
        with open(self._wrapper, "w", encoding="ascii") as f:
            f.write(f'#!/bin/sh\nexec {shutil.which("buildah")} --root {folder}/storage --runroot {folder}/run "$@"\n')
        os.chmod(self._wrapper, 0o755)

    def __call__(self, *args):
        done = subprocess.run([self._wrapper, *args], text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 0, f"buildah {args}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def make_base(self, path):
        """The base image of a Debian tree, whose apt asks where this machine's does."""
        if BASE in self("images", "--format", "{{.Name}}:{{.Tag}}"):
            return
        container = self("from", "scratch")
        self("add", "--quiet", container, path, "/")
        self("config", "--cmd", "/bin/sh", container)
        self("commit", "--quiet", "--rm", container, BASE)

    def build(self, root):
        """packaging/container/build-image.sh; layers that did not change are kept from an earlier run."""
        path = os.path.join(self.folder, "bin") + os.pathsep + os.environ["PATH"]
        done = subprocess.run([os.path.join(root, "packaging/container/build-image.sh"), "--isolation", "chroot", "--layers",
                               "--pull-never", "--build-arg", f"BASE={BASE}"], env={**os.environ, "PATH": path, "IMAGE": IMAGE},
                              text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def config(self):
        return json.loads(self("inspect", "--type", "image", IMAGE))["Docker"]["config"]

    def mount(self):
        """The image's root file system."""
        self._container = self("from", "--pull-never", IMAGE)
        return self("mount", self._container)

    def close(self):
        if self._container:
            self("rm", self._container)


def store(path):
    """The store with a base image of this tree in it."""
    one = Store(path + ".images")
    one.make_base(path)
    return one


class Container:
    """The image's program as it runs in a container. pid is its number outside; its output is in lines."""

    def __init__(self, root, volume, configuration, config):
        need("unshare", "setpriv", "nsenter")
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "run_container.sh")
        self._uid = config["User"].split(":")[0]
        self.lines = []
        self._process = subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", script, root, volume, configuration,
             self._uid, *config["Entrypoint"], *config["Cmd"]],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"]})
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stderr:
            self.lines.append(line.rstrip("\n"))

    def text(self):
        return "\n".join(self.lines)

    @property
    def leader(self):
        with open(f"/proc/{self._process.pid}/task/{self._process.pid}/children", encoding="ascii") as f:
            return int(f.read().split()[0])

    def network(self):
        return machines.network_of(self.leader)

    def execute(self, *command):
        """As `docker exec`: within, as its user."""
        return subprocess.run(["nsenter", f"--target={self.leader}", "--mount", "--net", "--pid", "--root", f"--setuid={self._uid}",
                               f"--setgid={self._uid}", *command], text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False, env={"PATH": "/usr/bin"})

    def stop(self, number=signal.SIGTERM, timeout=45):
        """The exit status of the program after a signal to it; `docker stop` sends the image's STOPSIGNAL."""
        os.kill(self.leader, number)
        return self._process.wait(timeout)

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._reader.join(5)
