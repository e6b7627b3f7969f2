"""What a run has measured so far, and what failed in it."""

import json
import os

from . import statistics
from .contestants import DIRECT, OURS, RIVALS, YARDSTICKS
from .scenarios import Figure


class Results:
    """values[figure's key][contestant] has an entry for each round up to its last; None: not measured, or failed."""

    def __init__(self, meta):
        self.meta, self.figures, self.values, self.failures = meta, {}, {}, []
        self.rounds, self.seconds = 0, {}  # seconds: that each scenario has taken in all

    def begin_round(self):
        self.rounds += 1

    def expect(self, figure, contestant):
        """There will be such a figure of this contestant."""
        self.figures[figure.key] = figure
        self.values.setdefault(figure.key, {})[contestant] = []

    def add(self, key, contestant, value):
        row = self.values[key][contestant]
        row += [None] * (self.rounds - 1 - len(row))
        row.append(value)

    def fail(self, scenario, contestant, why):
        self.failures.append({"round": self.rounds, "scenario": scenario, "contestant": contestant, "why": why})

    def derive_added_latency(self):
        """What a proxy adds: its latency less that of the same load without a proxy, in the same round."""
        for key in [k for k in self.values if k.startswith("latency_")]:
            plain = self.figures[key]
            added = Figure(key.replace("latency", "added"), f"added {plain.title}", plain.unit)
            direct = self.values[key].get(DIRECT, [])
            for contestant, row in self.values[key].items():
                if contestant != DIRECT:
                    self.expect(added, contestant)
                    self.values[added.key][contestant] = [
                        a - b if a is not None and b is not None else None for a, b in zip(row, direct)]

    # ---- what can be said

    def median(self, key, contestant):
        return statistics.median(self.values.get(key, {}).get(contestant, []))

    def spread(self, key, contestant):
        return statistics.spread(self.values.get(key, {}).get(contestant, []))

    def best_of(self, key, names):
        """The best of these contestants in this figure; None if none of them has it."""
        row = self.values.get(key, {})
        return statistics.best(row, names, key in self.figures and self.figures[key].higher_is_better)

    def best_rival(self, key):
        return self.best_of(key, RIVALS)

    def best_yardstick(self, key):
        return self.best_of(key, YARDSTICKS)

    def ratio(self, key, other, one=OURS):
        """The spread of one/other within the rounds; None if there are none."""
        row = self.values.get(key, {})
        return statistics.ratios(row.get(one, []), row.get(other, [])) if other is not None else None

    # ---- files

    def save(self, path, rows):
        """The whole of it; the file is replaced at once, so that there always is a complete one."""
        text = json.dumps({"meta": {**self.meta, "rounds": self.rounds}, "targets": rows, "seconds": self.seconds,
                           "figures": [{"key": f.key, "title": f.title, "unit": f.unit,
                                        "medians": {c: statistics.median(v) for c, v in self.values[f.key].items()},
                                        "values": self.values[f.key]} for f in self.figures.values()],
                           "failures": self.failures}, indent=1)
        with open(f"{path}.new", "w", encoding="utf-8") as f:
            f.write(text + "\n")
        os.replace(f"{path}.new", path)
