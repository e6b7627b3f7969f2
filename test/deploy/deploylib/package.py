"""The Debian package under test, built once for each state of the tree."""

import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess

import pytest


def need(*programs):
    """The test is skipped, and says why, where one of these is not installed."""
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (packaging/deploy-deps.txt)")


def build(root):
    """Path of the .deb of the tree as it is; built if it is not there yet."""
    need("dpkg-buildpackage", "dh")
    out = os.path.join(root, "build", "deploy", _state(root))
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _deb_in(out):
            _drop_others(out)
            done = subprocess.run([os.path.join(root, "packaging", "build-deb.sh")], env={**os.environ, "DEB_OUT": out}, text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
    return _deb_in(out)


def newer(deb, folder):
    """The same package with a later version, to upgrade to."""
    tree = os.path.join(folder, "tree")
    subprocess.run(["dpkg-deb", "--raw-extract", deb, tree], check=True)
    control = os.path.join(tree, "DEBIAN", "control")
    with open(control, encoding="utf-8") as f:
        text = re.sub(r"^Version: .*$", "Version: 9999.1", f.read(), flags=re.M)
    with open(control, "w", encoding="utf-8") as f:
        f.write(text)
    result = os.path.join(folder, "mc-proxy_9999.1.deb")
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, result], check=True, stdout=subprocess.DEVNULL)
    return result


def dependencies(deb):
    """Names of the packages that it needs, the first of each alternative."""
    text = subprocess.run(["dpkg-deb", "--field", deb, "Depends"], text=True, capture_output=True, check=True).stdout
    return [re.match(r"[a-z0-9.+-]+", part.strip()).group() for part in text.split(",")]


def _deb_in(folder):
    return next((deb for deb in glob.glob(os.path.join(folder, "mc-proxy_*.deb"))), None)


def _drop_others(path):
    """Packages of earlier states of the tree."""
    for name in os.listdir(os.path.dirname(path)):
        if name != os.path.basename(path):
            shutil.rmtree(os.path.join(os.path.dirname(path), name))


def _state(root):
    """A digest of the tree's files by name, size and time: what a package is made of."""
    digest = hashlib.sha256()
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if not f.startswith((".", "build", "__pycache__", "devserver")) and f != "test")
        if folder == root:
            files = [f for f in files if f != ".git"]
        for name in sorted(files):
            about = os.lstat(os.path.join(folder, name))
            digest.update(f"{os.path.join(folder, name)} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:12]
