"""docs/admin-api.md does what it says: its commands are run one after another against a real daemon and print what the page shows."""

import os
import re
import subprocess
import sys

import pytest

from lib import npm
from lib.admin import Admin
from lib.config import Listener
from lib.daemon import BINARY, environment
from lib.ports import free_port
from lib.waiting import wait_until

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
# What differs from run to run, and what stands for it on both sides.
VOLATILE = [(r"\d{4}-\d\d-\d\dT[\d:]{8}Z", "TIME"), (r"\d{8}T\d{6}Z(-\d+)?\.db", "NAME.db"), (r"mc-proxy \d+\.\d\S*, up \S+", "mc-proxy VERSION, up AGE"),
            (r"(?m)^ +(\d+) +\d+ +(starting|running)( +\d+ +\d+) +\d+ +\d+$", r"\1 PID running\3 MAX FILES"), (r"(?m)^/\S*/devserver/", "/devserver/"), (r" +", " ")]


def page():
    with open(os.path.join(ROOT, "docs", "admin-api.md"), encoding="utf-8") as f:
        return f.read()


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page(), re.M | re.S)


def commands(of_buf):
    """[(command, what the page says it prints), ...] of all blocks, those that use buf or the others."""
    found = []
    for block in blocks("console"):
        assert block.startswith("$ "), block
        found += [part.partition("\n")[::2] for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
    return [(command, said) for command, said in found if command.startswith("buf ") == of_buf]


def stable(text):
    for pattern, instead in VOLATILE:
        text = re.sub(pattern, instead, text)
    return text


class Demo:
    """The demo's configuration on other ports, in a folder that looks like a checkout to the page."""

    def __init__(self, new_daemon, pki, folder):
        self.folder = folder
        port, admin_port = free_port(), free_port()
        self._instead = {":8443": f":{port}", "18446": str(admin_port), "/tmp/mc-proxy-demo.sock": f"{folder}/admin.sock"}
        for name, (cert, key) in {"admin": pki.cert("localhost"), "operator": pki.client_cert("operator")}.items():
            self._link(cert, f"devserver/{name}.pem")
            self._link(key, f"devserver/{name}.key")
        self._link(pki.ca, "devserver/ca.pem")
        self._link(os.path.join(ROOT, "proto"), "proto")
        self._link(BINARY, "bin/mc-proxy")
        (folder / "config").mkdir()
        with open(os.path.join(ROOT, "config", "devserver.ini"), encoding="utf-8") as f:
            text = self.here(f.read())
        daemon = new_daemon([Listener(port=port, host="0.0.0.0")], text=text, directory=folder / "config",
                            env={"MCPROXY_SERVER_WORKERS": "2"}).start()
        os.symlink(daemon.config_path, folder / "config" / "devserver.ini")
        api = Admin(f"unix:{folder}/admin.sock")
        wait_until(lambda: api.check() == 1, what="serving")
        api.close()

    def _link(self, target, name):
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.symlink_to(os.path.abspath(target))

    def here(self, text):
        """The page's text with this demo's ports."""
        for old, new in self._instead.items():
            text = text.replace(old, new)
        return text

    def run(self, *argv, **env):
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        return subprocess.run(argv, cwd=self.folder, env=environment({"PATH": path, **env}), text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=120).stdout

    def expect(self, command, said):
        assert stable(self.run("sh", "-c", self.here(command))) == stable(self.here(said)), command


@pytest.fixture
def demo(new_daemon, pki, tmp_path):
    return Demo(new_daemon, pki, tmp_path)


def test_the_session_and_then_the_python_example(demo):
    session = commands(of_buf=False)
    assert len(session) > 25
    for command, said in session:
        demo.expect(command, said)
    (program,), (said,) = blocks("python"), blocks("text")
    protoc = re.search(r"`(protoc [^`]*)`", page())[1]
    demo.expect(protoc, "")
    assert demo.run(sys.executable, "-c", demo.here(program)) == demo.here(said)


def test_buf(demo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("buf")
    programs = npm.install(folder, "@bufbuild/buf") / ".bin"
    session = commands(of_buf=True)
    assert len(session) >= 6
    for command, said in session:
        demo.expect(f"{programs}/{command}", said)


def test_the_page_names_every_method():
    with open(os.path.join(ROOT, "proto", "mc_proxy", "v1", "admin.proto"), encoding="utf-8") as f:
        methods = re.findall(r"^  rpc (\w+)\(", f.read(), re.M)
    table = next(line for line in page().splitlines() if line.startswith("| `mc_proxy.v1.ProxyAdminService`"))
    assert sorted(methods) == sorted(re.findall(r"`([A-Z]\w+)`", table))
