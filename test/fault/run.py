#!/usr/bin/python3
"""Fail every system call and every allocation once, at every place where it is made, in master, worker and the child between them.

    run.py                  a sample: a fixed stride through the points that fits --seconds (what ctest does)
    run.py --all            every place with every plausible errno: --sites of the sites of each place
    run.py --all --sites 0  every site: hours
    run.py --call recv      only this call; --role worker, --stage reload likewise; --point N,N: by number, each in a daemon of its own
    run.py --disturb        only short reads and writes and interrupted calls, everywhere
    run.py --list           the points and where they are

A first run of the session (session.py) records the sites: a call and the way that led to it. Those with the same way through our own
program are one place (OpenSSL makes thousands of allocations for one certificate), of which some are taken. Then each is made to fail once while the
stage runs in which it was first seen; points of start and stop get a daemon of their own, others share one until one of them fails.
Afterwards the daemon must serve or have ended with a clear error; no crash, no sanitizer's report or leak, no descriptor that stays,
nobody who waits for ever; and somebody must have heard of it, or silence.py says why not. Besides: everything with short reads and writes,
and with every k-th call interrupted.

MCPROXY_BIN is the daemon under test. Exit status 1 if anything failed. --report FILE: everything as JSON.
"""

import argparse
import concurrent.futures
import contextlib
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(os.path.dirname(os.path.dirname(HERE)), "build-dev")
DEFAULT_LIBRARY = os.path.join(BUILD, "test", "fault", "mcfault.so")
os.environ.setdefault("MCPROXY_BIN", os.path.join(BUILD, "mc-proxy"))
sys.path.insert(0, HERE)

import shim as shims  # noqa: E402
import silence  # noqa: E402
from session import LOSS, READY, Session, Stuck, World, wait_until  # noqa: E402
from symbols import Symbols, read_maps  # noqa: E402

from lib.daemon import BINARY  # noqa: E402
from lib.tls import Pki  # noqa: E402

ALONE = ("start", "stop")  # stages whose points need a daemon of their own
BATCH = 24
# Where these lack memory, nobody can do better. The dynamic linker (thread-local data) ends the process by itself; libseccomp 2.5.4 crashes,
# or makes a filter that lets less pass: a worker that is being born dies of it, before it has a connection, and is replaced. The address
# sanitizer ends the process when a thread begins and it has no memory for what it notes of it: that is before a line of ours runs there.
NOT_OURS = ("ld-", "libseccomp.")
SANITIZER = ("libasan.",)
SAMPLE = [("short", shims.WORKER, 1), ("eintr", shims.EVERYBODY, 3)]
EVERYWHERE = [*SAMPLE, ("short", shims.MASTER, 1), ("eintr", shims.EVERYBODY, 2), ("eintr", shims.EVERYBODY, 7)]


class Bench:
    """One process of the runner: its world, its control file, its daemons one after the other."""

    def __init__(self, library, directory):
        self.directory = tempfile.mkdtemp(dir=directory)
        os.chmod(self.directory, 0o755)
        self.world = World(self.directory, Pki(self.directory))
        self.shim = shims.Shim(library, os.path.join(self.directory, "control"))
        self.serial = 0

    def session(self):
        self.serial += 1
        return Session(self.world, self.shim, os.path.join(self.directory, str(self.serial)))

    def leave(self, session):
        self.shim.off()
        session.daemon.kill()
        shutil.rmtree(session.directory, ignore_errors=True)

    def record(self):
        """(sites, maps of master and worker): one undisturbed session. Its short time-outs may strike a client of a busy machine, not thrice."""
        for _ in range(2):
            try:
                return self._record()
            except (AssertionError, OSError) as error:
                print(f"once more: {error}", file=sys.stderr, flush=True)
        return self._record()

    def _record(self):
        session, maps = self.session(), []
        try:
            self.shim.record()
            for stage in Session.STAGES:
                session.run(stage)
                if stage == "start":
                    wait_until(lambda: session.count(READY), 40, "readiness")
                    maps = [read_maps(pid) for pid in (session.daemon.pid, session.daemon.workers()[0])]
            assert not session.reports(session.daemon.events()), f"the session fails without a fault: {session.noted}"
            session.daemon.check_end()
            return self.shim.sites(), maps
        finally:
            self.leave(session)

    # ---- one point in a daemon of its own

    def alone(self, arm, stages, may_fail_to_start=True):
        """{"failure", "strikes", "reported"}: the stages while armed, then a check, then a clean end."""
        session = self.session()
        result = {"failure": None, "strikes": 0, "reported": False, "serial": self.serial}
        try:
            arm()
            self._go(session, stages, may_fail_to_start)
            result["strikes"] = self.shim.strikes
        except Exception as error:  # noqa: BLE001: whatever it is, it is this point's failure
            result["failure"] = f"{type(error).__name__}: {error}"
        result["reported"] = session.reports(session.daemon.events()) or session.daemon.returncode not in (None, 0)
        if result["failure"]:
            result["log"] = session.daemon.log_text()[-6000:]
            result["noted"] = session.noted
        self.leave(session)
        return result

    def _go(self, session, stages, may_fail_to_start):
        try:
            session.run("start")
        except AssertionError:
            self._check_failed_start(session, may_fail_to_start)
            return
        for stage in stages[1:]:
            session.run(stage)
        self.shim.off()
        if stages == ["start"] and self._has_ended(session):
            self._check_failed_start(session, may_fail_to_start)
            return
        if "stop" not in stages:
            session.check_serves()
            session.stop()
        session.check_log(session.daemon.events())
        session.daemon.expects_failure = session.daemon.returncode == 1 and "stop" in stages
        session.daemon.check_end()

    @staticmethod
    def _has_ended(session):
        """Sockets listen before the database is loaded, which may still fail: wait for the one or the other."""
        wait_until(lambda: session.daemon.returncode is not None or session.count(READY, LOSS), 40, "readiness or an end")
        if session.daemon.returncode is not None:
            session.daemon.wait()
        return session.daemon.returncode is not None

    def _check_failed_start(self, session, may_fail):
        """A start that fails says why, and ends with a status that means that."""
        if session.daemon.returncode is None:
            raise Stuck(f"neither up nor ended: {session.daemon.log_text()[-500:]}")
        session.daemon.expects_failure = True
        session.daemon.check_end()
        code = session.daemon.returncode
        if not may_fail or code not in (1, 78) or not session.daemon.log_text().strip():
            raise AssertionError(f"the start ended with {code}: {session.daemon.log_text()[-500:]!r}")

    # ---- several points in one daemon

    def batch(self, points):
        """The result of each point; None for those that have to be run alone."""
        session, results = self.session(), [None] * len(points)
        try:
            session.run("start")
            session.check_serves()
            for i, point in enumerate(points):
                results[i] = self._one(session, point)
                if results[i] is None or results[i]["failure"]:
                    results[i] = None  # once more, alone: a fault must not be blamed for its predecessor's
                    return results
            session.stop()
            session.check_log(session.daemon.events())
            session.daemon.check_end()
        except Exception:  # noqa: BLE001: which of them it was is found out by running each alone
            return [None] * len(points)
        finally:
            self.leave(session)
        return results

    def _one(self, session, point):
        session.forget()
        events = len(session.daemon.events())
        before = session.descriptors()
        self.shim.arm_site(point)
        try:
            session.run(Session.STAGES[point["stage"]])
            strikes = self.shim.strikes
            self.shim.off()
            session.check_serves()
            if Session.STAGES[point["stage"]] == "reload":
                assert session.reload_with(session.text([session.main, session.announced])), "no reload works any more"
            session.check_log(session.daemon.events()[events:])
            self._check_descriptors(session, before)
        except Exception as error:  # noqa: BLE001
            return {"failure": str(error), "strikes": 1}
        if strikes == 0:
            return None
        return {"failure": None, "strikes": strikes, "reported": self._is_reported(session, events)}

    @staticmethod
    def _is_reported(session, events):
        """Lines of the log may still be on their way: those of before the last connection until its own is there, another worker's for a bit."""
        def is_reported():
            return session.reports(session.daemon.events()[events:])
        with contextlib.suppress(AssertionError):
            wait_until(lambda: is_reported() or session.has_line_of_last_served(), 10)
        try:
            return wait_until(is_reported, 0.3)
        except AssertionError:
            return False

    @staticmethod
    def _check_descriptors(session, before):
        """None stays behind; one more may be another thing's (the spare pipe of a pool, a resolver's socket), a second is not."""
        def settled():
            now = session.descriptors()
            settled.now = now
            return all(now[pid] <= before[pid] + 6 for pid in now if pid in before)
        wait_until(settled, what=f"descriptors as before ({before})")


# ---- processes of the runner

_bench = None


def _begin(library, directory):
    global _bench
    _bench = Bench(library, directory)


def _record():
    return _bench.record()


def _batch(points):
    return _bench.batch(points)


def _alone(point):
    stages = Session.STAGES[:point["stage"] + 1]
    return _bench.alone(lambda: _bench.shim.arm_site(point), stages)


def _everywhere(mode):
    """The whole session with every k-th call interrupted, or with everything cut short; here nothing may fail for a client."""
    kind, roles, n = mode
    arm = (lambda: _bench.shim.arm_every(n, roles)) if kind == "eintr" else (lambda: _bench.shim.arm_short(roles))
    result = _bench.alone(arm, Session.STAGES, may_fail_to_start=False)
    if result["failure"] is None and result["strikes"] == 0:
        result["failure"] = "nothing was struck"
    return result


# ---- the coordinator

def is_ours(site, symbols):
    is_below_us = any(symbols.is_in(f, BINARY) for f in site["frames"])
    return not symbols.is_in_library(site["frames"][:2], NOT_OURS) and (is_below_us or not symbols.is_in_library(site["frames"], SANITIZER))


def thinned(sites, symbols, limit):
    """At most `limit` sites of each place, evenly spread; 0: all."""
    sites = [s for s in sites if is_ours(s, symbols[s["role"] == shims.WORKER])]
    if not limit:
        return sites
    places = {}
    for site in sites:
        ours = tuple(f for f in site["frames"] if symbols[site["role"] == shims.WORKER].is_in(f, BINARY))
        places.setdefault((site["role"], site["call"], site["stage"], ours), []).append(site)
    kept = {id(place[i * len(place) // limit]) for place in places.values() for i in range(limit)}
    return [site for site in sites if id(site) in kept]


def points_of(sites, calls, every_error):
    """A point for each site and error; with every_error False, one of the errors in turn."""
    points = []
    for i, site in enumerate(sites):
        errors = calls.errors[site["call"]]
        for error in errors if every_error else [errors[i % len(errors)]]:
            points.append({**site, "error": error, "name": calls.names[site["call"]]})
    for number, point in enumerate(points):
        point["number"] = number
    return points


def chosen(points, options):
    if options.point:
        return [points[int(n)] for n in options.point.split(",")]
    roles = {name: role for role, name in shims.ROLES.items()}
    return [p for p in points if (not options.call or p["name"] in options.call.split(",")) and
            (not options.role or p["role"] == roles[options.role]) and
            (not options.stage or Session.STAGES[p["stage"]] == options.stage)]


def in_batches(points):
    """Points of one stage together; alone where they have to be."""
    batches = []
    for point in sorted(points, key=lambda p: (Session.STAGES[p["stage"]] in ALONE, p["number"])):
        alone = Session.STAGES[point["stage"]] in ALONE
        if alone or not batches or batches[-1][0]["stage"] != point["stage"] or len(batches[-1]) >= BATCH:
            batches.append([])
        batches[-1].append(point)
    return batches


class Sweep:
    """Runs points until they are done or the time is over."""

    def __init__(self, pool, symbols, deadline):
        self.pool, self.symbols, self.deadline = pool, symbols, deadline
        self.done, self.skipped = [], 0

    def run(self, batches):
        waiting = {}
        queue = list(reversed(batches))
        while queue or waiting:
            while queue and len(waiting) < 2 * self.pool._max_workers and time.monotonic() < self.deadline:
                self._submit(queue.pop(), waiting)
            if not waiting:
                break
            finished, _ = concurrent.futures.wait(waiting, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in finished:
                queue.extend(self._take(waiting.pop(future), future.result()))
        self.skipped = sum(map(len, queue))

    def _submit(self, batch, waiting):
        if len(batch) == 1:
            waiting[self.pool.submit(_alone, batch[0])] = batch
        else:
            waiting[self.pool.submit(_batch, batch)] = batch

    def _take(self, batch, results):
        """Notes results; returns what has to be run (again)."""
        if len(batch) == 1:
            self._note(batch[0], results)
            return []
        again, rest = [], []
        for i, (point, result) in enumerate(zip(batch, results)):
            if result is not None:
                self._note(point, result)
            elif any(results) and (again or i > 0) and again:
                rest.append(point)  # behind the one at which the batch ended
            else:
                again.append([point])
        if not any(results):  # the batch failed as a whole
            again, rest = [[p] for p in batch], []
        return again + ([rest] if rest else [])

    def _note(self, point, result):
        if result["failure"]:
            self._judge_failure(point, result)
        if result["strikes"] and not result["reported"] and not result["failure"]:
            self._judge_silence(point, result)
        self.done.append({**point, **result})
        if result["failure"]:
            print(f"FAILED {self.describe(point)}\n    {result['failure']}", flush=True)

    def _judge_failure(self, point, result):
        defect = silence.defect_for(point, self.names(point), result.get("log", ""))
        if defect is not None:
            result.update(failure=None, strikes=1, reported=True, defect=defect.why)

    def _judge_silence(self, point, result):
        row = silence.row_for(point, self.names(point))
        if row is None:
            result["failure"] = "nobody heard of it, and silence.py does not say why"
        else:
            result["silence"] = silence.ROWS.index(row)

    def names(self, point):
        return self.symbols[point["role"] == shims.WORKER].names(point["frames"])

    def describe(self, point):
        return (f"#{point['number']} {shims.ROLES[point['role']]}/{Session.STAGES[point['stage']]} {point['name']} {point['error']}: "
                + " < ".join(self.names({**point, "frames": point["frames"][:7]})))


def summary(sweep, everywhere):
    done = sweep.done
    struck = [r for r in done if r["strikes"]]
    failed = [r for r in done + everywhere if r["failure"]]
    silent = [r for r in done if "silence" in r]
    defects = sum("defect" in r for r in done)
    print(f"{len(done)} points: {len(struck)} struck, {len(done) - len(struck)} not reached again, {len(silent)} without a word for a reason, "
          f"{defects} a library's defect, {len(failed)} failed; {sweep.skipped} left for want of time")
    return failed, silent


def list_silent(sweep, silent):
    """By reason."""
    for i, row in enumerate(silence.ROWS):
        points = [p for p in silent if p["silence"] == i]
        print(f"{len(points):4} {row.calls or '*'} {row.errors or '*'} {row.way or '*'}: {row.why}")
        for point in points:
            print("        ", sweep.describe(point))


def fast_directory():
    """Memory, where it may be written to and programs in it may be run, which containers often forbid; None: the usual one."""
    fast = "/dev/shm"
    is_usable = os.access(fast, os.W_OK) and not os.statvfs(fast).f_flag & os.ST_NOEXEC
    return fast if is_usable else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default=DEFAULT_LIBRARY)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--disturb", action="store_true")
    parser.add_argument("--silent", action="store_true", help="list points that went without a word, by reason")
    parser.add_argument("--call")
    parser.add_argument("--role", choices=shims.ROLES.values())
    parser.add_argument("--stage", choices=Session.STAGES)
    parser.add_argument("--point")
    parser.add_argument("--seconds", type=float, default=0, help="begin no further point after so long behind the first run; 0: none is left out")
    parser.add_argument("--stride", type=int, default=0, help="take every Nth point; 0: 1 with --all, else 61")
    parser.add_argument("--sites", type=int, default=3, help="so many sites of each place; 0: all")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--report")
    options = parser.parse_args()
    calls = shims.Calls(options.library)
    directory = tempfile.mkdtemp(prefix="mc-proxy-fault-", dir=fast_directory())
    os.chmod(directory, 0o755)
    pool = concurrent.futures.ProcessPoolExecutor(options.jobs, multiprocessing.get_context("spawn"), _begin,
                                                  (os.path.abspath(options.library), directory))
    try:
        with pool:
            sites, maps = pool.submit(_record).result()
            symbols = [Symbols(m) for m in maps]
            points = points_of(thinned(sites, symbols, options.sites), calls, options.all)
            print(f"{len(sites)} sites, {len(points)} points", flush=True)
            sweep = Sweep(pool, symbols, None)
            picked = chosen(points, options)
            if options.list:
                for point in picked:
                    print(sweep.describe(point))
                return 0
            everywhere = []
            if options.disturb or len(picked) == len(points):
                everywhere = run_everywhere(pool, EVERYWHERE if options.all or options.disturb else SAMPLE)
            if options.disturb:
                return 1 if any(r["failure"] for r in everywhere) else 0
            stride = options.stride or (1 if options.all or len(picked) < len(points) else 61)
            sweep.deadline = time.monotonic() + options.seconds if options.seconds else float("inf")
            sweep.run(in_batches(picked[::stride]))
        failed, silent = summary(sweep, everywhere)
        if options.silent:
            list_silent(sweep, silent)
        if options.report:
            with open(options.report, "w", encoding="utf-8") as f:
                json.dump({"done": sweep.done, "everywhere": everywhere}, f, indent=1)
        return 1 if failed or not any(r["strikes"] for r in sweep.done) else 0
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def run_everywhere(pool, modes):
    """The modes in which everything is disturbed."""
    results = []
    for mode, result in zip(modes, pool.map(_everywhere, modes)):
        results.append(result)
        if result["failure"]:
            print(f"FAILED {mode}: {result['failure']}\n{result.get('log', '')[-3000:]}", flush=True)
    return results


if __name__ == "__main__":
    sys.exit(main())
