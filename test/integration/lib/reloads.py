"""Reloading a daemon under test: a new file, SIGHUP, and the verdict. Each line of the log is looked at once, however long it is."""

import signal

from lib import logs
from lib.waiting import wait_until

RELOADED = "configuration reloaded"
REFUSED = "not reloaded: the old configuration stays in force"


class Reloads:
    """count[RELOADED] and count[REFUSED] of a daemon, as far as read() has seen them."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.count = {RELOADED: 0, REFUSED: 0}
        self.last = None  # the line of the last verdict
        self._seen = 0

    def read(self):
        """Looks at new lines; how many reloads have ended."""
        lines = self.daemon.lines[self._seen:]
        self._seen += len(lines)
        for line in lines:
            for message in self.count:
                if message in line:
                    self.count[message] += 1
                    self.last = line
        return sum(self.count.values())

    def reload(self, text, expect=RELOADED, timeout=30):
        """Replaces the file, signals, waits; the verdict as a dict."""
        self.daemon.write_config(text)
        before = self.read()
        self.daemon.signal(signal.SIGHUP)
        wait_until(lambda: self.read() > before, timeout, "the verdict of the reload", interval=0.002)
        verdict = logs.parse_line(self.last)
        assert verdict["msg"] == expect, verdict
        return verdict
