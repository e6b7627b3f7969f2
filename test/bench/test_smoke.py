"""
Every scenario of the comparison once, with every proxy that is installed and hardly any load: that it counts what it should and that
nothing fails. No times are looked at.
"""

import math
import os
import pathlib
import subprocess

import pytest

from compare import contestants, routes, scenarios, tables_scenarios
from compare.bench import Bench
from compare.client import Backend, ask
from compare.load import Failed, Load
from compare.machine import Placement
from compare.scenarios import cpu_of

TOOLS = pathlib.Path(os.environ.get("MCPROXY_TOOLS", "../../build")).absolute()
SCALE = 0.004
SCENARIOS = scenarios.everyday() + tables_scenarios.of_tables()
MEASUREMENTS = [(s, c) for s in SCENARIOS for c in s.contestants]
NOISY = ("idle", "idle_most", "route_memory")  # memory of a few connections or routes may even shrink


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(TOOLS, tmp_path_factory.mktemp("bench"), Placement(realtime=False), SCALE)
    made.capacity = 1500
    yield made
    made.close()


@pytest.mark.parametrize("scenario, contestant", MEASUREMENTS, ids=[f"{s.name}-{c}" for s, c in MEASUREMENTS])
def test_gives_its_figures(bench, scenario, contestant, monkeypatch):
    monkeypatch.setattr(tables_scenarios.Changing, "TOLERANCE", 0.99)  # a rate is a time
    figures = scenario.measure(bench, contestant)
    assert set(figures) == {f.key for f in scenario.figures}
    for key, value in figures.items():
        assert math.isfinite(value) and (value > 0 or key in NOISY), figures


@pytest.mark.parametrize("name", contestants.RIVALS)
def test_every_rival_is_here(name):
    assert contestants.is_installed(name), f"install packaging/test-deps.txt: {name} is missing"


@pytest.mark.parametrize("words", [[], ["nonsense"], ["short"], ["short", "proxy=1"], ["short", "proxy=1", "backend=2", "count=0"],
                                   ["short", "proxy=1", "backend=2", "nothing=1"], ["short", "proxy=1", "backend=2", "from=here"],
                                   ["turns", "proxy=1", "backend=2", "size=262145"]])
def test_the_load_takes_no_wrong_command_line(words):
    done = subprocess.run([TOOLS / "test/bench/load", *words], capture_output=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith(b"usage:")


def test_every_connection_that_was_asked_for_is_counted(bench):
    result, cpu = cpu_of(bench, bench.standing(contestants.OURS), ["short", "count=12500"])
    assert (result["done"], result["failed"]) == (50, 0)
    assert cpu > 0


def test_every_byte_of_bulk_is_counted(bench):
    for words in (["upload", "count=500", "open=2"], ["download", "count=500", "open=2"]):
        assert cpu_of(bench, bench.standing(contestants.YARDSTICK), words)[0]["bytes"] >= 16 << 20


def test_a_name_without_a_route_fails(bench):
    with Load(bench, ["short", "count=16", "name=nowhere.example.com"], bench.standing(contestants.OURS)) as load:
        load.tell()
        with pytest.raises(Failed):
            load.result()


@pytest.mark.parametrize("kind", scenarios.Blocked().contestants)
def test_what_is_blocked_has_no_answer(bench, kind):
    with Load(bench, ["short", "count=16", "from=127.0.0.66"], bench.standing(kind)) as load:
        load.tell()
        with pytest.raises(Failed):
            load.result()


def test_a_proxy_that_has_ended_fails(bench):
    proxy = bench.new(contestants.YARDSTICK).start()
    proxy.stop()
    with pytest.raises(Failed):
        cpu_of(bench, proxy, ["short", "count=1000"])


def test_a_route_of_the_table_leads_to_its_backend(bench):
    table = bench.table(1000)
    for kind in ("mc-proxy", "haproxy", "nginx"):
        if contestants.is_installed(kind):
            with bench.new(kind, table=table) as proxy, Backend(table.address(777)) as backend:
                ask(proxy, routes.name(777), backend)
