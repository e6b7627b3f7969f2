"""packaging/install.sh: hosts without a package get the same things, twice is as good as once, and it can be undone."""

import os
import shutil
import subprocess

import pytest
from deploylib import machine as machines
from deploylib import package, tree

INI = "/etc/mc-proxy/mc-proxy.ini"


@pytest.fixture(scope="module")
def program(deb, tmp_path_factory):
    """The shipped program, taken from the package."""
    folder = tmp_path_factory.mktemp("program")
    subprocess.run(["dpkg-deb", "--extract", deb, str(folder)], check=True)
    return str(folder / "usr/bin/mc-proxy")


def files_below(folder):
    return {os.path.relpath(os.path.join(place, name), folder) for place, _, names in os.walk(folder) for name in names}


def install_sh(root):
    return os.path.join(root, "packaging", "install.sh")


@pytest.mark.parametrize("prefix", ["/usr", "/usr/local"])
def test_it_installs_what_cmake_installs(run, source_root, program, tmp_path, prefix):
    package.need("cmake", "ninja")
    build = tmp_path / "build"
    run("cmake", "-S", source_root, "-B", str(build), "-G", "Ninja", "-DMCPROXY_TESTS=OFF", "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_INSTALL_PREFIX={prefix}")
    shutil.copy(program, build / "mc-proxy")
    run("cmake", "--install", str(build), env={**os.environ, "DESTDIR": str(tmp_path / "cmake")})
    run(install_sh(source_root), "--binary", program, "--prefix", prefix, "--destdir", str(tmp_path / "sh"))
    by_cmake, by_sh = files_below(tmp_path / "cmake"), files_below(tmp_path / "sh")
    assert by_sh == by_cmake
    for name in sorted(by_sh):
        if not name.endswith("bin/mc-proxy"):
            assert (tmp_path / "sh" / name).read_bytes() == (tmp_path / "cmake" / name).read_bytes(), name


def test_uninstalling_leaves_nothing_but_configuration(run, source_root, program, tmp_path):
    place = ["--prefix", "/usr/local", "--destdir", str(tmp_path)]
    run(install_sh(source_root), "--binary", program, *place)
    run(install_sh(source_root), "--uninstall", *place)
    assert files_below(tmp_path) == {INI[1:]}
    run(install_sh(source_root), "--uninstall", "--purge", *place)
    assert files_below(tmp_path) == set()


def test_units_of_another_prefix_are_where_systemd_looks(run, source_root, program, tmp_path):
    run(install_sh(source_root), "--binary", program, "--prefix", "/opt/mc", "--destdir", str(tmp_path))
    unit = (tmp_path / "etc/systemd/system/mc-proxy.service").read_text()
    assert "ExecStart=/opt/mc/bin/mc-proxy server" in unit and "/usr/bin/mc-proxy" not in unit


@pytest.mark.parametrize("arguments", [["--prefix"], ["--prefix", "relative"], ["--purge"], ["--nonsense"]])
def test_wrong_usage_is_refused(run, source_root, arguments):
    run(install_sh(source_root), *arguments, expect=2)


@pytest.fixture(scope="module")
def machine(base_tree, source_root, program, tmp_path_factory):
    """Booted, with a source tree in /root/src and the program in /root/mc-proxy; nothing installed."""
    copy = tree.copy(base_tree, str(tmp_path_factory.mktemp("machine") / "mc-proxy-install"))
    for folder in ("packaging", "docs", "config", "proto"):
        shutil.copytree(os.path.join(source_root, folder), os.path.join(copy, "root/src", folder))
    for document in ("README.md", "SECURITY.md"):
        shutil.copy(os.path.join(source_root, document), os.path.join(copy, "root/src"))
    shutil.copy(program, os.path.join(copy, "root/mc-proxy"))
    one = machines.boot(copy)
    yield one
    one.close()


def test_on_a_real_host_it_starts_the_service(machine):
    machine.run("/root/src/packaging/install.sh --binary /root/mc-proxy")
    machines.wait_active(machine)
    assert machine.property("FragmentPath") == "/usr/local/lib/systemd/system/mc-proxy.service"
    assert "8443" in machine.read(f"/usr/local/bin/mc-proxy status -c {INI}")
    assert machine.read("stat -c '%U %a' /srv/mc-proxy /srv/mc-proxy/backups").splitlines() == ["mc-proxy 750", "mc-proxy 700"]


def test_installing_again_upgrades_and_keeps_the_configuration(machine):
    machine.run(f"echo '# mine' >>{INI}")
    before = machine.main_pid()
    said = machine.run("/root/src/packaging/install.sh --binary /root/mc-proxy").stdout
    assert machine.main_pid() not in (0, before) and machine.property("NRestarts") == "0", said
    assert machine.read(f"tail -n 1 {INI}") == "# mine"


def test_uninstalling_stops_it_and_keeps_the_data(machine):
    machine.run("/root/src/packaging/install.sh --uninstall")
    assert machine.run("pgrep --full '^[^ ]*mc-proxy server'", check=False).stdout == ""
    assert os.path.exists(machine.path(INI)) and os.path.exists(machine.path("/srv/mc-proxy/mc-proxy.db"))
    assert machine.read("find /usr/local -type f -path '*mc-proxy*'") == ""


def test_purging_removes_everything(machine):
    machine.run("/root/src/packaging/install.sh --uninstall --purge")
    assert not os.path.exists(machine.path("/etc/mc-proxy")) and not os.path.exists(machine.path("/srv/mc-proxy"))
    assert machine.run("id mc-proxy", check=False).returncode != 0
