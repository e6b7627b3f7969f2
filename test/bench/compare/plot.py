"""Bars for each proxy with their values on them, as SVG by gnuplot."""

import dataclasses
import pathlib
import subprocess

from .contestants import DIRECT, OURS, YARDSTICK, YARDSTICKS

COLOURS = {OURS: "#1f6feb", "haproxy": "#e07b39", "nginx": "#3a9d5d", "sniproxy": "#9467bd", YARDSTICK: "#999999",
           DIRECT: "#d5d5d5"}
GAP = 1  # between groups, in bars


@dataclasses.dataclass(frozen=True)
class Plot:
    """groups: figures by their keys, and what is written below; top: bars end there, and their values say how long they are."""

    filename: str
    title: str
    groups: dict
    is_relative: bool = False
    is_logarithmic: bool = False
    top: float | None = None  # None: the longest bar's


PLOTS = [
    Plot("cpu.svg", "CPU time, mc-proxy = 1 (lower is better)", {
        "short": "short\\n517 B hello", "short1800": "short\\n1.8 KB hello",
        "turn16": "256 B turn\\non 16", "turn1000": "256 B turn\\non 1,000",
        "turn16k": "16 KB turn\\non 16", "turn16k1000": "16 KB turn\\non 1,000", "download": "bulk\\ndownload", "upload": "bulk\\nupload",
        "blocked": "blocked"}, is_relative=True, top=2.5),
    Plot("memory.svg", "Memory in bytes (lower is better; logarithmic)", {
        "idle": "per idle connection\\nof 3,000", "idle_most": "per idle connection\\nof as many as can be",
        "route_memory": "per route\\nof a million"}, is_logarithmic=True),
    Plot("latency.svg", "Microseconds from a short connection's intended start to its answer, 30 % load (lower is better)", {
        "latency_p50": "p50", "latency_p99": "p99", "latency_p999": "p99.9"}),
]


def draw_all(results, folder):
    """[(title, file's name)] of the plots that there are figures for."""
    done = []
    for p in PLOTS:
        if any(results.median(key, OURS) for key in p.groups):
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            draw(pathlib.Path(folder) / p.filename, script(results, p))
            done.append((p.title, p.filename))
    return done


def draw(path, text):
    subprocess.run(["gnuplot"], input=f"set output '{path}'\n" + text, text=True, check=True)


def value(results, plot, key, name):
    """Of a bar; None: there is none."""
    found, ours = results.median(key, results.best_yardstick(key) if name in YARDSTICKS else name), results.median(key, OURS)
    return found / ours if plot.is_relative and found is not None and ours else found


def script(results, plot):
    """What gnuplot is told, but for the file."""
    keys = [key for key in plot.groups if results.median(key, OURS)]
    names = [n for n in COLOURS if any(value(results, plot, key, n) is not None for key in keys)]
    rows = [[value(results, plot, key, n) for n in names] for key in keys]
    height = plot.top or max(v for row in rows for v in row if v is not None) * (3 if plot.is_logarithmic else 1.15)
    lines = [
        "set terminal svg size 1100,420 font 'sans,12' background 'white'", f"set title {_quoted(plot.title)}",
        "set style data histogram", f"set style histogram clustered gap {GAP}", "set style fill solid 0.9", "set boxwidth 0.9 relative",
        "set grid ytics", "set key outside right", "set xtics scale 0", "set bmargin 4", "set datafile missing '?'",
        f"set xrange [-0.6:{len(keys) - 0.4}]", f"set yrange [{10 if plot.is_logarithmic else 0}:{height:.4g}]",
        *(["set logscale y"] if plot.is_logarithmic else []),
        *_labels(rows, height), "$figures << EOD",
        *(" ".join([_quoted(plot.groups[key]), *map(_cell, row)]) for key, row in zip(keys, rows)), "EOD"]
    columns = ", ".join(f"$figures using {i + 2}{':xtic(1)' if i == 0 else ''} title {_quoted(n)} linecolor rgb '{COLOURS[n]}'"
                        for i, n in enumerate(names))
    return "\n".join([*lines, f"plot {columns}", ""])


def _labels(rows, height):
    """Each bar's value, standing on it; within the picture where the bar leaves it."""
    for group, row in enumerate(rows):
        for bar, found in enumerate(row):
            if found is not None:
                x = group + (bar - (len(row) - 1) / 2) / (len(row) + GAP)
                leaves = found > 0.88 * height
                yield (f"set label {_quoted(_short(found))} at {x:.3f},{min(found, height):.4g} rotate by 90 "
                       f"{'right offset 0,-0.4' if leaves else 'left offset 0,0.3'} font ',9' front")


def _short(found):
    return f"{found:,.0f}" if abs(found) >= 20 else f"{found:.2f}"


def _cell(found):
    return "?" if found is None else f"{found:.4g}"


def _quoted(text):
    return '"' + text.replace('"', "'") + '"'
