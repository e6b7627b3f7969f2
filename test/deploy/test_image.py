"""The container image: built by our script, small, and running as the first process, read-only, without root or any capability."""

import os
import signal
import socket
import stat

import pytest
from deploylib import image as images
from deploylib.traffic import get
from lib.backends import TlsBackend
from lib.machine import may_unshare
from lib.waiting import wait_until

NAME = "www.example.com"
SIZE_MAX = 25 << 20  # measured: 11 MB, most of it libcrypto


@pytest.fixture(scope="module")
def store(source_root, base_tree):
    one = images.store(base_tree)
    one.build(source_root)
    yield one
    one.close()


@pytest.fixture(scope="module")
def root(store):
    return store.mount()


@pytest.fixture(scope="module")
def volume(tmp_path_factory):
    """A new volume: a runtime gives it the owner and mode that the folder has in the image."""
    path = tmp_path_factory.mktemp("volume") / "data"
    path.mkdir(mode=0o750)
    os.chown(path, 10001, 10001)
    return path


@pytest.fixture(scope="module")
def container(store, root, volume, tmp_path_factory):
    if not may_unshare():
        pytest.skip("namespaces cannot be made here")
    configuration = tmp_path_factory.mktemp("etc") / "mc-proxy.ini"
    with open(os.path.join(root, "etc/mc-proxy/mc-proxy.ini"), encoding="utf-8") as f:
        configuration.write_text(f.read() + f"route = {NAME} 127.0.0.1:18443\n")
    configuration.chmod(0o644)
    one = images.Container(root, str(volume), str(configuration), store.config())
    yield one
    one.close()


def test_the_image_says_how_it_is_run(store):
    config = store.config()
    assert config["User"] == "10001:10001"
    assert list(config["Volumes"]) == ["/srv/mc-proxy"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Healthcheck"]["Test"][:3] == ["CMD", "/usr/bin/mc-proxy", "status"]
    assert list(config["ExposedPorts"]) == ["8443/tcp"]


def test_it_is_small_and_has_no_shell(root):
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
    assert sum(os.lstat(path).st_size for path in paths) < SIZE_MAX
    programs = [os.path.relpath(path, root) for path in paths
                if stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.X_OK) and ".so" not in os.path.basename(path)]
    assert programs == ["usr/bin/mc-proxy"]


def test_scanners_find_the_libraries_it_has(root):
    listed = os.listdir(os.path.join(root, "var/lib/dpkg/status.d"))
    assert {"libc6", "libssl3", "libsqlite3-0"} <= set(listed)


def test_traffic_flows_through_it(container, pki):
    wait_until(lambda: "server is ready" in container.text(), 20, f"readiness: {container.text()}")
    with container.network():
        backend = TlsBackend(pki, NAME, port=18443)
        assert f"{NAME} sni={NAME}".encode() in get(pki.client_context(), 8443, NAME)
        backend.close()


def test_it_is_the_first_process_without_any_right(container):
    with open(f"/proc/{container.leader}/status", encoding="ascii") as f:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in f)
    assert status["NSpid"].split()[-1] == "1"
    assert status["Uid"].split() == ["10001"] * 4 and status["Gid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == 0 and int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"


def test_it_writes_only_to_its_volume(container, volume):
    assert "mc-proxy.db" in os.listdir(volume)
    with open(f"/proc/{container.leader}/mountinfo", encoding="utf-8") as f:
        options = {line.split()[4]: line.split()[5].split(",") for line in f}
    assert "ro" in options["/"] and "rw" in options["/srv/mc-proxy"]


def test_its_health_is_seen(container, store):
    check = store.config()["Healthcheck"]["Test"][1:]
    healthy = container.execute(*check)
    assert healthy.returncode == 0, healthy.stdout
    assert ":8443" in healthy.stdout


def test_it_reloads(container):
    os.kill(container.leader, signal.SIGHUP)
    wait_until(lambda: "configuration reloaded" in container.text(), 10, "the reload")


def test_it_drains_and_stops_when_asked(container, store):
    with container.network(), socket.create_connection(("127.0.0.1", 8443), timeout=30) as waiting:
        assert container.stop(getattr(signal, store.config()["StopSignal"])) == 0
        assert "running ones drain" in container.text() and "server stopped" in container.text()
        with pytest.raises(ConnectionResetError):
            waiting.recv(1)  # it said nothing for hello_timeout
