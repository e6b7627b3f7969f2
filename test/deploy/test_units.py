"""The units in packaging/systemd: nothing that systemd would warn of, and a sandbox as tight as promised."""

import glob
import json
import os
import re
import shutil
import subprocess

import pytest
from deploylib import package

EXPOSURE_MAX = 15  # tenths; what is measured: mc-proxy 14, behind the socket 11, backup 11


@pytest.fixture
def unit_dir(source_root, tmp_path):
    """The units as installed on this machine, with a program that exists."""
    package.need("systemd-analyze")
    for path in glob.glob(os.path.join(source_root, "packaging/systemd/mc-proxy*.*")):
        if path.endswith((".service", ".socket", ".timer")):
            with open(path, encoding="utf-8") as f:
                text = f.read()
            (tmp_path / os.path.basename(path)).write_text(text.replace("/usr/bin/mc-proxy ", f"{shutil.which('true')} "))
    return tmp_path


def units(folder):
    found = sorted(str(path) for path in folder.iterdir())
    assert len(found) == 4, found
    return found


def exposure(run, path):
    """In tenths."""
    # The number has to come from the text: the exit status compares with a threshold, JSON has the rows only.
    text = run("systemd-analyze", "security", "--offline=true", path)
    return round(float(re.search(r"Overall exposure level for \S+: ([0-9.]+)", text).group(1)) * 10)


def verify(path):
    """What systemd finds wrong with a unit: of what it calls a warning, the exit status says nothing."""
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    return done.stdout or ("" if done.returncode == 0 else f"exit {done.returncode}")


def test_systemd_has_nothing_to_say_about_the_units(unit_dir):
    for path in units(unit_dir):
        assert verify(path) == ""


def test_a_wrong_unit_would_have_been_noticed(unit_dir):
    path = unit_dir / "mc-proxy.service"
    path.write_text(path.read_text() + "\n[Service]\nProtectEverything=yes\n")
    assert "ProtectEverything" in verify(path)


@pytest.mark.parametrize("unit", ["mc-proxy.service", "mc-proxy-backup.service"])
def test_the_sandbox_is_as_tight_as_promised(run, unit_dir, unit):
    assert exposure(run, str(unit_dir / unit)) <= EXPOSURE_MAX


def test_behind_the_socket_the_sandbox_is_tighter(run, source_root, unit_dir):
    path = unit_dir / "mc-proxy.service"
    alone = exposure(run, str(path))
    with open(os.path.join(source_root, "packaging/systemd/examples/socket-only.conf"), encoding="utf-8") as f:
        path.write_text(path.read_text() + f.read())
    assert exposure(run, str(path)) < alone


@pytest.mark.parametrize("unit", ["mc-proxy.service", "mc-proxy-backup.service"])
def test_every_point_that_is_lost_is_explained(run, unit_dir, unit):
    """A row with exposure names a directive that the unit speaks of, in a setting or in a comment."""
    text = (unit_dir / unit).read_text()
    words = {"DeviceAllow": "char-rtc", "CapabilityBoundingSet": "CapabilityBoundingSet", "RootDirectory": "RootDirectory="}
    rows = json.loads(run("systemd-analyze", "security", "--offline=true", "--json=short", str(unit_dir / unit)))
    lost = [row["name"] for row in rows if row.get("exposure") not in (None, "", "0.0")]
    assert lost
    for name in lost:
        directive = name.split("=")[0]
        assert words.get(directive, directive) in text, f"{name} costs points, and {unit} does not say why"


def test_the_server_may_take_longer_to_stop_than_its_connections_to_drain(source_root, unit_dir):
    """TimeoutStopSec against the default of shutdown_timeout."""
    with open(os.path.join(source_root, "config/mc-proxy.ini.example"), encoding="utf-8") as f:
        drain_s = int(re.search(r"^shutdown_timeout = (\d+)s", f.read(), re.M).group(1))
    stop_s = int(re.search(r"^TimeoutStopSec=(\d+)s", (unit_dir / "mc-proxy.service").read_text(), re.M).group(1))
    assert stop_s >= drain_s + 15
