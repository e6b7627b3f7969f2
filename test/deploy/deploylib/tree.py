"""
A small Debian, made by debootstrap from the mirror that this machine's apt uses, and kept: machines and images are copies of it.
MCPROXY_DEPLOY_CACHE names the folder it is kept in.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time

import pytest

from deploylib.package import need

CACHE = os.environ.get("MCPROXY_DEPLOY_CACHE", "/var/tmp/mc-proxy-deploy")
_ALWAYS = ["systemd", "systemd-sysv", "dbus", "procps"]


def release():
    """The code name of this machine's Debian: a package that is built here needs the libraries of this release."""
    with open("/etc/os-release", encoding="utf-8") as f:
        fields = dict(line.rstrip("\n").split("=", 1) for line in f if "=" in line)
    if fields.get("ID") != "debian":
        pytest.skip("this machine is no Debian, so what is built here does not run in one")
    return fields["VERSION_CODENAME"]


def base(packages):
    """Path of a tree with systemd and these packages. Skips where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("making a Debian tree takes root")
    need("debootstrap")
    wanted = sorted({*_ALWAYS, *packages})
    name = hashlib.sha256(" ".join([release(), *wanted]).encode()).hexdigest()[:12]
    path = os.path.join(CACHE, name)
    os.makedirs(CACHE, mode=0o755, exist_ok=True)
    with open(os.path.join(CACHE, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(path):
            _drop_old()
            _make(path, wanted)
    os.utime(path)
    return path


def _drop_old():
    """Trees that nobody has asked for in a week, with the images made of them: what the package depends on has changed since."""
    for name in os.listdir(CACHE):
        path = os.path.join(CACHE, name)
        if os.path.isdir(path) and time.time() - os.stat(path).st_mtime > 7 * 24 * 3600:
            shutil.rmtree(path, ignore_errors=True)


def _make(path, packages):
    unfinished = tempfile.mkdtemp(prefix="unfinished.", dir=CACHE)
    os.chmod(unfinished, 0o755)
    mirror, environment = _mirror()
    done = subprocess.run(["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", release(), unfinished, mirror],
                          env=environment, text=True, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=600)
    if done.returncode != 0:
        shutil.rmtree(unfinished)
        pytest.skip(f"debootstrap from {mirror} failed: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
    for folder in ("var/cache/apt/archives", "var/lib/apt/lists"):
        shutil.rmtree(os.path.join(unfinished, folder))
        os.makedirs(os.path.join(unfinished, folder, "partial"))
    os.rename(unfinished, path)


def _mirror():
    """(URI, environment) by which apt gets the main archive here."""
    targets = subprocess.run(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"],
                             text=True, capture_output=True, check=False).stdout
    ours = [line.split()[1] for line in targets.splitlines() if line.split()[:1] == [release()]]
    mirror = next((uri for uri in ours if uri.startswith(("http:", "https:"))), "http://deb.debian.org/debian")
    proxy = subprocess.run(["apt-config", "shell", "P", "Acquire::http::Proxy"], text=True, capture_output=True,
                           check=False).stdout.strip().removeprefix("P=").strip("'")
    return mirror, {**os.environ, **({"http_proxy": proxy} if proxy else {})}


def copy(source, target):
    """A tree of one's own. Unlike shutil, cp keeps owners, links, and shares blocks where the file system can."""
    subprocess.run(["cp", "-a", "--reflink=auto", source, target], check=True)
    return target
