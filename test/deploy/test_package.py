"""The Debian package: built from the tree, clean for lintian, with the right things in it."""

import os
import stat
import subprocess

import pytest
from deploylib import package


@pytest.fixture(scope="module")
def contents(deb, tmp_path_factory):
    """The package, unpacked."""
    folder = tmp_path_factory.mktemp("deb")
    subprocess.run(["dpkg-deb", "--raw-extract", deb, str(folder)], check=True)
    return folder


def test_lintian_finds_nothing(run, deb):
    package.need("lintian")
    changes = deb.rsplit(".", 1)[0] + ".changes"
    found = run("sh", "-c", f"lintian --allow-root --pedantic --display-info --fail-on none {changes!r}")
    found = [line for line in found.splitlines() if not line.startswith("N:")]
    assert not found, "\n".join(found)


def test_it_has_what_an_operator_needs(contents):
    for path in ("usr/bin/mc-proxy", "usr/libexec/mc-proxy/upgrade", "etc/mc-proxy/mc-proxy.ini",
                 "lib/systemd/system/mc-proxy.service", "lib/systemd/system/mc-proxy.socket",
                 "lib/systemd/system/mc-proxy-backup.service", "lib/systemd/system/mc-proxy-backup.timer",
                 "usr/lib/sysusers.d/mc-proxy.conf", "usr/lib/tmpfiles.d/mc-proxy.conf",
                 "usr/share/bash-completion/completions/mc-proxy", "usr/share/man/man1/mc-proxy.1.gz",
                 "usr/share/doc/mc-proxy/operations.md", "usr/share/doc/mc-proxy/SECURITY.md",
                 "usr/share/doc/mc-proxy/decisions/0010-closing-a-listening-socket.md",
                 "usr/share/doc/mc-proxy/examples/mc-proxy.ini.example", "usr/share/doc/mc-proxy/examples/alerts.yml",
                 "usr/share/doc/mc-proxy/examples/dashboard.json"):
        assert (contents / path).is_file(), path


def test_nothing_in_it_is_special(contents):
    """No setuid, nothing that others may write, nothing in /srv: that is the operator's."""
    for folder, folders, files in os.walk(contents):
        for name in folders + files:
            mode = os.lstat(os.path.join(folder, name)).st_mode
            assert not mode & (stat.S_ISUID | stat.S_ISGID) and (stat.S_ISLNK(mode) or not mode & stat.S_IWOTH), name
    assert not (contents / "srv").exists()


def test_the_configuration_is_the_operators(contents):
    assert (contents / "DEBIAN/conffiles").read_text() == "/etc/mc-proxy/mc-proxy.ini\n"


def test_the_configuration_is_valid_and_serves_nobody(run, contents):
    text = (contents / "etc/mc-proxy/mc-proxy.ini").read_text()
    sample = contents / "sample.ini"
    sample.write_text(text.replace("/srv/mc-proxy", str(contents)))
    run(str(contents / "usr/bin/mc-proxy"), "check", "-c", str(sample))
    listening = [line for line in text.splitlines() if line.startswith("addr")]
    assert listening == ["addr = unix:/run/mc-proxy/admin.sock", "addr = 127.0.0.1:8443"]


def test_the_program_says_the_version_it_was_built_from(run, contents):
    assert "+g" in run(str(contents / "usr/bin/mc-proxy"), "version").splitlines()[0]


def test_an_upgrade_does_not_stop_the_server(contents):
    """The postinst script hands over by SIGUSR2; debhelper's own part must not restart or stop it before."""
    scripts = {name: (contents / "DEBIAN" / name).read_text() for name in ("postinst", "prerm", "postrm")}
    assert "libexec/mc-proxy/upgrade" in scripts["postinst"]
    assert "restart" not in scripts["postinst"].replace("deb-systemd-helper", "")
    stops = [line for line in scripts["prerm"].splitlines() if "deb-systemd-invoke stop" in line]
    assert stops and scripts["prerm"].count('"$1" = remove') >= len(stops)
