"""From what was measured to what can be said: medians, ratios within a round, and how far they spread."""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Spread:
    """A median and its quartiles: half of all rounds lie between low and high."""

    median: float
    low: float
    high: float
    count: int


def spread(values):
    """None if there are no values. Quartiles by interpolation; of a single value, the value."""
    values = sorted(v for v in values if v is not None)
    if not values:
        return None
    return Spread(statistics.median(values), _quantile(values, 0.25), _quantile(values, 0.75), len(values))


def _quantile(ordered, share):
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def ratios(ours, theirs):
    """
    The spread of ours/theirs within each round. Rounds that lack one of both do not count, nor do those in which one is not above
    zero: a difference that noise has turned round says nothing. None without any.
    """
    return spread([a / b for a, b in zip(ours, theirs) if a is not None and b is not None and a > 0 and b > 0])


def median(values):
    found = spread(values)
    return None if found is None else found.median


def best(row, names, higher_is_better=False):
    """The name with the best median in row, a dictionary of lists; None if none of them has a value."""
    medians = {name: median(row[name]) for name in names if name in row and median(row[name]) is not None}
    if not medians:
        return None
    return (max if higher_is_better else min)(medians, key=medians.get)
