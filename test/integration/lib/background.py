"""What goes on beside a test, in threads of its own."""

import threading


class Background:
    """
    Jobs that begin with `with` (or start()) and are waited for at its end (or by stop()). Each runs in a thread and returns soon after
    is_over() says so; pause() says it too, after so long at most. An exception of one of them is stop()'s.
    """

    def __init__(self, *jobs):
        self._over = threading.Event()
        self._broken = []
        self._threads = [threading.Thread(target=self._guarded, args=(job,), daemon=True) for job in jobs]

    def _guarded(self, job):
        try:
            job()
        except BaseException as error:  # whatever it is, what the job would have seen from now on is missing
            self._broken.append(error)

    def is_over(self):
        return self._over.is_set()

    def pause(self, seconds):
        return self._over.wait(seconds)

    def start(self):
        for thread in self._threads:
            thread.start()
        return self

    def stop(self):
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive(), f"{type(self).__name__} hangs"
        if self._broken:
            raise self._broken[0]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
