"""What depends on how soon this process, or the daemon, gets a processor: right in one of a few tries, wrong in each."""


def in_one_of(count, attempt):
    """The result of the first attempt() that fails no assertion and loses no connection; the last one's error is everybody's."""
    for left in reversed(range(count)):
        try:
            return attempt()
        except (AssertionError, OSError):
            if not left:
                raise
