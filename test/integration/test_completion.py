"""Completion in bash, asked as bash asks."""

import os
import subprocess

import pytest

from lib.daemon import BINARY, environment
from lib.fake_admin import FakeAdmin, admin, quiet_grpc

quiet_grpc()
_ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
COMPLETION = os.path.join(_ROOT, "packaging", "completion", "mc-proxy.bash")
ASK = """
source "$1"
eval "$(complete -p mc-proxy | sed 's/.*-F \\([^ ]*\\) .*/function=\\1/')"
COMP_LINE=$2 COMP_POINT=${#2}
"$function" mc-proxy
[ ${#COMPREPLY[@]} -eq 0 ] || printf '%s\\n' "${COMPREPLY[@]}"
"""

CONNECTION = {"--config", "--addr", "--ca", "--cert", "--key", "--timeout", "--json", "--help"}


def complete(line, **kwargs):
    """What is offered behind this line, where mc-proxy stands for the binary under test."""
    assert line.startswith("mc-proxy")
    done = subprocess.run(["bash", "--norc", "-u", "-c", ASK, "ask", COMPLETION, BINARY + line[len("mc-proxy"):]], text=True,
                          env=environment(), capture_output=True, check=False, timeout=30, **kwargs)
    assert done.returncode == 0 and not done.stderr, done
    return done.stdout.splitlines()


@pytest.fixture
def fake(open_dir):
    server = FakeAdmin(path=f"{open_dir}/admin.sock", listeners=(":443", "[::1]:8443", "127.0.0.1:444"))
    server.set_routes(":443", "www.example.com 10.0.0.5:8443", "*.example.com 10.0.0.5:8443", "* 10.0.0.5:8443")
    server.config = f"{open_dir}/mc-proxy.ini"
    with open(server.config, "w", encoding="ascii") as f:
        f.write(f"[grpc]\naddr = unix:{open_dir}/admin.sock\n")
    yield server
    server.close()


def test_commands():
    assert set(complete("mc-proxy ")) == {"server", "check", "status", "routes", "firewall", "listeners", "connections", "tail",
                                          "explain", "top", "snapshot", "version"}
    assert complete("mc-proxy sta") == ["status"]
    assert complete("mc-proxy --v") == ["--version"]
    assert complete("mc-proxy nonsense ") == []


def test_actions():
    assert complete("mc-proxy routes ") == ["list", "add", "remove", "import", "export"]
    assert complete("mc-proxy routes -c x --json im") == ["import"]
    assert complete("mc-proxy listeners s") == ["set-max-connections"]
    assert complete("mc-proxy connections ") == ["list", "close"]
    assert complete("mc-proxy status ") == []


def test_tables_of_top():
    assert complete("mc-proxy top --by r") == ["route", "reason"]


def test_options():
    assert {o for o in complete("mc-proxy status -") if o.startswith("--")} == CONNECTION | {"--watch", "--routes", "--max"}
    assert {o for o in complete("mc-proxy snapshot --")} == CONNECTION | {"--output", "--keep"}
    assert complete("mc-proxy routes add --send") == ["--send-proxy-protocol"]
    assert complete("mc-proxy routes import --re") == ["--replace"]
    assert complete("mc-proxy check --") == ["--config", "--help"]


def test_values_of_options(tmp_path):
    (tmp_path / "mc-proxy.ini").touch()
    (tmp_path / "my routes.csv").touch()
    assert complete("mc-proxy status -c mc", cwd=tmp_path) == ["mc-proxy.ini"]
    assert complete("mc-proxy routes import my", cwd=tmp_path) == ["my routes.csv"]
    assert complete(f"mc-proxy status --ca {tmp_path}/mc") == [f"{tmp_path}/mc-proxy.ini"]
    assert complete("mc-proxy routes export --format ") == ["text", "csv", "json"]
    assert complete("mc-proxy routes export -f j") == ["json"]
    assert complete("mc-proxy snapshot --keep ", cwd=tmp_path) == []


def test_addresses_of_servers(tmp_path):
    (tmp_path / "admin.sock").touch()
    assert complete("mc-proxy status --addr u") == ["unix:/"]
    assert complete(f"mc-proxy status --addr unix:{tmp_path}/a") == [f"{tmp_path}/admin.sock"]  # bash keeps unix: itself


def test_what_the_server_knows(fake):
    c = f"-c {fake.config}"
    assert complete(f"mc-proxy routes {c} list ") == [":443", "[::1]:8443", "127.0.0.1:444"]
    assert complete(f"mc-proxy routes list {c} :") == ["443"]  # the colon is a word of its own for bash
    assert complete(f"mc-proxy routes list {c} 127.0.0.1:4") == ["444"]
    assert complete(f"mc-proxy routes {c} remove :443 ") == ["www.example.com", "*.example.com", "*"]
    assert complete(f"mc-proxy routes {c} remove :443 w") == ["www.example.com"]
    assert complete(f"mc-proxy routes {c} import --listener 1") == ["127.0.0.1:444"]
    assert complete(f"mc-proxy tail {c} --listener 1") == ["127.0.0.1:444"]
    assert complete(f"mc-proxy listeners {c} set-max-connections [") == ["[::1]:8443"]


def test_firewall_rules(fake):
    fake.AddFirewallRule(_rule(1, "192.0.2.7"))
    fake.AddFirewallRule(_rule(3, "KP"))
    assert complete("mc-proxy firewall add ") == ["ip", "cidr", "country"]
    assert complete(f"mc-proxy firewall remove -c {fake.config} ip ") == ["192.0.2.7"]
    assert complete(f"mc-proxy firewall remove -c {fake.config} country ") == ["KP"]


def _rule(kind, value):
    return admin.AddFirewallRuleRequest(rule={"type": kind, "value": value})


def test_without_a_server_nothing_is_offered_and_nothing_said(tmp_path):
    assert complete("mc-proxy routes list ") == []
    assert complete(f"mc-proxy routes list --addr unix:{tmp_path}/none ") == []


def test_a_slow_server_is_not_waited_for(fake):
    fake.delay = 5
    assert complete(f"mc-proxy routes -c {fake.config} list ") == []
