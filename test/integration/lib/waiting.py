"""Waiting for conditions, never for fixed times."""

import time


def wait_until(condition, timeout=20.0, what="the condition", interval=0.01):
    """
    Calls condition() until it returns something true, and returns that. The time-out is for a machine on which others have the
    processors for seconds: it says that something hangs, never that it was slow.
    """
    deadline = time.monotonic() + timeout
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(interval)
