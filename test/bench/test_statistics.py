"""The arithmetic of the comparison."""

import pytest

from compare import statistics
from compare.statistics import Spread


@pytest.mark.parametrize("values, expected", [
    ([3.0], Spread(3, 3, 3, 1)),
    ([1.0, 2.0], Spread(1.5, 1.25, 1.75, 2)),
    ([5.0, 1.0, 3.0], Spread(3, 2, 4, 3)),
    ([9.0, 1.0, 5.0, 3.0, 7.0], Spread(5, 3, 7, 5)),
    ([None, 4.0, None, 2.0], Spread(3, 2.5, 3.5, 2)),
])
def test_a_spread_is_the_median_and_its_quartiles_of_what_was_measured(values, expected):
    assert statistics.spread(values) == expected


@pytest.mark.parametrize("values", [[], [None], [None, None]])
def test_nothing_measured_has_no_spread(values):
    assert statistics.spread(values) is None
    assert statistics.median(values) is None


def test_ratios_are_those_within_a_round():
    """The machine was twice as slow in the second round: medians alone would compare one round with another."""
    assert statistics.ratios([10.0, 22.0, 12.0], [10.0, 20.0, 10.0]).median == pytest.approx(1.1)


def test_a_round_that_lacks_one_of_both_does_not_count():
    found = statistics.ratios([None, 2.0, 3.0, 8.0], [1.0, None, 1.0, 2.0])
    assert (found.median, found.count) == (3.5, 2)


@pytest.mark.parametrize("ours, theirs", [([1.0], [0.0]), ([-3.0], [-2.0]), ([2.0], [-1.0]), ([0.0], [1.0])])
def test_what_is_not_above_zero_has_no_ratio(ours, theirs):
    assert statistics.ratios(ours, theirs) is None


def test_the_best_has_the_lowest_median_or_the_highest_where_more_is_better():
    row = {"a": [1.0, 9.0, 9.0], "b": [5.0, 5.0, 5.0], "c": [None, None, None], "d": [0.5, 0.5, 0.5]}
    assert statistics.best(row, ["a", "b", "c"]) == "b"
    assert statistics.best(row, ["a", "b", "c"], higher_is_better=True) == "a"
    assert statistics.best(row, ["c", "nobody"]) is None
