"""
The comparison of mc-proxy with other proxies; docs/performance.md tells the method.

    cd test/bench && python3 -m compare --build ../../build [--rounds 9] [--only short,turn16] [--scale 0.1] [--realtime]

A measurement that fails is told and not counted; the others go on. The JSON is written anew after every round.
"""

import argparse
import datetime
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import contestants, machine, plot, report, scenarios, tables_scenarios, targets
from .bench import Bench
from .load import Failed
from .results import Results


def arguments():
    known = scenarios.everyday() + tables_scenarios.of_tables()
    parser = argparse.ArgumentParser(prog="compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build", help="where the release build is")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the counts, and below 1 the routes too")
    parser.add_argument("--only", default="", help="names of scenarios: " + ",".join(s.name for s in known))
    parser.add_argument("--realtime", action="store_true", help="before all other work of the machine (SCHED_FIFO): keep it short")
    parser.add_argument("--json", default="", help="default: bench.json in the build")
    parser.add_argument("--docs", default="", help="write figures and plots to this folder's performance.md and performance/")
    parser.add_argument("--plots", default="", help="folder for the plots, without --docs")
    parser.add_argument("--seed", type=int, default=None, help="of the order")
    chosen = parser.parse_args()
    chosen.scenarios = [s for s in known if not chosen.only or s.name in chosen.only.split(",")]
    unknown = set(filter(None, chosen.only.split(","))) - {s.name for s in known}
    if unknown or not chosen.scenarios:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return chosen


def measure(bench, scenario, contestant, results, is_counted):
    """One measurement. What fails is told; a proxy that has failed does not stay."""
    try:
        with machine.alone():
            figures = scenario.measure(bench, contestant)
        for key, value in figures.items() if is_counted else ():
            results.add(key, contestant, value)
    except Exception as error:  # pylint: disable=broad-except # whatever it is, the others' figures must not be lost
        why = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        print(f"  {scenario.name}, {contestant}: failed: {why}", file=sys.stderr)
        results.fail(scenario.name, contestant, why)
        bench.forget_all_of(contestant)


def run(chosen, bench, results, save):
    for s in chosen.scenarios:
        for contestant in s.contestants:
            for figure in s.figures:
                results.expect(figure, contestant)
    began = time.monotonic()
    for number in range(chosen.rounds + 1):  # the first is not counted: everything grows to its size
        if number > 0:
            results.begin_round()
        for s in random.sample(chosen.scenarios, len(chosen.scenarios)):
            if number <= s.rounds_at_most:
                started = time.monotonic()
                for contestant in random.sample(s.contestants, len(s.contestants)):
                    measure(bench, s, contestant, results, number > 0)
                results.seconds[s.name] = results.seconds.get(s.name, 0) + time.monotonic() - started
        results.meta["rate"] = scenarios.rate_at(bench, scenarios.Latency.SHARE) if bench.capacity else None
        save()
        print(f"round {number} of {chosen.rounds}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def finish(chosen, results):
    plots = []
    folder = pathlib.Path(chosen.docs) / "performance" if chosen.docs else pathlib.Path(chosen.plots) if chosen.plots else None
    try:
        plots = plot.draw_all(results, folder) if folder is not None else []
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"no plots: {error}", file=sys.stderr)
    text = report.everything(results, [(title, f"performance/{name}") for title, name in plots] if chosen.docs else [])
    print(text)
    if chosen.docs:
        report.write_between_marks(pathlib.Path(chosen.docs) / "performance.md", text)


def main():
    chosen = arguments()
    for name in contestants.RIVALS:
        if not contestants.is_installed(name):
            print(f"{name} is not installed, and left out", file=sys.stderr)
    random.seed(chosen.seed)
    ours = pathlib.Path(chosen.build) / "mc-proxy"
    meta = {**machine.describe(ours, chosen.realtime), "scale": chosen.scale,
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")}
    results = Results(meta)
    json_path = chosen.json or str(pathlib.Path(chosen.build) / "bench.json")

    def save():
        results.derive_added_latency()
        results.save(json_path, targets.judge(results))

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the proxies must not outlive this
    placement = machine.Placement(chosen.realtime)
    placement.take_own()
    folder = tempfile.mkdtemp(prefix="mc-proxy-bench-", dir=machine.memory_folder())
    os.chmod(folder, 0o755)
    bench = Bench(chosen.build, folder, placement, chosen.scale)
    meta["many"] = bench.many
    try:
        run(chosen, bench, results, save)
    except KeyboardInterrupt:
        print("interrupted: what follows is what there is, and the documents stay as they are", file=sys.stderr)
        chosen.docs = chosen.plots = ""
    finally:
        bench.close()
        shutil.rmtree(folder, ignore_errors=True)
        save()
    finish(chosen, results)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
