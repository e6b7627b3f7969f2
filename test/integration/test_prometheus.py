"""Prometheus and its tools with the metrics endpoint: names, dashboard, alert rules, and a real server that scrapes."""

import json
import os
import re
import shutil
import signal
import subprocess
import urllib.parse
import urllib.request

import pytest

from lib import clients, hello
from lib.backends import EchoBackend
from lib.config import Listener
from lib.metrics import scrape
from lib.ports import free_port
from lib.waiting import wait_until

HELLO = hello.client_hello(b"www.example.com")
HERE = os.path.dirname(os.path.abspath(__file__))
PACKAGING = os.path.join(os.path.dirname(os.path.dirname(HERE)), "packaging")
RULES = os.path.join(PACKAGING, "prometheus", "alerts.yml")
DASHBOARD = os.path.join(PACKAGING, "grafana", "mc-proxy.json")


@pytest.fixture
def measured(new_daemon, backend):
    """A daemon with traffic behind it, and where its metrics are."""
    port = free_port()
    listener = Listener(routes=[f"* {backend(EchoBackend).address}"])
    daemon = new_daemon([listener], metrics={"addr": f"127.0.0.1:{port}", "routes": "true"}, server={"workers": 2}).start()
    daemon.metrics_port = port
    for _ in range(10):
        one_connection(daemon)
    daemon.wait_for_access(10)
    return daemon


def one_connection(daemon):
    with clients.connect(daemon.port) as s:
        s.sendall(HELLO)
        assert clients.read_exactly(s, len(HELLO)) == HELLO


def promtool(*args, stdin=None):
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed")
    done = subprocess.run(["promtool", *args], input=stdin, text=True, capture_output=True, check=False, timeout=60, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_promtool_finds_nothing_to_say_about_the_metrics(measured):
    assert promtool("check", "metrics", stdin=scrape(measured.metrics_port).text) == ""


def test_alert_rules_are_right_and_fire_for_what_they_are_about():
    assert "SUCCESS" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def dashboard_expressions():
    with open(DASHBOARD, encoding="utf-8") as f:
        dashboard = json.load(f)
    found = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(found) > 20
    return found


def rule_expressions():
    """Without a YAML parser: whatever stands behind expr."""
    with open(RULES, encoding="utf-8") as f:
        found = re.findall(r"expr: (?:>-\n)?(.*?)\n +(?:for|labels):", f.read(), re.DOTALL)
    assert len(found) > 5
    return found


def test_every_metric_of_dashboard_and_rules_exists(measured):
    found = scrape(measured.metrics_port)
    names = {name for name, _ in found.samples}
    for expression in dashboard_expressions() + rule_expressions():
        used = re.findall(r"mcproxy_\w+", expression)
        assert used and set(used) <= names, expression
        for label in re.findall(r"[{,](\w+)=~?\"", expression) + re.findall(r"by \((.*?)\)", expression):
            labels = {key for name, have in found.samples if name in used for key, _ in have} | {"instance"}
            assert set(label.replace(" ", "").split(",")) <= labels, expression


class Prometheus:
    """A real one that scrapes these ports every second."""

    def __init__(self, directory, ports):
        self.port = free_port()
        config = os.path.join(directory, "prometheus.yml")
        targets = json.dumps([f"127.0.0.1:{port}" for port in ports])
        with open(config, "w", encoding="utf-8") as f:
            f.write("global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
                    f"rule_files: ['{RULES}']\n"
                    f"scrape_configs: [{{job_name: mc-proxy, static_configs: [{{targets: {targets}}}]}}]\n")
        with open(os.path.join(directory, "prometheus.log"), "wb") as log:
            self._process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={directory}/data",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdout=log, stderr=log)

    def ask(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            assert error.code == 503, f"{path} {parameters}: {error.read()}"  # 503: not ready yet
        except OSError:  # not there yet, or out of breath
            assert self._process.poll() is None, "Prometheus has ended"
        return None

    def query(self, expression):
        """The values that an expression has now, by their labels."""
        data = self.ask("query", query=expression) or {"result": []}
        return [(one["metric"], float(one["value"][1])) for one in data["result"]]

    def close(self):
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def prometheus(measured, tmp_path):
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus is not installed")
    server = Prometheus(str(tmp_path), [measured.metrics_port])
    yield server
    server.close()


def test_a_real_prometheus_scrapes_shows_the_dashboard_and_raises_alerts(measured, prometheus):
    def total():
        return [value for _, value in prometheus.query("sum(mcproxy_connections_total)")]

    wait_until(lambda: total() == [10], 30, "the first scrape")
    assert prometheus.query("up") == [({"__name__": "up", "instance": f"127.0.0.1:{measured.metrics_port}", "job": "mc-proxy"}, 1)]
    for _ in range(5):
        one_connection(measured)
    wait_until(lambda: total() == [15], 30, "the next scrape")
    wait_until(lambda: prometheus.query("sum(rate(mcproxy_connections_total[30s])) > 0"), 30, "a rate")
    for expression in dashboard_expressions():
        shown = expression.replace("$__rate_interval", "30s").replace('"$instance"', '".*"').replace('"$listener"', '".*"')
        assert "$" not in shown
        if re.search(r"> 0|backend_\.", expression) is None:  # others show what may not be there
            wait_until(lambda q=shown: prometheus.query(q), 30, shown)
        else:
            prometheus.query(shown)  # understood, which is all
    kept = scrape(measured.metrics_port)("mcproxy_open_fds", process="master")

    os.kill(measured.workers()[0], signal.SIGKILL)
    wait_until(lambda: prometheus.query('ALERTS{alertname="McProxyWorkerDied",alertstate="firing"}'), 60, "the alert")
    wait_until(lambda: scrape(measured.metrics_port)("mcproxy_open_fds", process="master") <= kept + 1,
               what="as few descriptors as before: one connection serves all its scrapes")
