"""What the soak calls grown, and which failures a killed worker explains."""

import dataclasses
import time

import pytest
from soak import Account, Sample, grown

MIB = 1 << 20


def samples(field, values):
    """Samples that differ in one field."""
    flat = Sample(0, 2 * MIB, 30, MIB, 60, 9 * MIB, 4 * MIB)
    return [dataclasses.replace(flat, second=i, **{field: value}) for i, value in enumerate(values)]


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Sample)[1:]])
def test_what_grows_all_the_time_is_found_whatever_it_is(field):
    step = 8 if field.endswith("descriptors") else MIB // 2
    assert [problem.split()[0] for problem in grown(samples(field, range(100, 100 + 60 * step, step)))] == [field]


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(Sample)[1:]])
def test_what_grows_while_it_warms_up_or_goes_up_and_down_is_not(field):
    assert grown(samples(field, [MIB * i for i in range(12)] + [12 * MIB] * 48)) == []
    assert grown(samples(field, [10 * MIB, 11 * MIB] * 30)) == []


def test_memory_of_a_sanitized_build_tells_nothing():
    assert grown(samples("master_memory", range(0, 60 * MIB, MIB)), is_memory_told=False) == []
    assert grown(samples("master_descriptors", range(0, 480, 8)), is_memory_told=False) != []


def test_a_failure_is_explained_by_a_kill_during_the_connection_only():
    account = Account()
    account.failures = [(1.0, 2.0, "during"), (1.0, 1.4, "before"), (1.7, 3.0, "after"), (1.55, 3.0, "while it was killed")]
    account.kills = [(1.5, 1.6)]
    assert [f[2] for f in account.unexplained()] == ["before", "after"]


def test_a_job_that_breaks_is_a_failure_whatever_was_killed():
    account = Account()
    account.kills = [(0.0, time.monotonic() + 1000)]
    account.fail(time.monotonic(), "explained")
    account.fail(time.monotonic(), "a job broke", is_explicable=False)
    assert [f[2] for f in account.unexplained()] == ["a job broke"]
