"""What was promised, as ratios or limits, and what a run says to it."""

import dataclasses

from .contestants import OURS, YARDSTICK
from .tables_scenarios import AT_REST, CHANGING, EMPTY, FULL

BEST_RIVAL, OF_YARDSTICK, ITSELF, LIMIT = "the best rival", "the yardstick", "itself", ""
MET, MISSED, NOT_MEASURED = "met", "missed", "not measured"


@dataclasses.dataclass(frozen=True)
class Target:
    """
    figure: its key; against: BEST_RIVAL, OF_YARDSTICK, the name of a rival, ITSELF (the first contestant of `pair` by the second), or
    LIMIT, of the median itself. At most `value`, or at least, for figures of which more is better.
    """

    figure: str
    against: str
    value: float
    pair: tuple = ()


TARGETS = [
    Target("short", BEST_RIVAL, 0.95), Target("short", OF_YARDSTICK, 1.08),
    Target("short1800", BEST_RIVAL, 0.95), Target("short1800", OF_YARDSTICK, 1.08),
    Target("turn16", BEST_RIVAL, 0.98), Target("turn16", OF_YARDSTICK, 1.05),
    Target("turn1000", BEST_RIVAL, 0.98), Target("turn1000", OF_YARDSTICK, 1.05),
    Target("download", BEST_RIVAL, 0.45), Target("upload", BEST_RIVAL, 0.45),
    Target("idle", BEST_RIVAL, 0.10), Target("idle_most", BEST_RIVAL, 0.10),
    Target("blocked", "haproxy", 0.80),
    Target("added_p50", BEST_RIVAL, 0.95), Target("added_p99", BEST_RIVAL, 0.95),
    Target("loaded", ITSELF, 1.03, (FULL, EMPTY)),
    Target("change_median", LIMIT, 0.3), Target("change_p99", LIMIT, 1.0),
    Target("start", LIMIT, 1.5),
    Target("route_memory", LIMIT, 120),
    Target("changing", ITSELF, 1.05, (CHANGING, AT_REST)),
    Target("workers", BEST_RIVAL, 1.0),
]


def judge(results):
    """A row for each target whose figure was asked for, for tables and JSON."""
    return [_row(results, t) for t in TARGETS if t.figure in results.figures]


def _row(results, target):
    figure = results.figures[target.figure]
    one, other = target.pair or (OURS, _opponent(results, target))
    spread = _measured(results, target, one, other)
    rival, yardstick = results.best_rival(target.figure), results.best_yardstick(target.figure)
    return {
        "figure": figure.key, "title": figure.title, "unit": figure.unit, "against": target.against, "target": target.value,
        "at_least": figure.higher_is_better,
        "measured": spread and spread.median, "quartiles": spread and [spread.low, spread.high], "rounds": spread.count if spread else 0,
        "verdict": verdict(spread, target.value, figure.higher_is_better),
        "ours": results.median(target.figure, one),
        "itself": results.median(target.figure, other) if target.pair else None,
        "best_rival": rival, "rival": rival and results.median(target.figure, rival),
        "yardstick": yardstick and results.median(target.figure, yardstick), "which_yardstick": yardstick,
    }


def _opponent(results, target):
    if target.against == BEST_RIVAL:
        return results.best_rival(target.figure)
    if target.against == OF_YARDSTICK:
        return results.best_yardstick(target.figure) or YARDSTICK
    return target.against or None


def _measured(results, target, one, other):
    if target.against == LIMIT:
        return results.spread(target.figure, one)
    return results.ratio(target.figure, other, one)


def verdict(spread, value, at_least=False):
    if spread is None:
        return NOT_MEASURED
    return MET if (spread.median >= value if at_least else spread.median <= value) else MISSED
