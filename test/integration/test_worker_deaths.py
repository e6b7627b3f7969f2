"""
Workers that are killed under load, and workers that hang. WORKER_KILLS=1000 kills a thousand, which takes as many seconds: deaths in a row
are answered once a second.
"""

import os
import random
import signal
import time

from lib import clients, logs, procfs
from lib.killing import HELLO, Load, Workers, kill_worker
from lib.machine import may_ptrace
from lib.waiting import wait_until

KILLS = int(os.environ.get("WORKER_KILLS", "25"))


def test_a_killed_worker_costs_what_it_had_accepted_and_nothing_else(proxy, echo):
    """
    A connection may fail if the victim had accepted it when it stood still. One that was waiting in its queue may not, nor one that came
    between its death and its successor, nor anybody else's. (Who may not look at a worker's descriptors excuses what was open at its end.)
    """
    daemon = proxy(f"* {echo.address}", server={"workers": 2}, log={"level": "info", "access": "false"})
    chance = random.Random(os.environ.get("WORKER_KILLS_SEED", "8"))
    workers, kills = Workers(daemon), []
    daemon.wait_for_log(lambda e: e["msg"] == "server is ready")
    workers.wait_for(2)
    descriptors = descriptors_of(daemon)
    begun = time.monotonic()
    with Load(daemon.port) as load:
        wait_until(lambda: load.served > 20, 20, "connections")
        for number in range(KILLS):
            victim = workers.wait_for(2)[str(number % 2)]
            kills.append(kill_worker(victim, daemon.port, pause=chance.choice([0, 0, 0.02, 0.1])))
            wait_until(lambda v=victim: v not in workers.read().values(), 15, "the death to be seen")
            time.sleep(chance.random() * 0.1)
        workers.wait_for(2)
        served = load.served
        wait_until(lambda: load.served > served + 20, 20, "connections behind the last kill")
    took = time.monotonic() - begun
    failed = load.unexplained(kills)
    cut, waited = len(load.failures) - len(failed), sum(k.waiting for k in kills)
    print(f"{len(kills)} workers killed in {took:.0f} s: {load.served} connections served (slowest {load.slowest:.2f} s), {load.turns} turns "
          f"of relays, {cut} cut that a victim had accepted, {waited} waiting in a victim's queue, {len(failed)} failed otherwise")
    assert not failed, failed[:5]
    assert workers.started == KILLS + 2
    wait_until(lambda: descriptors_of(daemon) == descriptors, what=f"the master to have its {descriptors} descriptors")
    if may_ptrace():
        known = [k for k in kills if k.held is not None]
        assert len(known) > 0.9 * KILLS, "the machine is too busy for this test"
        assert waited > 0 and sum(len(k.held) for k in known) > 0, "nothing was at stake"


def descriptors_of(daemon):
    return len(procfs.open_files(daemon.pid)) if may_ptrace() else 0


def test_a_stopped_worker_is_replaced_within_three_seconds_and_its_queue_is_served(proxy, echo):
    """By the times in the log. The best counts: on a busy machine the master itself may have to wait for a CPU now and then."""
    daemon = proxy(f"* {echo.address}")
    workers, took = Workers(daemon), []
    while len(took) < 3 or (min(took) >= 3 and len(took) < 10):
        victim = workers.wait_for(1)["0"]
        stopped = time.time()
        os.kill(victim, signal.SIGSTOP)
        waiting = [clients.connect(daemon.port) for _ in range(5)]
        for s in waiting:
            s.sendall(HELLO)
        wait_until(lambda v=victim: workers.read() and v not in workers.read().values(), 15, "the replacement")
        killed = [e for e in daemon.events() if e["msg"] == "worker killed"]
        assert len(killed) == len(took) + 1 and killed[-1]["pid"] == str(victim), killed
        took.append(logs.time_of([e for e in daemon.events() if e["msg"] == "worker started"][-1]) - stopped)
        for s in waiting:
            assert clients.read_exactly(s, len(HELLO)) == HELLO
            s.close()
    assert 1 < min(took) < 3, f"{took}: less than a second would be no time to answer"
    print(f"replaced after {', '.join(f'{t:.2f}' for t in took)} s")
