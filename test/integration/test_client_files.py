"""routes and firewall, import and export: all or nothing, round trips, and errors that name file and line."""

import json
import subprocess
import time

import grpc
import pytest

from lib import fake_admin
from lib.daemon import BINARY, environment, is_sanitized, run_command
from lib.fake_admin import FakeAdmin, MESSAGE_LIMIT

fake_admin.quiet_grpc()

ROUTES = """\
:443 www.example.com 10.0.0.5:8443
:443 *.apps.example.com [2001:db8::5]:443 send_proxy_protocol
:443 * unix:/run/fallback.sock
[::1]:8443 other.example.com app.internal:443
"""
RULES = "ip 192.0.2.7\ncidr 198.51.100.0/24\ncountry KP\nip 2001:db8::7\n"


@pytest.fixture
def fake(open_dir):
    server = FakeAdmin(path=f"{open_dir}/admin.sock", listeners=(":443", "[::1]:8443"))
    server.address = f"unix:{open_dir}/admin.sock"
    yield server
    server.close()


@pytest.fixture
def run(fake):
    def command(*args, fails=0, text=None):
        done = run_command(*args, "--addr", fake.address, timeout=200) if text is None else with_input(text, *args)
        assert done.returncode == fails, done
        return done.stderr if fails else done.stdout

    def with_input(text, *args):
        return subprocess.run([BINARY, *args, "--addr", fake.address], input=text, env=environment(), text=True,
                              capture_output=True, check=False, timeout=60)

    return command


def applied(fake):
    """How many changes each ApplyChanges call has had."""
    return [len(changes) for name, changes in fake.calls if name == "ApplyChanges"]


@pytest.mark.parametrize("format", ["text", "csv", "json"])
def test_what_is_exported_imports_to_the_same(run, fake, tmp_path, format):
    suffix = {"text": "txt"}.get(format, format)
    (tmp_path / "routes.txt").write_text(ROUTES)
    (tmp_path / "rules.txt").write_text(RULES)
    assert run("routes", "import", str(tmp_path / "routes.txt")) == "4 added, 0 replaced, 0 removed, 0 unchanged\n"
    assert run("firewall", "import", str(tmp_path / "rules.txt")) == "4 added, 0 replaced, 0 removed, 0 unchanged\n"
    for kind in ("routes", "firewall"):
        text = run(kind, "export", "--format", format)
        path = tmp_path / f"{kind}.{suffix}"
        path.write_text(text)
        assert run(kind, "import", str(path)) == "0 added, 0 replaced, 0 removed, 4 unchanged\n"
        if kind == "routes":
            fake.routes = {listener: {} for listener in fake.routes}
        else:
            fake.rules = {}
        assert run(kind, "import", "-", text=text) == "4 added, 0 replaced, 0 removed, 0 unchanged\n"
        assert run(kind, "export", "--format", format) == text
    assert run("firewall", "export") == RULES


def test_everything_goes_in_one_call(run, fake):
    run("routes", "import", "-", text=ROUTES)
    assert applied(fake) == [4] and [len(t) for t in fake.routes.values()] == [3, 1]


def test_export_of_one_listener(run, fake):
    run("routes", "import", "-", text=ROUTES)
    assert run("routes", "export", "[::1]:8443") == "[::1]:8443 other.example.com app.internal:443\n"
    assert json.loads(run("routes", "export", "[::1]:8443", "--json"))[0]["hostname"] == "other.example.com"
    assert "no listener :1" in run("routes", "export", ":1", fails=1)


def test_odd_backends_survive(run, fake):
    odd = "unix:/run/a b\"c\\d,e\n\u00e9#;"
    fake.routes[":443"]["odd.example.com"] = fake_admin.admin.Route(hostname="odd.example.com", backend=odd)
    for format in ("text", "csv", "json"):
        text = run("routes", "export", "--format", format)
        assert run("routes", "import", "-", "--format", format, text=text).startswith("0 added, 0 replaced"), text


def test_wrong_lines_are_told_and_nothing_is_sent(run, fake, tmp_path):
    path = tmp_path / "routes.txt"
    path.write_text(":443 good.example.com 10.0.0.5:8443\n\n:443 bad..example.com 10.0.0.5:8443\n:443 x.example.com 10.0.0.5\n")
    lines = run("routes", "import", str(path), fails=1).splitlines()
    assert len(lines) == 2 and not fake.calls
    assert lines[0].startswith(f"mc-proxy routes: {path}:3: hostname bad..example.com: ")
    assert lines[1].startswith(f"mc-proxy routes: {path}:4: backend 10.0.0.5: ")
    path.write_text("x\n" * 1000)
    lines = run("routes", "import", str(path), fails=1).splitlines()
    assert len(lines) == 11 and lines[-1] == f"mc-proxy routes: {path}: 990 more problems like these"


def test_contradictions_in_a_file_are_told(run, fake):
    text = ":443 a.example.com 10.0.0.5:1\n:443 A.example.com. 10.0.0.5:2\n"
    assert "standard input:2: a.example.com of :443 has another backend in line 1 already" in run(
        "routes", "import", "-", text=text, fails=1)
    assert not fake.calls


def test_what_the_server_refuses_is_told_with_its_line(run, fake):
    text = "# comment\n:443 a.example.com 10.0.0.5:1\n:444 b.example.com 10.0.0.5:1\n"
    assert run("routes", "import", "-", text=text, fails=1) == (
        "mc-proxy routes: standard input:3: listener_addr: no listener :444\n")
    assert not fake.routes[":443"]
    fake.failures["ApplyChanges"] = (grpc.StatusCode.UNAVAILABLE, "database /x: disk full")
    assert run("routes", "import", "-", text=ROUTES, fails=1) == "mc-proxy routes: database /x: disk full\n"


def test_a_dry_run_shows_and_changes_nothing(run, fake):
    fake.set_routes(":443", "old.example.com 10.0.0.1:1", "same.example.com 10.0.0.1:1", "other.example.com 10.0.0.1:1")
    text = ":443 new.example.com 10.0.0.1:1\n:443 same.example.com 10.0.0.1:1\n:443 other.example.com 10.0.0.2:1\n"
    before = fake.route_texts()
    assert run("routes", "import", "-", "--dry-run", text=text) == """\
~ :443 other.example.com 10.0.0.2:1 (was :443 other.example.com 10.0.0.1:1)
+ :443 new.example.com 10.0.0.1:1
nothing was changed; it would be: 1 added, 1 replaced, 0 removed, 1 unchanged
"""
    assert run("routes", "import", "-", "-n", "--replace", text=text).splitlines()[0] == "- :443 old.example.com 10.0.0.1:1"
    assert json.loads(run("routes", "import", "-", "--dry-run", "--replace", "--json", text=text)) == {
        "dry_run": True, "added": 1, "replaced": 1, "removed": 1, "unchanged": 1}
    assert fake.route_texts() == before
    assert run("routes", "import", "-", "--replace", text=text) == "1 added, 1 replaced, 1 removed, 1 unchanged\n"
    assert sorted(fake.route_texts()) == sorted(line.split(" ", 1)[1] for line in text.splitlines())


def test_replacing_leaves_other_listeners_alone(run, fake):
    fake.set_routes(":443", "a.example.com 10.0.0.1:1")
    fake.set_routes("[::1]:8443", "b.example.com 10.0.0.1:1")
    assert run("routes", "import", "-", "--replace", text=":443 c.example.com 10.0.0.1:1\n").startswith("1 added, 0 replaced, 1 removed")
    assert fake.route_texts("[::1]:8443") == ["b.example.com 10.0.0.1:1"]
    assert run("routes", "import", "-", "--replace", "--listener", "[::1]:8443", text="# none\n").startswith("0 added, 0 replaced, 1 removed")
    assert not fake.routes["[::1]:8443"] and len(fake.routes[":443"]) == 1


def test_replacing_firewall_rules(run, fake):
    run("firewall", "import", "-", text=RULES)
    assert run("firewall", "import", "-", "--replace", text="KP\n192.0.2.8\n192.0.2.8\n").startswith(
        "1 added, 0 replaced, 3 removed, ")
    assert fake.rule_texts() == ["country KP", "ip 192.0.2.8"]


def test_nothing_at_all_is_no_replacement(run, fake):
    run("firewall", "import", "-", text=RULES)
    assert "is empty" in run("firewall", "import", "-", "--replace", text="", fails=1)
    assert "names no listener" in run("routes", "import", "-", "--replace", text="# none\n", fails=1)
    assert len(fake.rules) == 4
    assert run("firewall", "import", "-", "--replace", text="# none\n").startswith("0 added, 0 replaced, 4 removed")


def test_a_listener_for_all_lines(run, fake):
    assert run("routes", "import", "-", "-l", ":443", text="a.example.com 10.0.0.1:1\n").startswith("1 added")
    assert fake.route_texts() == ["a.example.com 10.0.0.1:1"]
    assert "listener is missing" in run("routes", "import", "-", text="a.example.com 10.0.0.1:1\n", fails=1)
    assert "--listener 443: " in run("routes", "import", "-", "-l", "443", text="a.example.com 10.0.0.1:1\n", fails=1)


def test_files_that_cannot_be_read(run, tmp_path):
    assert "No such file or directory" in run("routes", "import", str(tmp_path / "none"), fails=1)
    assert "Is a directory" in run("routes", "import", str(tmp_path), fails=1)


def test_a_hundred_thousand_lines(run, fake, tmp_path):
    count = 60000 if is_sanitized() else 100000  # more than one message can hold
    routes = tmp_path / "many.txt"
    routes.write_text("".join(f":443 host-{i}.with-a-name-of-some-length.example.com 10.{i >> 16}.{i >> 8 & 255}.{i & 255}:8443\n"
                              for i in range(count)))
    begin = time.monotonic()
    assert run("routes", "import", str(routes)) == f"{count} added, 0 replaced, 0 removed, 0 unchanged\n"
    print(f"{count} routes in {time.monotonic() - begin:.2f} s, most of it the fake's")
    assert applied(fake) == [count] and max(fake.message_sizes) < MESSAGE_LIMIT
    assert run("routes", "export", ":443") == routes.read_text()
