"""Scraping the metrics endpoint, and the text format that it answers with."""

import http.client
import re

_LINE = re.compile(r'(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)')
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


class Scrape:
    """What one GET /metrics answered: scrape("name", label="x") is the sample's value, scrape.sum("name", ...) of all that fit."""

    def __init__(self, text):
        self.text = text
        self.samples = {}
        self.types = {}
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line.split()[2:]
                assert name not in self.types, f"{name} is there twice"
                self.types[name] = kind
            elif not line.startswith("#"):
                self._add(line)

    def _add(self, line):
        match = _LINE.fullmatch(line)
        assert match, line
        key = (match["name"], frozenset(_LABEL.findall(match["labels"] or "")))
        assert key not in self.samples, f"{line} is there twice"
        self.samples[key] = float(match["value"])

    def __call__(self, name, **labels):
        return self.samples[(name, frozenset(labels.items()))]

    def sum(self, name, **labels):
        found = [value for (n, have), value in self.samples.items() if n == name and labels.items() <= dict(have).items()]
        assert found, f"no {name} with {labels}"
        return sum(found)

    def by(self, label, name, **labels):
        """The values of a metric by one of its labels, those that are not 0."""
        return {dict(have)[label]: value for (n, have), value in self.samples.items()
                if n == name and labels.items() <= dict(have).items() and value}

    def counters(self):
        """Every sample of a counter or histogram."""
        def family(name):
            return name if name in self.types else re.sub(r"_(bucket|sum|count)$", "", name)
        return {key: value for key, value in self.samples.items() if self.types[family(key[0])] in ("counter", "histogram")}


def get(port, path="/metrics", host="127.0.0.1"):
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode("utf-8")
    finally:
        connection.close()


def scrape(port, host="127.0.0.1"):
    status, headers, text = get(port, host=host)
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(text)
